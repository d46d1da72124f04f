"""Looks into an archive without unpacking it: what is in it, and the content of its AppSpec files.

The archive may be hostile. Memory is bounded whatever its headers claim, so is the work: nothing is read past its first
mebibyte, and a compressed tar is given up when it unpacks to absurdly more than it holds.
"""

from __future__ import annotations

import errno
import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from ferryman.appspec import JUNK, SIZE_LIMIT, EntryKind, ancestors

DOCUMENT_LIMIT = SIZE_LIMIT
"""Bytes of an AppSpec file; one more is read, so that a larger one shows."""

ENTRY_LIMIT = 300_000
_DIRECTORY_LIMIT = 32 * 1024 * 1024
_TAIL = 128 * 1024
_READ_LIMIT = 4 * 1024 * 1024
_STEP = 1024 * 1024
_RATIO_LIMIT = 200
_RATIO_SLACK = 256 * 1024 * 1024
_BACK = 1024
_TARGET_LIMIT = 4096

_DOCUMENT_NAMES = frozenset({"appspec.yml", "appspec.yaml"})
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, OverflowError, struct.error,
    NotImplementedError, RuntimeError, UnicodeError, RecursionError,
)  # fmt: skip


class ArchiveProblem(Exception):
    """The archive cannot be used; says why, naming the entry where there is one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`name` is as in the archive, without `./` before and `/` behind it."""

    name: str
    kind: EntryKind


@dataclass(slots=True)
class Contents:
    """What is in the archive. A single top folder that holds the AppSpec counts as the root, as on agents (AG-253)."""

    found_type: str
    """zip, tar or tgz."""
    entries: list[Entry] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)
    """What may be the AppSpec, by its full name in the archive; at most `DOCUMENT_LIMIT` + 1 bytes of each."""
    tops: set[str] = field(default_factory=set)
    """First parts of all names, without those that packers leave behind (AG-254)."""

    def add(self, name: str, kind: EntryKind) -> None:
        self.entries.append(Entry(name, kind))
        top = name.split("/", 1)[0]
        if top not in JUNK and top not in self.tops:
            self.tops.add(top)
            if len(self.tops) == 2:
                # No single top folder: what is inside one cannot be the AppSpec. Keeps memory bounded as well.
                self.documents = {name: text for name, text in self.documents.items() if "/" not in name}

    def may_be_app_spec(self, name: str) -> bool:
        """Whether this file is at what, as far as is seen, may be the root."""
        folder, _, last = name.rpartition("/")
        return last in _DOCUMENT_NAMES and (not folder or ("/" not in folder and self.tops == {folder}))

    @property
    def root(self) -> str:
        """`""`, or the single top folder with its slash."""
        if len(self.tops) != 1:
            return ""
        top = next(iter(self.tops)) + "/"
        inside = {
            entry.name[len(top) :].split("/", 1)[0] for entry in self.entries if entry.name.startswith(top)
        }
        return top if any("appspec" in name.lower() for name in inside) else ""

    def at_root(self) -> dict[str, EntryKind]:
        """Everything below the root, named from there; folders included that only the names of others tell of."""
        root = self.root
        found: dict[str, EntryKind] = {}
        for entry in self.entries:
            name = entry.name[len(root) :] if entry.name.startswith(root) else ""
            if name:
                found.update(
                    (folder, EntryKind.DIRECTORY) for folder in ancestors(name) if folder not in found
                )
                found[name] = entry.kind
        return found


def detect_type(path: Path) -> str | None:
    """What the file is by its content; None when it is no archive that Ferryman knows."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "tgz"
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return None
    return "tar"


def read_contents(path: Path) -> Contents:
    """Goes through the whole archive once. Blocks: call it in a thread. Raises ArchiveProblem."""
    try:
        kind = detect_type(path)
        if kind is None:
            raise ArchiveProblem(f"is no zip, tar or tgz archive: {_looks_like(path)}")
        contents = Contents(kind)
        if kind == "zip":
            _read_zip(path, contents)
        elif kind == "tar":
            with path.open("rb") as file:
                _read_tar(_Bounded(file, None), contents)
        else:
            with gzip.open(path, "rb") as unpacked:
                _read_tar(_Bounded(unpacked, _RATIO_SLACK + _RATIO_LIMIT * path.stat().st_size), contents)
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            # Our own disk is at fault, not the archive.
            raise
        raise ArchiveProblem(f"is damaged or cut short: {str(error) or type(error).__name__}") from error
    return contents


def _read_zip(path: Path, contents: Contents) -> None:
    _check_directory_size(path)
    with path.open("rb") as whole, zipfile.ZipFile(cast(IO[bytes], _Sparing(whole))) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            kind = (
                EntryKind.DIRECTORY
                if info.is_dir()
                else EntryKind.LINK
                if stat.S_ISLNK(mode)
                else EntryKind.FILE
            )
            name = _note(contents, info.filename, kind)
            if kind is EntryKind.LINK:
                _check_target(info.filename, _zip_target(archive, info))
            if kind is EntryKind.FILE and contents.may_be_app_spec(name):
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # The others cannot be unpacked in bounded steps.
                    raise ArchiveProblem(f"entry {name!r} is packed by a method other than store and deflate")
                if info.flag_bits & 1:
                    raise ArchiveProblem(f"entry {name!r} is encrypted")
                with archive.open(info) as file:
                    contents.documents[name] = file.read(DOCUMENT_LIMIT + 1)


def _read_tar(file: _Bounded, contents: Contents) -> None:
    with tarfile.open(fileobj=file, mode="r:", errorlevel=2) as archive:  # type: ignore[call-overload]  # a reader is enough
        while (member := archive.next()) is not None:
            # Otherwise it keeps every header.
            archive.members.clear()
            name = _note(contents, member.name, _tar_kind(member))
            if member.issym():
                _check_target(member.name, member.linkname)
            if member.isreg() and contents.may_be_app_spec(name):
                file.seek(member.offset_data)
                contents.documents[name] = file.read(min(member.size, DOCUMENT_LIMIT + 1))


def _tar_kind(member: tarfile.TarInfo) -> EntryKind:
    if member.isreg():
        return EntryKind.FILE
    if member.isdir():
        return EntryKind.DIRECTORY
    return EntryKind.LINK if member.issym() or member.islnk() else EntryKind.SPECIAL


def _zip_target(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """What a link names. Agents refuse those that this does not understand."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        return ""
    with archive.open(info) as file:
        return file.read(_TARGET_LIMIT).decode("utf-8", "surrogateescape")


