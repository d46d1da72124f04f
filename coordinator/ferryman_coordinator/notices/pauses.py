"""How long to wait before the next attempt."""

from __future__ import annotations

_FIRST_MS = 1_000
_MOST_DOUBLINGS = 20


def pause_ms(failures: int, longest_ms: int, draw: float) -> int:
    """After so many failures in a row: doubled each time up to `longest_ms`, of which `draw` (0 to 1) takes off up to

    half, so that those who failed together do not come back together.
    """
    full = min(longest_ms, _FIRST_MS << min(max(failures, 1) - 1, _MOST_DOUBLINGS))
    return max(1, full // 2 + int((full - full // 2) * draw))
