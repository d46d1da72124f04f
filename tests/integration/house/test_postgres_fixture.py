"""Our PostgreSQL for tests: each test has an empty database of its own."""

import asyncpg


async def _fill(url: str) -> int:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute("CREATE TABLE rows (n int)")
        await connection.execute("INSERT INTO rows VALUES (1)")
        return int(await connection.fetchval("SELECT count(*) FROM rows"))
    finally:
        await connection.close()


async def test_first_use(postgres_url: str) -> None:
    assert await _fill(postgres_url) == 1


async def test_second_use_finds_nothing_of_the_first(postgres_url: str) -> None:
    assert await _fill(postgres_url) == 1
