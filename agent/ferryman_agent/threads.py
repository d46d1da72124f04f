"""Blocking work beside the event loop, which is never left running behind the caller's back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, stop: threading.Event | None = None) -> T:
    """Runs `work` in a thread and returns its result.

    When the caller is cancelled, `stop` is set, the thread is waited for, and only then the cancellation goes on:
    nothing touches the disk any more once this has returned or raised.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
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
