"""What a store finds when it is opened, and what it says when that is not right."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from ferryman_coordinator.errors import Invalid, SetupError, StoreUnavailable
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.store import Store
from tests.support.components import require_root
from tests.support.users import let_others_in


def url_of(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def application(name: str) -> Batch:
    batch = Batch()
    row = {"application_id": name, "name": name, "compute_platform": "Server", "created_at": 1}
    batch.insert(tables.applications, row)
    return batch


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions count, for a while, although the tests run as root."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_migrations_make_the_schema_of_the_tables(fresh_url: str) -> None:
    await (await Store.open(fresh_url)).close()
    engine = create_async_engine(fresh_url)
    async with engine.connect() as connection:

        def differences(sync: sa.Connection) -> list[object]:
            context = MigrationContext.configure(sync, opts={"compare_type": True})
            return list(compare_metadata(context, tables.metadata))

        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_what_was_stored_is_there_after_a_restart(store_url: str) -> None:
    store = await Store.open(store_url)
    await store.write(application("web"))
    token = store.cursors.token(["list"], ("web",))
    await store.close()
    again = await Store.open(store_url)
    async with again.reading() as connection:
        assert (await connection.scalars(sa.select(tables.applications.c.name))).all() == ["web"]
    assert again.cursors.read(["list"], token) == ("web",)
    await again.close()


async def test_a_schema_from_a_newer_version_is_refused_with_the_way_out(fresh_url: str) -> None:
    await (await Store.open(fresh_url)).close()
    engine = create_async_engine(fresh_url)
    async with engine.begin() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()
    with pytest.raises(
        SetupError, match=r"schema 9999, made by a newer Ferryman.* install that version again"
    ):
        await Store.open(fresh_url)
    # Nothing was changed, and nothing is still locked.
    with pytest.raises(SetupError, match="newer"):
        await Store.open(fresh_url)


@pytest.mark.parametrize(
    "url, complaint",
    [
        ("mysql+aiomysql://localhost/x", "kind 'mysql'.* knows sqlite and postgresql"),
        ("not an address", "cannot read the database address"),
        ("sqlite+aiosqlite://", "names no file"),
        ("sqlite+aiosqlite:////nowhere/at/all/ferryman.db", "/nowhere/at/all does not exist"),
        ("postgresql+asyncpg://me:geheim@/x?host=/nowhere", "check the address, that the server runs"),
    ],
)
async def test_an_address_that_cannot_be_used_is_named(url: str, complaint: str) -> None:
    with pytest.raises(SetupError, match=complaint) as refused:
        await Store.open(url)
    assert "geheim" not in str(refused.value)


@pytest.mark.req("CP-427")
async def test_a_second_process_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    store = await Store.open(url_of(tmp_path / "ferryman.db"))
    program = (
        "import asyncio\n"
        "from ferryman_coordinator.store.store import Store\n"
        f"asyncio.run(Store.open({url_of(tmp_path / 'ferryman.db')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert f"SetupError: the data directory {tmp_path} is in use by process {os.getpid()}" in last
    assert "stop that coordinator first" in last
    await store.close()


@pytest.mark.req("CP-285")
async def test_one_coordinator_at_a_time_uses_a_postgresql_database(postgres_url: str) -> None:
    program = (
        "import asyncio\n"
        "from ferryman_coordinator.store.store import Store\n"
        f"asyncio.run(Store.open({postgres_url!r}))\n"
    )
    store = await Store.open(postgres_url)
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE
    )
    _, output = await second.communicate()
    last = output.decode().strip().splitlines()[-1]
    assert "is in use by another coordinator: stop that coordinator first" in last
    assert second.returncode == 1
    await store.close()
    await (await Store.open(postgres_url)).close()


@pytest.mark.req("CP-427")
async def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, signal\n"
        "from ferryman_coordinator.store.store import Store\n"
        "async def main():\n"
        f"    await Store.open({url_of(tmp_path / 'ferryman.db')!r})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    assert (tmp_path / "ferryman.db.lock").exists()
    await (await Store.open(url_of(tmp_path / "ferryman.db"))).close()


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    require_root()
    let_others_in(tmp_path)
    with (
        as_nobody(),
        pytest.raises(SetupError, match=rf"cannot write in the data directory {tmp_path}: Permission"),
    ):
        await Store.open(url_of(tmp_path / "ferryman.db"))


async def test_a_directory_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    require_root()
    directory = tmp_path / "closed" / "data"
    directory.mkdir(parents=True)
    let_others_in(directory)
    directory.parent.chmod(0o700)
    with (
        as_nobody(),
        pytest.raises(SetupError, match=rf"cannot use the data directory {directory}: Permission"),
    ):
        await Store.open(url_of(directory / "ferryman.db"))


async def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    require_root()
    let_others_in(tmp_path)
    directory = tmp_path / "data"
    directory.mkdir()
    directory.chmod(0o777)
    path = directory / "ferryman.db"
    await (await Store.open(url_of(path))).close()
    (directory / "ferryman.db.lock").unlink()
    with (
        as_nobody(),
        pytest.raises(SetupError, match=f"cannot open the database {path}: it cannot be opened"),
    ):
        await Store.open(url_of(path))


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ferryman.db"
    path.write_bytes(b"my notes, not a database" * 100)
    with pytest.raises(SetupError, match=f"cannot open the database {path}: it is not an SQLite database"):
        await Store.open(url_of(path))
    assert path.read_bytes().startswith(b"my notes")


async def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ferryman.db"
    await (await Store.open(url_of(path))).close()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 30_000)
    with pytest.raises(SetupError, match="it is damaged; restore it from a backup"):
        await Store.open(url_of(path))


async def test_the_writer_waits_for_the_disk_and_minds_parents(tmp_path: Path) -> None:
    """D10. What a power failure would lose cannot be shown here; that SQLite is told not to lose it can."""
    path = tmp_path / "ferryman.db"
    store = await Store.open(url_of(path))

    def pragmas() -> list[object]:
        with store._database._engine.connect() as connection:  # type: ignore[attr-defined]
            asked = ("journal_mode", "synchronous", "foreign_keys")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]

    assert await store._database._in_thread(pragmas) == ["wal", 2, 1]  # type: ignore[attr-defined]
    await store.write(application("web"))
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys((f"ferryman.db{end}" for end in ("", "-wal", "-shm", ".lock")), "0o600")
    await store.close()


async def test_a_full_disk_is_named_and_the_store_goes_on_when_there_is_space(tmp_path: Path) -> None:
    path = tmp_path / "ferryman.db"
    store = await Store.open(url_of(path))
    await store.write(application("before"))

    async def limit_pages(count: int) -> None:
        # SQLite answers as it does when the file system is full.
        def limit() -> None:
            with store._database._engine.connect() as connection:  # type: ignore[attr-defined]
                connection.exec_driver_sql(f"PRAGMA max_page_count={count}")

        await store._database._in_thread(limit)  # type: ignore[attr-defined]

    await limit_pages(1)
    filling = Batch()
    for number in range(2000):
        filling.put(tables.settings, {"key": f"key-{number}", "value": "x" * 100})
    with pytest.raises(StoreUnavailable, match=f"{path}: no space is left on its file system") as unavailable:
        await store.write(filling)
    assert unavailable.value.is_retryable
    await limit_pages(2**30)
    await store.write(filling)
    await store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM settings WHERE key LIKE 'key-%'").fetchone() == (
            2000,
        )
    connection.close()


@pytest.mark.req("CP-458")
async def test_page_tokens_fit_only_their_list_and_cannot_be_made_up(store: Store) -> None:
    token = store.cursors.token(["list", "a"], ("web", 3))
    assert store.cursors.read(["list", "a"], token) == ("web", 3)
    forged = ("A" if token[0] != "A" else "B") + token[1:]
    for wrong, scope in (
        (token, ["list", "b"]),
        (forged, ["list", "a"]),
        (token[:-2], ["list", "a"]),
        ("", ["list", "a"]),
        ("ü", ["list", "a"]),
        ("a", ["list", "a"]),
        (token + "=", ["list", "a"]),
    ):
        with pytest.raises(Invalid) as refused:
            store.cursors.read(scope, wrong)
        assert refused.value.reason == "InvalidNextTokenException"


@pytest.mark.parametrize("size", [-1, 1001])
async def test_a_page_size_out_of_range_is_refused(store: Store, size: int) -> None:
    async def fetch(_after: object, _limit: int) -> list[int]:
        raise AssertionError("not reached")

    with pytest.raises(Invalid, match="1 to 1000"):
        await store.cursors.page(["list"], PageRequest(size=size), fetch, lambda item: (item,))
