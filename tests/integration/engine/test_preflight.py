"""What ends a deployment before its first target: no agent hears of it (CP-228, CP section 20)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import DeploymentId, DeploymentStatus, GroupId
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.store import Store
from tests.support.crashing_store import CrashingStore
from tests.support.engine_world import World, fresh_world, open_world


async def refused(world: World, config: str = "AllAtOnce", **options: Any) -> Deployment:
    """Deploy, and expect a failure that no agent has noticed."""
    ended = await world.finished(await world.deploy(config, **options))
    assert ended.record.status is DeploymentStatus.FAILED
    assert ended.record.started_at is None
    assert ended.overview == {}
    assert all(agent.orders == [] for agent in world.agents.values())
    return ended


def code(deployment: Deployment) -> str:
    assert deployment.record.error is not None
    return deployment.record.error.code


@pytest.mark.req("CP-055", "T19")
async def test_no_instance_matches(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        await world.tag("mi-0", Tag("stage", "beta"))
        assert code(await refused(world)) == "NO_INSTANCES"


@pytest.mark.req("CP-056", "T26")
async def test_deregistered_instances_are_no_members(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        batch = Batch()
        batch.update(tables.instances, {"instance_id": "mi-0"}, {"deregistered_at": world.clock.now()})
        await world.store.write(batch)
        assert code(await refused(world)) == "NO_INSTANCES"


@pytest.mark.req("CP-270", "T31", "T41")
async def test_a_minimum_that_cannot_be_kept(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        ended = await refused(world, "HalfAtATime")
        assert code(ended) == "HEALTH_CONSTRAINTS_INVALID"
        assert ended.record.error is not None
        assert "M=1, N=1" in ended.record.error.message


@pytest.mark.req("CP-229")
async def test_more_targets_than_allowed(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3, settings=EngineSettings(max_targets=2)) as world:
        ended = await refused(world)
        assert code(ended) == "OVER_MAX_INSTANCES"
        assert ended.record.error is not None
        assert "3 targets, the limit is 2" in ended.record.error.message


@asynccontextmanager
async def between_creation_and_start(
    directory: Path, meanwhile: Callable[[Batch], None] = lambda _batch: None
) -> AsyncIterator[tuple[World, DeploymentId]]:
    """The coordinator dies when a deployment is stored as Created; before the next one `meanwhile` is stored."""
    async with fresh_world(directory) as world:
        store = await CrashingStore.open(world.url)
        await world.start(store)
        await world.populate(1)
        store.die(1, is_after=True)
        with pytest.raises(StoreUnavailable):
            await world.deploy()
        await world.crashed()
        await world.stop()
        between = await Store.open(world.url)
        batch = Batch()
        meanwhile(batch)
        await between.write(batch)
        async with between.reading() as connection:
            (deployment_id,) = await queries.live(connection)
        await between.close()
        await world.start()
        world.connect()
        yield world, deployment_id


@pytest.mark.req("CP-228", "CP-183")
async def test_the_group_is_gone(tmp_path: Path) -> None:
    def delete(batch: Batch) -> None:
        batch.delete(tables.deployment_groups, {"group_id": "group-1"})

    async with between_creation_and_start(tmp_path, delete) as (world, deployment_id):
        ended = await world.finished(deployment_id)
        assert (ended.record.status, code(ended)) == (DeploymentStatus.FAILED, "DEPLOYMENT_GROUP_MISSING")
        assert world.ran == []


@pytest.mark.req("CP-228")
async def test_the_revision_is_gone(tmp_path: Path) -> None:
    def delete(batch: Batch) -> None:
        batch.delete(tables.revisions, {"application_id": "app-1"})

    async with between_creation_and_start(tmp_path, delete) as (world, deployment_id):
        ended = await world.finished(deployment_id)
        assert (ended.record.status, code(ended)) == (DeploymentStatus.FAILED, "REVISION_MISSING")
        assert world.ran == []


@pytest.mark.req("CP-430")
async def test_what_was_only_created_is_started_by_the_next_coordinator(tmp_path: Path) -> None:
    async with between_creation_and_start(tmp_path) as (world, deployment_id):
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.SUCCEEDED
        assert len(world.ran) == 7


@pytest.mark.req("CP-327", "CP-331")
async def test_a_stop_before_the_start_ends_it_at_once(tmp_path: Path) -> None:
    async with between_creation_and_start(tmp_path) as (world, deployment_id):
        # Its task has been made and has not yet had a turn.
        answer = await world.engine.stop(deployment_id, "ada")
        assert answer.is_stopped
        ended = await world.deployment(deployment_id)
        assert ended.record.status is DeploymentStatus.STOPPED
        assert code(ended) == "MANUAL_STOP"
        assert ended.record.error is not None
        assert "ada" in ended.record.error.message
        assert ended.overview == {}
        assert world.ran == []


@pytest.mark.req("CP-183")
async def test_a_deletion_before_the_start_ends_it_at_once(tmp_path: Path) -> None:
    async with between_creation_and_start(tmp_path) as (world, deployment_id):
        await world.engine.end_scope([GroupId("group-1")], "DEPLOYMENT_GROUP_MISSING")
        ended = await world.deployment(deployment_id)
        assert (ended.record.status, code(ended)) == (DeploymentStatus.FAILED, "DEPLOYMENT_GROUP_MISSING")
        assert world.ran == []
