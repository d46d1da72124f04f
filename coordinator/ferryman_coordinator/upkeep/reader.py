"""Reads of a database that a coordinator may be using: nothing is locked, nothing is migrated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from ferryman_coordinator.config import Config
from ferryman_coordinator.data_dir import DataDirectory, database_url
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.store import inline

_BUSY_MS = 5_000
_CONNECT_S = 10


@asynccontextmanager
async def reading(config: Config, directory: DataDirectory) -> AsyncIterator[AsyncConnection]:
    """Raises SetupError, also for what is read: it is of another schema, say."""
    url = sa.make_url(database_url(config, directory))

    async def sqlite() -> inline.InlineConnection:
        return inline.connect(directory.database, _BUSY_MS)

    if url.get_backend_name() == "sqlite":
        engine = create_async_engine("sqlite+aiosqlite://", async_creator=sqlite)
    else:
        url = url.set(drivername="postgresql+asyncpg")
        engine = create_async_engine(url, connect_args={"timeout": _CONNECT_S})
    shown = (
        directory.database
        if url.get_backend_name() == "sqlite"
        else f"PostgreSQL at {url.host or 'this machine'}"
    )
    try:
        async with engine.connect() as connection:
            yield connection
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise SetupError(
            f"cannot read the database {shown}: {getattr(error, 'orig', None) or error}"
        ) from error
    finally:
        await engine.dispose()
