"""Everything that tells the world, as one object: what makes deliveries, what brings them, what tests triggers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import anyio

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Notices
from ferryman_coordinator.config.sinks import Sink
from ferryman_coordinator.core.payloads import Origin
from ferryman_coordinator.notices.bell import Bell
from ferryman_coordinator.notices.courier import Courier, CourierSettings
from ferryman_coordinator.notices.fanout import FanOut
from ferryman_coordinator.notices.figures import NoticeFigures
from ferryman_coordinator.notices.herald import Herald
from ferryman_coordinator.notices.ledger import DeliveryLedger
from ferryman_coordinator.notices.sinks import Sinks
from ferryman_coordinator.store.store import Store


class NoticeOffice:
    """`run` is its life."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        outbox: Bell,
        settings: Notices,
        sinks: Mapping[str, Sink],
        origin: Origin,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`outbox` rings when events were stored."""
        self.origin = origin
        self.outbox = outbox
        self.sinks = Sinks(sinks)
        self.figures = NoticeFigures()
        self.herald = Herald(self.sinks, clock, origin)
        self.courier = Courier(
            DeliveryLedger(store),
            clock,
            self.sinks,
            CourierSettings(
                give_up_after_ms=int(settings.give_up_after), longest_pause_ms=int(settings.longest_pause)
            ),
            self.figures,
            draw,
        )
        self.fan_out = FanOut(store, clock, outbox, self.courier.wake, self.sinks, origin)

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.fan_out.run)
            tasks.start_soon(self.courier.run)
