"""The operations on both databases; see tests/support/desk.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store
from tests.support.desk import Desk
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for all tests of this folder; each finds it empty."""
    postgres_server.create("operations")
    yield postgres_server.url("operations")
    postgres_server.drop("operations")


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite+aiosqlite:///{tmp_path}/ferryman.db" if is_sqlite else ""
    store = await Store.open(url or request.getfixturevalue("shared_postgres_url"))
    yield store
    if not is_sqlite:
        batch = Batch()
        for table in tables.metadata.sorted_tables:
            batch.delete(table, {}, where=[sa.true()])
        await store.write(batch)
    await store.close()


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)
