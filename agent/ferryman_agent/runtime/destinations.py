"""Installs of different groups run at the same time, unless they write to the same places (AG-123)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import PurePosixPath


class DestinationTurns:
    """Who installs where. Trees overlap when they are the same, or one lies in the other."""

    def __init__(self) -> None:
        self._held: list[tuple[PurePosixPath, ...]] = []
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def of(self, destinations: Iterable[str]) -> AsyncIterator[None]:
        """Waits until nobody installs to where these lead, and keeps others away for the body."""
        wanted = tuple(PurePosixPath(destination) for destination in destinations)
        async with self._changed:
            await self._changed.wait_for(lambda: not any(_overlap(wanted, held) for held in self._held))
            self._held.append(wanted)
        try:
            yield
        finally:
            async with self._changed:
                self._held.remove(wanted)
                self._changed.notify_all()


def _overlap(some: tuple[PurePosixPath, ...], others: tuple[PurePosixPath, ...]) -> bool:
    return any(
        one == other or one in other.parents or other in one.parents for one in some for other in others
    )
