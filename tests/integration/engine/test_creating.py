"""Taking in deployments: one unfinished one a group, each request once, nothing half done."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from ferryman_coordinator.core.model import DeploymentStatus, TargetStatus
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.errors import LimitExceeded, NotFound, StoreUnavailable
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, open_world
from tests.support.fake_agent import PATIENCE_SECONDS, Gate


async def outcomes(world: World, count: int, request_key: str = "") -> Counter[str]:
    """What so many creations at the same moment come to: ids, and reasons of refusals."""
    order = await world.order(request_key=request_key)
    answers = await asyncio.gather(
        *(world.engine.create(order) for _ in range(count)), return_exceptions=True
    )
    return Counter(answer.reason if isinstance(answer, LimitExceeded) else str(answer) for answer in answers)


@pytest.mark.req("T80", "CP-429", "CP-416", "CP-225")
async def test_of_a_hundred_creations_at_once_exactly_one_is_accepted(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        gate = Gate()
        world.play(gate)
        answers = await outcomes(world, 100)
        (accepted,) = await world.created()
        assert answers == {accepted: 1, "DeploymentLimitExceededException": 99}
        gate.open()
        await world.finished(accepted)


@pytest.mark.req("T80", "CP-429")
async def test_two_engines_over_one_database_accept_one_creation_between_them(tmp_path: Path) -> None:
    """What neither remembers, the database refuses. Nothing else of two coordinators is built."""
    async with open_world(tmp_path, 1) as world:
        gate = Gate()
        world.play(gate)
        other = World(tmp_path, seed=8)
        await other.start(world.store)
        try:
            both = await asyncio.gather(outcomes(other, 50), outcomes(world, 50))
            (accepted,) = await world.created()
            assert sum(both, Counter()) == {accepted: 1, "DeploymentLimitExceededException": 99}
        finally:
            await other.halt()
        gate.open()


@pytest.mark.req("CP-230")
async def test_repetitions_at_once_all_get_the_first_ones_id(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        gate = Gate()
        world.play(gate)
        answers = await outcomes(world, 50, request_key="pipeline-17")
        (accepted,) = await world.created()
        assert answers == {accepted: 50}
        gate.open()
        await world.finished(accepted)
        # Also when it is over long since, and after a restart.
        assert await outcomes(world, 1, request_key="pipeline-17") == {accepted: 1}
        await world.stop()
        await world.start()
        assert await outcomes(world, 1, request_key="pipeline-17") == {accepted: 1}


@pytest.mark.req("CP-225", "T27", "K26")
async def test_a_refusal_names_the_group_and_the_deployment_in_the_way(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        world.play(Gate())
        active = await world.deploy()
        with pytest.raises(LimitExceeded) as refused:
            await world.deploy()
        assert refused.value.reason == "DeploymentLimitExceededException"
        assert "production" in refused.value.message
        assert active in refused.value.message
        assert refused.value.details == {"deployment_id": active}
        assert await world.created() == [active]


@pytest.mark.req("CP-226")
async def test_the_coordinator_takes_so_many_deployments_and_no_more(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, settings=EngineSettings(max_deployments=0)) as world:
        with pytest.raises(LimitExceeded, match=r"limits\.concurrent_deployments") as refused:
            await world.deploy()
        assert refused.value.reason == "DeploymentLimitExceededException"
        assert await world.created() == []


async def test_a_group_that_was_deleted_meanwhile_takes_no_deployment(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        order = await world.order()
        batch = Batch()
        batch.delete(tables.deployment_groups, {"group_id": "group-1"})
        await world.store.write(batch)
        with pytest.raises(NotFound) as refused:
            await world.engine.create(order)
        assert refused.value.reason == "DeploymentGroupDoesNotExistException"
        assert await world.created() == []


async def test_a_success_that_comes_in_between_is_in_the_snapshot(tmp_path: Path) -> None:
    """The order was checked while another deployment of the group was about to succeed."""
    async with open_world(tmp_path, 1) as world:
        order = await world.order(revision=bundle("b"))
        first = await world.deploy(revision=bundle("a"))
        await world.finished(first)
        second = await world.finished(await world.engine.create(order))
        assert second.spec.last_good is not None
        assert second.spec.last_good.deployment_id == first


async def test_a_caller_who_goes_away_leaves_nothing_half_done(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        order = await world.order()
        caller = asyncio.create_task(world.engine.create(order))
        # It begins, and is gone long before anything can be stored.
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := await world.created()):
                pass
        (accepted,) = found
        ended = await world.finished(accepted)
        assert ended.record.status is DeploymentStatus.SUCCEEDED


class LostCommit(Store):
    """Loses the connection over a commit: it is stored, and the caller is told that nobody knows."""

    is_losing = False

    async def write(self, batch: Batch) -> None:
        await super().write(batch)
        if self.is_losing:
            self.is_losing = False
            raise StoreUnavailable("the connection was lost")


async def test_a_creation_that_was_stored_after_all_is_started(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, store=LostCommit) as world:
        store = world.store
        assert isinstance(store, LostCommit)
        order = await world.order(request_key="once")
        store.is_losing = True
        with pytest.raises(StoreUnavailable):
            await world.engine.create(order)
        # What a client does then: it repeats its request.
        deployment_id = await world.engine.create(order)
        assert await world.created() == [deployment_id]
        assert (await world.finished(deployment_id)).overview == {TargetStatus.SUCCEEDED: 1}
