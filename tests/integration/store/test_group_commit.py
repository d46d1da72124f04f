"""Batches are whole, guilty ones fail alone, and order is kept."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
import sqlalchemy as sa

from ferryman_coordinator.errors import ConstraintBroken, NotMatched
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store


def application(name: str) -> dict[str, object]:
    return {"application_id": str(uuid4()), "name": name, "compute_platform": "Server", "created_at": 1}


async def names(store: Store) -> list[str]:
    async with store.reading() as connection:
        query = sa.select(tables.applications.c.name).order_by(tables.applications.c.name)
        return list(await connection.scalars(query))


def inserting(*rows: str) -> Batch:
    batch = Batch()
    for name in rows:
        batch.insert(tables.applications, application(name))
    return batch


@pytest.mark.req("CP-423")
async def test_a_batch_is_stored_whole_or_not_at_all(store: Store) -> None:
    await store.write(inserting("web"))
    with pytest.raises(ConstraintBroken) as refused:
        await store.write(inserting("api", "web"))
    assert refused.value.name == tables.APPLICATION_NAME
    assert await names(store) == ["web"]


async def test_only_the_guilty_batch_of_a_group_fails(store: Store) -> None:
    batches = [inserting("a"), inserting("b", "a"), inserting("c"), inserting("d", "d"), inserting("e")]
    results = await asyncio.gather(*(store.write(batch) for batch in batches), return_exceptions=True)
    assert [type(result) for result in results] == [
        type(None),
        ConstraintBroken,
        type(None),
        ConstraintBroken,
        type(None),
    ]
    assert await names(store) == ["a", "c", "e"]
    assert store.statistics.groups == 1
