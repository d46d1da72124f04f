"""Deployments that wait: for the one before them in their group, or for room among all that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_coordinator.core.group_options import GroupOptions, QueueMode
from ferryman_coordinator.core.model import AutoRollback, DeploymentId, DeploymentStatus, RollbackEvent
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.errors import Conflict, LimitExceeded
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, fresh_world, open_world
from tests.support.fake_agent import Gate, broken_revision

FIFO = GroupOptions(queue=QueueMode.FIFO)
NEWEST = GroupOptions(queue=QueueMode.NEWEST)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ferryman.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


async def status(world: World, deployment_id: DeploymentId) -> DeploymentStatus:
    return (await world.deployment(deployment_id)).record.status


@pytest.mark.req("T28", "CP-419", "CP-416", "CP-429", "A25", "K5")
async def test_deployments_of_a_group_run_one_after_another(tmp_path: Path, url: str) -> None:
    async with fresh_world(tmp_path) as world:
        world.url = url
        await world.start()
        await world.populate(2, options=FIFO)
        world.connect()
        gate = Gate()
        world.play(gate)
        first = await world.deploy(revision=bundle("a"))
        second = await world.deploy(revision=bundle("b"))
        third = await world.deploy(revision=bundle("c"))
        assert [await status(world, one) for one in (second, third)] == [DeploymentStatus.QUEUED] * 2
        gate.open()
        ends = [await world.finished(one) for one in (first, second, third)]
        assert {end.record.status for end in ends} == {DeploymentStatus.SUCCEEDED}
        started = [end.record.started_at for end in ends]
        completed = [end.record.completed_at for end in ends]
        assert all(None not in pair for pair in zip(started, completed, strict=True))
        assert ends[0].record.completed_at <= ends[1].record.started_at  # type: ignore[operator] # not None
        assert ends[1].record.completed_at <= ends[2].record.started_at  # type: ignore[operator] # not None
        # A rollback of the last one would go back to what succeeded while it waited (CP-336).
        assert ends[2].spec.last_good is not None
        assert ends[2].spec.last_good.deployment_id == second
        assert (await world.group()).last_successful is not None


@pytest.mark.req("CP-225", "CP-419")
async def test_a_group_without_a_queue_refuses_the_second_one(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        world.play(Gate())
        first = await world.deploy()
        with pytest.raises(LimitExceeded, match=first):
            await world.deploy()


@pytest.mark.req("CP-327")
async def test_a_queued_deployment_can_be_stopped_and_is_not_rolled_back(tmp_path: Path) -> None:
    on_stop = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_STOP_ON_REQUEST}))
    async with open_world(tmp_path, 1, options=FIFO, auto_rollback=on_stop) as world:
        await world.finished(await world.deploy())
        gate = Gate()
        world.play(gate)
        running = await world.deploy(revision=bundle("b"))
        await world.busy(running, "ApplicationStop")
        waiting = await world.deploy(revision=bundle("c"))
        answer = await world.engine.stop(waiting, "eva")
        assert answer.is_stopped
        stopped = await world.deployment(waiting)
        assert stopped.record.status is DeploymentStatus.STOPPED
        assert stopped.rollback_deployment_id is None
        assert "queued" in stopped.record.rollback_message
        assert await status(world, running) is DeploymentStatus.IN_PROGRESS
        gate.open()
        assert (await world.finished(running)).record.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("CP-419")
async def test_the_newest_one_stands_for_those_that_wait(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, options=NEWEST) as world:
        gate = Gate()
        world.play(gate)
        running = await world.deploy(revision=bundle("a"))
        older = await world.deploy(revision=bundle("b"))
        newer = await world.deploy(revision=bundle("c"))
        stopped = await world.finished(older)
        assert stopped.record.status is DeploymentStatus.STOPPED
        assert stopped.record.error is not None
        assert newer in stopped.record.error.message
        gate.open()
        assert (await world.finished(running)).record.status is DeploymentStatus.SUCCEEDED
        assert (await world.finished(newer)).record.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("CP-416", "CP-343")
async def test_a_rollback_goes_before_what_is_queued(tmp_path: Path) -> None:
    on_failure = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))
    async with open_world(tmp_path, 1, options=FIFO, auto_rollback=on_failure) as world:
        await world.finished(await world.deploy(revision=bundle("a")))
        gate = Gate(then=broken_revision(bundle("b")))
        world.play(gate)
        broken = await world.deploy(revision=bundle("b"))
        queued = await world.deploy(revision=bundle("c"))
        gate.open()
        failed = await world.finished(broken)
        assert failed.rollback_deployment_id is not None
        rollback = await world.finished(failed.rollback_deployment_id)
        last = await world.finished(queued)
        assert (rollback.record.status, last.record.status) == (DeploymentStatus.SUCCEEDED,) * 2
        assert rollback.record.completed_at is not None
        assert last.record.started_at is not None
        assert rollback.record.completed_at <= last.record.started_at


@pytest.mark.req("CP-419", "CP-430")
async def test_a_queue_outlives_the_coordinator(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, options=FIFO) as world:
        gate = Gate()
        world.play(gate)
        ids = [await world.deploy(revision=bundle(letter)) for letter in "abc"]
        assert await world.stop() == []
        await world.start()
        world.connect()
        assert [await status(world, one) for one in ids[1:]] == [DeploymentStatus.QUEUED] * 2
        gate.open()
        ends = [await world.finished(one) for one in ids]
        assert {end.record.status for end in ends} == {DeploymentStatus.SUCCEEDED}
        began = [end.record.started_at for end in ends]
        assert began == sorted(began, key=lambda at: at or 0)


@pytest.mark.req("CP-420")
async def test_a_deployment_waits_until_running_ones_leave_room(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3, settings=EngineSettings(max_instances=4)) as world:
        # Another deployment's instances, as far as the quota is concerned.
        room = world.engine._around.room
        room.hold(DeploymentId("d-OTHER0000"), 2)
        waiting = await world.deploy()
        async for update in world.engine.feed.watch(waiting):
            if (await status(world, waiting)) is DeploymentStatus.QUEUED:
                break
            del update
        assert (
            "limits.instances_in_running_deployments" in (await world.deployment(waiting)).record.messages[0]
        )
        room.free(DeploymentId("d-OTHER0000"))
        assert (await world.finished(waiting)).record.status is DeploymentStatus.SUCCEEDED
        assert room.taken == 0


@pytest.mark.req("CP-231", "K5")
async def test_a_creation_that_is_older_than_the_last_one_is_refused(tmp_path: Path, url: str) -> None:
    async with fresh_world(tmp_path) as world:
        world.url = url
        await world.start()
        await world.populate(1)
        world.connect()
        await world.finished(await world.deploy(sequence=41))
        for sequence in (41, 7):
            with pytest.raises(Conflict, match="sequence 41 was accepted") as refused:
                await world.deploy(sequence=sequence)
            assert refused.value.reason == "DeploymentSequenceTooLowException"
        await world.finished(await world.deploy())
        await world.finished(await world.deploy(sequence=42))
        assert len(await world.created()) == 3
