"""The operating system by its POSIX names: `os` as `fs`, `fcntl`, `grp`, `pwd`, `signal`, and what has no such name.

On POSIX they are the standard library's own modules, so nothing changes and nothing is slower. On Windows, modules of
this package take their places, with the names that the agent uses and what they can mean there. This is the place that
chooses, for the whole agent; `hooks/native.py` chooses what runs scripts, in the same way. No other module asks which
system it is on.
"""

import sys

if sys.platform == "win32":
    from ferryman_agent.system import windows as own
    from ferryman_agent.system import windows_accounts as grp
    from ferryman_agent.system import windows_accounts as pwd
    from ferryman_agent.system import windows_fcntl as fcntl
    from ferryman_agent.system import windows_fs as fs
    from ferryman_agent.system import windows_signal as signal
else:
    import fcntl
    import grp
    import os as fs
    import pwd
    import signal

    from ferryman_agent.system import posix as own

__all__ = ["fcntl", "fs", "grp", "own", "pwd", "signal"]
