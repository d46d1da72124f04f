"""Reads of applications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.inventory import Application
from ferryman_coordinator.core.model import ApplicationId
from ferryman_coordinator.store.inventory_records import application_from
from ferryman_coordinator.store.queries.deployments import UNFINISHED
from ferryman_coordinator.store.tables import applications, deployments


async def find(connection: AsyncConnection, name: str) -> Application | None:
    """The application of that name."""
    row = (await connection.execute(sa.select(applications).where(applications.c.name == name))).one_or_none()
    return None if row is None else application_from(row)


async def several(connection: AsyncConnection, names: Sequence[str]) -> Mapping[str, Application]:
    """Those of these names that exist, by name."""
    rows = await connection.execute(sa.select(applications).where(applications.c.name.in_(names)))
    return {found.name: found for found in map(application_from, rows)}


async def after(connection: AsyncConnection, name: str, limit: int) -> Sequence[Application]:
    """The next applications by name."""
    query = (
        sa.select(applications).where(applications.c.name > name).order_by(applications.c.name).limit(limit)
    )
    return [application_from(row) for row in await connection.execute(query)]


def fewer_than(limit: int) -> sa.ColumnElement[bool]:
    """A guard: the quota leaves room for one more."""
    return sa.select(sa.func.count() < limit).select_from(applications).scalar_subquery()


def is_at_rest(application_id: ApplicationId) -> sa.ColumnElement[bool]:
    """A guard: no deployment of the application is unfinished."""
    return sa.not_(sa.exists().where(deployments.c.application_id == application_id, UNFINISHED))


def is_there(application_id: ApplicationId) -> sa.ColumnElement[bool]:
    """A guard: the application has not been deleted meanwhile."""
    return sa.exists().where(applications.c.application_id == application_id)
