"""Reads all that it takes to go on with a stored deployment, as of one moment."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.inventory import Deployment, LifecycleState
from ferryman_coordinator.core.model import DeploymentId, InstanceId, RolloutRecord, TargetStatus
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.queries import deployments
from ferryman_coordinator.store.queries.deployments import LoadedRollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    deployment: Deployment
    rollout: LoadedRollout
    # What the group attempted before this one.
    most_recent: DeploymentId | None
    # Instances with an open target that their autoscaling groups end.
    ending: tuple[InstanceId, ...]
    # Of the deployment that this one rolls back.
    triggering: RolloutRecord | None


async def load(connection: AsyncConnection, deployment_id: DeploymentId) -> Loaded | None:
    """None when there is no such deployment."""
    deployment = await deployments.get(connection, deployment_id)
    rollout = await deployments.load_rollout(connection, deployment_id)
    if deployment is None or rollout is None:
        return None
    triggering = None
    if deployment.rollback_triggering_deployment_id is not None:
        triggering = await deployments.get(connection, deployment.rollback_triggering_deployment_id)
    return Loaded(
        deployment=deployment,
        rollout=rollout,
        most_recent=await _before(connection, deployment),
        ending=await _ending(connection, deployment_id),
        triggering=None if triggering is None else triggering.record,
    )


async def _before(connection: AsyncConnection, deployment: Deployment) -> DeploymentId | None:
    table = tables.deployments.c
    own = sa.tuple_(sa.literal(deployment.record.created_at), sa.literal(deployment.deployment_id))
    query = (
        sa.select(table.deployment_id)
        .where(table.group_id == deployment.group_id, sa.tuple_(table.created_at, table.deployment_id) < own)
        .order_by(table.created_at.desc(), table.deployment_id.desc())
        .limit(1)
    )
    return await connection.scalar(query)


async def _ending(connection: AsyncConnection, deployment_id: DeploymentId) -> tuple[InstanceId, ...]:
    """The coordinator may have ended between storing that an instance ends and ending what runs there (CP-409)."""
    target, instance = tables.targets.c, tables.instances.c
    is_final = target.status.in_([status.value for status in TargetStatus if status.is_terminal])
    query = (
        sa.select(target.instance_id)
        .join(tables.instances, instance.instance_id == target.instance_id)
        .where(target.deployment_id == deployment_id, ~is_final)
        .where(instance.lifecycle_state == LifecycleState.TERMINATING.value)
        .order_by(target.ordinal)
    )
    return tuple(InstanceId(found) for found in await connection.scalars(query))
