"""PostgreSQL through asyncpg."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from ferryman_coordinator.errors import SetupError, StoreUnavailable
from ferryman_coordinator.store import migrate
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.database import FOREIGN_KEY, Group, Verdict
from ferryman_coordinator.store.statements import Statements

_READERS = 8

_UNAVAILABLE = ("08", "25", "53", "57", "58", "XX")
"""Classes of SQLSTATE: connection, transaction state (read-only), resources, operator, system, internal errors."""


class PostgresFaults:
    """See `database.Faults`."""

    def __init__(self, url: sa.URL) -> None:
        # Without the password.
        self._where = url.render_as_string(hide_password=True)

    def is_unavailable(self, error: Exception) -> bool:
        """See `Faults.is_unavailable`."""
        if isinstance(error, OSError | TimeoutError):
            return True
        if not isinstance(error, sa.exc.DBAPIError):
            return False
        return error.connection_invalidated or _state(error).startswith(_UNAVAILABLE)

    def constraint(self, error: sa.exc.IntegrityError) -> str:
        """See `Faults.constraint`."""
        name = getattr(getattr(error.orig, "__cause__", None), "constraint_name", None)
        return FOREIGN_KEY if not name or _state(error) == "23503" else str(name)

    def unavailable(self, error: Exception) -> StoreUnavailable:
        """What callers get for an error that `is_unavailable`."""
        return StoreUnavailable(f"cannot use the database {self._where}: {_first_line(error)}")

    def setup(self, error: Exception) -> SetupError:
        """The same, for a coordinator that cannot start."""
        return SetupError(
            f"cannot open the database {self._where}: {_first_line(error)}; "
            "check the address, that the server runs, and that this user may create tables there"
        )


class PostgresDatabase:
    """See `database.Database`."""

    def __init__(self, url: sa.URL) -> None:
        self._faults = PostgresFaults(url)
        self._writer = create_async_engine(url, pool_size=1, max_overflow=0)
        self._readers = create_async_engine(
            url,
            pool_size=_READERS,
            max_overflow=_READERS,
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ",
            connect_args={"server_settings": {"default_transaction_read_only": "on"}},
        )
        self._statements = Statements(self._writer.dialect)

    @classmethod
    async def open(cls, url: sa.URL) -> PostgresDatabase:
        """Connect and migrate; raises SetupError."""
        database = cls(url)
        try:
            async with database._writer.connect() as connection:
                await connection.run_sync(migrate.upgrade)
        except (sa.exc.DBAPIError, OSError) as error:
            await database.close()
            raise database._faults.setup(error) from error
        except BaseException:
            await database.close()
            raise
        return database

    async def store(self, batches: Sequence[Batch]) -> Sequence[Verdict]:
        """See `Database.store`."""
        group = Group(self._statements, self._faults, batches)
        try:
            return await self._attempt(group)
        except sa.exc.DBAPIError as error:
            if not error.connection_invalidated or group.is_committing:
                raise self._faults.unavailable(error) from error
        except OSError as error:
            raise self._faults.unavailable(error) from error
        # The connection had ended while nobody used it. Nothing was committed, so a fresh one may try again.
        try:
            return await self._attempt(Group(self._statements, self._faults, batches))
        except (sa.exc.DBAPIError, OSError) as error:
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
        except (sa.exc.DBAPIError, OSError) as error:
            if self._faults.is_unavailable(error):
                raise self._faults.unavailable(error) from error
            raise
        finally:
            await asyncio.shield(connection.close())

    async def close(self) -> None:
        """See `Database.close`."""
        await self._readers.dispose()
        await self._writer.dispose()

    async def _attempt(self, group: Group) -> Sequence[Verdict]:
        async with self._writer.connect() as connection:
            return await connection.run_sync(group.store)


def _state(error: sa.exc.DBAPIError) -> str:
    """The SQLSTATE, empty where there is none."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def _first_line(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    return str(original).partition("\n")[0].rpartition(">: ")[2] or type(original).__name__
