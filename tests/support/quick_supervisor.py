"""The supervisor of `ferryman-agent start` with pauses that a test can wait for."""

from __future__ import annotations

import sys

from ferryman_agent.core import respawn
from ferryman_agent.host import supervisor

if __name__ == "__main__":
    respawn.PAUSES = tuple(float(word) for word in sys.argv[1].split(","))
    supervisor.ENDING_SECONDS = 0.2
    sys.exit(supervisor.main(sys.argv[2:]))
