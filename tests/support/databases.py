"""Both databases for tests of the store: an empty one each time, without the cost of making one each time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from ferryman_coordinator.store import tables
from tests.support.postgres import PostgresServer

_numbers = count(1)


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for all tests of a folder that leave its schema alone."""
    database = f"shared_{next(_numbers)}"
    postgres_server.create(database)
    yield postgres_server.url(database)
    postgres_server.drop(database)


@pytest.fixture(params=["sqlite", "postgresql"])
async def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a database without content; it may have its tables already."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/ferryman.db"
        return
    url: str = request.getfixturevalue("shared_postgres_url")
    yield url
    await _empty(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database in which nobody has been."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ferryman.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


async def _empty(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            await connection.execute(sa.delete(table))
    await engine.dispose()
