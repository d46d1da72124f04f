"""Unpacks a bundle into a fresh private folder; nothing is created outside of it, nothing is left of a failure.

One loop for all kinds of archives: judge the entry, write it through directory descriptors, count what is really
written (V2-104, V2-111, V2-125). Plain tar, zip and directories are judged as a whole before the first byte is written.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ferryman_agent.bundles.entries import ArchiveEntry, EntryChecks, Kind, over_limit, refuse, shown
from ferryman_agent.bundles.halt import Halted
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.sources import Source
from ferryman_agent.bundles.space import disk_full, is_disk_full, require_space
from ferryman_agent.files.digests import Digests, mark_of
from ferryman_agent.files.hashing import sha256
from ferryman_agent.files.shared_modes import OTHERS_WRITE
from ferryman_agent.files.tree import Folders, remove_tree
from ferryman_agent.system import fs

_FILE_MODE = 0o644
_FOLDER_MODE = 0o755
_CREATE = fs.O_WRONLY | fs.O_CREAT | fs.O_EXCL | fs.O_NOFOLLOW


Stopped = Halted
"""The caller does not want the archive any more."""

_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What an archive became: its files' digests by path, and totals.

    withheld: write permission of group and others that files and folders should have had, by path.
    pointers: files that only say where Git LFS keeps the real ones.
    """

    digests: Digests
    withheld: Mapping[str, int]
    files: int
    written_bytes: int
    pointers: tuple[str, ...] = ()


def unpack(
    source: Source,
    destination: Path,
    limits: BundleLimits,
    *,
    packed_bytes: int,
    stop: threading.Event | None = None,
) -> Unpacked:
    """Unpacks into `destination`, which must not exist; closes the source. Blocks; for one call in a thread.

    `packed_bytes` is the size of the archive for the ratio, 0 for a directory. Raises BundleError, OSError, and Stopped
    once `stop` is set; whatever was written is removed before.
    """
    try:
        fs.mkdir(destination, 0o700)
        try:
            with Folders.below(destination) as folders:
                return _Unpacking(source, folders, destination, limits, packed_bytes, stop).run()
        except BaseException as problem:
            _remove(destination)
            if isinstance(problem, OSError) and is_disk_full(problem):
                raise disk_full("unpack the bundle", destination.parent) from problem
            raise
    finally:
        source.close()


def _remove(destination: Path) -> None:
    parent = fs.open(destination.parent, fs.O_RDONLY | fs.O_DIRECTORY)
    try:
        remove_tree(parent, destination.name)
    except OSError:
        # The reason why unpacking failed is what people need to hear (V2-116); the folder goes with its deployment.
        return
    finally:
        os.close(parent)


