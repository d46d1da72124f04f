"""Tar archives, plain and compressed. Headers by `tarfile`, data read past it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from typing import IO, cast

from ferryman_agent.bundles.entries import ArchiveEntry, Kind, shown
from ferryman_agent.bundles.formats import Format
from ferryman_agent.bundles.forward import Forward, decompressed, gunzipped
from ferryman_agent.bundles.sources import CHUNK, Bounded, damaged, reading
from ferryman_agent.bundles.tar_header import Header
from ferryman_agent.system import fs

_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.GNUTYPE_SPARSE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.LINK,
    tarfile.LNKTYPE: Kind.HARD_LINK,
}


class TarSource:
    """One tar archive; `file` is positioned at its start and stays the caller's."""

    def __init__(self, file: IO[bytes], found: Format) -> None:
        """Raises BundleError when there is no tar inside."""
        self.is_indexed = found is Format.TAR
        self._file = file
        self._sparse: dict[int, tarfile.TarInfo] = {}
        self._stream = Bounded(file if found is Format.TAR else Forward(_blocks(file, found)))
        try:
            with reading("no tar archive in it"):
                self._tar = tarfile.TarFile(
                    fileobj=cast(IO[bytes], self._stream),
                    mode="r",
                    tarinfo=Header,
                    encoding="utf-8",
                    errors="surrogateescape",
                )
        except BaseException:
            self._close_stream()
            raise

    def entries(self) -> Iterator[ArchiveEntry]:
        """See Source."""
        while True:
            with reading("after the last good entry"):
                member = self._tar.next()
            if member is None:
                return
            # `tarfile` keeps every header that it has read, for look-ups that nobody makes here.
            vars(self._tar)["members"] = []
            if member.sparse is not None:
                self._sparse[member.offset_data] = member
            yield ArchiveEntry(
                name=member.name,
                kind=_KINDS.get(member.type, Kind.SPECIAL),
                size=member.size if member.type not in (tarfile.SYMTYPE, tarfile.LNKTYPE) else 0,
                mode=member.mode & 0o7777,
                modified_ns=_nanoseconds(member.mtime),
                target=member.linkname,
                key=member.offset_data,
            )

    def chunks(self, entry: ArchiveEntry) -> Iterable[bytes]:
        """See Source."""
        sparse = self._sparse.get(entry.key)
        return self._sparse_chunks(sparse) if sparse is not None else self._chunks(entry)

    def _chunks(self, entry: ArchiveEntry) -> Iterator[bytes]:
        left, offset = entry.size, entry.key
        while left:
            wanted = min(left, CHUNK)
            if self.is_indexed:
                chunk = fs.pread(self._file.fileno(), wanted, offset)
            else:
                with reading("in one of its files"):
                    chunk = self._stream.read(wanted)
            if not chunk:
                raise damaged(f"{shown(entry.name)} ends {left} bytes early")
            left -= len(chunk)
            offset += len(chunk)
            yield chunk

    def finish(self) -> None:
        """Checks the end mark, and the check sum of a compressed archive, which stands behind it."""
        with reading("at its end"):
            self._stream.seek(self._tar.offset)
            mark = self._stream.read(tarfile.BLOCKSIZE)
            if len(mark) != tarfile.BLOCKSIZE or mark.strip(b"\0"):
                raise damaged("the end mark of the tar archive is missing")
            if not self.is_indexed:
                while self._stream.read(CHUNK):
                    pass

    def close(self) -> None:
        """See Source."""
        self._tar.close()
        self._close_stream()

    def _close_stream(self) -> None:
        if not self.is_indexed:
            self._stream.close()

    def _sparse_chunks(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        with reading(f"in {shown(member.name)}"):
            file = self._tar.extractfile(member)
        left = member.size
        while left and file is not None:
            with reading(f"in {shown(member.name)}"):
                chunk = file.read(min(left, CHUNK))
            if not chunk:
                raise damaged(f"{shown(member.name)} ends {left} bytes early")
            left -= len(chunk)
            yield chunk


def _blocks(file: IO[bytes], found: Format) -> Iterable[bytes]:
    """Only the library that is needed is loaded."""
    if found is Format.GZIP:
        return gunzipped(file)
    if found is Format.BZIP2:
        import bz2

        return decompressed(bz2.BZ2File(file))
    import lzma

    return decompressed(lzma.LZMAFile(file))


def _nanoseconds(seconds: float) -> int | None:
    # A pax header can hold any number, also none that a file system knows.
    return int(seconds * 1_000_000_000) if 0 <= seconds < 2**34 else None
