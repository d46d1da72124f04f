"""What an install is about to do, on the disk before it does it, and how each step is taken back (V2-188, V2-189).

The log of a deployment group exists while its install changes the host. A failed install reads its own from memory; the
log of one that was killed is read by the agent's next start, or by the group's next install.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ferryman_agent.files.atomic import sync_directory, write_atomic
from ferryman_agent.files.digests import from_text, to_text
from ferryman_agent.files.layout import STATE_FILE_MODE
from ferryman_agent.files.tree import FILE_FLAGS, Folders
from ferryman_agent.system import fs


class Begin(msgspec.Struct, tag="begin", array_like=True, frozen=True):
    """`journal_bytes`: length of the cleanup journal before the install."""

    deployment: str
    journal_bytes: int


class Aside(msgspec.Struct, tag="aside", array_like=True, frozen=True):
    """What is at `place` gets another name in its folder."""

    place: str
    old: str


class Made(msgspec.Struct, tag="mkdir", array_like=True, frozen=True):
    """A directory is made."""

    path: str
    place: str


class Staged(msgspec.Struct, tag="stage", array_like=True, frozen=True):
    """A file waits under the name `new`; what it replaces gets `old` as a second name. Both are in its folder."""

    path: str
    place: str
    new: str
    old: str


class InPlace(msgspec.Struct, tag="inplace", array_like=True, frozen=True):
    """A file or link is made at `place` itself. The directory with these numbers, which holds it, is new and closed."""

    path: str
    place: str
    device: int
    inode: int


class Settled(msgspec.Struct, tag="settle", array_like=True, frozen=True):
    """The object with these numbers gets the name of the place, or has it; `old` as in Staged, "" where nothing was."""

    path: str
    place: str
    old: str
    device: int
    inode: int


class Was(msgspec.Struct, tag="was", array_like=True, frozen=True):
    """An object that keeps its content gets other attributes; `extra` are extended ones, in hexadecimal."""

    place: str
    device: int
    inode: int
    uid: int
    gid: int
    mode: int
    accessed_ns: int
    modified_ns: int
    extra: dict[str, str | None] = {}


class Ruled(msgspec.Struct, tag="rules", array_like=True, frozen=True):
    """SELinux rules are changed; `before` has the labels that they said, "" where there were none, by path."""

    semanage: str
    before: dict[str, str]


class Commit(msgspec.Struct, tag="commit", array_like=True, frozen=True):
    """All new files are in their places: from here on there is only the way forward.

    made: the paths of the next journal; rules: its lines of rules. obsolete: paths and places to remove.
    originals: the group's record of originals; unneeded: those that were put back.
    adopted, returned: files that change hands: path, place, and the other group.
    """

    directory: str
    made: tuple[str, ...]
    rules: tuple[str, ...]
    obsolete: tuple[tuple[str, str], ...]
    originals: str
    unneeded: tuple[str, ...]
    adopted: tuple[tuple[str, str, str], ...] = ()
    returned: tuple[tuple[str, str, str], ...] = ()


Row = Begin | Aside | Made | Staged | InPlace | Settled | Was | Ruled | Commit
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Row] = msgspec.json.Decoder(Row)


class UndoLog:
    """The rows of one install, in memory and on the disk."""

    def __init__(self, path: Path, begin: Begin) -> None:
        """Creates the file. Raises OSError."""
        self.rows: list[Row] = [begin]
        self._waiting: list[Row] = []
        self._path = path
        write_atomic(path, _encoder.encode(begin) + b"\n", STATE_FILE_MODE)
        self._descriptor = fs.open(path, fs.O_WRONLY | fs.O_APPEND | fs.O_NOFOLLOW)

    def add_with_next(self, rows: Sequence[Row]) -> None:
        """Takes rows in that need not be on the disk before the next ones."""
        self.rows.extend(rows)
        self._waiting.extend(rows)

    def add(self, rows: Sequence[Row]) -> None:
        """Takes rows in; they are on the disk when this returns. Raises OSError."""
        if not rows:
            return
        size = fs.fstat(self._descriptor).st_size
        try:
            lines = [_encoder.encode(row) for row in (*self._waiting, *rows)]
            data = memoryview(b"\n".join((*lines, b"")))
            while data:
                data = data[os.write(self._descriptor, data) :]
            fs.fsync(self._descriptor)
        except BaseException:
            # What is not surely there must not be there by chance: a commit least of all.
            os.ftruncate(self._descriptor, size)
            raise
        self.rows.extend(rows)
        self._waiting.clear()

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """There is nothing to take back any more. Raises OSError."""
        self._path.unlink(missing_ok=True)
        sync_directory(self._path.parent)


def read_log(path: Path) -> list[Row]:
    """Returns the rows as far as they are whole: what follows was not begun. Raises OSError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    rows: list[Row] = []
    for line in content.split(b"\n")[:-1]:
        try:
            rows.append(_decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeError):
            break
    return rows


