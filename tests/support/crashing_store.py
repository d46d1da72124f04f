"""Real stores that die, or hold a commit back, at a moment of the test's choice."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store


class Died(BaseException):
    """The process is gone: nothing catches this."""


class CrashingStore(Store):
    """Dies with the commit number `at` (from 1), just before it or just after it. From then on nothing is stored."""

    at: int | None = None
    is_after = True
    commits = 0
    has_died = False

    @classmethod
    async def open(cls, url: str) -> Self:
        store = await super().open(url)
        assert isinstance(store, cls)
        return store

    def die(self, at: int, *, is_after: bool) -> None:
        """Counted from now."""
        self.at, self.is_after, self.commits = at, is_after, 0

    async def write(self, batch: Batch) -> None:
        if self.has_died:
            raise Died
        self.commits += 1
        is_last = self.commits == self.at
        if is_last and not self.is_after:
            self.has_died = True
            raise Died
        await super().write(batch)
        if is_last or self.has_died:
            self.has_died = True
            raise Died


class HoldingStore(Store):
    """Lets no commit through while it is held."""

    def __init__(self, *of_store: Any) -> None:
        super().__init__(*of_store)
        # A batch waits.
        self.arrived = asyncio.Event()
        self._let_through: int | None = None
        self._released = asyncio.Event()

    def hold(self, after: int = 0) -> None:
        """So many commits go through, then none."""
        self.arrived.clear()
        self._released.clear()
        self._let_through = after

    def release(self) -> None:
        self._let_through = None
        self._released.set()

    async def write(self, batch: Batch) -> None:
        if self._let_through == 0:
            self.arrived.set()
            await self._released.wait()
        elif self._let_through is not None:
            self._let_through -= 1
        await super().write(batch)


def held(world_store: Store) -> HoldingStore:
    """The store of a world that was opened with one."""
    assert isinstance(world_store, HoldingStore)
    return world_store
