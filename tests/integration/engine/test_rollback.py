"""Automatic rollback: created with the end that caused it, started by itself, told on both sides (CP section 16)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import (
    AutoRollback,
    Creator,
    DeploymentId,
    DeploymentStatus,
    FileExistsBehavior,
    RollbackEvent,
    TargetStatus,
)
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import LimitExceeded
from ferryman_coordinator.links.orders import SegmentOrder
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.store import Store
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, open_world
from tests.support.fake_agent import Gate, broken_revision, failing

GOOD, BAD = bundle("a"), bundle("b")
ON_FAILURE = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))


async def successor(world: World, deployment: Deployment) -> Deployment:
    assert deployment.rollback_deployment_id is not None
    return await world.finished(deployment.rollback_deployment_id)


@pytest.mark.req(
    "CP-333",
    "CP-334",
    "CP-336",
    "CP-338",
    "CP-339",
    "CP-340",
    "AG-472",
    "AG-467",
    "CP-341",
    "CP-345",
    "CP-350",
    "T60",
)
async def test_a_failure_is_rolled_back_to_the_last_good_revision(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3, auto_rollback=ON_FAILURE) as world:
        first = await world.deploy(revision=GOOD, file_exists_behavior=FileExistsBehavior.RETAIN)
        await world.finished(first)
        world.play(broken_revision(BAD))
        failed_id = await world.deploy(
            "OneAtATime",
            revision=BAD,
            file_exists_behavior=FileExistsBehavior.OVERWRITE,
            adopt=True,
            description="try",
        )
        failed = await world.finished(failed_id)
        assert failed.record.status is DeploymentStatus.FAILED
        assert failed.overview == {TargetStatus.FAILED: 1, TargetStatus.SKIPPED: 2}
        rollback = await successor(world, failed)
        assert rollback.deployment_id not in (first, failed_id)
        assert rollback.rollback_triggering_deployment_id == failed_id
        assert rollback.spec.creator is Creator.ROLLBACK
        assert rollback.spec.revision == GOOD
        assert rollback.spec.file_exists_behavior is FileExistsBehavior.RETAIN
        assert failed.spec.adopt
        assert not rollback.spec.adopt, "only people take files away from another group"
        assert rollback.spec.ignore_application_stop_failures
        assert rollback.spec.config_name == failed.spec.config_name
        assert rollback.record.status is DeploymentStatus.SUCCEEDED
        # Also those that the failed deployment never touched.
        assert rollback.overview == {TargetStatus.SUCCEEDED: 3}
        orders = [
            order
            for order in world.agents["mi-0"].orders
            if isinstance(order, SegmentOrder) and order.deployment.deployment_id == rollback.deployment_id
        ]
        assert [order.deployment.deployment_creator for order in orders] == [Creator.ROLLBACK]
        assert (await world.deployment(failed_id)).record.rollback_message == "The rollback succeeded."
        assert rollback.record.rollback_message == "The rollback succeeded."
        group = await world.group()
        assert group.last_successful is not None
        assert group.last_successful.deployment_id == rollback.deployment_id


@pytest.mark.req("CP-305", "CP-345", "A22")
async def test_a_rollback_goes_to_the_members_of_now_at_the_speed_of_what_it_rolls_back(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path, 4, auto_rollback=ON_FAILURE) as world:
        for name in ("mi-2", "mi-3"):
            await world.tag(name, Tag("stage", "beta"))
        await world.finished(await world.deploy("OneAtATime", revision=GOOD))
        gate = Gate(then=broken_revision(BAD))
        world.play(gate)
        failed_id = await world.deploy("HalfAtATime", revision=BAD)
        await world.busy(failed_id, gate.at)
        await world.tag("mi-0", Tag("stage", "beta"))
        for name in ("mi-2", "mi-3"):
            await world.tag(name, Tag("stage", "production"))
        gate.open()
        failed = await world.finished(failed_id)
        assert set(await world.targets(failed_id)) == {"mi-0", "mi-1"}
        rollback = await successor(world, failed)
        assert set(await world.targets(rollback.deployment_id)) == {"mi-1", "mi-2", "mi-3"}
        # Not the group's, which is one at a time.
        assert (rollback.spec.config_name, rollback.spec.minimum) == (
            failed.spec.config_name,
            failed.spec.minimum,
        )
        assert (rollback.record.counted, rollback.record.minimum, rollback.record.concurrency) == (3, 2, 1)


@pytest.mark.req("CP-338")
async def test_both_sides_tell_how_the_rollback_goes(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, auto_rollback=ON_FAILURE) as world:
        await world.finished(await world.deploy(revision=GOOD))
        first_gate, gate = Gate(then=failing()), Gate(then=failing())
        world.play(first_gate)
        failed_id = await world.deploy(revision=BAD)
        await world.busy(failed_id, "ApplicationStop")
        world.play(gate)
        first_gate.open()
        # The agent keeps to the script that it began with, for the event that stands at the gate.
        failed = await world.finished(failed_id)
        assert failed.rollback_deployment_id is not None
        await world.until(failed.rollback_deployment_id, lambda counts: TargetStatus.IN_PROGRESS in counts)
        for side in (failed_id, failed.rollback_deployment_id):
            assert (await world.deployment(side)).record.rollback_message == "The rollback is in progress."
        gate.open()
        await successor(world, failed)
        for side in (failed_id, failed.rollback_deployment_id):
            assert (
                await world.deployment(side)
            ).record.rollback_message == "The rollback failed; it is not repeated."


@pytest.mark.req("CP-337", "T61")
async def test_a_first_deployment_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, auto_rollback=ON_FAILURE) as world:
        world.play(failing())
        failed = await world.finished(await world.deploy())
        assert failed.rollback_deployment_id is None
        assert "no successful deployment" in failed.record.rollback_message


@pytest.mark.req("CP-342", "CP-353", "T62")
async def test_a_failed_rollback_is_the_end_of_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, auto_rollback=ON_FAILURE) as world:
        await world.finished(await world.deploy(revision=GOOD))
        world.play(failing())
        # The last good revision itself fails: it is tried once more, and no more.
        failed = await world.finished(await world.deploy(revision=GOOD))
        rollback = await successor(world, failed)
        assert rollback.record.status is DeploymentStatus.FAILED
        assert rollback.rollback_deployment_id is None
        async with world.store.reading() as connection:
            assert await queries.live(connection) == []


@pytest.mark.req("CP-213", "CP-335", "T63")
@pytest.mark.parametrize(
    "of_group, own, is_rolled_back", [(ON_FAILURE, AutoRollback(), False), (AutoRollback(), ON_FAILURE, True)]
)
async def test_a_deployments_own_settings_win(
    tmp_path: Path, of_group: AutoRollback, own: AutoRollback, is_rolled_back: bool
) -> None:
    async with open_world(tmp_path, 1, auto_rollback=of_group) as world:
        await world.finished(await world.deploy(revision=GOOD))
        world.play(broken_revision(BAD))
        failed = await world.finished(await world.deploy(revision=BAD, auto_rollback=own))
        assert (failed.rollback_deployment_id is not None) is is_rolled_back


class WatchingStore(Store):
    """Looks at every committed state: how many deployments are unfinished, and which failed ones have no successor."""

    def __init__(self, *of_store: Any) -> None:
        super().__init__(*of_store)
        self.unfinished: list[int] = []
        self.orphans: list[DeploymentId] = []

    async def write(self, batch: Batch) -> None:
        await super().write(batch)
        async with self.reading() as connection:
            self.unfinished.append(await queries.count_live(connection))
            found = await queries.before(connection, queries.DeploymentFilter(), (), 10)
        known = {one.deployment_id for one in found}
        self.orphans += [
            one.deployment_id
            for one in found
            if one.record.status is DeploymentStatus.FAILED and one.rollback_deployment_id not in known
        ]


@pytest.mark.req("CP-343", "CP-416", "CP-423")
async def test_nothing_can_slip_in_between_a_failure_and_its_rollback(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, store=WatchingStore, auto_rollback=ON_FAILURE) as world:
        store = world.store
        assert isinstance(store, WatchingStore)
        await world.finished(await world.deploy(revision=GOOD))
        world.play(broken_revision(BAD))
        failed_id = await world.deploy(revision=BAD)
        order = await world.order(revision=bundle("c"))
        store.unfinished.clear()
        in_the_way: set[str] = set()

        async def push_in() -> None:
            while True:
                try:
                    await world.engine.create(order)
                    return
                except LimitExceeded as refused:
                    in_the_way.add(refused.details["deployment_id"])

        pushing = asyncio.create_task(push_in())
        failed = await world.finished(failed_id)
        rollback = await successor(world, failed)
        await pushing
        assert in_the_way == {failed_id, rollback.deployment_id}
        assert store.orphans == []
        assert max(store.unfinished) == 1
