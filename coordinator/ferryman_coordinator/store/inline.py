"""SQLite connections for reading, as SQLAlchemy wants asynchronous ones, that do their work on the spot.

aiosqlite hands each of the ten or so driver calls of one read to a thread and back: 0.7 ms of processor time around a
look-up of 20 µs. A WAL reader waits for nobody, so the event loop is better off doing it at once. What reads
very many rows lets others have a turn in between (`queries.pace`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class InlineConnection:
    """Looks to SQLAlchemy's aiosqlite dialect like a connection of aiosqlite; stays in the thread that made it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        # The name by which the dialect asks whether it is open.
        self._connection: sqlite3.Connection | None = connection
        self._open = connection

    @property
    def isolation_level(self) -> str | None:
        return self._open.isolation_level

    def cursor(self) -> InlineCursor:
        return InlineCursor(self._open.cursor())

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        self._open.create_function(*arguments, **options)

    async def commit(self) -> None:
        self._open.commit()

    async def rollback(self) -> None:
        self._open.rollback()

    async def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        self._connection = None
        self._open.close()


class InlineCursor:
    """Like a cursor of aiosqlite."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    async def __aenter__(self) -> InlineCursor:
        return self

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> InlineCursor:
        connection = self._cursor.connection
        if not connection.in_transaction:
            # The reader sees one state from its first statement until SQLAlchemy rolls back.
            connection.execute("BEGIN")
        self._cursor.execute(sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> InlineCursor:
        self._cursor.executemany(sql, parameters)
        return self

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()


def connect(path: Path, busy_timeout_ms: int) -> InlineConnection:
    """Open `path`, which must exist, for reading and nothing else."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(address, timeout=busy_timeout_ms / 1000, isolation_level=None, uri=True)
    return InlineConnection(connection)
