"""When each live deployment wants to be called next: one heap and one task for all of them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

import anyio

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import DeploymentId, Instant


class Timers:
    """`on_due` is called once for each time that was set; it must not block."""

    def __init__(self, clock: Clock, on_due: Callable[[DeploymentId], None]) -> None:
        self._clock = clock
        self._on_due = on_due
        self._due: dict[DeploymentId, Instant] = {}
        # Has an entry for everything in `_due`, besides outdated ones that are skipped when they come up.
        self._heap: list[tuple[Instant, DeploymentId]] = []
        self._sooner = asyncio.Event()

    def set(self, deployment_id: DeploymentId, at: Instant | None) -> None:
        """Replace the deployment's time; None: nothing is due."""
        if at is None:
            self._due.pop(deployment_id, None)
            return
        if self._due.get(deployment_id) == at:
            return
        self._due[deployment_id] = at
        if not self._heap or at < self._heap[0][0]:
            self._sooner.set()
        heapq.heappush(self._heap, (at, deployment_id))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(due, name) for name, due in self._due.items()]
            heapq.heapify(self._heap)

    async def run(self) -> None:
        """Call back whoever's time has come, until cancelled."""
        while True:
            self._sooner.clear()
            self._ring()
            if self._heap:
                await self._sleep(self._heap[0][0])
            else:
                await self._sooner.wait()

    def _ring(self) -> None:
        now = self._clock.now()
        while self._heap:
            at, deployment_id = self._heap[0]
            if self._due.get(deployment_id) != at:
                heapq.heappop(self._heap)
            elif at <= now:
                heapq.heappop(self._heap)
                del self._due[deployment_id]
                self._on_due(deployment_id)
            else:
                return

    async def _sleep(self, until: Instant) -> None:
        """Return when it is time, or when something sooner was set."""
        async with anyio.create_task_group() as tasks:

            async def end_when_sooner() -> None:
                await self._sooner.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(end_when_sooner)
            await self._clock.sleep_until(until)
            tasks.cancel_scope.cancel()
