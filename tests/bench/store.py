"""Rows about the store: reports a second, each stored before its caller goes on."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa

from ferryman_coordinator.core.lifecycle import IN_PLACE
from ferryman_coordinator.core.messages import EventChanged
from ferryman_coordinator.core.model import DeploymentId, EventStatus, GroupId, Instant, TargetStatus
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.records import (
    StoredChange,
    change_row,
    deployment_row,
    event_row,
    target_row,
)
from ferryman_coordinator.store.store import Store
from tests.bench.harness import Figure, Options, row
from tests.support import postgres
from tests.support.clock import START
from tests.support.components import COMPONENTS
from tests.support.coordinator_records import event_record, rollout_record, rollout_spec, target_record

DEPLOYMENT = DeploymentId("d-000000001")
EVENTS = IN_PLACE[3:10]
CALLERS = 500
_REFERENCE_ROWS = 100
"""Reports in one transaction of the reference: about what the store puts together with so many callers."""

Rows = tuple[tuple[sa.Table, dict[str, Any]], ...]
"""What one report changes."""


@row(
    "store.reports.sqlite",
    what=f"reports stored by {CALLERS} callers that each wait for theirs, SQLite",
    unit="reports/s",
    budget=5_000,
    higher_is_better=True,
)
async def sqlite_reports(options: Options) -> Figure:
    """The reference stores the same rows with the sqlite3 module alone, a hundred reports a transaction."""
    rounds = 2 if options.quick else 56
    with tempfile.TemporaryDirectory() as directory:
        stored, details = await _stored(f"sqlite+aiosqlite:///{directory}/ferryman.db", rounds)
        await (await _prepared(f"sqlite+aiosqlite:///{directory}/reference.db")).close()
        bare = _bare_sqlite(Path(directory) / "reference.db", rounds)
    return Figure(value=stored, reference=bare, reference_name="bare sqlite3", details=details)


@row(
    "store.reports.postgresql",
    what=f"reports stored by {CALLERS} callers that each wait for theirs, PostgreSQL",
    unit="reports/s",
    budget=5_000,
    higher_is_better=True,
)
async def postgres_reports(options: Options) -> Figure:
    """The reference stores the same rows with asyncpg alone, a hundred reports a transaction."""
    rounds = 2 if options.quick else 56
    # With its durable defaults, unlike the tests' server.
    with postgres.serve(_programs(), postgres.SETTINGS) as server:
        for database in ("bench", "reference"):
            server.create(database)
        stored, details = await _stored(server.url("bench"), rounds)
        await (await _prepared(server.url("reference"))).close()
        bare = await _bare_postgres(server, rounds)
    return Figure(value=stored, reference=bare, reference_name="bare asyncpg", details=details)


async def _stored(url: str, rounds: int) -> tuple[float, dict[str, float | int | str]]:
    store = await _prepared(url)

    async def caller(reports: Sequence[Rows]) -> None:
        for report in reports:
            batch = Batch()
            for table, values in report:
                batch.put(table, values)
            await store.write(batch)

    everybody = [list(_reports(number, rounds)) for number in range(CALLERS)]
    before = store.statistics.groups
    started = time.perf_counter()
    async with asyncio.TaskGroup() as callers:
        for mine in everybody:
            callers.create_task(caller(mine))
    seconds = time.perf_counter() - started
    groups = store.statistics.groups - before
    await store.close()
    reports = CALLERS * rounds
    return reports / seconds, {
        "reports": reports,
        "transactions": groups,
        "rows_per_s": 3 * reports / seconds,
    }


async def _prepared(url: str) -> Store:
    """A store with one deployment, all of whose targets are Pending."""
    store = await Store.open(url)
    batch = Batch()
    application = {"application_id": "app", "name": "web", "compute_platform": "Server", "created_at": START}
    batch.insert(tables.applications, application)
    row = deployment_row(
        rollout_spec(DEPLOYMENT),
        rollout_record(),
        application_id="app",  # type: ignore[arg-type]
        group_id=GroupId("group"),
    )
    batch.insert(tables.deployments, row)
    for number in range(CALLERS):
        batch.put(tables.targets, target_row(DEPLOYMENT, target_record(number)))
    await store.write(batch)
    return store


def _reports(number: int, rounds: int) -> Iterator[Rows]:
    """What one target stores, report by report: each event starts and ends, the target goes on, watchers hear of it."""

    def endless() -> Iterator[Rows]:
        target = target_record(number, TargetStatus.IN_PROGRESS, deadline=Instant(START + 3_600_000))
        sequence = number * 1000
        while True:
            for name in EVENTS:
                for status in (EventStatus.IN_PROGRESS, EventStatus.SUCCEEDED):
                    sequence += 1
                    event = event_record(name, status)
                    moved = replace(target, lifecycle_event=name, updated_at=Instant(START + sequence))
                    seen = EventChanged(instance_id=target.instance_id, record=event)
                    change = StoredChange(sequence=sequence, at=START, change=seen)
                    yield (
                        (tables.targets, target_row(DEPLOYMENT, moved)),
                        (tables.target_events, event_row(DEPLOYMENT, target.instance_id, event)),
                        (tables.changes, change_row(DEPLOYMENT, change)),
                    )

    return islice(endless(), rounds)


def _transactions(rounds: int) -> list[dict[sa.Table, list[dict[str, Any]]]]:
    """The same reports, sorted into transactions and tables beforehand."""
    everything = [report for number in range(CALLERS) for report in _reports(number, rounds)]
    transactions = []
    for start in range(0, len(everything), _REFERENCE_ROWS):
        by_table: dict[sa.Table, list[dict[str, Any]]] = {}
        for report in everything[start : start + _REFERENCE_ROWS]:
            for table, values in report:
                by_table.setdefault(table, []).append(values)
        transactions.append(by_table)
    return transactions


def _bare_sqlite(path: Path, rounds: int) -> float:
    transactions = _transactions(rounds)
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    started = time.perf_counter()
    for by_table in transactions:
        connection.execute("BEGIN")
        for table, rows in by_table.items():
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(
                f"REPLACE INTO {table.name} ({', '.join(rows[0])}) VALUES ({marks})",
                [tuple(values.values()) for values in rows],
            )
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return CALLERS * rounds / seconds


async def _bare_postgres(server: postgres.PostgresServer, rounds: int) -> float:
    transactions = _transactions(rounds)
    connection = await asyncpg.connect(host=str(server.home), user=postgres.OWNER, database="reference")
    started = time.perf_counter()
    for by_table in transactions:
        async with connection.transaction():
            for table, rows in by_table.items():
                columns, keys = list(rows[0]), table.primary_key.columns.keys()
                marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
                changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
                await connection.executemany(
                    f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"
                    f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}",
                    [tuple(values.values()) for values in rows],
                )
    seconds = time.perf_counter() - started
    await connection.close()
    return CALLERS * rounds / seconds


def _programs() -> Path:
    postgresql = COMPONENTS["postgresql"]
    programs = postgresql.find()
    if programs is None:
        raise RuntimeError(f"PostgreSQL is not installed: {postgresql.install}")
    return programs
