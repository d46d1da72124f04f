"""Writes new files beside the old ones: complete, with owner, mode and time, not yet in their places (AG-315)."""

from __future__ import annotations

import errno
import os

from ferryman.appspec import EntryKind
from ferryman_agent.core.install_facts import PlannedFile
from ferryman_agent.errors import InstallError
from ferryman_agent.files.access import differs, set_attributes, set_link_owner
from ferryman_agent.files.hashing import sha256
from ferryman_agent.files.survey import Archive
from ferryman_agent.files.tree import FILE_FLAGS
from ferryman_agent.system import fs

_CREATE = fs.O_WRONLY | fs.O_CREAT | fs.O_EXCL | fs.O_NOFOLLOW
_SMALL = 256 * 1024
_STEP = 64 * 1024 * 1024
_NO_FAST_PATH = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY}
)


def stage(archive: Archive, folder: int, name: str, file: PlannedFile) -> os.stat_result:
    """Makes `name` in an open folder a copy of a file or link of the archive, and returns its status.

    Raises OSError, InstallError.
    """
    try:
        return make(archive, folder, name, file)
    except FileExistsError:
        # Left behind by an install that was killed.
        fs.unlink(name, dir_fd=folder)
        return make(archive, folder, name, file)


def make(
    archive: Archive, folder: int, name: str, file: PlannedFile, *, is_closed: bool = False
) -> os.stat_result:
    """Does the same where nothing is in the way. Raises FileExistsError otherwise, OSError, InstallError.

    In a folder that is closed to others a file may have its mode before it is complete.
    """
    if file.kind is EntryKind.LINK:
        fs.symlink(file.target, name, dir_fd=folder)
        try:
            set_link_owner(folder, name, file.attributes)
        except BaseException:
            fs.unlink(name, dir_fd=folder)
            raise
        return fs.stat(name, dir_fd=folder, follow_symlinks=False)
    source_folder, source_name = archive.folders.parent(file.source)
    source = fs.open(source_name, FILE_FLAGS, dir_fd=source_folder)
    try:
        mode = (file.attributes.mode or 0) & 0o777 if is_closed else 0
        target = fs.open(name, _CREATE, mode | 0o600, dir_fd=folder)
        try:
            copied = _copy(source, target, archive, file)
            if copied != file.size:
                message = f"cannot install {file.path}: its file in the archive changed during the install"
                raise InstallError("INSTALL_ARCHIVE_CHANGED", message)
            fs.utime(target, ns=(file.modified_ns, file.modified_ns))
            status = fs.fstat(target)
            if differs(status, file.attributes):
                set_attributes(target, file.path, file.attributes)
                status = fs.fstat(target)
            return status
        except BaseException:
            fs.unlink(name, dir_fd=folder)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy(source: int, target: int, archive: Archive, file: PlannedFile) -> int:
    """Copies all of an open file and returns how much that was; by the kernel where that can share or skip work.

    Takes note of the digest of a small one: its bytes are at hand anyway.
    """
    # A byte more than it should have shows that it has changed.
    first = os.read(source, min(file.size + 1, _SMALL))
    _write(target, first)
    copied = len(first)
    if copied < _SMALL:
        if archive.known_digest(file.source) is None:
            digest = sha256(copied)
            digest.update(first)
            archive.note_digest(file.source, digest.hexdigest())
        return copied
    try:
        while count := fs.copy_file_range(source, target, _STEP):
            copied += count
        return copied
    except OSError as problem:
        if problem.errno not in _NO_FAST_PATH:
            raise
    while block := os.read(source, 1024 * 1024):
        _write(target, block)
        copied += len(block)
    return copied


def _write(target: int, data: bytes) -> None:
    written = os.write(target, data) if data else 0
    while written < len(data):
        written += os.write(target, memoryview(data)[written:])
