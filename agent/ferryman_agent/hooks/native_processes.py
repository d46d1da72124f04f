"""What this system says about processes: `processes.py`, or `windows_processes.py` by the same names."""

import sys

if sys.platform == "win32":
    from ferryman_agent.hooks import windows_processes as processes
else:
    from ferryman_agent.hooks import processes

__all__ = ["processes"]
