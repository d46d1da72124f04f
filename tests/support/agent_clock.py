"""A clock for the agent's tests that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from ferryman_agent.clock import Cancellable
from ferryman_agent.core.messages import Instant

START = Instant(1_700_000_000_000)
"""Where a ManualAgentClock starts unless told otherwise: 2023-11-14T22:13:20Z."""


class ManualAgentClock:
    """Satisfies `ferryman_agent.clock.Clock`: wall clock and monotonic time move together, when a test says so.

    Sleeps of up to `polling` seconds really happen, and move the clock: whoever polls waits for something outside.
    """

    def __init__(self, start: Instant = START, *, polling: float = 0.0) -> None:
        self._start = start
        self._polling = polling
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._changed = asyncio.Event()

    def now(self) -> Instant:
        return Instant(self._start + round(self._elapsed * 1000))

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        if seconds <= self._polling:
            await asyncio.sleep(seconds)
            self.advance(seconds)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._numbers), woken))
        self._changed.set()
        await woken

    def after(self, seconds: float, call: Callable[[], object]) -> Cancellable:
        loop = asyncio.get_running_loop()
        if seconds <= 0:
            return loop.call_soon(call)
        if seconds <= self._polling:

            def polled() -> None:
                self.advance(seconds)
                call()

            return loop.call_later(seconds, polled)
        woken: asyncio.Future[None] = loop.create_future()
        woken.add_done_callback(lambda done: done.cancelled() or call())
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._numbers), woken))
        self._changed.set()
        return woken

    @property
    def next_wake(self) -> float | None:
        """Seconds from now until the earliest sleeper wakes, None when nobody sleeps."""
        pending = [at for at, _, woken in self._sleepers if not woken.done()]
        return min(pending) - self._elapsed if pending else None

    async def until_sleeping(self, seconds: float) -> None:
        """Return once somebody sleeps until a time `seconds` from now, to the millisecond."""
        while not any(
            abs(at - self._elapsed - seconds) < 0.001 and not woken.done() for at, _, woken in self._sleepers
        ):
            self._changed.clear()
            await self._changed.wait()

    def advance(self, seconds: float) -> None:
        """Move on by so much at once; whoever's time has come runs with the loop's next turn."""
        assert seconds >= 0, "time does not go back"
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)
