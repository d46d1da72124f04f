"""Reads of instances, their certificates and their health."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core import health
from ferryman_coordinator.core.inventory import Instance, InstanceDeploymentHealth
from ferryman_coordinator.core.model import InstanceId, Instant, TargetStatus
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.store.drift_records import STATE_COLUMNS, state_from
from ferryman_coordinator.store.inventory_records import instance_from, tags_from
from ferryman_coordinator.store.queries import pace
from ferryman_coordinator.store.queries.deployments import UNFINISHED
from ferryman_coordinator.store.records import installation_from, location_from
from ferryman_coordinator.store.tables import (
    applications,
    certificates,
    deployment_groups,
    deployments,
    installations,
    installed_states,
    instances,
    targets,
)

_EXPIRES = (
    sa.select(sa.func.max(certificates.c.expires_at))
    .where(certificates.c.instance_id == instances.c.instance_id, certificates.c.revoked_at.is_(None))
    .scalar_subquery()
    .label("certificate_expires_at")
)

_SELECTED = sa.select(instances, _EXPIRES)

_OPEN = tuple(status.value for status in TargetStatus if not status.is_terminal and status != "Pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateHolder:
    """Whose a certificate is, and what is known about both."""

    instance_id: InstanceId
    expires_at: Instant
    revoked_at: Instant | None
    deregistered_at: Instant | None
    first_used_at: Instant | None = None


async def get(connection: AsyncConnection, instance_id: InstanceId) -> Instance | None:
    """The instance of that id, registered or not."""
    row = (await connection.execute(_SELECTED.where(instances.c.instance_id == instance_id))).one_or_none()
    return None if row is None else instance_from(row)


async def find(connection: AsyncConnection, instance: str) -> Instance | None:
    """By id; or by name: the registered one, else the one that was deregistered last."""
    query = (
        _SELECTED.where((instances.c.instance_id == instance) | (instances.c.name == instance))
        .order_by(
            (instances.c.instance_id == instance).desc(),
            instances.c.deregistered_at.is_(None).desc(),
            instances.c.deregistered_at.desc(),
        )
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else instance_from(row)


async def several(
    connection: AsyncConnection, instance_ids: Sequence[InstanceId]
) -> Mapping[InstanceId, Instance]:
    """Those of these ids that are known, registered or not."""
    rows = await connection.execute(_SELECTED.where(instances.c.instance_id.in_(instance_ids)))
    return {found.instance_id: found for found in map(instance_from, rows)}


async def registered(connection: AsyncConnection) -> Sequence[Instance]:
    """Every registered instance, by name."""
    query = _SELECTED.where(instances.c.deregistered_at.is_(None)).order_by(instances.c.name)
    return await pace.values(await connection.execute(query), instance_from)


async def after(
    connection: AsyncConnection,
    key: tuple[Any, ...],
    limit: int,
    *,
    is_registered: bool | None,
    wanted: Callable[[tuple[Tag, ...]], bool],
) -> Sequence[Instance]:
    """The next instances by name and id whose tags are `wanted`; `is_registered` None: whether registered or not."""
    ids = [row.instance_id for row in await _matching(connection, key, is_registered, wanted)][:limit]
    query = (
        _SELECTED.where(instances.c.instance_id.in_(ids))
        .order_by(instances.c.name, instances.c.instance_id)
        .limit(limit)
    )
    return [instance_from(row) for row in await connection.execute(query)]


async def count(
    connection: AsyncConnection, *, is_registered: bool | None, wanted: Callable[[tuple[Tag, ...]], bool]
) -> int:
    """How many there are of them."""
    return len(await _matching(connection, (), is_registered, wanted))


async def health_of(
    connection: AsyncConnection, instance_id: InstanceId
) -> Sequence[InstanceDeploymentHealth]:
    """How the instance stands in each group that it was deployed to and that still exists (CP-114)."""
    query = (
        sa.select(
            installations,
            *STATE_COLUMNS,
            applications.c.name.label("application_name"),
            deployment_groups.c.name.label("group_name"),
            deployment_groups.c.target_revision_key,
        )
        .join(deployment_groups, deployment_groups.c.group_id == installations.c.group_id)
        .join(applications, applications.c.application_id == deployment_groups.c.application_id)
        .outerjoin(
            installed_states,
            (installed_states.c.group_id == installations.c.group_id)
            & (installed_states.c.instance_id == installations.c.instance_id),
        )
        .where(installations.c.instance_id == instance_id)
        .order_by(applications.c.name, deployment_groups.c.name)
    )
    return [_health(row) for row in await connection.execute(query)]


async def certificates_since(
    connection: AsyncConnection, instance_id: InstanceId, since: Instant, now: Instant
) -> int:
    """How many certificates the instance got since then that are not expired `now`."""
    query = sa.select(sa.func.count()).where(
        certificates.c.instance_id == instance_id,
        certificates.c.issued_at > since,
        certificates.c.expires_at > now,
    )
    return int(await connection.scalar(query) or 0)


async def holder(connection: AsyncConnection, serial: str) -> CertificateHolder | None:
    """Who a certificate was issued to."""
    query = (
        sa.select(certificates, instances.c.deregistered_at)
        .join(instances, instances.c.instance_id == certificates.c.instance_id)
        .where(certificates.c.serial == serial)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return CertificateHolder(
        instance_id=InstanceId(row.instance_id),
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        deregistered_at=row.deregistered_at,
        first_used_at=row.first_used_at,
    )


async def is_busy(connection: AsyncConnection, instance_id: InstanceId) -> bool:
    """Whether a target on the instance has been started and is not final (CP-095)."""
    query = (
        sa.select(sa.literal(1))
        .select_from(targets)
        .join(deployments, deployments.c.deployment_id == targets.c.deployment_id)
        .where(targets.c.instance_id == instance_id, targets.c.status.in_(_OPEN), UNFINISHED)
        .limit(1)
    )
    return await connection.scalar(query) is not None


def is_registered(instance_id: InstanceId) -> sa.ColumnElement[bool]:
    """A guard: nobody deregistered the instance since it was read."""
    return sa.exists().where(instances.c.instance_id == instance_id, instances.c.deregistered_at.is_(None))


def has_tags(instance_id: InstanceId, text: str) -> sa.ColumnElement[bool]:
    """A guard: nobody changed the instance's tags since they were read, or deregistered it."""
    return sa.exists().where(
        instances.c.instance_id == instance_id,
        instances.c.tags == text,
        instances.c.deregistered_at.is_(None),
    )


