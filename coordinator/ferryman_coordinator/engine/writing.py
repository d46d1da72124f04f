"""Writes and reads that must succeed before a deployment can go on, however long the database is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import anyio
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.engine.statistics import EngineStatistics
from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")


class PatientStore:
    """The store, asked again until it answers. Whatever else it raises is raised."""

    def __init__(
        self, store: Store, clock: Clock, settings: EngineSettings, statistics: EngineStatistics
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._statistics = statistics

    async def write(self, batch: Batch) -> None:
        """Store a batch that may be stored twice. A commit in flight is finished even when the coordinator ends."""

        async def write() -> None:
            with anyio.CancelScope(shield=True):
                await self._store.write(batch)

        await self.insist(write)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As the store gives it: for use inside `insist`."""
        return self._store.reading()

    async def insist(self, action: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer of `action`, once the store can be reached."""
        async for _ in self._attempts():
            try:
                return await action()
            except StoreUnavailable as error:
                self._statistics.store_retries += 1
                log.warning("engine.store_unavailable", error=str(error))
        raise AssertionError("attempts never end")

    async def _attempts(self) -> AsyncIterator[int]:
        pauses = self._settings.retry_ms
        attempt = 0
        while True:
            yield attempt
            pause = pauses[min(attempt, len(pauses) - 1)]
            await self._clock.sleep_until(Instant(self._clock.now() + pause))
            attempt += 1
