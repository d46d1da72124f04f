"""Stopping: pushed at once, answered truthfully, remembered with its asker (CP section 15)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.core.model import (
    AutoRollback,
    DeploymentId,
    DeploymentStatus,
    EventStatus,
    GroupId,
    RollbackEvent,
    TargetStatus,
)
from ferryman_coordinator.errors import Conflict, NotFound
from ferryman_coordinator.links.orders import CancelOrder
from tests.support.coordinator_records import bundle
from tests.support.crashing_store import HoldingStore, held
from tests.support.engine_world import World, open_world
from tests.support.fake_agent import Gate

ON_REQUEST = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_STOP_ON_REQUEST}))


async def running(world: World, gate: Gate, at_once: int, **options: Any) -> DeploymentId:
    """A deployment with so many targets at the gate."""
    world.play(gate)
    deployment_id = await world.deploy(**options)
    await world.busy(deployment_id, gate.at, at_once)
    return deployment_id


@pytest.mark.req(
    "CP-321", "CP-322", "CP-323", "CP-326", "CP-331", "CP-332", "CP-234", "CP-236", "T58", "A19", "A35", "K20"
)
async def test_a_stop_ends_the_running_events_and_starts_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path, 6) as world:
        gate = Gate("Install")
        deployment_id = await running(world, gate, 1, config="OneAtATime")
        (busy,) = await world.busy(deployment_id, "Install")
        answer = await world.engine.stop(deployment_id, "ada")
        assert not answer.is_stopped
        assert "1 instance" in answer.message
        # Pushed, not polled for.
        await busy.until(lambda: any(isinstance(order, CancelOrder) for order in busy.orders))
        assert (await world.deployment(deployment_id)).overview == {
            TargetStatus.IN_PROGRESS: 1,
            TargetStatus.SKIPPED: 5,
        }
        gate.open()
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.STOPPED
        assert ended.record.error is not None
        assert ended.record.error.code == "MANUAL_STOP"
        assert ended.record.stop is not None
        assert ended.record.stop.by == "ada"
        assert ended.overview == {TargetStatus.FAILED: 1, TargetStatus.SKIPPED: 5}
        view = (await world.targets(deployment_id))[busy.instance_id]
        succeeded, skipped = [EventStatus.SUCCEEDED] * 4, [EventStatus.SKIPPED] * 3
        assert [event.status for event in view.events] == succeeded + skipped
        assert [event for _, event in world.ran] == [event.name for event in view.events[:4]]


@pytest.mark.req("CP-324", "CP-325")
async def test_who_cannot_be_stopped_is_refused_by_name(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        gate = Gate()
        deployment_id = await running(world, gate, 1)
        first = await world.engine.stop(deployment_id, "ada")
        again = await world.engine.stop(deployment_id, "bob")
        assert (first.is_stopped, again.is_stopped) == (False, False)
        gate.open()
        ended = await world.finished(deployment_id)
        assert ended.record.stop is not None
        assert ended.record.stop.by == "ada"
        with pytest.raises(Conflict) as completed:
            await world.engine.stop(deployment_id, "ada")
        assert completed.value.reason == "DeploymentAlreadyCompletedException"
        with pytest.raises(NotFound) as unknown:
            await world.engine.stop(DeploymentId("d-000000000"), "ada")
        assert unknown.value.reason == "DeploymentDoesNotExistException"


@pytest.mark.req("CP-330")
async def test_a_stop_that_comes_while_the_end_is_being_stored_is_refused(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, store=HoldingStore) as world:
        store = held(world.store)
        gate = Gate("ValidateService")
        deployment_id = await running(world, gate, 1)
        store.hold()
        gate.open()
        await store.arrived.wait()
        stop = asyncio.create_task(world.engine.stop(deployment_id, "ada"))
        await asyncio.sleep(0)
        store.release()
        with pytest.raises(Conflict) as refused:
            await stop
        assert refused.value.reason == "DeploymentAlreadyCompletedException"
        assert (await world.deployment(deployment_id)).record.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("CP-329", "CP-325", "T59")
@pytest.mark.parametrize(
    "settings, asked, then, is_rolled_back",
    [
        (AutoRollback(), True, None, True),
        (AutoRollback(), None, None, False),
        (ON_REQUEST, None, None, True),
        (ON_REQUEST, False, None, False),
        (ON_REQUEST, None, False, False),
        (AutoRollback(), False, True, True),
    ],
)
async def test_the_word_of_whoever_stops_wins_over_the_settings(
    tmp_path: Path, settings: AutoRollback, asked: bool | None, then: bool | None, is_rolled_back: bool
) -> None:
    async with open_world(tmp_path, 1, auto_rollback=settings) as world:
        await world.finished(await world.deploy(revision=bundle("a")))
        gate = Gate()
        deployment_id = await running(world, gate, 1, revision=bundle("b"))
        await world.engine.stop(deployment_id, "ada", auto_rollback=asked)
        if then is not None:
            await world.engine.stop(deployment_id, "ada", auto_rollback=then)
        gate.open()
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.STOPPED
        assert (ended.rollback_deployment_id is not None) is is_rolled_back


@pytest.mark.req("CP-183", "CP-153")
@pytest.mark.parametrize("code", ["DEPLOYMENT_GROUP_MISSING", "APPLICATION_MISSING"])
async def test_deleting_its_group_or_application_ends_a_deployment(tmp_path: Path, code: str) -> None:
    rollback = AutoRollback(enabled=True, events=frozenset(RollbackEvent))
    async with open_world(tmp_path, 2, auto_rollback=rollback) as world:
        await world.finished(await world.deploy(revision=bundle("a")))
        gate = Gate()
        deployment_id = await running(world, gate, 1, config="OneAtATime", revision=bundle("b"))
        await world.engine.end_scope([GroupId("group-1")], code)
        overview = (await world.deployment(deployment_id)).overview
        assert overview == {TargetStatus.IN_PROGRESS: 1, TargetStatus.SKIPPED: 1}
        gate.open()
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.FAILED
        assert ended.record.error is not None
        assert ended.record.error.code == code
        assert ended.rollback_deployment_id is None


async def test_ending_the_scope_of_others_leaves_a_deployment_alone(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        gate = Gate()
        deployment_id = await running(world, gate, 1)
        await world.engine.end_scope([GroupId("group-2")], "DEPLOYMENT_GROUP_MISSING")
        gate.open()
        assert (await world.finished(deployment_id)).record.status is DeploymentStatus.SUCCEEDED


async def test_many_stops_at_once_are_one(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3) as world:
        gate = Gate()
        deployment_id = await running(world, gate, 3)
        answers = await asyncio.gather(*(world.engine.stop(deployment_id, f"user {n}") for n in range(50)))
        assert not any(answer.is_stopped for answer in answers)
        gate.open()
        ended = await world.finished(deployment_id)
        assert ended.record.stop is not None
        assert ended.record.stop.by == "user 0"
        for agent in world.agents.values():
            assert sum(isinstance(order, CancelOrder) for order in agent.orders) == 1
