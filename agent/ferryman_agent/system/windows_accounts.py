"""`pwd` and `grp` on Windows: nobody has a number there, so nobody is found by name, and 0 is the agent's own user."""

from __future__ import annotations

import os
from typing import NamedTuple, NoReturn


class struct_passwd(NamedTuple):  # noqa: N801 - the name of the standard library's module
    """What `pwd` says of a user."""

    pw_name: str
    pw_uid: int
    pw_gid: int
    pw_dir: str
    pw_shell: str


def getpwuid(uid: int) -> struct_passwd:
    """Returns the user that the agent runs as, for 0. Raises KeyError."""
    if uid != 0:
        raise KeyError(uid)
    # A service that runs as LocalSystem has the machine's name with a dollar sign for one.
    name = os.environ.get("USERNAME") or "SYSTEM"
    home = os.environ.get("USERPROFILE") or os.environ.get("SYSTEMROOT", "C:\\")
    return struct_passwd(name, 0, 0, home, os.environ.get("COMSPEC", ""))


def getpwnam(name: str) -> NoReturn:
    """Raises KeyError."""
    raise KeyError(name)


def getgrnam(name: str) -> NoReturn:
    """Raises KeyError."""
    raise KeyError(name)


def getgrgid(gid: int) -> NoReturn:
    """Raises KeyError."""
    raise KeyError(gid)
