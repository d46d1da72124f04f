"""SHA-256 of open files. On its own, so that the child process of a download need not load more than this."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

BLOCK = 1024 * 1024


def blocks(descriptor: int) -> Iterator[bytes]:
    """Yields the rest of an open file in pieces of at most 1 MiB: smaller ones halve the speed of hashing."""
    while block := os.read(descriptor, BLOCK):
        yield block


def sha256_of(descriptor: int, most: int | None = None) -> str:
    """Returns the hexadecimal SHA-256 of an open file from its present position on.

    Raises OSError: EFBIG for one with more than `most` bytes, after so many.
    """
    # Not with the module: OpenSSL is 4 MiB, and an agent that waits needs none of it.
    import hashlib

    digest, read = hashlib.sha256(), 0
    for block in blocks(descriptor):
        read += len(block)
        if most is not None and read > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes")
        digest.update(block)
    return digest.hexdigest()
