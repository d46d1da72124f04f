"""Work that is never left running behind its caller's back: blocking work beside the event loop, and what must end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, stop: threading.Event | None = None) -> T:
    """Runs `work` in a thread and returns its result.

    When the caller is cancelled, `stop` is set, the thread is waited for, and only then the cancellation goes on:
    nothing touches the disk any more once this has returned or raised.
    """
    return await to_its_end(asyncio.to_thread(work), stop=stop)


async def to_its_end(work: Coroutine[Any, Any, T], *, stop: threading.Event | None = None) -> T:
    """Returns what `work` returns, which no cancellation of the caller cuts short; the cancellation goes on after it.

    `stop` is set when the caller is cancelled.
    """
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as problem:
            cancelled = problem
            if stop is not None:
                stop.set()
    if cancelled is not None:
        # Its own error, if any, is of no interest any more; looking at it keeps asyncio from complaining.
        running.exception()
        raise cancelled
    return running.result()
