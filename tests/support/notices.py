"""A coordinator without doors that tells the world, and pretend agents: `World` with the office of notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ferryman_coordinator.config.schema import Notices
from ferryman_coordinator.config.sinks import Sink, SinkKind
from ferryman_coordinator.core.group_options import GroupOptions, Trigger, TriggerEventType
from ferryman_coordinator.core.payloads import Origin
from ferryman_coordinator.notices.office import NoticeOffice
from ferryman_coordinator.store.event_records import Delivery, DeliveryState
from ferryman_coordinator.store.queries import events as queries
from tests.support.engine_world import World

ORIGIN = Origin(account_id="123456789012", region="eu-1")
TOPIC = "arn:aws:sns:eu-1:123456789012:"
PATIENCE_SECONDS = 30.0


def topic(name: str) -> str:
    return TOPIC + name


def webhook(name: str, url: str, **settings: Any) -> Sink:
    """A sink that stands for the topic of that name."""
    return Sink(**{"kind": SinkKind.WEBHOOK, "arn": topic(name), "url": url, **settings})


def triggers(*wanted: tuple[str, Sequence[TriggerEventType]]) -> GroupOptions:
    """Options of a group with these triggers, each for the topic of its name."""
    return GroupOptions(
        triggers=tuple(
            Trigger(name=name, target_arn=topic(name), events=tuple(events)) for name, events in wanted
        )
    )


ALL = tuple(TriggerEventType)


@asynccontextmanager
async def running_office(
    world: World, sinks: Mapping[str, Sink], settings: Notices | None = None
) -> AsyncIterator[NoticeOffice]:
    """One that brings what `world` has to tell; killed in the end."""
    office = NoticeOffice(
        world.store, world.clock, world.engine.bell, settings or Notices(), sinks, ORIGIN, draw=lambda: 1.0
    )
    running = asyncio.create_task(office.run())
    try:
        yield office
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def deliveries(world: World, *states: DeliveryState) -> list[Delivery]:
    """As they are stored, in the order of their events."""
    wanted = queries.DeliveryFilter(states=states)
    async with world.store.reading() as connection:
        return list(await queries.deliveries_after(connection, wanted, (), 100_000))


async def delivered(world: World, count: int) -> list[Delivery]:
    """Wait until so many are marked as delivered."""
    return await stored(world, count, DeliveryState.DELIVERED)


async def stored(world: World, count: int, *states: DeliveryState) -> list[Delivery]:
    """Wait until so many are in these states, or in any."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found := await deliveries(world, *states)) < count:
            pass
    return found


async def drive(world: World, until: Callable[[], bool], step_ms: int = 1_000) -> None:
    """Let time pass until that is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not until():
            world.clock.advance(step_ms)
            for _ in range(30):
                await asyncio.sleep(0)
