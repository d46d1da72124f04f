"""SHA-256 of open files. On its own, so that the child process of a download need not load more than this."""

from __future__ import annotations

import os
from collections.abc import Iterator

BLOCK = 1024 * 1024


def blocks(descriptor: int) -> Iterator[bytes]:
    """Yields the rest of an open file in pieces of at most 1 MiB: smaller ones halve the speed of hashing."""
    while block := os.read(descriptor, BLOCK):
        yield block


def sha256_of(descriptor: int) -> str:
    """Returns the hexadecimal SHA-256 of an open file from its present position on. Raises OSError."""
    # Not with the module: OpenSSL is 4 MiB, and an agent that waits needs none of it.
    import hashlib

    digest = hashlib.sha256()
    for block in blocks(descriptor):
        digest.update(block)
    return digest.hexdigest()
