"""Reads of custom deployment configurations; the predefined ones are not stored."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.inventory import DeploymentConfig
from ferryman_coordinator.store.inventory_records import config_from
from ferryman_coordinator.store.queries.deployments import UNFINISHED
from ferryman_coordinator.store.tables import deployment_configs, deployment_groups, deployments


async def find(connection: AsyncConnection, name: str) -> DeploymentConfig | None:
    """The custom configuration of that name."""
    query = sa.select(deployment_configs).where(deployment_configs.c.name == name)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else config_from(row)


async def after(connection: AsyncConnection, name: str, limit: int) -> Sequence[DeploymentConfig]:
    """The next custom configurations by name."""
    query = (
        sa.select(deployment_configs)
        .where(deployment_configs.c.name > name)
        .order_by(deployment_configs.c.name)
        .limit(limit)
    )
    return [config_from(row) for row in await connection.execute(query)]


async def users(connection: AsyncConnection, name: str) -> tuple[Sequence[str], Sequence[str]]:
    """Ids of the groups and of the unfinished deployments that use a configuration."""
    of_groups = sa.select(deployment_groups.c.name).where(deployment_groups.c.config_name == name)
    running = sa.select(deployments.c.deployment_id).where(deployments.c.config_name == name, UNFINISHED)
    return (await connection.scalars(of_groups)).all(), (await connection.scalars(running)).all()


def fewer_than(limit: int) -> sa.ColumnElement[bool]:
    """A guard: the quota leaves room for one more."""
    return sa.select(sa.func.count() < limit).select_from(deployment_configs).scalar_subquery()


def is_unused(name: str) -> sa.ColumnElement[bool]:
    """A guard: no group and no unfinished deployment uses the configuration (CP-133)."""
    by_group = sa.exists().where(deployment_groups.c.config_name == name)
    by_deployment = sa.exists().where(deployments.c.config_name == name, UNFINISHED)
    return sa.not_(sa.or_(by_group, by_deployment))


def is_there(name: str) -> sa.ColumnElement[bool]:
    """A guard: the custom configuration has not been deleted meanwhile."""
    return sa.exists().where(deployment_configs.c.name == name)
