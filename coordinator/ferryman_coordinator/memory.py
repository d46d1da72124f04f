"""How the C library keeps the memory of a process that takes in bundles piece by piece, for months."""

from __future__ import annotations

import ctypes

import structlog

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 1024

log = structlog.get_logger(__name__)


def give_back_what_is_large() -> None:
    """Has every block of 128 KiB or more go back to the system as soon as it is free.

    glibc begins like that, and stops with the first one that is freed: from then on blocks up to its size are pieces of
    heaps. Those of the pieces of an upload, one heap for each thread that had some, were 10 to 20 MiB for good.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    except (OSError, AttributeError) as error:
        # Another C library: it looks after itself.
        log.debug("memory.not_tuned", error=str(error))
