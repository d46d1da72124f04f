"""How long to wait before the next try at a stream, after what kind of end (AG-104, AG-105; DESIGN section 3)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

FIRST_SECONDS, LONGEST_SECONDS = 0.5, 60.0
STABLE_SECONDS = 30.0
"""A stream that stood this long starts the series anew."""
REFUSED_SECONDS = 300.0
THROTTLED_SECONDS = 60.0


class Ending(Enum):
    """Kinds of ends, for the log, the status and the wait that follows."""

    LOST = "lost"
    """The stream ended, or never stood: the coordinator restarts, or the network is gone."""
    UNTRUSTED = "untrusted"
    """The TLS handshake failed: a certificate is wrong or has expired (AG-092)."""
    UNIDENTIFIED = "unidentified"
    """This agent has no identity, or the coordinator does not know it: somebody has to enroll it (AG-090)."""
    REFUSED = "refused"
    """The coordinator does not serve this agent, and asking often changes nothing."""
    THROTTLED = "throttled"
    FAILING = "failing"
    """The coordinator is there and cannot do its work."""
    BROKEN = "broken"
    """Something here that nobody expected."""
    OURS = "ours"
    """Ended here, to begin anew at once."""


class Backoff:
    """Exponential with full jitter: `random` gives numbers from 0 to 1, so that a fleet does not come back in step."""

    def __init__(self, random: Callable[[], float], throttled_seconds: float = THROTTLED_SECONDS) -> None:
        self._random = random
        self._throttled_seconds = throttled_seconds
        self._failures = 0

    def after(self, ending: Ending, lived_seconds: float) -> float:
        """Returns the seconds to wait. `lived_seconds`: how long the stream stood, 0 when it never did."""
        if lived_seconds >= STABLE_SECONDS:
            self._failures = 0
        match ending:
            case Ending.OURS:
                return 0.0
            case Ending.REFUSED | Ending.UNIDENTIFIED:
                return REFUSED_SECONDS * (0.5 + 0.5 * self._random())
            case Ending.THROTTLED:
                return self._throttled_seconds * (1 + 0.25 * self._random())
            case Ending.LOST | Ending.UNTRUSTED | Ending.FAILING | Ending.BROKEN:
                ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * float(2**self._failures))
                self._failures = min(self._failures + 1, 10)
                return ceiling * self._random()
