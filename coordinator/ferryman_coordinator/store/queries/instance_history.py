"""Reads of what was deployed to one instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.model import DeploymentId, DeploymentStatus, InstanceId, Instant, TargetStatus
from ferryman_coordinator.store.tables import applications, deployment_groups, deployments, targets


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDeployment:
    """A deployment, and how it went on this instance. Names follow renames while what they name is there (CP-149)."""

    deployment_id: DeploymentId
    application_name: str
    group_name: str
    creator: str
    deployment_status: DeploymentStatus
    created_at: Instant
    status: TargetStatus
    started_at: Instant | None
    ended_at: Instant | None


async def before(
    connection: AsyncConnection, instance_id: InstanceId, key: tuple[Any, ...], limit: int
) -> Sequence[InstanceDeployment]:
    """The next ones, newest first; `key` is creation time and id of the last one seen, or empty."""
    order = (deployments.c.created_at, deployments.c.deployment_id)
    query = (
        sa.select(
            deployments.c.deployment_id,
            deployments.c.creator,
            deployments.c.status.label("deployment_status"),
            deployments.c.created_at,
            sa.func.coalesce(applications.c.name, deployments.c.application_name).label("application_name"),
            sa.func.coalesce(deployment_groups.c.name, deployments.c.group_name).label("group_name"),
            targets.c.status,
            targets.c.started_at,
            targets.c.completed_at,
        )
        .join(deployments, deployments.c.deployment_id == targets.c.deployment_id)
        .outerjoin(applications, applications.c.application_id == deployments.c.application_id)
        .outerjoin(deployment_groups, deployment_groups.c.group_id == deployments.c.group_id)
        .where(targets.c.instance_id == instance_id)
        .order_by(*(column.desc() for column in order))
        .limit(limit)
    )
    if key:
        query = query.where(sa.tuple_(*order) < sa.tuple_(*key))
    return [_deployment(row) for row in await connection.execute(query)]


def _deployment(row: Any) -> InstanceDeployment:
    return InstanceDeployment(
        deployment_id=DeploymentId(row.deployment_id),
        application_name=row.application_name,
        group_name=row.group_name,
        creator=row.creator,
        deployment_status=DeploymentStatus(row.deployment_status),
        created_at=row.created_at,
        status=TargetStatus(row.status),
        started_at=row.started_at,
        ended_at=row.completed_at,
    )