def _check_target(raw: str, target: str) -> None:
    """Refuses a symbolic link that leaves the archive as it is written. Agents follow links through links as well."""
    depth = len([part for part in raw.split("/") if part not in ("", ".")]) - 1
    lowest = 0
    for part in target.split("/"):
        depth += 0 if part in ("", ".") else -1 if part == ".." else 1
        lowest = min(lowest, depth)
    if target.startswith("/") or lowest < 0:
        raise ArchiveProblem(
            f"entry {_shown(raw)} is a symbolic link that leaves the target directory: {_shown(target)}"
        )


def _shown(raw: str) -> str:
    return repr(raw[:200].encode("utf-8", "backslashreplace").decode())


def _note(contents: Contents, raw: str, kind: EntryKind) -> str:
    """Adds an entry; returns its name. Refuses what no unpacker may write (AG-256, AG-257)."""
    if raw.startswith("/") or ".." in raw.split("/"):
        raise ArchiveProblem(f"entry {_shown(raw)} leaves the target directory")
    if kind is EntryKind.SPECIAL:
        raise ArchiveProblem(f"entry {_shown(raw)} is a device, pipe or socket")
    if len(contents.entries) >= ENTRY_LIMIT:
        raise ArchiveProblem(f"has more than {ENTRY_LIMIT} entries")
    name = "/".join(part for part in raw.split("/") if part not in ("", "."))
    if name:
        contents.add(name, kind)
    return name


def _check_directory_size(path: Path) -> None:
    """A zip's table of contents is read whole, so its size must be sane before."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 65_557))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise ArchiveProblem("is a zip archive that is cut short: its table of contents is missing")
    (directory_size,) = struct.unpack_from("<L", tail, at + 12)
    if directory_size == 0xFFFF_FFFF:
        at64 = tail.rfind(b"PK\x06\x06")
        directory_size = struct.unpack_from("<Q", tail, at64 + 40)[0] if at64 >= 0 else directory_size
    if directory_size > _DIRECTORY_LIMIT:
        raise ArchiveProblem(
            f"has a table of contents of {directory_size} bytes, more than {_DIRECTORY_LIMIT}"
        )


def _looks_like(path: Path) -> str:
    """A hint for people: what arrived instead (AG-251)."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "it is empty"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is an HTML page"
    return f"it has {path.stat().st_size} bytes and begins with {head[:16]!r}"


class _Sparing:
    """A file for `zipfile`, which reads as much at once as the archive says, and may believe another place than we."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _DIRECTORY_LIMIT:
            raise ArchiveProblem(f"has a part of {size} bytes, more than {_DIRECTORY_LIMIT}")
        # Without a size it is the last 64 KiB of the file that are wanted.
        return self._file.read(size if size >= 0 else _TAIL)

    def close(self) -> None:
        """The file stays its owner's."""


class _Bounded:
    """A forward reader for `tarfile`: no read is larger than a header may be, and all of them are counted.

    Remembers the last bytes, since tarfile steps back by one now and then, which gzip would do from the beginning.
    """

    def __init__(self, file: io.BufferedIOBase, limit: int | None) -> None:
        self._file = file
        self._limit = limit
        self._at = 0
        self._frontier = 0
        self._tail = b""

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence != 0 or offset < self._frontier - len(self._tail):
            raise ArchiveProblem("is damaged: its headers point backwards")
        if self._limit is None and offset > self._frontier:
            self._jump(offset)
        while self._frontier < offset:
            if not self._advance(min(_STEP, offset - self._frontier)):
                break
        self._at = min(offset, self._frontier)
        return self._at

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _READ_LIMIT:
            raise ArchiveProblem(f"has a header of {size} bytes, more than {_READ_LIMIT}")
        begin = len(self._tail) - (self._frontier - self._at)
        found = self._tail[begin : begin + size]
        while len(found) < size:
            more = self._advance(size - len(found))
            if not more:
                break
            found += more
        self._at += len(found)
        return found

    def _advance(self, size: int) -> bytes:
        more = self._file.read(size)
        self._frontier += len(more)
        if self._limit is not None and self._frontier > self._limit:
            raise ArchiveProblem(f"unpacks to more than {self._limit} bytes, absurdly more than its own size")
        self._tail = (self._tail + more)[-_BACK:] if len(more) < _BACK else more[-_BACK:]
        return more

    def _jump(self, offset: int) -> None:
        """Skips content of a plain file; stays where it is when the file ends before."""
        self._file.seek(0, 2)
        end = self._file.tell()
        begin = max(0, min(offset, end) - _BACK)
        self._file.seek(begin)
        self._tail = self._file.read(min(offset, end) - begin)
        self._frontier = min(offset, end)
