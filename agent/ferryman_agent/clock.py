"""The agent's only source of time (D15): tests move a clock of their own, nothing else sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from ferryman_agent.core.messages import Instant


class Cancellable(Protocol):
    """A call that is to come."""

    def cancel(self) -> object:
        """It does not come."""
        ...


class Clock(Protocol):
    """What the runtime, the hooks and the link know of time."""

    def now(self) -> Instant:
        """Returns wall-clock milliseconds since the epoch: for records and for people."""
        ...

    def monotonic(self) -> float:
        """Returns seconds that never go back: for limits and intervals within this process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`; at once when that is not positive."""
        ...

    def after(self, seconds: float, call: Callable[[], object]) -> Cancellable:
        """Has `call` called on the running event loop after `seconds`, unless it is cancelled before.

        For waits that are many and short: a task that sleeps is several turns of the loop more.
        """
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> Instant:
        """See Clock."""
        return Instant(time.time_ns() // 1_000_000)

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        await asyncio.sleep(max(0.0, seconds))

    def after(self, seconds: float, call: Callable[[], object]) -> Cancellable:
        """See Clock."""
        return asyncio.get_running_loop().call_later(max(0.0, seconds), call)


async def ends_within(clock: Clock, seconds: float, future: asyncio.Future[Any]) -> bool:
    """Waits for `future`, but at most `seconds`; returns whether it is done. It is neither cancelled nor raised."""
    if future.done():
        return True
    woken = asyncio.Event()

    def wake(_: asyncio.Future[Any]) -> None:
        woken.set()

    future.add_done_callback(wake)
    timer = clock.after(seconds, woken.set)
    try:
        await woken.wait()
    finally:
        timer.cancel()
        future.remove_done_callback(wake)
    return future.done()


async def is_set_within(clock: Clock, seconds: float, event: asyncio.Event) -> bool:
    """Waits for `event`, but at most `seconds`; returns whether it is set."""
    if event.is_set():
        return True
    waiter = asyncio.ensure_future(event.wait())
    try:
        await ends_within(clock, seconds, waiter)
    finally:
        waiter.cancel()
    return event.is_set()
