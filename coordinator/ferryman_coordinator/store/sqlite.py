"""The embedded database. No statement pays for a visit to another thread, as an asynchronous driver makes one for each:

the writer has a thread of its own and does a whole group of batches in one visit there, readers do not leave theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ferryman_coordinator.errors import SetupError, StoreUnavailable
from ferryman_coordinator.keyfiles import sync_folder
from ferryman_coordinator.store import inline, migrate
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.database import FOREIGN_KEY, Group, Verdict, constraint_of
from ferryman_coordinator.store.lock import DirectoryLock
from ferryman_coordinator.store.statements import Statements

Result = TypeVar("Result")

log = structlog.get_logger(__name__)

BEFORE = ".before-upgrade-of-"
"""In the name of the copy that is kept when the schema is changed."""

_READERS = 16
_BUSY_TIMEOUT_MS = 5000

_WRITER = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}",
    # KiB. A process that has stored for a while has all of it, and what is not in it the kernel has at hand: to store
    # 125,000 reports takes no more processor time than with 64 MiB. 2 MiB take a tenth more.
    "PRAGMA cache_size=-8192",
    # 4 MiB pages of WAL between checkpoints: each one costs two fsyncs.
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA journal_size_limit=67108864",
)

_CAUSES = {
    sqlite3.SQLITE_BUSY: "another program holds it locked; end that program",
    sqlite3.SQLITE_LOCKED: "another program holds it locked; end that program",
    sqlite3.SQLITE_READONLY: "it is read-only; give this user write permission on it and its directory",
    sqlite3.SQLITE_PERM: "permission denied; give this user write permission on it and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its directory exists and this user may write there",
    sqlite3.SQLITE_IOERR: "reading or writing it failed; check the disk",
    sqlite3.SQLITE_FULL: "no space is left on its file system; free some",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database; move it away or restore it from a backup",
    sqlite3.SQLITE_NOMEM: "no memory is left",
}


class SqliteFaults:
    """See `database.Faults`."""

    def __init__(self, path: Path | str) -> None:
        self._path = path

    def is_unavailable(self, error: Exception) -> bool:
        """See `Faults.is_unavailable`."""
        return _code(error) in _CAUSES

    def constraint(self, error: sa.exc.IntegrityError) -> str:
        """See `Faults.constraint`."""
        text = str(error.orig)
        if match := re.fullmatch(r"UNIQUE constraint failed: (.+)", text):
            places = match[1].split(", ")
            columns = frozenset(place.partition(".")[2] for place in places)
            return constraint_of(places[0].partition(".")[0], columns)
        return FOREIGN_KEY if text.startswith("FOREIGN KEY") else text

    def unavailable(self, error: Exception) -> StoreUnavailable:
        """What callers get for an error that `is_unavailable`."""
        return StoreUnavailable(f"cannot use the database {self._path}: {self._cause(error)}")

    def setup(self, error: Exception) -> SetupError:
        """The same, for a coordinator that cannot start."""
        return SetupError(f"cannot open the database {self._path}: {self._cause(error)}")

    def _cause(self, error: Exception) -> str:
        original = getattr(error, "orig", None) or error
        return _CAUSES.get(_code(error) or 0, getattr(original, "strerror", None) or str(original))


class SqliteDatabase:
    """See `database.Database`."""

    def __init__(self, path: Path, lock: DirectoryLock) -> None:
        """`path` is the database file; `lock` is held, and released by `close`."""
        self._path = path
        self._lock = lock
        self._faults = SqliteFaults(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ferryman-store")
        self._engine = _writer_engine(path)
        self._statements = Statements(self._engine.dialect)
        self._readers = _reader_engine(path)

    @classmethod
    async def open(cls, path: Path) -> SqliteDatabase:
        """Lock the directory, migrate the file, make it if it is not there; raises SetupError."""
        _demand_directory(path.parent)
        lock = DirectoryLock(path.with_name(path.name + ".lock"))
        lock.take()
        database = cls(path, lock)
        try:
            await database._in_thread(database._prepare)
        except (sa.exc.DBAPIError, OSError) as error:
            await database.close()
            raise database._faults.setup(error) from error
        except BaseException:
            await database.close()
            raise
        return database

    async def store(self, batches: Sequence[Batch]) -> Sequence[Verdict]:
        """See `Database.store`."""
        try:
            return await self._in_thread(lambda: self._store(batches))
        except sa.exc.DBAPIError as error:
            raise self._faults.unavailable(error) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.reading`."""
        connection = self._readers.connect()
        try:
            await connection.start()
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise self._faults.unavailable(error) from error
        try:
            yield connection
        except sa.exc.DBAPIError as error:
            if self._faults.is_unavailable(error):
                raise self._faults.unavailable(error) from error
            raise
        finally:
            await asyncio.shield(connection.close())

    async def close(self) -> None:
        """See `Database.close`."""
        await self._readers.dispose()
        await self._in_thread(self._engine.dispose)
        self._thread.shutdown()
        self._lock.release()

    def _prepare(self) -> None:
        # What runs where is nobody else's business; SQLite gives its other files the same mode.
        if not self._path.exists():
            self._path.touch(mode=0o600)
        with self._engine.connect() as connection:
            with connection.begin():
                schema = migrate.present(connection)
            if schema is not None and migrate.is_due(schema):
                self._keep_former(schema)
            migrate.upgrade(connection)

    def _keep_former(self, schema: str) -> None:
        """A copy of the database as the older version knows it, in the place of the copy before an earlier upgrade."""
        kept = self._path.with_name(f"{self._path.name}{BEFORE}{schema}")
        temporary = kept.with_name(f".{kept.name}.new")
        try:
            temporary.unlink(missing_ok=True)
            temporary.touch(mode=0o600)
            with (
                contextlib.closing(sqlite3.connect(self._path)) as source,
                contextlib.closing(sqlite3.connect(temporary)) as copy,
            ):
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
            temporary.replace(kept)
            sync_folder(kept.parent)
            for other in self._path.parent.glob(f"{self._path.name}{BEFORE}*"):
                if other != kept:
                    other.unlink()
        except (sqlite3.Error, OSError) as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise SetupError(
                f"cannot keep a copy of the database {self._path} before its schema is changed:"
                f" {self._faults._cause(error)}; nothing was changed"
            ) from error
        log.info("store.copy_kept", schema=schema, file=str(kept))

    def _store(self, batches: Sequence[Batch]) -> Sequence[Verdict]:
        with self._engine.connect() as connection:
            return Group(self._statements, self._faults, batches).store(connection)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _writer_engine(path: Path) -> sa.Engine:
    # One connection for good, always used by the writer's own thread.
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=sa.pool.StaticPool,
        connect_args={"check_same_thread": False},
    )
    begin_for_real(engine, _WRITER)
    return engine


def _reader_engine(path: Path) -> AsyncEngine:
    async def creator() -> inline.InlineConnection:
        return inline.connect(path, _BUSY_TIMEOUT_MS)

    return create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(path)),
        async_creator=creator,
        pool_size=_READERS,
        max_overflow=2 * _READERS,
    )


def begin_for_real(engine: sa.Engine, pragmas: Sequence[str]) -> None:
    """Let transactions begin where SQLAlchemy says so: sqlite3 alone begins them at the first write only."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")


def _demand_directory(path: Path) -> None:
    try:
        is_there = path.is_dir()
    except OSError as error:
        raise SetupError(
            f"cannot use the data directory {path}: {error.strerror}; start the coordinator as the user who owns it"
        ) from error
    if not is_there:
        raise SetupError(f"the data directory {path} does not exist: make it, or choose another one")


def _code(error: Exception) -> int | None:
    """SQLite's primary result code, None where the error has none."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