async def _matching(
    connection: AsyncConnection,
    key: tuple[Any, ...],
    is_registered: bool | None,
    wanted: Callable[[tuple[Tag, ...]], bool],
) -> Sequence[Any]:
    # Tags are matched here, not in SQL: wildcards and sets are the core's to understand.
    order = (instances.c.name, instances.c.instance_id)
    query = sa.select(instances.c.instance_id, instances.c.tags).order_by(*order)
    if is_registered is not None:
        gone = instances.c.deregistered_at
        query = query.where(gone.is_(None) if is_registered else gone.is_not(None))
    if key:
        query = query.where(sa.tuple_(*order) > sa.tuple_(*key))
    found = await pace.values(
        await connection.execute(query), lambda row: row if wanted(tags_from(row.tags)) else None
    )
    return [row for row in found if row is not None]


def _health(row: Any) -> InstanceDeploymentHealth:
    installation, state = installation_from(row), state_from(row)
    return InstanceDeploymentHealth(
        application_name=row.application_name,
        group_name=row.group_name,
        instance_health=health.instance_health(installation),
        revision_health=health.revision_health(installation, row.target_revision_key),
        installed_revision=None if row.revision is None else location_from(row.revision),
        last_deployment_id=row.last_deployment_id,
        group_id=installation.group_id,
        installed=state if state is not None and state.is_of(installation) else None,
    )
