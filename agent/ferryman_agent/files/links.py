"""Where links on the way to a destination lead, and whether root may go along (AG-304, AG-355).

A user who owns a directory below which root installs can put a link there, to `/etc/cron.d` for example. Such a link is
followed only if its owner could have written to that directory anyway: so the kernel judges links in `/tmp`, too.
"""

from __future__ import annotations

import posixpath
import stat

from ferryman_agent.system import fs

_MOST_HOPS = 40


def real_folder(path: str) -> tuple[str, bool]:
    """Returns the directory that an absolute path leads to, and whether every link on the way may be followed.

    A link may be if it belongs to root, to the agent's user or to whom the directory belongs that it leads to in the
    end. Raises OSError, also where no directory is at the end.
    """
    place, owners = _resolve(path)
    status = fs.lstat(place)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{path} leads to no directory")
    return place, owners <= {0, fs.geteuid(), status.st_uid}


def _resolve(path: str) -> tuple[str, set[int]]:
    """Returns the path without links, and the owners of the links that were on it."""
    place, ahead = "/", path.split("/")[::-1]
    owners: set[int] = set()
    hops = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            place = posixpath.dirname(place)
            continue
        there = posixpath.join(place, part)
        status = fs.lstat(there)
        if not stat.S_ISLNK(status.st_mode):
            place = there
            continue
        hops += 1
        if hops > _MOST_HOPS:
            raise OSError(f"{path} leads through too many links")
        owners.add(status.st_uid)
        target = fs.readlink(there)
        if target.startswith("/"):
            place = "/"
        ahead.extend(target.split("/")[::-1])
    return place, owners
