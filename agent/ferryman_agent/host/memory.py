"""Keeps the process small: one heap for all its threads, and memory that is not needed any more given back."""

from __future__ import annotations

import asyncio
import gc

import structlog

from ferryman_agent.system import own

_M_ARENA_MAX = -8
_ARENAS = 1
"""glibc makes eight for each processor otherwise, and what one thread freed is of no use to the others. Two are 2 MiB
more after some large deployments; that threads wait for each other here does not show, since Python's own objects are
made one at a time anyway."""

SOON_SECONDS = 0.5
"""Looking through all objects takes milliseconds, and what belongs to one deployment ends at several moments."""

log = structlog.stdlib.get_logger(__name__)


class Relief:
    """Gives memory back once for all that ended shortly one after another."""

    def __init__(self) -> None:
        self._waiting: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Something that took memory is over. To be called on the event loop."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().call_later(SOON_SECONDS, self._now)

    def _now(self) -> None:
        self._waiting = None
        give_back()


def begin() -> None:
    """Called before there is a second thread, which would have a heap of its own by then."""
    _call("mallopt", _M_ARENA_MAX, _ARENAS)


def settle() -> None:
    """Called once everything is imported and built: none of that is looked at by the collector again."""
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
