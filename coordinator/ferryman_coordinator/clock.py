"""The coordinator's one clock, as an argument of everything that asks for the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from ferryman_coordinator.core.model import Instant

_SLEW = 0.05
"""How fast `SystemClock` follows the wall clock: 50 ms a second."""

_LONGEST_NAP_S = 30.0


class Clock(Protocol):
    """What time it is, and how to wait for another time."""

    def now(self) -> Instant:
        """Milliseconds since the Unix epoch; never goes back while the process lives."""
        ...

    async def sleep_until(self, instant: Instant) -> None:
        """Return when `now()` is at `instant` or later; at once, but for one turn of the loop, when it is already."""
        ...


class SystemClock:
    """Starts at the wall clock and goes on by the monotonic one, following the wall clock slowly (CP-431).

    A wall clock that is set forward by an hour therefore expires no timer: this clock runs five per cent fast until it
    has caught up, or as much slow until the wall clock has.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`wall` and `monotonic` answer in seconds."""
        self._wall = wall
        self._monotonic = monotonic
        self._at = wall()
        self._seen = monotonic()

    def now(self) -> Instant:
        """See `Clock.now`."""
        seen = self._monotonic()
        passed = max(0.0, seen - self._seen)
        self._seen = seen
        self._at += passed
        behind = self._wall() - self._at
        self._at += max(-passed * _SLEW, min(passed * _SLEW, behind))
        return Instant(int(self._at * 1000))

    async def sleep_until(self, instant: Instant) -> None:
        """See `Clock.sleep_until`."""
        left = instant - self.now()
        await asyncio.sleep(max(0.0, min(left / 1000, _LONGEST_NAP_S)))
        # In naps, since this clock does not run at the loop's pace while it follows the wall clock.
        if self.now() < instant:
            await self.sleep_until(instant)
