"""Events are stored with the change that they tell of: each once, in order, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.events import EventKind, EventState, PublishedEvent
from ferryman_coordinator.core.group_options import TriggerEventType
from ferryman_coordinator.core.model import (
    AutoRollback,
    DeploymentId,
    DeploymentStatus,
    RollbackEvent,
    RolloutRecord,
)
from ferryman_coordinator.engine.creation import enter_new, new_deployment, snapshot
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import deployments
from ferryman_coordinator.store.queries import events as queries
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, fresh_world
from tests.support.fake_agent import Gate, broken_revision
from tests.support.notices import delivered, running_office, triggers, webhook
from tests.support.webhook import webhook_server

ON_FAILURE = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ferryman.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


async def stored(world: World) -> Sequence[PublishedEvent]:
    async with world.store.reading() as connection:
        return await queries.after(connection, 0, 1_000)


def told(events: Sequence[PublishedEvent], deployment_id: str) -> list[tuple[str, str]]:
    return [
        (str(one.event.instance_id), one.event.state.value)
        for one in events
        if one.event.deployment_id == deployment_id
    ]


@pytest.mark.req("CP-381", "CP-382", "CP-383", "CP-351", "CP-373", "CP-375", "CP-423", "T60")
async def test_a_success_a_failure_and_its_rollback(tmp_path: Path, url: str) -> None:
    async with fresh_world(tmp_path) as world:
        world.url = url
        await world.start()
        await world.populate(2, auto_rollback=ON_FAILURE)
        world.connect()
        world.play(broken_revision(bundle("b")))
        good = await world.deploy("OneAtATime")
        await world.finished(good)
        failed = await world.deploy("OneAtATime", revision=bundle("b"))
        found = await world.finished(failed)
        rollback = found.rollback_deployment_id
        assert rollback is not None
        await world.finished(rollback)
        events = await stored(world)
        first, second = (name for name, _ in told(events, good)[1:4:2])
        assert told(events, good) == [
            ("", "START"),
            (first, "START"),
            (first, "SUCCESS"),
            (second, "START"),
            (second, "SUCCESS"),
            ("", "SUCCESS"),
        ]
        assert told(events, failed)[-1] == ("", "FAILURE")
        assert told(events, failed).count(("", "FAILURE")) == 1
        assert told(events, rollback)[:2] == [("", "ROLLBACK"), ("", "START")]
        assert told(events, rollback)[-1] == ("", "SUCCESS")
        # Positions rise, and the rollback is told after the failure that caused it.
        assert [one.position for one in events] == sorted({one.position for one in events})
        (failure,) = (
            one
            for one in events
            if one.event.deployment_id == failed
            and one.event.kind is EventKind.DEPLOYMENT
            and one.event.state is EventState.FAILURE
        )
        (ordered,) = (one for one in events if one.event.state is EventState.ROLLBACK)
        assert ordered.position > failure.position
        assert failure.event.facts is not None
        assert failure.event.facts.error_code == "HEALTH_CONSTRAINTS"
        assert failure.event.facts.overview["Failed"] >= 1
        assert ordered.event.facts is not None
        assert ordered.event.facts.triggering_deployment_id == failed
        # What is told is exactly what was stored of the deployment itself, once for each id.
        assert len({one.event.event_id for one in events}) == len(events)


@pytest.mark.req("CP-382")
async def test_one_that_waits_in_a_queue_says_so(tmp_path: Path) -> None:
    async with fresh_world(tmp_path) as world:
        await world.start()
        await world.populate(1)
        order = await world.order()
        spec = snapshot(order, DeploymentId("d-QUEUED001"), None, world.settings)
        queued = RolloutRecord(status=DeploymentStatus.QUEUED, created_at=world.clock.now())
        made = replace(new_deployment(spec, order.group, world.clock.now()), record=queued)
        batch = Batch()
        enter_new(batch, made)
        # As after a commit whose answer was lost.
        await world.store.write(batch)
        again = Batch()
        enter_new(again, made, is_retried=True)
        await world.store.write(again)
        assert told(await stored(world), made.deployment_id) == [("", "QUEUED")]


@pytest.mark.req("CP-375", "CP-381")
async def test_the_end_of_what_was_deleted_is_told_as_well(tmp_path: Path) -> None:
    failure = (TriggerEventType.DEPLOYMENT_FAILURE, TriggerEventType.INSTANCE_START)
    async with webhook_server() as server, fresh_world(tmp_path) as world:
        await world.start()
        await world.populate(1, options=triggers(("ops", failure)))
        world.connect()
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop")
        applications = Applications(world.store, world.clock, world.ids, Limits(), world.engine)
        deleting = asyncio.create_task(applications.delete("web"))
        gate.open()
        await deleting
        async with world.store.reading() as connection:
            assert await deployments.get(connection, deployment_id) is None
        # Nobody has looked into the outbox yet.
        async with running_office(world, {"ops": webhook("ops", server.url)}):
            await delivered(world, 2)
        instance, deployment = (one.json for one in server.got)
        assert instance["lifecycleEvents"] == []
        assert deployment["errorInformation"]["ErrorCode"] == "APPLICATION_MISSING"
        assert deployment["applicationName"] == "web"
