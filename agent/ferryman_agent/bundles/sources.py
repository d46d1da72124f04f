"""What the unpacker reads from: something with entries and their data, one class per kind (zip, tar, directory)."""

from __future__ import annotations

import contextlib
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from ferryman_agent.bundles.entries import ArchiveEntry
from ferryman_agent.errors import BundleError

CHUNK = 1024 * 1024

READ_LIMIT = 64 * CHUNK
"""Bytes that a library may ask for at once: a header that claims more is a trap, or nothing we unpack."""

_BROKEN = (
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    IndexError,
    KeyError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
)


_BROKEN_TOO = {
    "tarfile": "TarError",
    "zipfile": "BadZipFile",
    "lzma": "LZMAError",
}
"""Only of those that are loaded: one kind of archive needs no library for another."""


class Source(Protocol):
    """The entries of an archive or a directory.

    `is_indexed`: all entries are known before the first one's data is read; otherwise the data of an entry must be
    read, or left, before the next one is asked for. Everything raises BundleError for damage.
    """

    is_indexed: bool

    def entries(self) -> Iterator[ArchiveEntry]:
        """Yields the entries in order."""
        ...

    def chunks(self, entry: ArchiveEntry) -> Iterable[bytes]:
        """Yields the data of a file in pieces of at most 1 MiB; fails unless it is as long as declared."""
        ...

    def finish(self) -> None:
        """Checks what can only be known at the end: that the archive was not cut short."""
        ...

    def close(self) -> None: ...


def damaged(why: str) -> BundleError:
    """Returns the error for an archive that is cut short or not what its format demands."""
    return BundleError("BUNDLE_DAMAGED", f"cannot unpack the bundle: it is damaged or cut short: {why}")


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns all that broken input makes a library raise into BundleError."""
    try:
        yield
    except BundleError:
        raise
    except _broken() as problem:
        raise damaged(f"{what}: {str(problem) or type(problem).__name__}") from problem
    except OSError as problem:
        if problem.errno is None:
            # bz2 and gzip say so without an errno when the data is broken.
            raise damaged(f"{what}: {problem}") from problem
        raise


def _broken() -> tuple[type[Exception], ...]:
    loaded = ((sys.modules.get(name), error) for name, error in _BROKEN_TOO.items())
    return (*_BROKEN, *(getattr(library, error) for library, error in loaded if library is not None))


class Readable(Protocol):
    """What `Bounded` reads: a file, or what a decompressor made of one."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...

    def close(self) -> None: ...


class Bounded:
    """A file, or a decompressor that only goes forward, that refuses to hand out too much at once.

    `tarfile` and `zipfile` read as many bytes as a header says into memory.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        """Reads like a file. Raises BundleError for too much."""
        wanted = READ_LIMIT + 1 if size is None or size < 0 else size
        if size is not None and size > READ_LIMIT:
            raise damaged(f"a header asks for {size} bytes at once")
        found = self._file.read(wanted)
        if len(found) > READ_LIMIT:
            raise damaged(f"a part of it is longer than {READ_LIMIT} bytes")
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        """Seeks like a file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Tells like a file."""
        return self._file.tell()

    def seekable(self) -> bool:
        """`zipfile` asks."""
        return True

    def close(self) -> None:
        """Closes the decompressor; the file below stays with its owner."""
        self._file.close()
