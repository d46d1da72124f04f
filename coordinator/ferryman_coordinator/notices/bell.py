"""Wakes those who read the outbox."""

from __future__ import annotations

import asyncio


class Bell:
    """Tells that something may have been stored. Rings for all who listen at that moment."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits; costs nothing when nobody does."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    def listen(self) -> asyncio.Event:
        """Is set at the next ring. Take it before looking, so that nothing is missed."""
        return self._event
