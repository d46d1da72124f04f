"""From the outbox to deliveries: reads events in order, once, and stores one row for each consumer of each.

How far it has come is stored with what it made, so after a restart it goes on there. What is made is derived from the
event, so doing it again makes nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.events import PublishedEvent
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.payloads import Origin
from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.notices.bell import Bell
from ferryman_coordinator.notices.composing import Composer
from ferryman_coordinator.notices.sinks import Sinks
from ferryman_coordinator.notices.waiting import rung_or
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.event_records import Delivery, delivery_row
from ferryman_coordinator.store.queries import events as queries
from ferryman_coordinator.store.queries import rules as rule_queries
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

_PAGE = 200
_LOOK_EVERY_MS = 5_000
"""Without a ring: another coordinator may have stored something."""
_NOTED_EVERY = 1_000
_NOTED_EVERY_MS = 60_000
"""After so many events that nobody waits for, or so long, it is noted all the same how far we are."""


class FanOut:
    """One for each database: a task of the coordinator that writes."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        outbox: Bell,
        delivered: Callable[[], None],
        sinks: Sinks,
        origin: Origin,
    ) -> None:
        """`outbox` rings when events were stored; `delivered` is called when there is something to deliver."""
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._delivered = delivered
        self._sinks = sinks
        self._origin = origin
        self._position: int | None = None
        self._noted = 0
        self._note_at = Instant(0)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            heard = self._outbox.listen()
            try:
                if await self.step():
                    continue
            except StoreUnavailable as error:
                log.warning("notices.store_unavailable", error=str(error))
            except Exception:
                # Whatever it is: deployments must not hear of it (CP-376).
                log.exception("notices.fan_out_broken", behind=self._position)
            await rung_or(heard, self._clock, Instant(self._clock.now() + _LOOK_EVERY_MS))

    async def step(self) -> bool:
        """Work off one page; False when there was nothing. Raises StoreUnavailable."""
        async with self._store.reading() as connection:
            if self._position is None:
                self._position = self._noted = int(await queries.setting(connection, queries.FAN_OUT) or 0)
            newest = await queries.newest_position(connection)
            if newest <= self._position:
                return False
            rules = await rule_queries.all_rules(connection)
            # Without rules most events are for nobody, and need not even be read.
            page = await queries.after(connection, self._position, _PAGE, with_triggers=not rules)
            composer = Composer(connection, self._sinks, self._origin, rules)
            made = await self._compose(composer, page)
        await self._keep(made, page[-1].position if len(page) == _PAGE else newest)
        return True

    async def _compose(self, composer: Composer, page: Sequence[PublishedEvent]) -> list[Delivery]:
        now = self._clock.now()
        made: list[Delivery] = []
        for published in page:
            try:
                made += await composer.compose(published, now)
            except ValueError as error:
                # One that cannot be told of must not keep all the others back.
                log.error("notices.event_untold", event=published.event.event_id, error=str(error))
        return made

    async def _keep(self, made: Sequence[Delivery], position: int) -> None:
        now = self._clock.now()
        if made or position - self._noted >= _NOTED_EVERY or now >= self._note_at:
            batch = Batch()
            for delivery in made:
                batch.add(tables.deliveries, delivery_row(delivery))
            batch.put(tables.settings, {"key": queries.FAN_OUT, "value": str(position)})
            await self._store.write(batch)
            self._noted = position
            self._note_at = Instant(now + _NOTED_EVERY_MS)
        self._position = position
        if made:
            self._delivered()
