"""Brings deliveries to their sinks: at least once, in order for each deployment and target, for as long as it takes.

Each target has a task of its own while something waits for it, so one that hangs holds up nobody else. A few messages
at a time are in memory, however many wait. Nothing that happens here is seen by a deployment (CP-376).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.notices.bell import Bell
from ferryman_coordinator.notices.figures import NoticeFigures
from ferryman_coordinator.notices.ledger import DeliveryLedger
from ferryman_coordinator.notices.message import Failure, Message, Outlet
from ferryman_coordinator.notices.pauses import pause_ms
from ferryman_coordinator.notices.sinks import Sinks, no_sink
from ferryman_coordinator.notices.waiting import rung_or
from ferryman_coordinator.store.event_records import Delivery
from ferryman_coordinator.store.queries.events import Lane

log = structlog.get_logger(__name__)

_LOOK_EVERY_MS = 10_000
_LANES_AT_ONCE = 4
_LANES = 64
"""Looked up at once, those first that are due first."""
_IN_A_ROW = 50
_AT_ONCE = 64
_AGAIN_MS = 1_000
"""After the database could not be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierSettings:
    give_up_after_ms: int = 86_400_000
    longest_pause_ms: int = 300_000


class Courier:
    """`run` owns every task."""

    def __init__(
        self,
        ledger: DeliveryLedger,
        clock: Clock,
        sinks: Sinks,
        settings: CourierSettings,
        figures: NoticeFigures,
        draw: Callable[[], float],
    ) -> None:
        """`draw` gives numbers from 0 to 1, for pauses that do not all end at one moment."""
        self._ledger = ledger
        self._clock = clock
        self._sinks = sinks
        self._settings = settings
        self._figures = figures
        self._draw = draw
        self._bell = Bell()
        self._routes: dict[str, _Route] = {}
        self._count_at = Instant(0)
        self._places = asyncio.Semaphore(_AT_ONCE)

    def wake(self) -> None:
        """There is something to deliver."""
        self._bell.ring()

    def hurry(self) -> None:
        """Somebody mended something: try sinks again that failed, without waiting for the end of their pause."""
        for route in self._routes.values():
            route.hurry()
        self._bell.ring()

    async def run(self) -> None:
        """Until cancelled. What is under way then is sent again after the next start."""
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    heard = self._bell.listen()
                    try:
                        await self._count()
                        for target in await self._ledger.targets():
                            if target not in self._routes:
                                self._routes[target] = self._route(target)
                                tasks.start_soon(self._serve, target)
                    except StoreUnavailable as error:
                        log.warning("notices.store_unavailable", error=str(error))
                    except Exception:
                        # Whatever it is: deployments must not hear of it (CP-376).
                        log.exception("notices.courier_broken")
                    await rung_or(heard, self._clock, Instant(self._clock.now() + _LOOK_EVERY_MS))
        finally:
            await self._sinks.close()

    async def _count(self) -> None:
        """Now and then only: it takes longer the more there is."""
        now = self._clock.now()
        if now >= self._count_at:
            self._figures.backlog = await self._ledger.backlog()
            self._count_at = Instant(now + _LOOK_EVERY_MS)

    def _route(self, target: str) -> _Route:
        return _Route(
            target,
            self._ledger,
            self._clock,
            self._settings,
            self._figures,
            self._draw,
            self._places,
            self._bell,
        )

    async def _serve(self, target: str) -> None:
        try:
            await self._routes[target].run(self._sinks.outlet(target))
        except Exception:
            # Whatever it is, the other targets go on, and so does this one after a while.
            log.exception("notices.route_broken", target=target)
            await self._clock.sleep_until(Instant(self._clock.now() + _LOOK_EVERY_MS))
        finally:
            del self._routes[target]
        # Something may have come just when it ended.
        self._bell.ring()


