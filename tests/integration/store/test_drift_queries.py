"""What agents found installed comes back as it was, is counted, and only where it still counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from ferryman_coordinator.core.drift import DriftedFile, FileDrift, InstalledState
from ferryman_coordinator.core.inventory import Instance, InstanceKind
from ferryman_coordinator.core.model import DeploymentId, GroupId, InstanceId, Instant, TargetStatus
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.drift_records import state_row
from ferryman_coordinator.store.inventory_records import instance_row
from ferryman_coordinator.store.queries import drift
from ferryman_coordinator.store.queries.drift import DriftCount
from ferryman_coordinator.store.records import installation_row, target_row
from ferryman_coordinator.store.store import Store
from tests.integration.store.test_deployment_queries import GROUP, ONE, OTHER, TWO, created, inventory
from tests.support.clock import START
from tests.support.coordinator_records import bundle, target_record

__all__ = ["inventory"]

WEB, API, GONE = InstanceId("i-web"), InstanceId("i-api"), InstanceId("i-gone")
STATE = InstalledState(
    group_id=GROUP,
    deployment_id=ONE,
    files_checked=2**53,
    files_drifted=2,
    drifted=(
        DriftedFile(path="/srv/é", drift=FileDrift.CONTENT),
        DriftedFile(path=r"/srv/a\x00", drift=FileDrift.KIND),
    ),
    checked_at=Instant(5),
    received_at=Instant(START),
    with_digests=True,
    archive_whole=False,
    bundle_whole=True,
    error="",
)


@pytest.fixture
async def filled(inventory: Store) -> Store:
    """Two registered instances and one that is gone, all with deployment ONE of GROUP installed, changed on each."""
    batch = Batch()
    for instance_id in (WEB, API, GONE):
        instance = Instance(
            instance_id=instance_id,
            name=instance_id.removeprefix("i-"),
            kind=InstanceKind.ON_PREMISES,
            arn="",
            tags=(),
            zone="",
            registered_at=START,
            deregistered_at=START if instance_id == GONE else None,
        )
        batch.insert(tables.instances, instance_row(instance))
        batch.put(tables.installations, installed(instance_id))
        batch.put(tables.installed_states, state_row(instance_id, STATE))
    await inventory.write(batch)
    return inventory


def installed(
    instance_id: InstanceId,
    deployment_id: DeploymentId = ONE,
    outcome: TargetStatus = TargetStatus.SUCCEEDED,
    group_id: GroupId = GROUP,
) -> dict[str, object]:
    return installation_row(
        group_id,
        instance_id,
        outcome=outcome,
        revision=bundle(),
        deployment_id=deployment_id,
        at=START,
    )


async def put(store: Store, table: sa.Table, row: dict[str, object]) -> None:
    batch = Batch()
    batch.put(table, row)
    await store.write(batch)


@pytest.mark.req("AG-554")
async def test_the_newest_answer_is_kept_as_it_was(filled: Store) -> None:
    newer = replace(STATE, files_drifted=0, drifted=(), received_at=Instant(START + 1), archive_whole=True)
    await put(filled, tables.installed_states, state_row(API, newer))
    await put(filled, tables.installations, installed(InstanceId("i-silent")))
    async with filled.reading() as connection:
        found = await drift.installed(connection, GROUP)
    assert {name: one.state for name, one in found.items()} == {
        WEB: STATE,
        GONE: STATE,
        API: newer,
        "i-silent": None,
    }
    assert found[WEB].installation.last_deployment_id == ONE


@pytest.mark.req("AG-556")
async def test_registered_instances_are_counted_while_their_answer_counts(filled: Store) -> None:
    async def counts() -> tuple[DriftCount | None, int]:
        async with filled.reading() as connection:
            by_group = await drift.counts(connection, [GROUP, OTHER])
            assert OTHER not in by_group
            return by_group.get(GROUP), await drift.count_drifted(connection)

    assert await counts() == (DriftCount(checked=2, drifted=2), 2)
    await put(filled, tables.installed_states, state_row(API, replace(STATE, files_drifted=0)))
    assert await counts() == (DriftCount(checked=2, drifted=1), 1)
    # A failed deployment may have left what was there.
    await put(filled, tables.installations, installed(WEB, TWO, TargetStatus.FAILED))
    assert await counts() == (DriftCount(checked=2, drifted=1), 1)
    await put(filled, tables.installations, installed(WEB, TWO))
    assert await counts() == (DriftCount(checked=1, drifted=0), 0)


@pytest.mark.req("AG-556")
async def test_an_instance_with_changes_of_two_groups_is_one(filled: Store) -> None:
    await put(filled, tables.installations, installed(WEB, TWO, group_id=OTHER))
    await put(
        filled, tables.installed_states, state_row(WEB, replace(STATE, group_id=OTHER, deployment_id=TWO))
    )
    async with filled.reading() as connection:
        assert await drift.count_drifted(connection) == 2
        assert await drift.counts(connection, [OTHER]) == {OTHER: DriftCount(checked=1, drifted=1)}


@pytest.mark.req("AG-554")
async def test_a_group_is_the_instances_own_once_it_was_deployed_to(filled: Store) -> None:
    batch = created(TWO, OTHER)
    batch.put(tables.targets, target_row(TWO, target_record(0)))
    await filled.write(batch)
    target = target_record(0).instance_id
    async with filled.reading() as connection:
        assert await drift.own_groups(connection, WEB, [GROUP, OTHER, GroupId("none")]) == {GROUP}
        # Under way: the agent may tell of it before its last report is stored.
        assert await drift.own_groups(connection, target, [GROUP, OTHER]) == {OTHER}
        assert await drift.own_groups(connection, InstanceId("i-other"), [GROUP, OTHER]) == frozenset()
