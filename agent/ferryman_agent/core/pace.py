"""How fast a download may go on (a bucket of tokens): who takes bytes is told how long to pause."""

from __future__ import annotations

BURST_SECONDS = 0.25
SMALLEST_PIECE = 1024


class Pace:
    """`bytes_per_second` may change at any time; None is no limit. Times are seconds that never go back."""

    def __init__(self, bytes_per_second: float | None = None) -> None:
        self.bytes_per_second = bytes_per_second
        self._free_at = 0.0

    def piece(self, largest: int) -> int:
        """Returns how many bytes to take at once, so that no single pause is long."""
        if self.bytes_per_second is None:
            return largest
        return max(SMALLEST_PIECE, min(largest, int(self.bytes_per_second * BURST_SECONDS)))

    def took(self, count: int, now: float) -> float:
        """Books `count` bytes and returns the seconds to pause before the next ones."""
        if not self.bytes_per_second:
            return 0.0
        # What was not used is not saved up for longer than one burst.
        self._free_at = max(self._free_at, now - BURST_SECONDS) + count / self.bytes_per_second
        return max(0.0, self._free_at - now)
