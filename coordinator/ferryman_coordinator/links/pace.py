"""How fast one agent may talk: nobody else waits for one that floods its stream, it waits for itself."""

from __future__ import annotations

from ferryman_coordinator.core.model import Instant


class Pace:
    """Allows `burst` messages at once and `per_second` after that; costs the same whatever came before."""

    def __init__(self, *, burst: int, per_second: int) -> None:
        self._interval_ms = 1000 / per_second
        self._ahead_ms = burst * self._interval_ms
        # Until when all that was taken would have lasted at the pace.
        self._lasts_until = 0.0

    def take(self, now: Instant) -> Instant:
        """Counts one message; returns the moment from which the next one may be read, `now` or later."""
        self._lasts_until = max(self._lasts_until, now) + self._interval_ms
        return Instant(max(now, int(self._lasts_until - self._ahead_ms)))
