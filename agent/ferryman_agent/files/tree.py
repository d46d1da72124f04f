"""Trees by directory descriptors: opened, listed and removed without ever following a link (AG-177, V2-125).

POSIX only: every name is looked up relative to an open directory, so that nobody can swap a folder for a link
between a check and what follows from it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType

from ferryman_agent.system import fs

FOLDER_FLAGS = fs.O_RDONLY | fs.O_DIRECTORY | fs.O_NOFOLLOW
FILE_FLAGS = fs.O_RDONLY | fs.O_NOFOLLOW | fs.O_NONBLOCK

_OPEN_FOLDERS = 64


class Folders:
    """Open folders below one root, by path relative to it; at most 64 stay open.

    A descriptor that was returned is good until the next call. Components that are links are refused with OSError
    (ELOOP or ENOTDIR), whoever put them there.
    """

    def __init__(self, root: int) -> None:
        """Takes over `root`, a descriptor of the folder, and closes it with the others."""
        self._root = root
        self._open: OrderedDict[str, int] = OrderedDict()

    @classmethod
    def below(cls, path: str | os.PathLike[str]) -> Folders:
        """Opens a folder by its path, links on the way to it included. Raises OSError."""
        return cls(fs.open(path, fs.O_RDONLY | fs.O_DIRECTORY))

    def __enter__(self) -> Folders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all descriptors."""
        for descriptor in (*self._open.values(), self._root):
            os.close(descriptor)
        self._open.clear()

    def folder(self, path: str, *, create: bool = False) -> int:
        """Returns a descriptor of a folder, "" being the root. `create` makes what is missing, mode 0700.

        Raises OSError.
        """
        if not path:
            return self._root
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        parent_path, _, name = path.rpartition("/")
        parent = self.folder(parent_path, create=create)
        if create:
            with contextlib.suppress(FileExistsError):
                fs.mkdir(name, 0o700, dir_fd=parent)
        descriptor = fs.open(name, FOLDER_FLAGS, dir_fd=parent)
        self._open[path] = descriptor
        if len(self._open) > _OPEN_FOLDERS:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def parent(self, path: str, *, create: bool = False) -> tuple[int, str]:
        """Returns a descriptor of the folder that holds `path`, and the name in it. Raises OSError."""
        folder, _, name = path.rpartition("/")
        return self.folder(folder, create=create), name

    def forget(self, path: str) -> None:
        """Closes a folder and all below it: to be called before one is renamed or removed."""
        for known in [one for one in self._open if one == path or one.startswith(f"{path}/")]:
            os.close(self._open.pop(known))

    def look(self, path: str) -> os.stat_result | None:
        """Returns what is at `path`, a link not followed; None where nothing is. Raises OSError."""
        try:
            folder, name = self.parent(path)
            return fs.stat(name or ".", dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None


def walk(folders: Folders, top: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yields every entry below `top`, a folder before what is in it, names in order. Links are not followed.

    Raises OSError.
    """
    waiting = [top]
    while waiting:
        current = waiting.pop()
        inside = []
        folder, start = folders.folder(current), f"{current}/" if current else ""
        # All of a folder before the first is given away: whoever gets it may have folders opened, and this one closed.
        found = [
            (start + name, fs.stat(name, dir_fd=folder, follow_symlinks=False))
            for name in sorted(fs.listdir(folder))
        ]
        for path, status in found:
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                inside.append(path)
        waiting.extend(reversed(inside))


def remove_tree(parent: int, name: str) -> int:
    """Removes an entry and, if it is a folder, all below it; returns the bytes of the files removed.

    Missing is fine. Folders without write permission are opened up first. Raises OSError for what stays; what can be
    removed is removed before that.
    """
    try:
        status = fs.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    if not stat.S_ISDIR(status.st_mode):
        fs.unlink(name, dir_fd=parent)
        return status.st_size
    return _remove_folder(parent, name)


def _remove_folder(parent: int, name: str) -> int:
    freed = 0
    problem: OSError | None = None
    # Descriptors from the top down to the folder that is being emptied: no recursion, whatever the depth.
    path: list[tuple[int, str, Iterator[str]]] = []
    try:
        path.append(_enter(parent, name))
        while path:
            descriptor, own_name, names = path[-1]
            child = next(names, None)
            try:
                if child is None:
                    path.pop()
                    os.close(descriptor)
                    fs.rmdir(own_name, dir_fd=path[-1][0] if path else parent)
                    continue
                try:
                    size = fs.stat(child, dir_fd=descriptor, follow_symlinks=False).st_size
                    fs.unlink(child, dir_fd=descriptor)
                    freed += size
                except (IsADirectoryError, PermissionError) as refused:
                    # POSIX lets unlink answer EPERM for a folder.
                    if not _is_folder(child, descriptor):
                        raise refused from None
                    path.append(_enter(descriptor, child))
            except FileNotFoundError:
                continue
            except OSError as failed:
                # A folder that stays because something in it stays is no news.
                if problem is None or failed.errno != errno.ENOTEMPTY:
                    problem = problem or failed
    finally:
        for descriptor, _, _ in path:
            os.close(descriptor)
    if problem is not None:
        raise problem
    return freed


def _enter(parent: int, name: str) -> tuple[int, str, Iterator[str]]:
    try:
        descriptor = fs.open(name, FOLDER_FLAGS, dir_fd=parent)
    except PermissionError:
        fs.chmod(name, 0o700, dir_fd=parent)
        descriptor = fs.open(name, FOLDER_FLAGS, dir_fd=parent)
    if fs.fstat(descriptor).st_mode & 0o700 != 0o700:
        with contextlib.suppress(OSError):
            fs.fchmod(descriptor, 0o700)
    return descriptor, name, iter(fs.listdir(descriptor))


def _is_folder(name: str, parent: int) -> bool:
    return stat.S_ISDIR(fs.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
