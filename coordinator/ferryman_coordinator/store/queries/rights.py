"""Reads of what rights are about, for callers whose rights have limits."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.model import DeploymentId
from ferryman_coordinator.store.tables import (
    access_keys,
    access_tokens,
    applications,
    deployment_groups,
    deployments,
    instances,
    users,
)


async def group_of(connection: AsyncConnection, deployment_id: DeploymentId) -> tuple[str, str] | None:
    """Names of application and group, the present ones where both are still there (CP-149)."""
    present = deployment_groups.join(
        applications, applications.c.application_id == deployment_groups.c.application_id
    )
    query = (
        sa.select(
            sa.func.coalesce(applications.c.name, deployments.c.application_name),
            sa.func.coalesce(deployment_groups.c.name, deployments.c.group_name),
        )
        .select_from(deployments.outerjoin(present, deployment_groups.c.group_id == deployments.c.group_id))
        .where(deployments.c.deployment_id == deployment_id)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])


async def config_of(connection: AsyncConnection, application_name: str, group_name: str) -> str | None:
    """Name of the group's own deployment configuration; None when there is no such group."""
    query = (
        sa.select(deployment_groups.c.config_name)
        .join(applications, applications.c.application_id == deployment_groups.c.application_id)
        .where(applications.c.name == application_name, deployment_groups.c.name == group_name)
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def instance_names(connection: AsyncConnection, text: str) -> tuple[str, ...]:
    """Name and id of the instance with that id, or of the registered one with that name; none when there is none."""
    by_name = (instances.c.name == text) & instances.c.deregistered_at.is_(None)
    query = sa.select(instances.c.name, instances.c.instance_id).where(
        (instances.c.instance_id == text) | by_name
    )
    return tuple(name for row in await connection.execute(query) for name in row)


async def owner_of(connection: AsyncConnection, credential_id: str) -> str | None:
    """Name of the user whose access token or access key that is."""
    for table, column in (
        (access_tokens, access_tokens.c.token_id),
        (access_keys, access_keys.c.access_key_id),
    ):
        query = (
            sa.select(users.c.name)
            .join(table, table.c.user_id == users.c.user_id)
            .where(column == credential_id)
        )
        found: str | None = (await connection.execute(query)).scalar_one_or_none()
        if found is not None:
            return found
    return None
