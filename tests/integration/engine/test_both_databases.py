"""What the engine leans on in the database, shown on PostgreSQL as well: constraints, guards, one transaction."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from ferryman_coordinator.core.model import (
    AutoRollback,
    DeploymentStatus,
    InstanceId,
    RollbackEvent,
    TargetStatus,
)
from ferryman_coordinator.errors import LimitExceeded, NotFound
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import instances
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, fresh_world
from tests.support.fake_agent import Gate, broken_revision

ON_FAILURE = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ferryman.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


async def creations(world: World, count: int, request_key: str = "") -> Counter[str]:
    order = await world.order(request_key=request_key)
    answers = await asyncio.gather(
        *(world.engine.create(order) for _ in range(count)), return_exceptions=True
    )
    return Counter(answer.reason if isinstance(answer, LimitExceeded) else str(answer) for answer in answers)


@pytest.mark.req("T80", "CP-429", "CP-230", "CP-430")
async def test_a_group_from_its_first_creation_to_a_rollback(tmp_path: Path, url: str) -> None:
    async with fresh_world(tmp_path) as world:
        world.url = url
        await world.start()
        await world.populate(2, auto_rollback=ON_FAILURE)
        world.connect()
        gate = Gate(then=broken_revision(bundle("b")))
        world.play(gate)
        # Parallel creations, and parallel repetitions of the one that was accepted.
        answers = await creations(world, 20, request_key="first")
        ((first, count),) = answers.items()
        assert count == 20
        assert (await creations(world, 20))["DeploymentLimitExceededException"] == 20
        gate.open()
        (accepted,) = await world.created()
        assert accepted == first
        assert (await world.finished(accepted)).record.status is DeploymentStatus.SUCCEEDED
        # Over a restart, to a failure and its rollback.
        failed_id = await world.deploy("OneAtATime", revision=bundle("b"))
        await world.stop()
        await world.start()
        world.connect()
        failed = await world.finished(failed_id)
        assert failed.record.status is DeploymentStatus.FAILED
        assert failed.rollback_deployment_id is not None
        rollback = await world.finished(failed.rollback_deployment_id)
        assert rollback.overview == {TargetStatus.SUCCEEDED: 2}
        assert max(Counter(world.ran).values()) == 1
        # A group that is gone takes nothing.
        order = await world.order()
        batch = Batch()
        batch.delete(tables.deployment_groups, {"group_id": "group-1"})
        await world.store.write(batch)
        with pytest.raises(NotFound):
            await world.engine.create(order)


async def test_when_an_instance_was_last_heard_is_stored(tmp_path: Path, url: str) -> None:
    async with fresh_world(tmp_path) as world:
        world.url = url
        await world.start()
        await world.populate(2)
        world.connect("mi-0")
        heard = world.clock.now()
        await world.links.keep_seen()
        async with world.store.reading() as connection:
            seen = [await instances.get(connection, InstanceId(name)) for name in ("mi-0", "mi-1")]
        assert [one.last_seen_at for one in seen if one is not None] == [heard, None]
