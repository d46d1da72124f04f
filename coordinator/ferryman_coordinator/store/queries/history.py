"""What has become old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.model import DeploymentId, Instant
from ferryman_coordinator.store.queries.deployments import FINISHED
from ferryman_coordinator.store.records import rollout_from
from ferryman_coordinator.store.tables import changes, deployment_groups, deployments, targets

_PAGE = 200
"""Deployments in one answer; the next call gives more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongFeed:
    """A feed that can be shortened to its `last` change."""

    deployment_id: DeploymentId
    first: int
    last: int


async def long_feeds(connection: AsyncConnection, before: Instant) -> Sequence[LongFeed]:
    """Feeds with more than one change, of finished deployments, whose last change was before then."""
    sequence = changes.c.sequence
    query = (
        sa.select(
            changes.c.deployment_id, sa.func.min(sequence).label("first"), sa.func.max(sequence).label("last")
        )
        .join(deployments, deployments.c.deployment_id == changes.c.deployment_id)
        .where(FINISHED)
        .group_by(changes.c.deployment_id)
        .having(sa.func.count() > 1, sa.func.max(changes.c.at) < before)
        .limit(_PAGE)
    )
    return [
        LongFeed(deployment_id=DeploymentId(row.deployment_id), first=row.first, last=row.last)
        for row in await connection.execute(query)
    ]


async def finished_before(connection: AsyncConnection, before: Instant) -> Sequence[tuple[DeploymentId, int]]:
    """Deployments that ended before then, with their number of targets; none that a group points to."""
    groups = deployment_groups.c
    counted = sa.select(sa.func.count()).where(targets.c.deployment_id == deployments.c.deployment_id)
    query = (
        sa.select(
            deployments.c.deployment_id, deployments.c.record, counted.scalar_subquery().label("targets")
        )
        .where(
            FINISHED,
            deployments.c.created_at < before,
            ~sa.exists().where(
                groups.group_id == deployments.c.group_id,
                sa.or_(
                    groups.last_successful_id == deployments.c.deployment_id,
                    groups.last_attempted_id == deployments.c.deployment_id,
                ),
            ),
        )
        .order_by(deployments.c.created_at)
        .limit(_PAGE)
    )
    return [
        (DeploymentId(row.deployment_id), row.targets)
        for row in await connection.execute(query)
        if (rollout_from(row.record).completed_at or before) < before
    ]
