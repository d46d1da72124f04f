"""The only way to the database: one writer that commits what is waiting as one transaction, and readers beside it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.errors import SetupError, StoreUnavailable
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Cursors
from ferryman_coordinator.store.database import Database
from ferryman_coordinator.store.postgres import PostgresDatabase
from ferryman_coordinator.store.sqlite import SqliteDatabase
from ferryman_coordinator.store.tables import settings

__all__ = ["Batch", "Store", "StoreStatistics"]

_PAGES = "pages"
"""Setting that holds the key of page tokens, in hexadecimal."""

_MOST_WRITES = 20_000
"""In one transaction, so that nobody waits long for a commit because others store much."""


@dataclass(slots=True)
class StoreStatistics:
    """Counted since the store was opened."""

    groups: int = 0
    batches: int = 0
    writes: int = 0
    refused: int = 0
    failed_groups: int = 0
    # That the groups took in all, refused and failed ones included.
    commit_seconds: float = 0.0


@dataclass(slots=True)
class _Waiting:
    batch: Batch
    stored: asyncio.Future[None]


class Store:
    """Owner of its writer task from `open` until `close`."""

    def __init__(self, database: Database, cursors: Cursors) -> None:
        """Called by `open` only; begins to write at once."""
        self.cursors = cursors
        self.statistics = StoreStatistics()
        self._database = database
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._is_closed = False
        self._writer = asyncio.create_task(self._run(), name="store-writer")

    @classmethod
    async def open(cls, url: str) -> Store:
        """Open the database at `url` and bring it to the present schema.

        `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://…`. Raises SetupError: what is wrong and what to do.
        """
        database = await _open(url)
        try:
            return cls(database, Cursors(await _page_key(database)))
        except BaseException:
            await database.close()
            raise

    async def write(self, batch: Batch) -> None:
        """Store `batch`; returns once it is committed.

        Raises ConstraintBroken or NotMatched, then nothing of it is stored, and StoreUnavailable, after which it is
        open what is stored: read again before going on. A caller that is cancelled does not know either.
        """
        if self._is_closing:
            raise StoreUnavailable("the store is closed")
        if not len(batch):
            return
        waiting = _Waiting(batch, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake.set()
        await waiting.stored

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that sees one committed state from its first statement on; raises StoreUnavailable."""
        return self._database.reading()

    async def close(self) -> None:
        """Store what is waiting, then end; safe to call twice."""
        self._is_closing = True
        self._wake.set()
        await self._writer
        if not self._is_closed:
            self._is_closed = True
            await self._database.close()

    async def _run(self) -> None:
        while self._waiting or not self._is_closing:
            if not self._waiting:
                await self._wake.wait()
                self._wake.clear()
            if group := self._next_group():
                await self._store(group)

    def _next_group(self) -> Sequence[_Waiting]:
        """What is waiting, without those whose caller has gone, and not too much of it."""
        group: list[_Waiting] = []
        writes = 0
        while self._waiting and writes < _MOST_WRITES:
            waiting = self._waiting.popleft()
            if not waiting.stored.done():
                group.append(waiting)
                writes += len(waiting.batch)
        self.statistics.writes += writes
        self.statistics.batches += len(group)
        return group

    async def _store(self, group: Sequence[_Waiting]) -> None:
        self.statistics.groups += 1
        began = time.monotonic()
        try:
            verdicts = await self._database.store([waiting.batch for waiting in group])
        except Exception as error:
            # Not only StoreUnavailable: whatever it was, the callers must hear of it and the writer must live.
            self.statistics.failed_groups += 1
            verdicts = [_copied(error) for _ in group]
        finally:
            self.statistics.commit_seconds += time.monotonic() - began
        for waiting, verdict in zip(group, verdicts, strict=True):
            if waiting.stored.done():
                continue
            if verdict is None:
                waiting.stored.set_result(None)
            else:
                self.statistics.refused += 1
                waiting.stored.set_exception(verdict)


async def _open(url: str) -> Database:
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise SetupError(
            "cannot read the database address: write sqlite+aiosqlite:///FILE or postgresql://…"
        ) from error
    match address.get_backend_name():
        case "sqlite":
            if not address.database or address.database == ":memory:":
                raise SetupError(
                    "the database address names no file: write sqlite+aiosqlite:////path/to/file"
                )
            return await SqliteDatabase.open(Path(address.database))
        case "postgresql":
            return await PostgresDatabase.open(address.set(drivername="postgresql+asyncpg"))
        case other:
            raise SetupError(f"cannot use a database of kind {other!r}: Ferryman knows sqlite and postgresql")


async def _page_key(database: Database) -> bytes:
    """The key of page tokens: made once a database, so that tokens outlive a restart and fit every coordinator."""
    batch = Batch()
    batch.insert(settings, {"key": _PAGES, "value": secrets.token_hex(32)})
    wanted = sa.select(settings.c.value).where(settings.c.key == _PAGES)
    async with database.reading() as connection:
        found = await connection.scalar(wanted)
    if found is None:
        # Where another coordinator is faster, this one is refused and takes the other's.
        await database.store([batch])
        async with database.reading() as connection:
            found = (await connection.scalars(wanted)).one()
    return bytes.fromhex(found)


def _copied(error: Exception) -> Exception:
    """One object a caller: each of them adds its own traceback when it raises it."""
    if not isinstance(error, StoreUnavailable):
        return error
    copied = StoreUnavailable(str(error))
    copied.__cause__ = error.__cause__
    return copied
