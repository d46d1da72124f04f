"""Who starts and stops the agent on this machine: `service.py`, or `windows_service.py` by the same name."""

import sys

if sys.platform == "win32":
    from ferryman_agent.cli.windows_service import WindowsService as Service
else:
    from ferryman_agent.cli.service import Service

__all__ = ["Service"]
