"""SHA-256 of open files. On its own, so that the child process of a download need not load more than this."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK = 1024 * 1024

OWN_BYTES = 1024 * 1024
"""Larger files are worth OpenSSL, which is five times faster and 4 MiB of memory for good."""
_AT_ONCE = 32 * OWN_BYTES
_A_SECOND = 1 * OWN_BYTES
"""So is more than this of small ones: so much in one go, and then so much a second."""
_UNHURRIED_BYTES = 128 * OWN_BYTES
"""For a file of which nobody waits half a second is no matter."""
_OWN = ("_sha2", "_sha256")
"""Python's own, by the names that they have had so far; any of them may be left out of a build."""

_lately, _lately_at = 0.0, 0.0


def sha256(size: int | None, *, is_urgent: bool = True) -> _Hash:
    """Returns a SHA-256 for so many bytes, or for nobody knows how many; is_urgent: somebody waits for it."""
    if "_hashlib" not in sys.modules and size is not None and _is_little(size, is_urgent=is_urgent):
        own: _Hash = _own("sha256", _OWN)()
        return own
    import hashlib

    return hashlib.sha256()


def _is_little(size: int, *, is_urgent: bool = True) -> bool:
    global _lately, _lately_at
    if not is_urgent:
        return size <= _UNHURRIED_BYTES
    if size > OWN_BYTES:
        return False
    now = time.monotonic()
    _lately = max(0.0, _lately - (now - _lately_at) * _A_SECOND) + size
    _lately_at = now
    return _lately <= _AT_ONCE


def short_name_hash(data: bytes) -> _Hash:
    """Returns a BLAKE2b of 8 bytes that has seen `data`: for names, not for security."""
    made: _Hash = _own("blake2b", ("_blake2",))(data, digest_size=8)
    return made


# A module that is not there is looked for in every place of the path, each time anew.
@functools.cache
def _own(function: str, modules: tuple[str, ...]) -> Callable[..., Any]:
    for name in modules:
        with contextlib.suppress(ImportError):
            found: Callable[..., Any] = getattr(importlib.import_module(name), function)
            return found
    import hashlib

    return getattr(hashlib, function)  # type: ignore[no-any-return]  # one of Python's own


def blocks(descriptor: int) -> Iterator[bytes]:
    """Yields the rest of an open file in pieces of at most 1 MiB: smaller ones halve the speed of hashing."""
    while block := os.read(descriptor, BLOCK):
        yield block


def sha256_of(descriptor: int, most: int | None = None, *, is_urgent: bool = True) -> str:
    """Returns the hexadecimal SHA-256 of an open file from its present position on.

    Raises OSError: EFBIG for one with more than `most` bytes, after so many.
    """
    digest, read = sha256(os.fstat(descriptor).st_size, is_urgent=is_urgent), 0
    for block in blocks(descriptor):
        read += len(block)
        if most is not None and read > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes")
        digest.update(block)
    return digest.hexdigest()
