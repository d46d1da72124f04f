"""Room on the file systems that an install writes to (V2-074, AG-215)."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Iterable
from pathlib import Path

from ferryman_agent.core.install_facts import Action, InstallPlan
from ferryman_agent.errors import InstallError
from ferryman_agent.system import fs

_BLOCK = 4096
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def require_room(
    plan: InstallPlan, kept: Iterable[tuple[str, int]] = (), keep_at: Path | None = None
) -> None:
    """Raises InstallError, with the figures, when the new files do not fit beside the old ones. Raises OSError.

    `kept` has places and sizes of files whose originals go to `keep_at`: those of other file systems are copied there.
    """
    folders: dict[str, tuple[int, int]] = {}
    for file in (*plan.files, *plan.restored):
        if file.action in (Action.KEEP, Action.CORRECT):
            continue
        folder = file.place.rpartition("/")[0]
        size, count = folders.get(folder, (0, 0))
        folders[folder] = size + _on_disk(file.size), count + 1
    needs: dict[int, tuple[str, int, int]] = {}

    def need(device: int, existing: str, size: int, count: int) -> None:
        _, size_so_far, count_so_far = needs.get(device, (existing, 0, 0))
        needs[device] = (existing, size_so_far + size, count_so_far + count)

    for folder, (size, count) in folders.items():
        need(*_device(folder or "/"), size, count)
    if keep_at is not None:
        device = fs.stat(keep_at).st_dev
        for place, size in kept:
            if fs.lstat(place).st_dev != device:
                need(device, str(keep_at), _on_disk(size), 1)
    for existing, size, count in needs.values():
        status = fs.statvfs(existing)
        free = status.f_bavail * status.f_frsize
        if size > free:
            message = f"it needs {size} bytes on the file system of {existing}, which has only {free} free"
            raise _error(message)
        if status.f_files and count > status.f_favail:
            room = f"which can hold only {status.f_favail} more"
            message = f"it needs {count} files on the file system of {existing}, {room}"
            raise _error(message)


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def is_disk_full(problem: OSError) -> bool:
    """Says whether an error means that a disk or a quota is full."""
    return problem.errno in _FULL


def out_of_room(what: str, folder: Path) -> InstallError:
    """Returns the error for a disk that filled up on the way."""
    return _error(f"a file system filled up: {what}")


def _error(what: str) -> InstallError:
    message = (
        f"The deployment failed because there is no room to install: {what}; free some space and deploy again"
    )
    return InstallError("INSTALL_DISK_FULL", message)


def _device(folder: str) -> tuple[int, str]:
    while True:
        try:
            return fs.stat(folder).st_dev, folder
        except (FileNotFoundError, NotADirectoryError):
            folder = posixpath.dirname(folder)