class _Route:
    """To one target, while something waits for it."""

    def __init__(
        self,
        target: str,
        ledger: DeliveryLedger,
        clock: Clock,
        settings: CourierSettings,
        figures: NoticeFigures,
        draw: Callable[[], float],
        places: asyncio.Semaphore,
        bell: Bell,
    ) -> None:
        self._target = target
        self._ledger = ledger
        self._clock = clock
        self._settings = settings
        self._figures = figures
        self._draw = draw
        self._places = places
        self._bell = bell
        self._mended = Bell()
        # In a row; while there are any, one message at a time finds out whether the sink is back.
        self._failures = 0
        self._paused_until = Instant(0)

    def hurry(self) -> None:
        self._paused_until = Instant(0)
        self._mended.ring()

    async def run(self, outlet: Outlet | None) -> None:
        """Until nothing waits for the target."""
        if outlet is None:
            await self._ledger.bury(self._target, no_sink(self._target), self._clock.now())
            return
        while True:
            heard, mended = self._bell.listen(), self._mended.listen()
            if self._is_paused:
                await rung_or(mended, self._clock, self._paused_until)
                continue
            try:
                lanes = await self._ledger.lanes(self._target, _LANES)
            except StoreUnavailable as error:
                log.warning("notices.store_unavailable", error=str(error))
                await rung_or(mended, self._clock, Instant(self._clock.now() + _AGAIN_MS))
                continue
            if not lanes:
                return
            now = self._clock.now()
            due = [lane for lane in lanes if lane.next_at <= now]
            if not due:
                await rung_or(heard, self._clock, lanes[0].next_at)
            else:
                await self._walk_all(outlet, due)

    async def _walk_all(self, outlet: Outlet, due: list[Lane]) -> None:
        """As many at a time as the sink's state allows; those left over come with the next look."""
        lanes = iter(due)

        async def work() -> None:
            for lane in lanes:
                await self._walk(outlet, lane)
                if self._is_paused:
                    return

        async with anyio.create_task_group() as tasks:
            for _ in range(1 if self._failures else _LANES_AT_ONCE):
                tasks.start_soon(work)

    @property
    def _is_paused(self) -> bool:
        return self._paused_until > self._clock.now()

    async def _walk(self, outlet: Outlet, lane: Lane) -> None:
        """Deliver what waits in one lane, in order, until one is not taken."""
        try:
            waiting = await self._ledger.in_lane(
                self._target, lane.deployment_id, 1 if self._failures else _IN_A_ROW
            )
            for delivery in waiting:
                if not await self._deliver(outlet, delivery) or self._is_paused:
                    return
        except StoreUnavailable as error:
            log.warning("notices.store_unavailable", error=str(error))
            self._paused_until = Instant(self._clock.now() + _AGAIN_MS)

    async def _deliver(self, outlet: Outlet, delivery: Delivery) -> bool:
        async with self._places:
            failure = await self._send(outlet, delivery)
        now = self._clock.now()
        if failure is None:
            self._failures = 0
            self._figures.delivered += 1
            await self._ledger.delivered(delivery, now)
            return True
        self._figures.failed += 1
        await self._failed(delivery, failure, now)
        return False

    async def _send(self, outlet: Outlet, delivery: Delivery) -> Failure | None:
        message = Message(
            delivery_id=delivery.delivery_id,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            deployment_id=delivery.deployment_id,
            target=delivery.target,
            body=delivery.body,
            text=delivery.text,
        )
        try:
            return await outlet.send(message, self._clock.now())
        except Exception as error:
            log.exception("notices.send_broken", target=self._target, delivery=delivery.delivery_id)
            return Failure(reason=f"{type(error).__name__}: {error}")

    async def _failed(self, delivery: Delivery, failure: Failure, now: Instant) -> None:
        longest = self._settings.longest_pause_ms
        pause = pause_ms(delivery.attempts + 1, longest, self._draw())
        too_old = Instant(now - self._settings.give_up_after_ms)
        if failure.is_sink_down:
            self._failures += 1
            pause = max(pause_ms(self._failures, longest, self._draw()), failure.retry_after_ms)
            self._paused_until = Instant(now + pause)
            if self._failures == 1:
                log.warning("notices.sink_down", target=self._target, error=failure.reason)
        # That one was tried counts for all that wait as long: trying each would take for ever.
        await self._ledger.failed(
            delivery, failure.reason, Instant(now + pause), now, too_old, for_all=failure.is_sink_down
        )
