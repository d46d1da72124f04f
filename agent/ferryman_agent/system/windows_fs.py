"""`os` as the agent uses it, on Windows: the same calls with `dir_fd`, on handles of folders, no link ever followed.

A folder is opened as a handle that does not let go of its name: nobody can rename, remove or replace the folder, or
one above it, while it is open (no FILE_SHARE_DELETE). So a path below an open folder means the same thing from the
check to the act, which is what `openat` is for elsewhere. Every folder is opened without following (reparse points are
refused), and junctions count as links: `stat` says so.

Windows has access lists and no modes or numbers of owners: `stat` says that all belongs to user 0, who we are, and is
closed to everybody else; `chmod` and `chown` do nothing. Who may do what is the business of `windows_acl.py`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat as stats
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

from ferryman_agent.system import windows_calls as calls
from ferryman_agent.system import windows_names as names

T = TypeVar("T")
Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

O_RDONLY, O_WRONLY, O_RDWR = os.O_RDONLY, os.O_WRONLY, os.O_RDWR
O_APPEND, O_CREAT, O_EXCL, O_TRUNC = os.O_APPEND, os.O_CREAT, os.O_EXCL, os.O_TRUNC
# The numbers of Linux, which mean nothing to the C library of Windows; none of them gets there.
O_NONBLOCK, O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC, O_PATH = 0x800000, 0x1000000, 0x2000000, 0x4000000, 0
ST_RDONLY, ST_NOEXEC = 1, 8
R_OK, W_OK, X_OK, F_OK = os.R_OK, os.W_OK, os.X_OK, os.F_OK
SEEK_SET = os.SEEK_SET

_opened: dict[int, str] = {}
"""By what path a descriptor was opened; that of a number that was given again is replaced."""

stat_result = os.stat_result
close, read, write, lseek, dup, strerror = os.close, os.read, os.write, os.lseek, os.dup, os.strerror
ftruncate, pipe, fdopen, umask = os.ftruncate, os.pipe, os.fdopen, os.umask
set_inheritable, cpu_count, getpid, getppid = os.set_inheritable, os.cpu_count, os.getpid, os.getppid

_GENERIC_READ, _GENERIC_WRITE, _DELETE = 0x80000000, 0x40000000, 0x00010000
_APPEND_ONLY = (
    0x00000004 | 0x00000100 | 0x00100000 | 0x00020000
)  # append, write attributes, wait, read the rights
_SHARE_READ, _SHARE_WRITE, _SHARE_DELETE = 1, 2, 4
_CREATE_NEW, _CREATE_ALWAYS, _OPEN_EXISTING, _OPEN_ALWAYS = 1, 2, 3, 4
_BACKUP_SEMANTICS, _OPEN_REPARSE_POINT = 0x02000000, 0x00200000
_ATTRIBUTE_REPARSE_POINT = 0x400
_NAME_SURROGATE = 0x20000000  # of reparse tags: it stands for another place, as links and junctions do
_FILE_TYPE_CHAR = 2
_REPLACE_EXISTING, _WRITE_THROUGH = 1, 8


def open(path: Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """Opens a file or folder, and neither by a link if O_NOFOLLOW or `dir_fd` is given. Raises OSError.

    Whoever has a file open does not keep others from renaming or removing it.
    """
    text = os.fsdecode(path)
    if dir_fd is None and names.is_machine(text):
        return os.open("NUL", os.O_RDONLY)
    if dir_fd is not None and text in (".", ""):
        again = os.dup(dir_fd)
        _opened[again] = _opened.get(dir_fd, "")
        return again
    place = _place(text, dir_fd)
    is_strict = bool(flags & O_NOFOLLOW) or dir_fd is not None
    found = _look(place) if is_strict or flags & O_DIRECTORY else None
    if found is not None and is_strict and stats.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "it is a link", text)
    if flags & O_DIRECTORY and found is not None and stats.S_ISREG(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is no folder", text)
    is_folder = bool(flags & O_DIRECTORY) or os.path.isdir(place)
    handle = _handle(place, flags, is_folder=is_folder, is_strict=is_strict)
    descriptor = _descriptor(handle, flags, is_strict=is_strict, shown=text)
    _opened[descriptor] = place
    return descriptor


def stat(path: Path | int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    """See os.stat. The machine, `/`, is a folder."""
    if isinstance(path, int):
        return fstat(path)
    text = os.fsdecode(path)
    if dir_fd is not None and text in (".", ""):
        return fstat(dir_fd)
    if dir_fd is None and names.is_machine(text):
        return _machine()
    place = _place(text, dir_fd)
    return _ours(os.stat(place)) if follow_symlinks else _ours(os.lstat(place))


def lstat(path: Path, *, dir_fd: int | None = None) -> os.stat_result:
    """See os.lstat: junctions are links as well."""
    return stat(path, dir_fd=dir_fd, follow_symlinks=False)


def fstat(descriptor: int) -> os.stat_result:
    """See os.fstat."""
    return _machine() if _is_machine(descriptor) else _ours(os.fstat(descriptor))


def mkdir(path: Path, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    """See os.mkdir; the folder has the access list that its parent hands down."""
    os.mkdir(_place(os.fsdecode(path), dir_fd))


def rmdir(path: Path, *, dir_fd: int | None = None) -> None:
    """See os.rmdir."""
    os.rmdir(_place(os.fsdecode(path), dir_fd))


def unlink(path: Path, *, dir_fd: int | None = None) -> None:
    """See os.unlink: write protection does not keep a file, and a link to a folder is removed, not the folder."""
    place = _place(os.fsdecode(path), dir_fd)
    found: Any = os.lstat(place)
    if _is_link(found) and found.st_file_attributes & stats.FILE_ATTRIBUTE_DIRECTORY:
        os.rmdir(place)
        return
    if stats.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", os.fsdecode(path))
    if found.st_file_attributes & stats.FILE_ATTRIBUTE_READONLY:
        os.chmod(place, stats.S_IWRITE)
    os.unlink(place)


def rename(
    source: Path, target: Path, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
) -> None:
    """See os.rename: what is at the target is replaced, as elsewhere."""
    os.replace(_place(os.fsdecode(source), src_dir_fd), _place(os.fsdecode(target), dst_dir_fd))


replace = rename


def readlink(path: Path, *, dir_fd: int | None = None) -> str:
    """Returns where a link or junction leads, with `/` between names."""
    return names.shown(os.readlink(_place(os.fsdecode(path), dir_fd))).replace("\\", "/")


def symlink(
    source: str, target: Path, target_is_directory: bool = False, *, dir_fd: int | None = None
) -> None:
    """See os.symlink. Takes the right to create links, which LocalSystem and administrators have."""
    place = _place(os.fsdecode(target), dir_fd)
    leads_to = os.path.join(os.path.dirname(place), source.replace("/", "\\"))
    os.symlink(source.replace("/", "\\"), place, target_is_directory or os.path.isdir(leads_to))


def link(
    source: Path,
    target: Path,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None:
    """See os.link."""
    os.link(_place(os.fsdecode(source), src_dir_fd), _place(os.fsdecode(target), dst_dir_fd))


def chmod(path: Path | int, mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    """Does nothing: Windows has no modes."""


def fchmod(descriptor: int, mode: int) -> None:
    """Does nothing: Windows has no modes."""


def chown(path: Path | int, uid: int, gid: int, **_: object) -> None:
    """Does nothing: what the agent makes belongs to it."""


def fchown(descriptor: int, uid: int, gid: int) -> None:
    """Does nothing: what the agent makes belongs to it."""


def listdir(path: Path | int = ".") -> list[str]:
    """See os.listdir; of the machine: its drives."""
    if isinstance(path, int):
        return _drives() if _is_machine(path) else os.listdir(_path_of(path))
    text = os.fsdecode(path)
    return _drives() if names.is_machine(text) else os.listdir(names.native(text))


def scandir(path: Path | int = ".") -> Any:
    """See os.scandir; not of the machine."""
    return os.scandir(_path_of(path) if isinstance(path, int) else names.native(os.fsdecode(path)))


def walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """See os.walk."""
    return os.walk(names.native(os.fsdecode(top)))


def utime(
    path: Path | int, times: tuple[float, float] | None = None, *, ns: tuple[int, int] | None = None
) -> None:
    """See os.utime."""
    place = _path_of(path) if isinstance(path, int) else names.native(os.fsdecode(path))
    if ns is not None:
        os.utime(place, ns=ns)
    else:
        os.utime(place, times)


def access(path: Path, mode: int) -> bool:
    """See os.access."""
    return os.access(names.native(os.fsdecode(path)), mode)


def fsync(descriptor: int) -> None:
    """Forces a file to the disk; of folders NTFS writes its own log."""
    if not stats.S_ISDIR(fstat(descriptor).st_mode):
        os.fsync(descriptor)


fdatasync = fsync


def sync() -> None:
    """Does nothing: NTFS keeps its folders whole by itself, and files are forced one by one."""


def statvfs(path: Path | int) -> SimpleNamespace:
    """Room on a volume, as far as Windows tells: numbers of files have no limit there."""
    place = _path_of(path) if isinstance(path, int) else names.native(os.fsdecode(path))
    found = shutil.disk_usage(place)
    return SimpleNamespace(
        f_bavail=found.free, f_frsize=1, f_blocks=found.total, f_files=0, f_favail=0, f_flag=0
    )


def pread(descriptor: int, count: int, offset: int) -> bytes:
    """See os.pread; not for two threads at once."""
    return _at(descriptor, offset, lambda: os.read(descriptor, count))


def pwrite(descriptor: int, data: bytes, offset: int) -> int:
    """See os.pwrite; not for two threads at once."""
    return _at(descriptor, offset, lambda: os.write(descriptor, data))


def copy_file_range(source: int, target: int, count: int) -> int:
    """Raises OSError (ENOSYS): the caller copies by itself."""
    raise OSError(errno.ENOSYS, "Windows copies no ranges of files")


def getxattr(path: Path | int, name: str, **_: object) -> bytes:
    """Raises OSError (EOPNOTSUPP): there are none."""
    raise OSError(errno.EOPNOTSUPP, "Windows has no such attributes")


def setxattr(path: Path | int, name: str, value: bytes, **_: object) -> None:
    """Raises OSError (EOPNOTSUPP): there are none."""
    raise OSError(errno.EOPNOTSUPP, "Windows has no such attributes")


def listxattr(path: Path | int, **_: object) -> list[str]:
    """Returns that there are none."""
    return []


def removexattr(path: Path | int, name: str, **_: object) -> None:
    """Raises OSError (EOPNOTSUPP): there are none."""
    raise OSError(errno.EOPNOTSUPP, "Windows has no such attributes")


def geteuid() -> int:
    """Returns the number that `stat` gives for every owner."""
    return 0


getuid = getegid = getgid = geteuid


def getgroups() -> list[int]:
    """Returns none: groups have no numbers."""
    return []


def getgrouplist(user: str, group: int) -> list[int]:
    """Returns none: groups have no numbers."""
    return []


def kill(pid: int, number: int) -> None:
    """Ends a process, whatever the signal. Raises OSError."""
    os.kill(pid, number)


def _place(text: str, dir_fd: int | None) -> str:
    if dir_fd is None:
        return names.native(text)
    if _is_machine(dir_fd):
        return names.drive(text)
    return names.join(_path_of(dir_fd), names.checked(text))


def _handle(place: str, flags: int, *, is_folder: bool, is_strict: bool) -> int:
    wanted = _GENERIC_READ if not flags & (O_WRONLY | O_RDWR) else _GENERIC_WRITE
    if flags & O_RDWR:
        wanted |= _GENERIC_READ
    elif flags & O_APPEND:
        wanted = _APPEND_ONLY
    if flags & O_CREAT:
        how = _CREATE_NEW if flags & O_EXCL else _CREATE_ALWAYS if flags & O_TRUNC else _OPEN_ALWAYS
    else:
        how = _OPEN_EXISTING
    share = _SHARE_READ | _SHARE_WRITE | (0 if is_folder else _SHARE_DELETE)
    extra = (_BACKUP_SEMANTICS if is_folder else 0) | (_OPEN_REPARSE_POINT if is_strict else 0)
    create = _kernel().CreateFileW
    create.restype = ctypes.c_void_p
    create.argtypes = (
        ctypes.c_wchar_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p,
        ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p,
    )  # fmt: skip
    handle = create(place, wanted, share, None, how, extra or 0x80, None)
    if handle is None or handle == calls.INVALID_HANDLE:
        raise _error(place)
    return int(handle)


def _descriptor(handle: int, flags: int, *, is_strict: bool, shown: str) -> int:
    kept = flags & (O_WRONLY | O_RDWR | O_APPEND)
    descriptor = calls.descriptor_of(handle, kept | 0x8000 | 0x80)  # binary, not inherited
    # Somebody may have been faster than the look above; what is open now is what counts.
    opened: Any = os.fstat(descriptor)
    is_suspect = is_strict and opened.st_file_attributes & _ATTRIBUTE_REPARSE_POINT
    if is_suspect and _is_link(os.lstat(_path_of(descriptor))):
        os.close(descriptor)
        raise OSError(errno.ELOOP, "it is a link", shown)
    if flags & O_TRUNC and not flags & O_CREAT:
        os.ftruncate(descriptor, 0)
    return descriptor


def _path_of(descriptor: int) -> str:
    buffer = ctypes.create_unicode_buffer(32768)
    function = _kernel().GetFinalPathNameByHandleW
    function.argtypes = (ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_uint32, ctypes.c_uint32)
    if function(calls.handle_of(descriptor), buffer, len(buffer), 0):
        return buffer.value
    # Wine knows no long names here. A folder that is open keeps the name that it was opened by.
    if known := _opened.get(descriptor):
        return known
    raise _error(f"descriptor {descriptor}")


def _is_machine(descriptor: int) -> bool:
    """The machine has no handle of its own: a descriptor of NUL stands for it."""
    return bool(_kernel().GetFileType(calls.handle_of(descriptor)) == _FILE_TYPE_CHAR)


def _machine() -> os.stat_result:
    return os.stat_result((stats.S_IFDIR | 0o700, 1, 0, 1, 0, 0, 0, 0, 0, 0))


def _drives() -> list[str]:
    bits = int(_kernel().GetLogicalDrives())
    return [f"{chr(ord('A') + number)}:" for number in range(26) if bits >> number & 1]


def _look(place: str) -> os.stat_result | None:
    try:
        return _ours(os.lstat(place))
    except FileNotFoundError:
        return None


def _is_link(found: Any) -> bool:
    return stats.S_ISLNK(found.st_mode) or bool(getattr(found, "st_reparse_tag", 0) & _NAME_SURROGATE)


def _ours(found: Any) -> os.stat_result:
    """The same status with modes and owners as this module has them."""
    kind = stats.S_IFLNK if _is_link(found) else stats.S_IFMT(found.st_mode)
    mode = 0o700 if kind == stats.S_IFDIR else 0o777 if kind == stats.S_IFLNK else 0o600
    head = (kind | mode, found.st_ino, found.st_dev, found.st_nlink, 0, 0, *found[6:10])
    more = {
        name: getattr(found, name)
        for name in ("st_atime", "st_mtime", "st_ctime", "st_atime_ns", "st_mtime_ns", "st_ctime_ns")
    }
    attributes = {"st_file_attributes": found.st_file_attributes, "st_reparse_tag": found.st_reparse_tag}
    return os.stat_result(head, more | attributes)


def _at(descriptor: int, offset: int, work: Callable[[], T]) -> T:
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, offset, os.SEEK_SET)
    try:
        return work()
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)


def _kernel() -> Any:
    return calls.library("kernel32")


def _error(place: str) -> OSError:
    return calls.failure(names.shown(place))
