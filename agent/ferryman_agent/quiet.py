"""Work that must not be felt: in a thread of its own, behind everything else that wants the disk or the processor.

A thread of the common pool would keep its low rank for whatever it does next, so this one ends with its work.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ferryman_agent.system import own

T = TypeVar("T")

LEAVE_SECONDS = 5.0


async def in_quiet_thread(work: Callable[[], T], *, stop: threading.Event) -> T:
    """Runs `work`, which only looks, in a thread of the lowest rank and returns its result.

    When the caller is cancelled, `stop` is set and the thread gets a moment to end. One that hangs, on a file system
    that does not answer, is left behind: it must not keep the agent from ending.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        own.step_back()
        tell: Callable[[], None]
        try:
            result = work()
        except BaseException as problem:
            tell = partial(_settle, ended, None, problem)
        else:
            tell = partial(_settle, ended, result, None)
        # The loop may be closed by now.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=run, name="quiet", daemon=True).start()
    try:
        await asyncio.wait({ended})
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({ended}, timeout=LEAVE_SECONDS)
        if ended.done():
            # Its own error, if any, is of no interest any more; looking at it keeps asyncio from complaining.
            ended.exception()
        raise
    return ended.result()


def _settle(ended: asyncio.Future[T], result: T | None, problem: BaseException | None) -> None:
    if problem is not None:
        ended.set_exception(problem)
    else:
        ended.set_result(result)  # type: ignore[arg-type]  # None only where T has it
