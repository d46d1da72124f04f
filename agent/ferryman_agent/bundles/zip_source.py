"""Zip archives. The directory by `zipfile`, stored and deflated data read past it."""

from __future__ import annotations

import os
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import IO, cast

from ferryman_agent.bundles.entries import ArchiveEntry, Kind, refuse, shown
from ferryman_agent.bundles.sources import CHUNK, Bounded, damaged, reading
from ferryman_agent.system import fs

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1
_UTF8 = 0x800
_MADE_ON_UNIX = 3
_LINK_BYTES = 4096
_TIMESTAMP = 0x5455
_INPUT = 256 * 1024
_AT_ONCE = 256 * 1024
"""Files that are no larger, packed or not, are read in one piece: most are."""


class _Window:
    """Reads ahead in a file, since entries mostly follow each other."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._start = 0
        self._data = b""

    def at(self, offset: int, count: int) -> bytes:
        """Returns bytes from there on; fewer where the file ends. Raises OSError."""
        begin = offset - self._start
        if not 0 <= begin <= len(self._data) - count:
            self._start, self._data = offset, fs.pread(self._file, max(count, _INPUT), offset)
            begin = 0
        return self._data[begin : begin + count]


class ZipSource:
    """One zip archive; `file` stays the caller's."""

    is_indexed = True

    def __init__(self, file: IO[bytes]) -> None:
        """Raises BundleError when the directory at the end is missing or broken."""
        self._file = file.fileno()
        self._window = _Window(self._file)
        with reading("the zip directory at its end"):
            self._zip = zipfile.ZipFile(cast(IO[bytes], Bounded(file)))
            self._infos = self._zip.infolist()
        _refuse_overlaps(self._infos, fs.fstat(self._file).st_size)

    def entries(self) -> Iterator[ArchiveEntry]:
        """See Source."""
        for key, info in enumerate(self._infos):
            name = _name(info)
            if info.flag_bits & _ENCRYPTED:
                raise refuse(name, "is encrypted")
            mode = info.external_attr >> 16
            kind = _kind(name, mode)
            entry = ArchiveEntry(
                name=name,
                kind=kind,
                size=info.file_size if kind is Kind.FILE else 0,
                mode=mode & 0o7777 if mode else None,
                modified_ns=_modified_ns(info),
                target=self._target(name, key) if kind is Kind.LINK else "",
                key=key,
            )
            yield entry

    def chunks(self, entry: ArchiveEntry) -> Iterable[bytes]:
        """See Source."""
        info = self._infos[entry.key]
        if info.file_size <= _AT_ONCE and info.compress_size <= _AT_ONCE:
            if info.compress_type == zipfile.ZIP_DEFLATED:
                return (_checked_at_once(self._inflated_at_once(info), info),)
            if info.compress_type == zipfile.ZIP_STORED:
                return (_checked_at_once(self._packed_at_once(info), info),)
        if info.compress_type == zipfile.ZIP_STORED:
            return _checked(self._stored(info), info)
        if info.compress_type == zipfile.ZIP_DEFLATED:
            return _checked(self._inflated(info), info)
        return _checked(self._by_library(info), info)

    def finish(self) -> None:
        """See Source. A zip that is cut short has no directory and does not get this far."""

    def close(self) -> None:
        """See Source."""
        self._zip.close()

    def _target(self, name: str, key: int) -> str:
        size = self._infos[key].file_size
        if size > _LINK_BYTES:
            raise refuse(name, f"is a symbolic link with a target of {size} bytes")
        entry = ArchiveEntry(name=name, kind=Kind.LINK, key=key)
        return os.fsdecode(b"".join(self.chunks(entry)))

    def _packed_at_once(self, info: zipfile.ZipInfo) -> bytes:
        packed = self._window.at(self._data_offset(info), info.compress_size)
        if len(packed) != info.compress_size:
            raise damaged(f"{shown(info.filename)} ends {info.compress_size - len(packed)} bytes early")
        return packed

    def _inflated_at_once(self, info: zipfile.ZipInfo) -> bytes:
        packed = self._packed_at_once(info)
        inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        try:
            # One byte more than there may be shows that there is more; a bomb gets no further.
            return inflater.decompress(packed, info.file_size + 1)
        except zlib.error as problem:
            raise damaged(f"in {shown(info.filename)}: {problem}") from problem

    def _stored(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        return self._packed(info, CHUNK)

    def _inflated(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        for packed in self._packed(info, _INPUT):
            ahead = packed
            while ahead and not inflater.eof:
                with reading(f"in {shown(info.filename)}"):
                    piece = inflater.decompress(ahead, CHUNK)
                ahead = inflater.unconsumed_tail
                if piece:
                    yield piece
        while not inflater.eof:
            with reading(f"in {shown(info.filename)}"):
                piece = inflater.decompress(b"", CHUNK)
            if not piece:
                return
            yield piece

    def _packed(self, info: zipfile.ZipInfo, block: int) -> Iterator[bytes]:
        offset = self._data_offset(info)
        left = info.compress_size
        while left:
            chunk = fs.pread(self._file, min(left, block), offset)
            if not chunk:
                raise damaged(f"{shown(info.filename)} ends {left} bytes early")
            left -= len(chunk)
            offset += len(chunk)
            yield chunk

    def _data_offset(self, info: zipfile.ZipInfo) -> int:
        header = self._window.at(info.header_offset, _LOCAL_HEADER.size)
        if len(header) != _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise damaged(f"the header of {shown(info.filename)} is not where the directory says")
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        return info.header_offset + _LOCAL_HEADER.size + int(name_length) + int(extra_length)

    def _by_library(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        with reading(f"in {shown(info.filename)}"):
            file = self._zip.open(info)
        with file:
            while True:
                with reading(f"in {shown(info.filename)}"):
                    piece = file.read(CHUNK)
                if not piece:
                    return
                yield piece


def _checked_at_once(data: bytes, info: zipfile.ZipInfo) -> bytes:
    if len(data) == info.file_size and zlib.crc32(data) == info.CRC:
        return data
    return b"".join(_checked((data,), info))


def _checked(pieces: Iterable[bytes], info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Passes on the data of a file as long as it is what the header says."""
    written = checksum = 0
    for piece in pieces:
        written += len(piece)
        if written > info.file_size:
            raise damaged(
                f"{shown(info.filename)} is longer than the {info.file_size} bytes that its header says"
            )
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if written != info.file_size:
        raise damaged(f"{shown(info.filename)} has {written} bytes where its header says {info.file_size}")
    if checksum != info.CRC:
        raise damaged(f"the check sum of {shown(info.filename)} is wrong")


def _refuse_overlaps(infos: list[zipfile.ZipInfo], size: int) -> None:
    """Refuses archives whose entries share data: the way to a bomb that no ratio of one entry shows."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise refuse(info.filename, "shares its data with another entry")
        end = info.header_offset + _LOCAL_HEADER.size + info.compress_size
        if info.header_offset < 0 or end > size:
            raise damaged(f"{shown(info.filename)} ends behind the end of the archive")


def _kind(name: str, mode: int) -> Kind:
    form = stat.S_IFMT(mode)
    if form == stat.S_IFLNK:
        return Kind.LINK
    if form == stat.S_IFDIR or name.endswith("/"):
        return Kind.DIRECTORY
    return Kind.FILE if form in (0, stat.S_IFREG) else Kind.SPECIAL


def _name(info: zipfile.ZipInfo) -> str:
    name = info.orig_filename
    if not info.flag_bits & _UTF8 and not name.isascii():
        # Nothing says what the bytes mean; Unix tools write what the file system has, so that is what we keep.
        name = os.fsdecode(name.encode("cp437", "surrogateescape"))
    if info.create_system != _MADE_ON_UNIX and "/" not in name:
        # Some Windows tools write their own separator, against the format.
        name = name.replace("\\", "/")
    return name


def _modified_ns(info: zipfile.ZipInfo) -> int | None:
    seconds = _extended_timestamp(info.extra)
    if seconds is None:
        seconds = _local_seconds(info.date_time)
    return seconds * 1_000_000_000 if seconds is not None and seconds >= 0 else None


# Files of one archive share their times: many were checked out, or built, together.
@lru_cache(maxsize=64)
def _local_seconds(date_time: tuple[int, int, int, int, int, int]) -> int | None:
    try:
        return int(time.mktime((*date_time, 0, 0, -1)))
    except (ValueError, OverflowError):
        return None


def _extended_timestamp(extra: bytes) -> int | None:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _TIMESTAMP and length >= 5 and len(extra) >= 9 and extra[4] & 1:
            return int(struct.unpack_from("<i", extra, 5)[0])
        extra = extra[4 + length :]
    return None
