"""A directory on this machine in the place of an archive: the same checks, the same unpacker (AG-242, V2-069)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ferryman_agent.bundles.entries import ArchiveEntry, Kind, shown
from ferryman_agent.bundles.sources import CHUNK, damaged
from ferryman_agent.files.tree import FILE_FLAGS, Folders, walk
from ferryman_agent.system import fs


class DirectorySource:
    """The tree below `path`. Links in it are entries, never followed."""

    is_indexed = True

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._folders = Folders.below(path)

    def entries(self) -> Iterator[ArchiveEntry]:
        """See Source."""
        for path, status in walk(self._folders):
            kind = _kind(status.st_mode)
            yield ArchiveEntry(
                name=path,
                kind=kind,
                size=status.st_size if kind is Kind.FILE else 0,
                mode=stat.S_IMODE(status.st_mode),
                modified_ns=status.st_mtime_ns,
                target=self._target(path) if kind is Kind.LINK else "",
            )

    def chunks(self, entry: ArchiveEntry) -> Iterator[bytes]:
        """See Source."""
        folder, name = self._folders.parent(entry.name)
        descriptor = fs.open(name, FILE_FLAGS, dir_fd=folder)
        try:
            left = entry.size
            while left:
                chunk = os.read(descriptor, min(left, CHUNK))
                if not chunk:
                    raise damaged(f"{shown(entry.name)} became shorter while it was copied")
                left -= len(chunk)
                yield chunk
        finally:
            os.close(descriptor)

    def finish(self) -> None:
        """See Source."""

    def close(self) -> None:
        """See Source."""
        self._folders.close()

    def _target(self, path: str) -> str:
        folder, name = self._folders.parent(path)
        return fs.readlink(name, dir_fd=folder)


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    return Kind.LINK if stat.S_ISLNK(mode) else Kind.SPECIAL
