"""After a success, those that came late get its revision, too: at most three times in a row, and without a rollback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ferryman_coordinator.core.follow_on import MOST_ROUNDS, Outdated, is_due
from ferryman_coordinator.core.group_options import GroupOptions, OutdatedInstancesStrategy
from ferryman_coordinator.core.inventory import InstanceKind
from ferryman_coordinator.core.model import Creator, DeploymentStatus, InstanceId, TargetStatus
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.inventory_records import instance_row
from ferryman_coordinator.store.queries import instances
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, fresh_world, open_world
from tests.support.fake_agent import FakeAgent, Gate, broken_revision

SCALED = GroupOptions(auto_scaling_groups=("fleet",))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ferryman.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


async def join(world: World, name: str, **of_instance: object) -> None:
    """Another machine is there, connected, with the tags of the group's."""
    async with world.store.reading() as connection:
        pattern = await instances.get(connection, InstanceId("mi-0"))
    assert pattern is not None
    made = replace(pattern, instance_id=InstanceId(name), name=name, arn=name, **of_instance)  # type: ignore[arg-type] # named by each test
    batch = Batch()
    batch.insert(tables.instances, instance_row(made))
    await world.store.write(batch)
    world.agents[name] = FakeAgent(name)
    world.connect(name)


async def launch(world: World, name: str) -> None:
    """Its provider has launched it in the autoscaling group of ours."""
    await join(world, name, kind=InstanceKind.CLOUD, tags=(), auto_scaling_group="fleet")


@pytest.mark.req("T70", "CP-410", "CP-412", "CP-302", "CP-423")
async def test_who_was_launched_meanwhile_gets_the_revision_afterwards(tmp_path: Path, url: str) -> None:
    async with fresh_world(tmp_path) as world:
        world.url = url
        await world.start()
        await world.populate(2, options=SCALED)
        world.connect()
        gate = Gate()
        world.play(gate)
        root_id = await world.deploy()
        await world.busy(root_id, "ApplicationStop", 2)
        await launch(world, "i-late")
        gate.open()
        root = await world.finished(root_id)
        assert root.overview == {TargetStatus.SUCCEEDED: 2}
        (child_id,) = root.auto_update_ids
        child = await world.finished(child_id)
        assert child.record.status is DeploymentStatus.SUCCEEDED
        assert (child.spec.creator, child.auto_update_root_id) == (Creator.AUTO_UPDATE, root_id)
        assert child.spec.update_outdated_instances_only
        assert child.spec.revision == root.spec.revision
        assert list(await world.targets(child_id)) == ["i-late"]
        assert child.record.counted == 3
        assert len(await world.created()) == 2
        group = await world.group()
        assert group.last_successful is not None
        assert group.last_successful.deployment_id == child_id


@pytest.mark.req("T71", "CP-411")
async def test_a_group_can_leave_them_as_they_are(tmp_path: Path) -> None:
    options = replace(SCALED, outdated_instances=OutdatedInstancesStrategy.IGNORE)
    async with open_world(tmp_path, 1, options=options) as world:
        gate = Gate()
        world.play(gate)
        root_id = await world.deploy()
        await world.busy(root_id, "ApplicationStop")
        await launch(world, "i-late")
        gate.open()
        assert (await world.finished(root_id)).auto_update_ids == ()


@pytest.mark.req("CP-053", "CP-414")
@pytest.mark.parametrize("catches_up", [False, True])
async def test_what_was_tagged_meanwhile_is_caught_up_only_if_the_group_says_so(
    tmp_path: Path, catches_up: bool
) -> None:
    async with open_world(tmp_path, 1, options=GroupOptions(catch_up_on_premises=catches_up)) as world:
        gate = Gate()
        world.play(gate)
        root_id = await world.deploy()
        await world.busy(root_id, "ApplicationStop")
        await join(world, "mi-late")
        gate.open()
        root = await world.finished(root_id)
        assert len(root.auto_update_ids) == catches_up
        for child_id in root.auto_update_ids:
            await world.finished(child_id)
            assert list(await world.targets(child_id)) == ["mi-late"]


@pytest.mark.req("CP-415", "CP-342")
async def test_a_follow_on_that_fails_leaves_the_root_as_it_is(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, options=SCALED) as world:
        gate = Gate()
        world.play(gate)
        root_id = await world.deploy()
        await world.busy(root_id, "ApplicationStop")
        await launch(world, "i-late")
        world.play(broken_revision(bundle("a")), "i-late")
        gate.open()
        (child_id,) = (await world.finished(root_id)).auto_update_ids
        child = await world.finished(child_id)
        assert child.record.status is DeploymentStatus.FAILED
        assert child.rollback_deployment_id is None
        assert len(await world.created()) == 2


@pytest.mark.req("CP-430")
async def test_a_follow_on_starts_although_the_coordinator_ended_at_once(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, options=SCALED) as world:
        gate = Gate()
        world.play(gate)
        root_id = await world.deploy()
        await world.busy(root_id, "ApplicationStop")
        await launch(world, "i-late")
        waiting = Gate()
        world.play(waiting, "i-late")
        gate.open()
        (child_id,) = (await world.finished(root_id)).auto_update_ids
        await world.stop()
        await world.start()
        waiting.open()
        world.connect()
        assert (await world.finished(child_id)).record.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("CP-413")
async def test_three_in_a_row_are_enough(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, options=SCALED) as world:
        late = Outdated(
            kind=InstanceKind.CLOUD,
            auto_scaling_group="fleet",
            was_silent=False,
            was_tried=False,
            is_connected=True,
        )
        spec = (await world.finished(await world.deploy())).spec
        assert [is_due(spec, rounds, [late]) for rounds in range(MOST_ROUNDS + 2)] == [True] * 3 + [False] * 2
        assert not is_due(spec, 0, [replace(late, is_connected=False)])
        assert not is_due(spec, 0, [replace(late, was_tried=True)])
        assert not is_due(spec, 0, [replace(late, auto_scaling_group="another")])
