"""A compressed file, read once from its beginning: a thread decompresses what comes next while the rest is unpacked.

What decompresses leaves the interpreter to others meanwhile, so that this is done beside them, as by `tar` and `gzip`.
"""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

BLOCK = 256 * 1024
_AHEAD = 4
_KEPT = 512
"""Bytes that can be read again, for `tarfile` and the end mark."""

_GZIP = 16 + zlib.MAX_WBITS


class Forward:
    """Reads like a file that goes forward, and a few bytes back. Raises what the blocks raise, in its place."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        """Blocks of some 100 KiB are taken from `blocks` in a thread of their own, until `close`."""
        self._blocks = blocks
        self._ready: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
        self._is_closed = threading.Event()
        self._data = b""
        self._start = 0
        self._at = 0
        self._is_over = False
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._pump, name="decompress", daemon=True)
        self._thread.start()

    def read(self, size: int) -> bytes:
        """Returns so many bytes, fewer only at the end."""
        found = self._data[self._at : self._at + size]
        self._at += len(found)
        if len(found) == size:
            return found
        parts, left = [found], size - len(found)
        while left and self._more():
            parts.append(self._data[self._at : self._at + left])
            self._at += len(parts[-1])
            left -= len(parts[-1])
        return b"".join(parts)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes forward by skipping. Raises ValueError for a way back that is too far."""
        if whence != 0 or offset < self._start:
            raise ValueError("cannot go back in a compressed file")
        while offset > self._start + len(self._data) and self._more():
            pass
        self._at = min(offset - self._start, len(self._data))
        return self.tell()

    def tell(self) -> int:
        """Returns how many bytes are before the next one."""
        return self._start + self._at

    def close(self) -> None:
        """Ends the thread."""
        self._is_closed.set()
        while self._thread.is_alive():
            # It may wait for room.
            while not self._ready.empty():
                self._ready.get_nowait()
            self._thread.join(0.01)

    def _more(self) -> bool:
        """Goes on to the next block, behind the last bytes of this one; says whether there is any."""
        if self._is_over:
            return False
        found = self._problem or self._ready.get()
        if isinstance(found, Exception):
            self._problem = found
            raise found
        self._is_over = not found
        kept = self._data[-_KEPT:]
        self._start += len(self._data) - len(kept)
        self._at = len(kept)
        self._data = kept + found
        return not self._is_over

    def _pump(self) -> None:
        try:
            for block in self._blocks:
                if self._is_closed.is_set():
                    return
                if block:
                    self._ready.put(block)
        except Exception as problem:
            self._ready.put(problem)
        else:
            self._ready.put(b"")


def gunzipped(file: IO[bytes]) -> Iterator[bytes]:
    """Yields what a gzip file, of one member or several, unpacks to. Raises zlib.error, EOFError, OSError."""
    packed = file.read(BLOCK)
    while packed:
        member = zlib.decompressobj(_GZIP)
        while True:
            block = member.decompress(packed, BLOCK)
            yield block
            if member.eof:
                break
            if not packed and not block:
                raise EOFError("it ends in the middle of a gzip member")
            packed = member.unconsumed_tail or file.read(BLOCK)
        packed = _without_padding(member.unused_data, file)


def _without_padding(packed: bytes, file: IO[bytes]) -> bytes:
    """Returns the beginning of the next member, b"" where there is none; zeros fill up the last block of a tape."""
    packed = packed.lstrip(b"\0")
    while not packed:
        block = file.read(BLOCK)
        if not block:
            return b""
        packed = block.lstrip(b"\0")
    return packed


def decompressed(file: IO[bytes]) -> Iterator[bytes]:
    """Yields what a file object of a decompressor reads."""
    while block := file.read(BLOCK):
        yield block
