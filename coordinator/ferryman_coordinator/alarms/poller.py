"""Asks for the states of all alarms that deployments watch: one poll for all of them, and none while nobody watches."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable

import anyio

from ferryman_coordinator.alarms.book import AlarmBook
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.alarms import AlarmReading
from ferryman_coordinator.core.model import Instant

POLL_MS = 10_000

_JITTER = 0.1
"""Polls come up to this part of the interval early, so that coordinators do not ask in step."""

Tell = Callable[[tuple[AlarmReading, ...]], None]
"""Takes what a poll found; must not block."""


class Watching:
    """One deployment's interest in some alarms, until it is closed."""

    def __init__(self, poller: AlarmPoller, names: Collection[str], tell: Tell) -> None:
        """Use `AlarmPoller.watch`."""
        self.names = frozenset(names)
        self.tell = tell
        self._poller = poller

    def close(self) -> None:
        """Hear no more; safe to call twice."""
        self._poller.forget(self)


class AlarmPoller:
    """`run` is its task; without it nobody hears anything."""

    def __init__(
        self,
        book: AlarmBook,
        clock: Clock,
        interval_ms: int = POLL_MS,
        chance: random.Random | None = None,
    ) -> None:
        """`interval_ms`: the longest time from one poll to the next."""
        self.book = book
        self._clock = clock
        self._interval_ms = interval_ms
        self._chance = chance or random.SystemRandom()
        self._watching: dict[Watching, None] = {}
        # Who is to hear sooner than with the next poll, and of which names: newcomers, and whom a push concerns. Nobody
        # else does, lest failures in a row be counted within moments.
        self._urgent: dict[Watching, set[str]] = {}
        self._sooner = asyncio.Event()
        self._next_poll = Instant(0)

    def watch(self, names: Collection[str], tell: Tell) -> Watching:
        """Tell what is found of these alarms: as soon as it can be read, then with each poll."""
        watching = Watching(self, names, tell)
        self._watching[watching] = None
        self._hurry(watching, watching.names)
        return watching

    def forget(self, watching: Watching) -> None:
        """See `Watching.close`."""
        self._watching.pop(watching, None)
        self._urgent.pop(watching, None)

    def pushed(self, source: str, alarms: Collection[str]) -> None:
        """A source has heard something of these alarms: whoever watches them is told soon."""
        for watching in self._watching:
            if names := self.book.concerned(watching.names, source, alarms):
                self._hurry(watching, names)

    def watched(self) -> set[str]:
        """The names that somebody watches now."""
        return {name for watching in self._watching for name in watching.names}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._sooner.clear()
            if not self._watching:
                self._next_poll = Instant(0)
                await self._sooner.wait()
            elif self._urgent:
                urgent, self._urgent = self._urgent, {}
                await self._poll(urgent.items())
            elif self._clock.now() >= self._next_poll:
                early = self._chance.uniform(0, _JITTER) * self._interval_ms
                self._next_poll = Instant(self._clock.now() + self._interval_ms - int(early))
                await self._poll([(one, one.names) for one in self._watching])
            else:
                await self._pause()

    def _hurry(self, watching: Watching, names: Collection[str]) -> None:
        if self._next_poll == 0:
            # The first one: what is read for it is the first poll.
            self._next_poll = Instant(self._clock.now() + self._interval_ms)
        self._urgent.setdefault(watching, set()).update(names)
        self._sooner.set()

    async def _poll(self, wanted: Iterable[tuple[Watching, Collection[str]]]) -> None:
        wanted = list(wanted)
        names = sorted({name for _, some in wanted for name in some})
        readings = {reading.name: reading for reading in await self.book.read(names)}
        for watching, some in wanted:
            if watching in self._watching:
                watching.tell(tuple([readings[name] for name in sorted(some)]))

    async def _pause(self) -> None:
        """Until the next poll, or until something is urgent."""
        async with anyio.create_task_group() as tasks:

            async def end_when_sooner() -> None:
                await self._sooner.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(end_when_sooner)
            await self._clock.sleep_until(self._next_poll)
            tasks.cancel_scope.cancel()
