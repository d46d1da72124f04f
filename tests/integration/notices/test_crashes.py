"""A coordinator that dies at any commit: what was to be told is told by the next one, each event once in the outbox."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ferryman_coordinator.core.model import AutoRollback, RollbackEvent
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.event_records import DeliveryState, event_row
from ferryman_coordinator.store.queries import events as queries
from ferryman_coordinator.store.store import Store
from tests.support.coordinator_records import bundle
from tests.support.crashing_store import CrashingStore
from tests.support.databases import shared_postgres_url, store_url
from tests.support.engine_world import World, fresh_world
from tests.support.fake_agent import broken_revision
from tests.support.notices import ALL, deliveries, running_office, triggers, webhook
from tests.support.webhook import WebhookServer, webhook_server

__all__ = ["shared_postgres_url", "store_url"]

ON_FAILURE = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))

EXPECTED = [
    "DeploymentStart",
    "InstanceStart",
    "InstanceFailure",
    "DeploymentFailure",
    "DeploymentRollback",
    "DeploymentStart",
    "InstanceStart",
    "InstanceSuccess",
    "DeploymentSuccess",
]


async def life(world: World, server: WebhookServer, *, dies_at: int, is_after: bool) -> bool:
    """One process, until it dies or everything is told; whether it died."""
    store = await CrashingStore.open(world.url)
    store.die(dies_at, is_after=is_after)
    await world.start(store)
    world.connect()
    try:
        async with running_office(world, {"ops": webhook("ops", server.url)}), asyncio.timeout(20):
            while not store.has_died:
                found = await deliveries(world, DeliveryState.DELIVERED)
                if len(found) == len(EXPECTED):
                    return False
    finally:
        await world.stop()
    return True


@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_after, dies_at", [(True, 2), (False, 5)])
@pytest.mark.req("CP-375", "CP-423", "CP-376")
async def test_it_may_die_at_any_commit(tmp_path: Path, is_after: bool, dies_at: int) -> None:
    has_died = True
    while has_died:
        home = tmp_path / str(dies_at)
        home.mkdir()
        async with webhook_server() as server, fresh_world(home) as world:
            await world.start()
            await world.populate(1, options=triggers(("ops", ALL)), auto_rollback=ON_FAILURE)
            world.play(broken_revision(bundle("b")))
            # Something to go back to, of which nobody hears.
            world.connect()
            await world.finished(await world.deploy())
            batch = Batch()
            batch.delete(tables.events, {})
            await world.store.write(batch)
            await world.deploy(revision=bundle("b"))
            await world.stop()
            has_died = await life(world, server, dies_at=dies_at, is_after=is_after)
            if has_died:
                assert not await life(world, server, dies_at=10_000, is_after=is_after)
            await world.start()
            async with world.store.reading() as connection:
                stored = await queries.after(connection, 0, 100)
            assert len(stored) == len(EXPECTED)
            first_times = {one.headers["Ferryman-Delivery-Id"]: one for one in reversed(server.got)}
            got = [one for one in server.got if first_times[one.headers["Ferryman-Delivery-Id"]] is one]
        # Some may have come twice; none is missing, and what came first came in order, deployment by deployment.
        by_deployment: dict[str, list[str]] = {}
        for one in got:
            by_deployment.setdefault(one.json["deploymentId"], []).append(one.headers["Ferryman-Event-Type"])
        assert list(by_deployment.values()) == [EXPECTED[:4], EXPECTED[4:]]
        # Every ninth of them, in this run and the other.
        dies_at += 9
    assert dies_at > 20


@pytest.mark.req("CP-375")
async def test_a_batch_that_is_stored_again_tells_nothing_twice(tmp_path: Path, store_url: str) -> None:
    store = await Store.open(store_url)
    try:
        home = tmp_path / "world"
        home.mkdir()
        async with fresh_world(home) as world:
            await world.start()
            await world.populate(1)
            world.connect()
            await world.finished(await world.deploy())
            async with world.store.reading() as connection:
                first = await queries.after(connection, 0, 100)
        batch = Batch()
        for one in first:
            row = event_row(
                one.event,
                application_id=one.application_id,
                application_name=one.application_name,
                group_id=one.group_id,
                group_name=one.group_name,
                triggers=one.triggers,
            )
            batch.add(tables.events, row)
        await store.write(batch)
        await store.write(batch)
        async with store.reading() as connection:
            stored = await queries.after(connection, 0, 100)
        assert [one.event.event_id for one in stored] == [one.event.event_id for one in first]
        assert [one.event for one in stored] == [one.event for one in first]
    finally:
        await store.close()
