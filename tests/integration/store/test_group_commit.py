"""Batches are whole, guilty ones fail alone, order is kept, and many are one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from ferryman_coordinator.core.model import DeploymentId, TargetStatus
from ferryman_coordinator.errors import ConstraintBroken, NotMatched, StoreUnavailable
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.records import deployment_row, target_row
from ferryman_coordinator.store.store import Store
from tests.support.coordinator_records import rollout_record, rollout_spec, target_record

APPLICATIONS = tables.applications


def application(name: str, application_id: str = "") -> dict[str, Any]:
    return {
        "application_id": application_id or str(uuid4()),
        "name": name,
        "compute_platform": "Server",
        "created_at": 1,
    }


def inserting(*names: str) -> Batch:
    batch = Batch()
    for name in names:
        batch.insert(APPLICATIONS, application(name))
    return batch


def deploying(deployment_id: str, group: str, *targets: int) -> Batch:
    """A deployment with targets, of the application with the id `app`."""
    batch = Batch()
    row = deployment_row(rollout_spec(deployment_id), rollout_record(), application_id="app", group_id=group)  # type: ignore[arg-type] # plain strings do as ids
    batch.insert(tables.deployments, row)
    for ordinal in targets:
        batch.put(tables.targets, target_row(DeploymentId(deployment_id), target_record(ordinal)))
    return batch


async def names(store: Store) -> list[str]:
    async with store.reading() as connection:
        return list(await connection.scalars(sa.select(APPLICATIONS.c.name).order_by(APPLICATIONS.c.name)))


async def count(store: Store, table: sa.Table) -> int:
    async with store.reading() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


async def write_all(store: Store, batches: Iterable[Batch]) -> list[BaseException | None]:
    """All of them at the same moment, so that they are one group."""
    return await asyncio.gather(*(store.write(batch) for batch in batches), return_exceptions=True)


@pytest.mark.req("CP-423")
async def test_a_batch_is_stored_whole_or_not_at_all(store: Store) -> None:
    await store.write(inserting("web"))
    with pytest.raises(ConstraintBroken) as refused:
        await store.write(inserting("api", "web"))
    assert refused.value.name == tables.APPLICATION_NAME
    assert await names(store) == ["web"]


async def test_only_the_guilty_batch_of_a_group_fails(store: Store) -> None:
    batches = [inserting("a"), inserting("b", "a"), inserting("c"), inserting("d", "d"), inserting("e")]
    results = await write_all(store, batches)
    assert [type(result).__name__ for result in results] == [
        "NoneType",
        "ConstraintBroken",
        "NoneType",
        "ConstraintBroken",
        "NoneType",
    ]
    assert await names(store) == ["a", "c", "e"]
    assert store.statistics.groups == 1


async def test_many_waiting_batches_become_one_transaction(store: Store) -> None:
    assert await write_all(store, [inserting(f"app{number:03}") for number in range(200)]) == [None] * 200
    assert (store.statistics.groups, store.statistics.batches) == (1, 200)
    assert len(await names(store)) == 200


async def test_a_later_put_of_the_same_key_wins(store: Store) -> None:
    batch = Batch()
    batch.put(APPLICATIONS, application("first", "id"))
    batch.put(APPLICATIONS, application("second", "id"))
    other = Batch()
    other.put(APPLICATIONS, application("third", "id"))
    assert await write_all(store, [batch, other]) == [None, None]
    assert await names(store) == ["third"]


async def test_rows_of_one_table_keep_their_order_whatever_their_shape(store: Store) -> None:
    batch = Batch()
    batch.put(APPLICATIONS, application("a", "id"))
    batch.update(APPLICATIONS, {"application_id": "id"}, {"name": "b"})
    batch.put(APPLICATIONS, application("c", "id"))
    await store.write(batch)
    assert await names(store) == ["c"]
    again = Batch()
    again.update(APPLICATIONS, {"application_id": "id"}, {"name": "d"})
    again.put(APPLICATIONS, application("e", "id"))
    again.update(APPLICATIONS, {"application_id": "id"}, {"name": "f"})
    again.update(APPLICATIONS, {"application_id": "id"}, {"name": "g"})
    await store.write(again)
    assert await names(store) == ["g"]


async def test_parents_come_before_the_children_of_other_batches(store: Store) -> None:
    await store.write(_with_id("app"))
    results = await write_all(
        store, [deploying("d-000000001", "g1", 1, 2), deploying("d-000000002", "g2", 1)]
    )
    assert results == [None, None]
    assert await count(store, tables.targets) == 3


def _with_id(application_id: str) -> Batch:
    batch = Batch()
    batch.insert(APPLICATIONS, application(application_id, application_id))
    return batch


async def test_a_put_leaves_fixed_columns_of_a_stored_row_alone(store: Store) -> None:
    await store.write(_with_id("app"))
    await store.write(deploying("d-000000001", "g1", 4))
    moved = target_record(4, TargetStatus.IN_PROGRESS, zone="elsewhere", was_healthy=True)
    batch = Batch()
    batch.put(tables.targets, target_row(DeploymentId("d-000000001"), moved))
    await store.write(batch)
    async with store.reading() as connection:
        row = (await connection.execute(sa.select(tables.targets))).one()
    assert (row.status, row.zone, row.was_healthy) == ("InProgress", "", False)


async def test_add_keeps_what_is_there(store: Store) -> None:
    for name in ("first", "second"):
        batch = Batch()
        batch.add(APPLICATIONS, application(name, "id"))
        await store.write(batch)
    assert await names(store) == ["first"]


async def test_a_missing_parent_is_named_a_foreign_key(store: Store) -> None:
    with pytest.raises(ConstraintBroken) as refused:
        await store.write(deploying("d-000000001", "g1"))
    assert refused.value.name == "foreign_key"


async def test_deleting_an_application_takes_its_deployments_along(store: Store) -> None:
    await store.write(_with_id("app"))
    await store.write(deploying("d-000000001", "g1", 1, 2, 3))
    batch = Batch()
    batch.delete(APPLICATIONS, {"application_id": "app"})
    await store.write(batch)
    assert await count(store, tables.deployments) == 0
    assert await count(store, tables.targets) == 0


async def test_an_update_that_meets_another_number_of_rows_refuses_its_batch(store: Store) -> None:
    await store.write(inserting("web"))
    batch = inserting("api")
    batch.update(APPLICATIONS, {"name": "gone"}, {"name": "back"}, expect=1)
    with pytest.raises(NotMatched) as refused:
        await store.write(batch)
    assert refused.value.table == "applications"
    assert await names(store) == ["web"]


async def test_conditional_updates_of_one_group_see_each_other(store: Store) -> None:
    """Ten takers at the same moment, four places: exactly four get one."""
    batch = Batch()
    batch.insert(APPLICATIONS, application("places", "id") | {"created_at": 4})
    await store.write(batch)

    def taking() -> Batch:
        batch = Batch()
        left = APPLICATIONS.c.created_at
        batch.update(
            APPLICATIONS, {"application_id": "id"}, {"created_at": left - 1}, expect=1, where=[left > 0]
        )
        return batch

    results = await write_all(store, [taking() for _ in range(10)])
    assert [result is None for result in results] == [True] * 4 + [False] * 6


async def test_guards_see_what_earlier_batches_of_the_group_wrote(store: Store) -> None:
    def limited(name: str) -> Batch:
        batch = Batch()
        few = sa.select(sa.func.count() < 2).select_from(APPLICATIONS).scalar_subquery()
        batch.ensure("quota", few)
        batch.insert(APPLICATIONS, application(name))
        return batch

    results = await write_all(store, [limited(name) for name in "abcd"])
    assert [getattr(result, "name", None) for result in results] == [None, None, "quota", "quota"]
    assert await names(store) == ["a", "b"]


async def test_readers_see_one_state_while_others_write(store: Store) -> None:
    await store.write(inserting("a"))
    async with store.reading() as connection:
        query = sa.select(sa.func.count()).select_from(APPLICATIONS)
        before = await connection.scalar(query)
        await store.write(inserting("b"))
        assert await connection.scalar(query) == before == 1
    assert await names(store) == ["a", "b"]


async def test_readers_cannot_write(store: Store) -> None:
    async with store.reading() as connection:
        with pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
            await connection.execute(sa.insert(APPLICATIONS).values(application("web")))


async def test_a_batch_whose_caller_left_before_its_turn_is_not_stored(store: Store) -> None:
    first = asyncio.create_task(store.write(inserting("first")))
    await asyncio.sleep(0)
    second = asyncio.create_task(store.write(inserting("second")))
    await asyncio.sleep(0)
    second.cancel()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    await store.write(inserting("third"))
    assert await names(store) == ["first", "third"]


async def test_what_waits_is_stored_before_the_store_closes(store: Store, store_url: str) -> None:
    waiting = [asyncio.create_task(store.write(inserting(name))) for name in "abc"]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*waiting)
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write(inserting("late"))
    again = await Store.open(store_url)
    assert await names(again) == ["a", "b", "c"]
    await again.close()


async def test_a_mistake_of_the_caller_reaches_only_that_caller(store: Store) -> None:
    broken = Batch()
    broken.insert(APPLICATIONS, application("odd") | {"created_at": object()})
    results = await write_all(store, [inserting("a"), broken, inserting("b")])
    assert results[0] is results[2] is None
    assert isinstance(results[1], Exception)
    assert await names(store) == ["a", "b"]
