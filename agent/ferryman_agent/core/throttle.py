"""When to ask again a server that has said it has too much to do (V2-050 to V2-053).

One gate serves all clients of the process. A throttling answer shuts it for a second, and each one after that wait is
over for twice as long, up to 30 s; answers that come in while it is shut are echoes and change nothing. After the wait
one success sets it back.
"""

from __future__ import annotations

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0
JITTER = 0.25

MOST_RETRIES = 5
"""Of one request, for throttling (V2-054)."""


class ThrottleGate:
    """`now` is in seconds that never go back."""

    def __init__(self) -> None:
        self._level = 0
        self._until = float("-inf")

    def throttled(self, now: float) -> None:
        """A server said that it has too much to do."""
        if now < self._until:
            return
        seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2**self._level)
        if seconds < LONGEST_SECONDS:
            self._level += 1
        self._until = now + seconds

    def succeeded(self, now: float) -> None:
        """A request went through. One that was on its way when the gate was shut proves nothing."""
        if now >= self._until:
            self._level = 0

    def wait(self, now: float, random: float) -> float:
        """Returns the seconds to wait before the next request; `random` is in [0, 1) and spreads the clients."""
        left = self._until - now
        return left * (1 + JITTER * random) if left > 0 else 0.0
