"""PostgreSQL goes away and comes back under a running store."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store
from tests.support.postgres import OWNER, PostgresServer


def setting(key: str) -> Batch:
    batch = Batch()
    batch.put(tables.settings, {"key": key, "value": "x"})
    return batch


async def keys(store: Store) -> set[str]:
    async with store.reading() as connection:
        found = await connection.scalars(
            sa.select(tables.settings.c.key).where(tables.settings.c.key.not_in(["pages", "writer"]))
        )
        return set(found)


def sql(server: PostgresServer, text: str) -> None:
    server.run("psql", "-h", str(server.home), "-U", OWNER, "-d", "postgres", "-c", text)


async def test_a_connection_that_ended_while_idle_is_made_again(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    store = await Store.open(postgres_url)
    await store.write(setting("before"))
    assert await keys(store) == {"before"}
    name = sa.make_url(postgres_url).database
    sql(postgres_server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    await store.write(setting("after"))
    assert await keys(store) == {"before", "after"}
    await store.close()


async def test_an_outage_is_named_and_over_when_it_is_over(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    store = await Store.open(postgres_url)
    name = sa.make_url(postgres_url).database
    sql(postgres_server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    sql(postgres_server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    with pytest.raises(StoreUnavailable, match=f"{name}.* not currently accepting connections"):
        await store.write(setting("lost"))
    with pytest.raises(StoreUnavailable, match="not currently accepting connections"):
        await keys(store)
    sql(postgres_server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await store.write(setting("stored"))
    assert await keys(store) == {"stored"}
    await store.close()


@pytest.mark.req("CP-285")
async def test_who_lost_the_database_to_another_coordinator_writes_no_more(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    first = await Store.open(postgres_url)
    name = sa.make_url(postgres_url).database
    sql(postgres_server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    second = await Store.open(postgres_url)
    with pytest.raises(StoreUnavailable, match="another coordinator has taken the database"):
        await first.write(setting("while it runs"))
    await second.write(setting("second"))
    await second.close()
    # What it knows is out of date by now.
    with pytest.raises(StoreUnavailable, match="another coordinator has taken the database"):
        await first.write(setting("afterwards"))
    assert await keys(first) == {"second"}
    await first.close()
    third = await Store.open(postgres_url)
    await third.write(setting("third"))
    await third.close()
