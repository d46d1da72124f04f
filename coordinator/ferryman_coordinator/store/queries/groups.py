"""Reads of deployment groups and of what they select."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core import health
from ferryman_coordinator.core.follow_on import Outdated
from ferryman_coordinator.core.inventory import (
    Deployment,
    DeploymentGroup,
    InstanceKind,
    LifecycleState,
)
from ferryman_coordinator.core.membership import Candidate, Membership
from ferryman_coordinator.core.model import ApplicationId, GroupId, InstanceId, Member, TargetStatus
from ferryman_coordinator.store.inventory_records import group_from, tags_from
from ferryman_coordinator.store.queries import pace
from ferryman_coordinator.store.records import installation_from
from ferryman_coordinator.store.tables import (
    applications,
    deployment_groups,
    deployments,
    installations,
    instances,
    targets,
)

_attempted = deployments.alias("attempted")
_successful = deployments.alias("successful")

_SELECTED = (
    sa.select(
        deployment_groups,
        applications.c.name.label("application_name"),
        applications.c.compute_platform,
        _attempted.c.status.label("attempted_status"),
        _attempted.c.record.label("attempted_record"),
        _successful.c.status.label("successful_status"),
        _successful.c.record.label("successful_record"),
    )
    .join(applications, applications.c.application_id == deployment_groups.c.application_id)
    .outerjoin(_attempted, _attempted.c.deployment_id == deployment_groups.c.last_attempted_id)
    .outerjoin(_successful, _successful.c.deployment_id == deployment_groups.c.last_successful_id)
)


async def find(connection: AsyncConnection, application: str, name: str) -> DeploymentGroup | None:
    """The group of that name in the application of that name, with its pointers."""
    return await _one(connection, applications.c.name == application, deployment_groups.c.name == name)


async def get(connection: AsyncConnection, group_id: GroupId) -> DeploymentGroup | None:
    """The group of that id, with its pointers."""
    return await _one(connection, deployment_groups.c.group_id == group_id)


async def several(
    connection: AsyncConnection, application_id: ApplicationId, names: Sequence[str]
) -> Mapping[str, DeploymentGroup]:
    """Those groups of an application that have one of these names, by name."""
    query = _SELECTED.where(
        deployment_groups.c.application_id == application_id, deployment_groups.c.name.in_(names)
    )
    return {found.name: found for found in map(group_from, await connection.execute(query))}


async def after(
    connection: AsyncConnection, application_id: ApplicationId | None, key: tuple[Any, ...], limit: int
) -> Sequence[DeploymentGroup]:
    """The next groups by name of application and group; of every application when `application_id` is None."""
    order = (applications.c.name, deployment_groups.c.name)
    query = _SELECTED.order_by(*order).limit(limit)
    if key:
        query = query.where(sa.tuple_(*order) > sa.tuple_(*key))
    if application_id is not None:
        query = query.where(deployment_groups.c.application_id == application_id)
    return [group_from(row) for row in await connection.execute(query)]


async def ids(connection: AsyncConnection, application_id: ApplicationId) -> Sequence[GroupId]:
    """The groups of an application."""
    query = sa.select(deployment_groups.c.group_id).where(
        deployment_groups.c.application_id == application_id
    )
    return [GroupId(group_id) for group_id in await connection.scalars(query)]


async def members(
    connection: AsyncConnection,
    group: DeploymentGroup,
    *,
    membership: Membership | None = None,
    outdated_for: str | None = None,
) -> list[Member]:
    """The instances that belong to `group` now, with their health in it, by name (CP-050, CP-310).

    `membership` when not what the group says now, but a snapshot of it decides (CP-179). With `outdated_for`, a
    revision's key, those that have it and are healthy are members but no targets (CP-219).
    """
    wanted = membership or Membership.of_group(group)
    here = installations.c.group_id == group.group_id
    query = (
        sa.select(*_DECIDING, instances.c.name, instances.c.zone, instances.c.instance_id, *_INSTALLED)
        .outerjoin(installations, (installations.c.instance_id == instances.c.instance_id) & here)
        .where(instances.c.deregistered_at.is_(None))
        .order_by(instances.c.name)
    )
    target_key = group.target_revision.key if group.target_revision else None

    def member(row: Any) -> Member | None:
        return _member(row, target_key, outdated_for) if wanted.includes(_candidate(row)) else None

    found = await pace.values(await connection.execute(query), member)
    return [one for one in found if one is not None]


async def outdated(
    connection: AsyncConnection, deployment: Deployment, connected: Collection[InstanceId]
) -> list[Outdated]:
    """The members of a deployment's group that have not its revision, beside those it succeeded on.

    To be asked before its last round is stored, so the targets that succeeded by then are left out by what it says of
    them: all of its targets that have not failed.
    """
    here = installations.c.group_id == deployment.group_id
    query = (
        sa.select(
            *_DECIDING,
            instances.c.instance_id,
            *_INSTALLED,
            targets.c.status.label("target_status"),
            targets.c.failed_by_silence,
        )
        .outerjoin(installations, (installations.c.instance_id == instances.c.instance_id) & here)
        .outerjoin(
            targets,
            (targets.c.instance_id == instances.c.instance_id)
            & (targets.c.deployment_id == deployment.deployment_id),
        )
        .where(instances.c.deregistered_at.is_(None))
    )
    membership, key = Membership.of_snapshot(deployment.spec), deployment.spec.revision.key

    def one(row: Any) -> Outdated | None:
        is_failed = row.target_status == TargetStatus.FAILED.value
        if row.target_status is not None and not is_failed:
            return None
        installation = installation_from(row) if row.group_id is not None else None
        if not membership.includes(_candidate(row)) or not health.is_outdated(installation, key):
            return None
        return Outdated(
            kind=InstanceKind(row.kind),
            auto_scaling_group=row.auto_scaling_group,
            was_silent=is_failed and row.failed_by_silence,
            was_tried=is_failed and not row.failed_by_silence,
            is_connected=row.instance_id in connected,
        )

    found = await pace.values(await connection.execute(query), one)
    return [made for made in found if made is not None]


async def matching(connection: AsyncConnection, membership: Membership) -> Sequence[tuple[str, InstanceId]]:
    """Name and id of the registered instances that would be members now, in that order."""
    query = (
        sa.select(*_DECIDING, instances.c.name, instances.c.instance_id)
        .where(instances.c.deregistered_at.is_(None))
        .order_by(instances.c.name, instances.c.instance_id)
    )

    def key(row: Any) -> tuple[str, InstanceId] | None:
        return (row.name, InstanceId(row.instance_id)) if membership.includes(_candidate(row)) else None

    found = await pace.values(await connection.execute(query), key)
    return [one for one in found if one is not None]


async def count_matching(connection: AsyncConnection, membership: Membership) -> int:
    """How many registered instances would be members now."""
    query = sa.select(*_DECIDING).where(instances.c.deregistered_at.is_(None))
    found = await pace.values(
        await connection.execute(query), lambda row: membership.includes(_candidate(row))
    )
    return sum(found)


async def last_sequence(connection: AsyncConnection, group_id: GroupId) -> int | None:
    """The highest number that a creation came with, 0 before the first one; None when the group is gone (CP-231)."""
    query = sa.select(deployment_groups.c.last_sequence).where(deployment_groups.c.group_id == group_id)
    return await connection.scalar(query)


def fewer_than(limit: int, application_id: ApplicationId) -> sa.ColumnElement[bool]:
    """A guard: the application's quota leaves room for one more group."""
    query = sa.select(sa.func.count() < limit).where(deployment_groups.c.application_id == application_id)
    return query.select_from(deployment_groups).scalar_subquery()


_DECIDING = (
    instances.c.kind,
    instances.c.tags,
    instances.c.auto_scaling_group,
    instances.c.lifecycle_state,
)
"""What membership depends on."""

_INSTALLED = (
    installations.c.group_id,
    installations.c.revision_key,
    installations.c.last_outcome,
    installations.c.last_deployment_id,
)


def _candidate(row: Any) -> Candidate:
    return Candidate(
        kind=InstanceKind(row.kind),
        tags=tags_from(row.tags),
        auto_scaling_group=row.auto_scaling_group,
        lifecycle_state=LifecycleState(row.lifecycle_state),
    )


def _member(row: Any, target_key: str | None, outdated_for: str | None) -> Member:
    installation = installation_from(row) if row.group_id is not None else None
    return Member(
        instance_id=row.instance_id,
        name=row.name,
        zone=row.zone,
        instance_health=health.instance_health(installation),
        revision_health=health.revision_health(installation, target_key),
        is_target=outdated_for is None or health.is_outdated(installation, outdated_for),
    )


async def _one(connection: AsyncConnection, *where: sa.ColumnElement[bool]) -> DeploymentGroup | None:
    row = (await connection.execute(_SELECTED.where(*where))).one_or_none()
    return None if row is None else group_from(row)
