"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from ferryman_coordinator.core.model import Instant

START = Instant(1_700_000_000_000)
"""Where a ManualClock starts unless told otherwise: 2023-11-14T22:13:20Z."""


class ManualClock:
    """Satisfies `ferryman_coordinator.clock.Clock`. Sleepers wake, in the order of their times, when a test says so."""

    def __init__(self, start: Instant = START) -> None:
        self._now = start
        self._sleepers: list[tuple[Instant, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def now(self) -> Instant:
        return self._now

    @property
    def next_wake(self) -> Instant | None:
        """The earliest time that somebody sleeps until, None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def sleep_until(self, instant: Instant) -> None:
        if instant <= self._now:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (instant, next(self._numbers), woken))
        await woken

    def advance(self, milliseconds: int) -> None:
        """Move on by so much at once; whoever's time has come runs with the loop's next turn."""
        assert milliseconds >= 0, "time does not go back"
        self.move_to(Instant(self._now + milliseconds))

    def move_to(self, instant: Instant) -> None:
        """Move on to `instant`, waking sleepers in the order of their times."""
        assert instant >= self._now, "time does not go back"
        self._now = instant
        while self._sleepers and self._sleepers[0][0] <= instant:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)
