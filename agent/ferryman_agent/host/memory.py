"""Keeps the process small: few heaps for its threads, and memory that is not needed any more given back."""

from __future__ import annotations

import gc

import structlog

from ferryman_agent.system import own

_M_ARENA_MAX = -8
_ARENAS = 2
"""glibc makes eight for each processor otherwise, and what one thread freed is of no use to the others."""

log = structlog.stdlib.get_logger(__name__)


def settle() -> None:
    """Called once everything is imported and built: none of that is looked at by the collector again."""
    _call("mallopt", _M_ARENA_MAX, _ARENAS)
    gc.collect()
    gc.freeze()
    _call("malloc_trim", 0)


def give_back() -> None:
    """Called when work is over: plans and listings of an install may have taken tens of MiB (AG-028)."""
    gc.collect()
    _call("malloc_trim", 0)


def _call(function: str, *arguments: int) -> None:
    try:
        getattr(own.c_library(), function)(*arguments)
    except (OSError, AttributeError) as error:
        # Another C library than glibc: it looks after itself.
        log.debug("memory.not_tuned", function=function, error=str(error))
