"""A second name for a file, or a copy with everything that belongs to it where that cannot be."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ferryman_agent.files.tree import FILE_FLAGS
from ferryman_agent.system import fs

_CREATE = fs.O_WRONLY | fs.O_CREAT | fs.O_EXCL | fs.O_NOFOLLOW
_BLOCK = 1024 * 1024
_NOT_THERE = frozenset({errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM, errno.ENOSYS, errno.EINVAL})


def duplicate(folder: int, name: str, to_folder: int, to_name: str) -> None:
    """Makes `to_name` the same as `name`, a file or a link that is not followed; folders are open descriptors.

    A hard link where the file system and the kernel let us: it costs nothing and loses nothing. Otherwise a copy with
    owner, mode, times and extended attributes, on the disk when this returns. Raises OSError, FileExistsError.
    """
    try:
        fs.link(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        _copy(folder, name, to_folder, to_name)


def _copy(folder: int, name: str, to_folder: int, to_name: str) -> None:
    status = fs.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        fs.symlink(fs.readlink(name, dir_fd=folder), to_name, dir_fd=to_folder)
        if fs.geteuid() == 0:
            fs.chown(to_name, status.st_uid, status.st_gid, dir_fd=to_folder, follow_symlinks=False)
        return
    source = fs.open(name, FILE_FLAGS, dir_fd=folder)
    try:
        opened = fs.fstat(source)
        if not stat.S_ISREG(opened.st_mode):
            raise FileExistsError(errno.EEXIST, "it is no plain file any more", name)
        target = fs.open(to_name, _CREATE, 0o600, dir_fd=to_folder)
        try:
            _fill(source, target, opened)
        except BaseException:
            fs.unlink(to_name, dir_fd=to_folder)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)


def _fill(source: int, target: int, status: os.stat_result) -> None:
    while block := os.read(source, _BLOCK):
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]
    if (status.st_uid, status.st_gid) != (fs.geteuid(), fs.getegid()):
        # Only root may, and a copy with another owner is not what was there.
        fs.fchown(target, status.st_uid, status.st_gid)
    fs.fchmod(target, stat.S_IMODE(status.st_mode))
    for attribute in _attributes(source):
        with contextlib.suppress(OSError):
            fs.setxattr(target, attribute, fs.getxattr(source, attribute))
    fs.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    fs.fsync(target)


def _attributes(descriptor: int) -> list[str]:
    try:
        return fs.listxattr(descriptor)
    except OSError as problem:
        if problem.errno in _NOT_THERE:
            return []
        raise