@dataclass(slots=True)
class _Unpacking:
    """One archive on its way to the disk."""

    source: Source
    folders: Folders
    destination: Path
    limits: BundleLimits
    packed_bytes: int
    stop: threading.Event | None
    written: int = 0
    files: int = 0
    digests: Digests = field(default_factory=Digests)
    modes: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, int] = field(default_factory=dict)
    pointers: list[str] = field(default_factory=list)

    def run(self) -> Unpacked:
        checks = EntryChecks(self.limits)
        admitted: Iterable[tuple[ArchiveEntry, str]] = self._admitted(checks)
        if self.source.is_indexed:
            # Bad entries anywhere in the archive are known before anything is written (V2-103).
            admitted = list(admitted)
            checks.check_links()
            require_space(self.destination.parent, checks.declared_bytes, self.limits, "unpack the bundle")
        for entry, path in admitted:
            self._write(entry, path, checks)
        self.source.finish()
        checks.check_links()
        self._set_folder_modes()
        return Unpacked(self.digests, self.withheld, self.files, self.written, tuple(self.pointers))

    def _admitted(self, checks: EntryChecks) -> Iterator[tuple[ArchiveEntry, str]]:
        for entry in self.source.entries():
            yield entry, checks.admit(entry)

    def _write(self, entry: ArchiveEntry, path: str, checks: EntryChecks) -> None:
        if self.stop is not None and self.stop.is_set():
            raise Stopped
        if entry.kind is Kind.DIRECTORY:
            if path:
                self.folders.folder(path, create=True)
                self.modes[path] = _FOLDER_MODE if entry.mode is None else entry.mode & 0o1777
        elif entry.kind is Kind.LINK:
            folder, name = self.folders.parent(path, create=True)
            fs.symlink(entry.target, name, dir_fd=folder)
        elif entry.kind is Kind.HARD_LINK:
            self._copy(entry, checks.hard_link_source(path), path)
        else:
            self._file(entry, path, self.source.chunks(entry))

    def _copy(self, entry: ArchiveEntry, earlier: str, path: str) -> None:
        folder, name = self.folders.parent(earlier)
        descriptor = fs.open(name, fs.O_RDONLY | fs.O_NOFOLLOW, dir_fd=folder)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            self._file(entry, path, iter(lambda: file.read(1024 * 1024), b""))

    def _file(self, entry: ArchiveEntry, path: str, chunks: Iterable[bytes]) -> None:
        folder, name = self.folders.parent(path, create=True)
        mode = self._closed(path, _FILE_MODE if entry.mode is None else entry.mode & 0o1777)
        try:
            # Nobody else gets into the folder above all, so that it may have its mode from the beginning.
            descriptor = fs.open(name, _CREATE, mode, dir_fd=folder)
        except FileExistsError:
            # Admitted as new, yet there: this file system does not tell the two names apart (V2-114).
            raise refuse(entry.name, "is on this file system the same as an earlier entry") from None
        try:
            digest = sha256(entry.size if entry.kind is Kind.FILE else None)
            for chunk in chunks:
                self._count(entry, len(chunk))
                if len(chunk) <= _POINTER_BYTES and chunk.startswith(_POINTER):
                    self.pointers.append(path)
                digest.update(chunk)
                _write_all(descriptor, chunk)
            if entry.modified_ns is not None:
                fs.utime(descriptor, ns=(entry.modified_ns, entry.modified_ns))
            status = fs.fstat(descriptor)
            if stat.S_IMODE(status.st_mode) != mode:
                # The umask, or a default ACL.
                fs.fchmod(descriptor, mode)
                status = fs.fstat(descriptor)
            self.digests.remember(path, mark_of(status), digest.hexdigest())
        finally:
            os.close(descriptor)
        self.files += 1

    def _count(self, entry: ArchiveEntry, size: int) -> None:
        self.written += size
        if self.written > self.limits.max_unpacked_bytes:
            raise over_limit(f"more than {self.limits.max_unpacked_bytes} bytes when unpacked")
        most = max(self.limits.ratio_floor_bytes, self.limits.max_ratio * self.packed_bytes)
        if self.packed_bytes and self.written > most:
            what = f"{self.written} bytes by {shown(entry.name)}, unpacked from {self.packed_bytes}"
            raise over_limit(f"{what}: more than {self.limits.max_ratio} times as much")
        if self.stop is not None and self.stop.is_set():
            raise Stopped

    def _set_folder_modes(self) -> None:
        # Last, since a folder without write permission could not be filled; its owner keeps access, to remove it again.
        for path in sorted(self.modes, reverse=True):
            fs.fchmod(self.folders.folder(path), self._closed(path, self.modes[path] | 0o700))

    def _closed(self, path: str, mode: int) -> int:
        """Returns the mode without write permission for others, which is noted."""
        if mode & OTHERS_WRITE:
            self.withheld[path] = mode & OTHERS_WRITE
        return mode & ~OTHERS_WRITE


def _write_all(descriptor: int, chunk: bytes) -> None:
    written = os.write(descriptor, chunk)
    while written < len(chunk):
        more = os.write(descriptor, chunk[written:])
        if more == 0:
            raise OSError(errno.EIO, "nothing was written")
        written += more