def take_back(host: Folders, rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Undoes what was done of rows, the last one first; `host` is opened at `/`.

    Safe to repeat. Returns a sentence for each that could not be undone, and the paths that are still there.
    """
    failed: list[str] = []
    left: list[str] = []
    # Of these it is known what they became, or that something else was there already.
    known = {row.path for row in rows if isinstance(row, Staged | Settled)}
    for row in reversed(rows):
        if isinstance(row, InPlace) and row.path in known:
            continue
        try:
            _undo(host, row)
        except (OSError, ValueError) as problem:
            failed.append(f"cannot restore the previous state: {_said(problem)}")
            if isinstance(row, Made | Staged | InPlace | Settled):
                left.append(from_text(row.path))
    left.reverse()
    return failed[:5], left


def _undo(host: Folders, row: Row) -> None:
    if isinstance(row, Aside):
        _undo_aside(host, row)
    elif isinstance(row, Made):
        _undo_made(host, row)
    elif isinstance(row, Staged):
        _undo_staged(host, row)
    elif isinstance(row, InPlace):
        _undo_in_place(host, row)
    elif isinstance(row, Settled):
        _undo_settled(host, row)
    elif isinstance(row, Was):
        restore_attributes(host, row)
    elif isinstance(row, Ruled):
        _undo_rules(row)


def _undo_rules(row: Ruled) -> None:
    from ferryman_agent.errors import InstallError
    from ferryman_agent.files.selinux import return_to

    try:
        return_to(row.semanage, {from_text(path): label for path, label in row.before.items()})
    except InstallError as problem:
        raise OSError(problem.message) from problem


def _undo_aside(host: Folders, row: Aside) -> None:
    place, old = from_text(row.place)[1:], from_text(row.old)
    folder, name = host.parent(place)
    if _there(folder, old) is None:
        return
    if _there(folder, name) is not None:
        raise FileExistsError(errno.EEXIST, "something else is there now", f"/{place}")
    host.forget(f"{place.rpartition('/')[0]}/{old}".lstrip("/"))
    fs.rename(old, name, src_dir_fd=folder, dst_dir_fd=folder)


def _undo_made(host: Folders, row: Made) -> None:
    place = from_text(row.place)[1:]
    host.forget(place)
    with contextlib.suppress(FileNotFoundError):
        folder, name = host.parent(place)
        # Where something else is by now, it is not ours.
        with contextlib.suppress(NotADirectoryError):
            fs.rmdir(name, dir_fd=folder)


def _undo_staged(host: Folders, row: Staged) -> None:
    """Where the next content still waits the place was not touched, or is empty where there are no hard links."""
    try:
        folder, name = host.parent(from_text(row.place)[1:])
    except FileNotFoundError:
        return
    new, old = from_text(row.new), from_text(row.old)
    waiting, was, now = _there(folder, new), _there(folder, old), _there(folder, name)
    if was is not None:
        if waiting is not None and now is not None:
            fs.unlink(old, dir_fd=folder)
        else:
            fs.rename(old, name, src_dir_fd=folder, dst_dir_fd=folder)
            # Where both are names of one file, a rename is defined to do nothing.
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(old, dir_fd=folder)
    if waiting is not None:
        fs.unlink(new, dir_fd=folder)


def _undo_in_place(host: Folders, row: InPlace) -> None:
    with contextlib.suppress(FileNotFoundError):
        folder, name = host.parent(from_text(row.place)[1:])
        status = fs.fstat(folder)
        if (status.st_dev, status.st_ino) == (row.device, row.inode):
            fs.unlink(name, dir_fd=folder)


def _undo_settled(host: Folders, row: Settled) -> None:
    """Takes the object away if it is still ours; what it replaced is put over it by `_undo_staged`."""
    try:
        folder, name = host.parent(from_text(row.place)[1:])
    except FileNotFoundError:
        return
    now = _there(folder, name)
    if now is None or (now.st_dev, now.st_ino) != (row.device, row.inode):
        return
    if not row.old or _there(folder, from_text(row.old)) is None:
        fs.unlink(name, dir_fd=folder)


def attributes_of(place: str, status: os.stat_result, descriptor: int, names: Iterable[str]) -> Was:
    """Returns how an open object is now, with the extended attributes named. Raises OSError."""
    extra: dict[str, str | None] = {}
    for name in names:
        extra[name] = None
        with contextlib.suppress(OSError):
            extra[name] = fs.getxattr(descriptor, name).hex()
    return Was(
        to_text(place),
        status.st_dev,
        status.st_ino,
        status.st_uid,
        status.st_gid,
        stat.S_IMODE(status.st_mode),
        status.st_atime_ns,
        status.st_mtime_ns,
        extra,
    )


def restore_attributes(host: Folders, was: Was) -> None:
    """Gives an object back its owner, mode, times and more; nothing else gets them. Raises OSError."""
    place = from_text(was.place)
    folder, name = host.parent(place[1:])
    descriptor = fs.open(name, FILE_FLAGS, dir_fd=folder)
    try:
        status = fs.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (was.device, was.inode):
            raise FileExistsError(errno.EEXIST, "it was replaced meanwhile", place)
        if fs.geteuid() == 0:
            fs.fchown(descriptor, was.uid, was.gid)
        for attribute, value in was.extra.items():
            if value is not None:
                fs.setxattr(descriptor, attribute, bytes.fromhex(value))
                continue
            with contextlib.suppress(OSError):
                fs.removexattr(descriptor, attribute)
        fs.fchmod(descriptor, was.mode)
        if stat.S_ISREG(status.st_mode):
            fs.utime(descriptor, ns=(was.accessed_ns, was.modified_ns))
    finally:
        os.close(descriptor)


def _there(folder: int, name: str) -> os.stat_result | None:
    try:
        return fs.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _said(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.strerror} ({problem.filename})" if problem.filename else problem.strerror
    return str(problem)
