"""Takes away what the previous install made and nothing wants any more (AG section 10.5)."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from ferryman_agent.files.tree import Folders
from ferryman_agent.system import fs

_STAYS = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY})


@dataclass(slots=True)
class Removed:
    """`carried` are journaled paths that are still there, for the next install to try again (AG-168)."""

    count: int = 0
    carried: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def remove_obsolete(host: Folders, obsolete: Iterable[tuple[str, str]]) -> Removed:
    """Removes paths in the given order: files and links, and directories if they are empty.

    What is missing is no problem (AG-331), a link is removed itself (AG-332), a directory that others use stays and is
    carried (AG-334). Any other failure is noted and the rest still done (AG-336).
    """
    removed = Removed()
    for path, place in obsolete:
        try:
            if _remove(host, place[1:]):
                removed.count += 1
            else:
                removed.carried.append(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            removed.carried.append(path)
            removed.problems.append(f"cannot remove {path}: {problem.strerror}")
    removed.carried.reverse()
    return removed


def _remove(host: Folders, place: str) -> bool:
    folder, name = host.parent(place)
    status = fs.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        fs.unlink(name, dir_fd=folder)
        return True
    host.forget(place)
    folder, name = host.parent(place)
    try:
        fs.rmdir(name, dir_fd=folder)
    except OSError as problem:
        if problem.errno in _STAYS:
            return False
        raise
    return True
