"""How long to wait before an agent that died is started again: no fork storm, and no long wait after a rare death."""

from __future__ import annotations

PAUSES: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0, 60.0)
STABLE_SECONDS = 60.0


class Respawn:
    """Seconds between two starts (AG-024, V2-058); an agent that lived for a minute starts the series anew."""

    def __init__(self) -> None:
        self._deaths = 0

    def after(self, lived_seconds: float) -> float:
        """Takes in one death; returns the seconds to wait."""
        if lived_seconds >= STABLE_SECONDS:
            self._deaths = 0
        pause = PAUSES[min(self._deaths, len(PAUSES) - 1)]
        self._deaths += 1
        return pause
