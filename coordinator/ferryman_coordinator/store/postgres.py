"""PostgreSQL through asyncpg. One coordinator writes to a database (CP-285).

Its writing session holds a lock of the server's, which goes away with the session, however that ends. One that had to
make a new session writes only if nobody else did in between: what it knows would be out of date.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from ferryman_coordinator.errors import SetupError, StoreUnavailable
from ferryman_coordinator.store import migrate
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.database import FOREIGN_KEY, Group, Verdict
from ferryman_coordinator.store.statements import Statements
from ferryman_coordinator.store.tables import settings

_READERS = 8

_HELD = "55P03"
"""SQLSTATE of a lock that was not given up in time."""

_UNAVAILABLE = ("08", "25", "53", "57", "58", "XX", _HELD)
"""Classes of SQLSTATE: connection, transaction state (read-only), resources, operator, system, internal errors."""

_WRITER = 0x466572727977
"""Key of the advisory lock of the coordinator that writes."""

# The server needs a moment to notice that the session before has ended.
_TAKE_WRITER = ("SET LOCAL lock_timeout = '2s'", f"SELECT pg_advisory_lock({_WRITER})")

_LAST_WRITER = "writer"
"""Setting that says who wrote last; each coordinator that starts draws a name for itself."""

_READ_LAST_WRITER = "SELECT value FROM settings WHERE key = 'writer'"

# So that a host that is gone does not hold the lock for hours.
_NOTICE_LOSS = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


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
        if isinstance(error, _Superseded) or (
            isinstance(error, sa.exc.DBAPIError) and _state(error) == _HELD
        ):
            return StoreUnavailable(
                f"another coordinator has taken the database {self._where}: stop one of them, start the other again"
            )
        return StoreUnavailable(f"cannot use the database {self._where}: {_first_line(error)}")

    def setup(self, error: Exception) -> SetupError:
        """The same, for a coordinator that cannot start."""
        if isinstance(error, sa.exc.DBAPIError) and _state(error) == _HELD:
            return SetupError(
                f"the database {self._where} is in use by another coordinator: stop that coordinator first, "
                "or give this one a database of its own"
            )
        return SetupError(
            f"cannot open the database {self._where}: {_first_line(error)}; "
            "check the address, that the server runs, and that this user may create tables there"
        )


class PostgresDatabase:
    """See `database.Database`."""

    def __init__(self, url: sa.URL) -> None:
        self._faults = PostgresFaults(url)
        self._writer = create_async_engine(
            url, pool_size=1, max_overflow=0, connect_args={"server_settings": _NOTICE_LOSS}
        )
        self._name = ""
        sa.event.listen(self._writer.sync_engine, "connect", self._take_writer)
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
                await connection.run_sync(database._sign)
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
        except (OSError, _Superseded) as error:
            raise self._faults.unavailable(error) from error
        # The connection had ended while nobody used it. Nothing was committed, so a fresh one may try again.
        try:
            return await self._attempt(Group(self._statements, self._faults, batches))
        except (sa.exc.DBAPIError, OSError, _Superseded) as error:
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

    def _take_writer(self, session: Any, _record: object) -> None:
        """For each new writing session. Any: drivers have no common type."""
        cursor = session.cursor()
        try:
            for statement in _TAKE_WRITER:
                cursor.execute(statement)
            if self._name:
                cursor.execute(_READ_LAST_WRITER)
                if cursor.fetchone() != (self._name,):
                    raise _Superseded
            cursor.close()
            # The lock is the session's and outlives this; the time-out does not.
            session.commit()
        except BaseException:
            # The pool would leave it open, and with it the lock.
            session.terminate()
            raise

    def _sign(self, connection: sa.Connection) -> None:
        name = secrets.token_hex(16)
        with connection.begin():
            connection.execute(sa.delete(settings).where(settings.c.key == _LAST_WRITER))
            connection.execute(sa.insert(settings), {"key": _LAST_WRITER, "value": name})
        self._name = name

    async def _attempt(self, group: Group) -> Sequence[Verdict]:
        async with self._writer.connect() as connection:
            return await connection.run_sync(group.store)


class _Superseded(Exception):
    """Somebody else wrote since this coordinator did."""


def _state(error: sa.exc.DBAPIError) -> str:
    """The SQLSTATE, empty where there is none."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def _first_line(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    return str(original).partition("\n")[0].rpartition(">: ")[2] or type(original).__name__
