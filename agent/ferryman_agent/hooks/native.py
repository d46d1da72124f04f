"""How scripts run on this system: `posix.py` and its like, or `windows.py` and its like, by the same names."""

import sys

if sys.platform == "win32":
    from ferryman_agent.hooks.windows import Child, ExitStatus, command_of, start
    from ferryman_agent.hooks.windows_checks import make_executable, startable
    from ferryman_agent.hooks.windows_ending import end, end_leftovers
    from ferryman_agent.hooks.windows_follow import Follower, Pipes
else:
    from ferryman_agent.hooks.checks import make_executable, startable
    from ferryman_agent.hooks.ending import end, end_leftovers
    from ferryman_agent.hooks.follow import Follower, Pipes
    from ferryman_agent.hooks.posix import Child, ExitStatus, command_of, start

__all__ = [
    "Child",
    "ExitStatus",
    "Follower",
    "Pipes",
    "command_of",
    "end",
    "end_leftovers",
    "make_executable",
    "start",
    "startable",
]
