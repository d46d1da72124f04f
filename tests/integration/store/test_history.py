"""Old history goes, and nothing that is still needed with it."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from ferryman_coordinator.core.inventory import DeploymentGroup
from ferryman_coordinator.core.messages import RolloutChanged
from ferryman_coordinator.core.model import DeploymentId, DeploymentStatus, InstanceId, Instant
from ferryman_coordinator.core.scaling import LifecycleAction, Transition
from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.history import History
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.records import (
    StoredChange,
    attempted_values,
    change_row,
    deployment_row,
    event_row,
    succeeded_values,
    target_row,
)
from ferryman_coordinator.store.scaling_records import action_row
from ferryman_coordinator.store.store import Store
from tests.support.clock import START, ManualClock
from tests.support.coordinator_records import (
    bundle,
    event_record,
    rollout_record,
    rollout_spec,
    target_record,
)
from tests.support.desk import Desk

DAY = 86_400_000
KEEP = 90 * DAY


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def group(store: Store, clock: ManualClock) -> DeploymentGroup:
    desk = Desk(store, clock=clock)
    await desk.applications.create("web")
    return (await desk.groups.create("web", "production")).group


async def deploy(
    store: Store,
    group: DeploymentGroup,
    number: int,
    status: DeploymentStatus,
    at: int,
    *,
    changes: int = 1,
    targets: int = 0,
) -> DeploymentId:
    """A deployment that was created and ended at `at`."""
    spec = rollout_spec(f"d-{number:09}")
    ended = Instant(at) if status.is_terminal else None
    record = rollout_record(status, created_at=Instant(at), completed_at=ended)
    batch = Batch()
    row = deployment_row(spec, record, application_id=group.application_id, group_id=group.group_id)
    batch.insert(tables.deployments, row)
    for sequence in range(1, changes + 1):
        change = StoredChange(sequence=sequence, at=Instant(at), change=RolloutChanged(record=record))
        batch.insert(tables.changes, change_row(spec.deployment_id, change))
    for ordinal in range(targets):
        target = target_record(ordinal)
        batch.put(tables.targets, target_row(spec.deployment_id, target))
        batch.put(
            tables.target_events, event_row(spec.deployment_id, target.instance_id, event_record("Install"))
        )
    await store.write(batch)
    return spec.deployment_id


async def kept(store: Store) -> set[DeploymentId]:
    async with store.reading() as connection:
        return {
            DeploymentId(found)
            for found in await connection.scalars(sa.select(tables.deployments.c.deployment_id))
        }


@pytest.mark.req("CP-432")
async def test_deployments_go_after_their_time_but_for_those_a_group_goes_back_to(
    store: Store, clock: ManualClock, group: DeploymentGroup
) -> None:
    succeeded, failed = DeploymentStatus.SUCCEEDED, DeploymentStatus.FAILED
    old = await deploy(store, group, 1, failed, START, targets=1201)
    good = await deploy(store, group, 2, succeeded, START)
    latest = await deploy(store, group, 3, failed, START + 1)
    younger = await deploy(store, group, 4, failed, START + DAY)
    running = await deploy(store, group, 5, DeploymentStatus.IN_PROGRESS, START)
    batch = Batch()
    pointers = attempted_values(latest) | succeeded_values(good, bundle())
    batch.update(tables.deployment_groups, {"group_id": group.group_id}, pointers)
    await store.write(batch)
    history = History(store, clock, KEEP)

    clock.advance(KEEP)
    await history.prune()
    assert await kept(store) == {old, good, latest, younger, running}
    clock.advance(1)
    await history.prune()
    assert await kept(store) == {good, latest, younger, running}
    async with store.reading() as connection:
        for table in (tables.targets, tables.target_events):
            assert await connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0
    clock.advance(2 * DAY)
    await history.prune()
    assert await kept(store) == {good, latest, running}


async def test_feeds_of_finished_deployments_shrink_to_their_newest_change(
    store: Store, clock: ManualClock, group: DeploymentGroup
) -> None:
    done = await deploy(store, group, 1, DeploymentStatus.SUCCEEDED, START, changes=12_001)
    short = await deploy(store, group, 2, DeploymentStatus.SUCCEEDED, START)
    running = await deploy(store, group, 3, DeploymentStatus.IN_PROGRESS, START, changes=50)
    history = History(store, clock, KEEP)

    async def feed(deployment_id: DeploymentId) -> list[int]:
        async with store.reading() as connection:
            found = await queries.changes_after(connection, deployment_id, 0, 20_000)
        return [change.sequence for change in found]

    clock.advance(3_600_000)
    await history.prune()
    assert len(await feed(done)) == 12_001
    clock.advance(1)
    await history.prune()
    assert await feed(done) == [12_001]
    assert await feed(short) == [1]
    assert len(await feed(running)) == 50


async def test_pruning_goes_on_every_hour_even_after_an_outage(
    store: Store, clock: ManualClock, group: DeploymentGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(store, group, 1, DeploymentStatus.FAILED, START)
    history = History(store, clock, KEEP)
    prune, rounds, done = history.prune, asyncio.Queue[int](), asyncio.Event()

    async def counted() -> None:
        rounds.put_nowait(1)
        if rounds.qsize() == 1:
            raise StoreUnavailable("the database is away")
        await prune()
        done.set()

    monkeypatch.setattr(history, "prune", counted)
    clock.advance(KEEP + 1)
    task = asyncio.create_task(history.run())
    for _ in range(3):
        await asyncio.sleep(0)
    assert (clock.next_wake, rounds.qsize()) == (clock.now() + 3_600_000, 1)
    assert len(await kept(store)) == 1
    clock.advance(3_600_000)
    async with asyncio.timeout(10):
        await done.wait()
    assert await kept(store) == set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.req("CP-432")
async def test_answers_to_autoscalers_go_after_their_time_and_those_who_wait_stay(
    store: Store, clock: ManualClock
) -> None:
    batch = Batch()
    for token, answered_at in (("old", START), ("young", START + DAY), ("waits", None)):
        action = LifecycleAction(
            auto_scaling_group="fleet",
            token=token,
            instance_id=InstanceId("i-1"),
            transition=Transition.LAUNCHING,
            created_at=START,
            heartbeat_at=START,
            answered_at=None if answered_at is None else Instant(answered_at),
        )
        batch.insert(tables.lifecycle_actions, action_row(action))
    await store.write(batch)
    clock.advance(90 * DAY + 1)
    await History(store, clock, 90 * DAY).prune()
    async with store.reading() as connection:
        left = await connection.scalars(sa.select(tables.lifecycle_actions.c.token))
        assert set(left) == {"young", "waits"}
