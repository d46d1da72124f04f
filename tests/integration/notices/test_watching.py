"""Who follows events loses none: over restarts, far behind, slow, and when they are no longer kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from ferryman_coordinator.core.events import EventKind, EventState
from ferryman_coordinator.errors import NotFound
from ferryman_coordinator.operations.events import Events, EventWatch, WatchedEvent
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import events as queries
from ferryman_coordinator.store.queries.events import EventFilter
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, fresh_world
from tests.support.notices import ORIGIN, PATIENCE_SECONDS

OF_INSTANCES = EventFilter(kind=EventKind.INSTANCE)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ferryman.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


def watching(world: World, **options: object) -> AsyncGenerator[WatchedEvent, None]:
    events = Events(world.store, world.clock, world.engine.bell, ORIGIN)
    return events.watch(EventWatch(**options))  # type: ignore[arg-type]  # as the test says


async def take(watched: AsyncGenerator[WatchedEvent, None], count: int) -> list[WatchedEvent]:
    found: list[WatchedEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found) < count:
            one = await anext(watched)
            if one.event is not None:
                found.append(one)
    return found


async def everything(world: World, **options: object) -> list[WatchedEvent]:
    async with aclosing(watching(world, after_position=0, **options)) as watched:
        return [one async for one in watched if one.event is not None]


@pytest.mark.req("CP-387", "CP-381")
async def test_it_goes_on_where_it_was_over_a_restart(tmp_path: Path, url: str) -> None:
    async with fresh_world(tmp_path) as world:
        world.url = url
        await world.start()
        await world.populate(2)
        world.connect()
        async with aclosing(watching(world, follow=True)) as live:
            assert (await anext(live)).event is None
            deployment_id = await world.deploy()
            heard = await take(live, 3)
        await world.finished(deployment_id)
        await world.stop()
        await world.start()
        world.connect()
        async with aclosing(watching(world, after_position=heard[-1].position, follow=True)) as live:
            heard += await take(live, 3)
            # And on to what comes.
            second = await world.deploy(revision=bundle("b"))
            heard += await take(live, 6)
            await world.finished(second)
        assert heard == await everything(world)
        assert [one.position for one in heard] == sorted({one.position for one in heard})


@pytest.mark.req("CP-384", "CP-387")
async def test_filters_let_through_what_is_wanted_and_positions_move_on(tmp_path: Path) -> None:
    async with fresh_world(tmp_path) as world:
        await world.start()
        await world.populate(2)
        world.connect()
        await world.finished(await world.deploy())
        found = await everything(world, wanted=OF_INSTANCES)
        assert {one.event.event.kind for one in found if one.event} == {EventKind.INSTANCE}
        starts = await everything(
            world, wanted=EventFilter(kind=EventKind.INSTANCE, states=(EventState.START,))
        )
        assert len(starts) == 2
        assert not await everything(world, wanted=EventFilter(application_name="api"))
        # A watcher that gets nothing still learns how far it is.
        async with aclosing(
            watching(world, after_position=0, follow=True, wanted=EventFilter(application_name="api"))
        ) as live:
            assert (await anext(live)).position == 0
            sign = asyncio.ensure_future(anext(live))
            while not sign.done():
                await world.sleepers()
                world.clock.advance(5_000)
            assert (await sign).position == found[-1].position + 1


async def test_what_it_wants_can_be_far_apart(tmp_path: Path) -> None:
    async with fresh_world(tmp_path) as world:
        await world.start()
        await world.populate(1)
        world.connect()
        await world.finished(await world.deploy())
        await _fill(world, 12_000)
        await world.finished(await world.deploy(revision=bundle("b")))
        found = await everything(world, wanted=EventFilter(application_name="web"))
        assert len(found) == 8
        async with aclosing(watching(world, last=5, wanted=EventFilter(application_name="web"))) as watched:
            assert [one async for one in watched if one.event is not None] == found[3:]


@pytest.mark.req("CP-387")
async def test_a_gap_is_said_and_not_passed_over(tmp_path: Path) -> None:
    async with fresh_world(tmp_path) as world:
        await world.start()
        await world.populate(1)
        world.connect()
        await world.finished(await world.deploy())
        kept = (await everything(world))[2:]
        gone = kept[0].position - 1
        batch = Batch()
        batch.delete(tables.events, {}, where=[tables.events.c.position <= gone])
        batch.put(tables.settings, {"key": queries.PRUNED, "value": str(gone)})
        await world.store.write(batch)
        with pytest.raises(NotFound, match=f"events up to position {gone} are no longer kept"):
            await anext(watching(world, after_position=gone - 1))
        assert await everything(world) == kept


async def _fill(world: World, count: int) -> None:
    """Events of another application."""
    batch = Batch()
    for number in range(count):
        batch.add(
            tables.events,
            {
                "event_id": f"other-{number}",
                "kind": "deployment",
                "state": "START",
                "status": "InProgress",
                "deployment_id": "d-other",
                "instance_id": "",
                "application_id": "app-2",
                "group_id": "group-2",
                "application_name": "api",
                "group_name": "prod",
                "at": world.clock.now(),
                "facts": None,
                "triggers": None,
            },
        )
    await world.store.write(batch)
