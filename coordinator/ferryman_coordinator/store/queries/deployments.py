"""Reads of deployments, their targets and their feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import (
    Creator,
    DeploymentId,
    DeploymentStatus,
    EventRecord,
    GroupId,
    InstanceId,
    Instant,
    RolloutRecord,
    RolloutSpec,
    TargetRecord,
    TargetStatus,
)
from ferryman_coordinator.core.queue import Unfinished
from ferryman_coordinator.store.queries import pace
from ferryman_coordinator.store.records import (
    StoredChange,
    change_from,
    deployment_from,
    event_from,
    rollout_from,
    spec_from,
    target_from,
)
from ferryman_coordinator.store.tables import (
    applications,
    changes,
    deployment_groups,
    deployments,
    target_events,
    targets,
)

_FINAL = tuple(status.value for status in DeploymentStatus if status.is_terminal)

UNFINISHED = sa.text("deployments.status NOT IN ('Succeeded', 'Failed', 'Stopped')")
"""Written like the condition of the partial indexes, so that both databases use them."""

FINISHED = deployments.c.status.in_(_FINAL)

_later = deployments.alias("later")

_SELECTED = (
    sa.select(
        deployments.c.deployment_id,
        deployments.c.application_id,
        deployments.c.group_id,
        deployments.c.spec,
        deployments.c.record,
        deployments.c.description,
        deployments.c.created_at,
        deployments.c.rollback_deployment_id,
        deployments.c.rollback_triggering_deployment_id,
        deployments.c.auto_update_root_id,
        # Names follow renames; those of the snapshot stay for what is gone (CP-149).
        sa.func.coalesce(applications.c.name, deployments.c.application_name).label("application_name"),
        sa.func.coalesce(deployment_groups.c.name, deployments.c.group_name).label("group_name"),
        # Hardly any has one: that saves a query for nearly all.
        sa.exists()
        .where(_later.c.auto_update_root_id == deployments.c.deployment_id)
        .correlate(deployments)
        .label("is_followed"),
    )
    .outerjoin(applications, applications.c.application_id == deployments.c.application_id)
    .outerjoin(deployment_groups, deployment_groups.c.group_id == deployments.c.group_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRollout:
    """All that `Rollout.restore` needs, and where the deployment belongs."""

    spec: RolloutSpec
    record: RolloutRecord
    targets: Sequence[TargetRecord]
    events: Sequence[tuple[InstanceId, EventRecord]]
    group_id: GroupId
    # Of the newest entry in the deployment's feed; 0 when there is none.
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFilter:
    """Which deployments to list; None stands for all. Times include both ends (CP-460)."""

    group_id: GroupId | None = None
    statuses: frozenset[DeploymentStatus] | None = None
    created_from: Instant | None = None
    created_until: Instant | None = None


async def get(connection: AsyncConnection, deployment_id: DeploymentId) -> Deployment | None:
    """The deployment of that id."""
    query = _SELECTED.where(deployments.c.deployment_id == deployment_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    (found,) = await _made(connection, [row])
    return found


async def several(
    connection: AsyncConnection, ids: Sequence[DeploymentId]
) -> Mapping[DeploymentId, Deployment]:
    """Those of these ids that exist, by id."""
    rows = (await connection.execute(_SELECTED.where(deployments.c.deployment_id.in_(ids)))).all()
    return {one.deployment_id: one for one in await _made(connection, rows)}


async def before(
    connection: AsyncConnection,
    wanted: DeploymentFilter,
    key: tuple[Any, ...],
    limit: int,
) -> Sequence[Deployment]:
    """The next deployments, newest first; `key` is creation time and id of the last one seen, or empty."""
    order = (deployments.c.created_at, deployments.c.deployment_id)
    query = _SELECTED.order_by(*(column.desc() for column in order)).limit(limit)
    if key:
        query = query.where(sa.tuple_(*order) < sa.tuple_(*key))
    if wanted.group_id is not None:
        query = query.where(deployments.c.group_id == wanted.group_id)
    if wanted.statuses is not None:
        query = query.where(deployments.c.status.in_([status.value for status in wanted.statuses]))
    if wanted.created_from is not None:
        query = query.where(deployments.c.created_at >= wanted.created_from)
    if wanted.created_until is not None:
        query = query.where(deployments.c.created_at <= wanted.created_until)
    rows = (await connection.execute(query)).all()
    return await _made(connection, rows)


async def _made(connection: AsyncConnection, rows: Sequence[Any]) -> Sequence[Deployment]:
    ids = [DeploymentId(row.deployment_id) for row in rows]
    counted = await overviews(connection, ids)
    followed = [DeploymentId(row.deployment_id) for row in rows if row.is_followed]
    following = await follow_ons(connection, followed) if followed else {}
    return [
        deployment_from(row, counted.get(row.deployment_id, {}), following.get(row.deployment_id, ()))
        for row in rows
    ]


async def follow_ons(
    connection: AsyncConnection, ids: Sequence[DeploymentId]
) -> Mapping[DeploymentId, tuple[DeploymentId, ...]]:
    """The deployments that brought the revision of each to those that came late, in their order (CP-412)."""
    query = (
        sa.select(deployments.c.deployment_id, deployments.c.auto_update_root_id)
        .where(deployments.c.auto_update_root_id.in_(ids))
        .order_by(deployments.c.created_at, deployments.c.deployment_id)
    )
    found: dict[DeploymentId, tuple[DeploymentId, ...]] = {}
    for row in await connection.execute(query):
        root = DeploymentId(row.auto_update_root_id)
        found[root] = (*found.get(root, ()), DeploymentId(row.deployment_id))
    return found


async def overviews(
    connection: AsyncConnection, ids: Sequence[DeploymentId]
) -> Mapping[DeploymentId, Mapping[TargetStatus, int]]:
    """Targets of each deployment, counted by status; deployments without targets are left out."""
    query = (
        sa.select(targets.c.deployment_id, targets.c.status, sa.func.count().label("number"))
        .where(targets.c.deployment_id.in_(ids))
        .group_by(targets.c.deployment_id, targets.c.status)
    )
    counted: dict[DeploymentId, dict[TargetStatus, int]] = {}
    for row in await connection.execute(query):
        counted.setdefault(DeploymentId(row.deployment_id), {})[TargetStatus(row.status)] = row.number
    return counted


async def by_request_key(
    connection: AsyncConnection, group_id: GroupId, request_key: str
) -> DeploymentId | None:
    """The deployment that was created with a request key in that group (CP-230)."""
    query = sa.select(deployments.c.deployment_id).where(
        deployments.c.group_id == group_id, deployments.c.request_key == request_key
    )
    return await connection.scalar(query)


async def live_in(connection: AsyncConnection, group_ids: Iterable[GroupId]) -> Sequence[DeploymentId]:
    """The unfinished deployments of these groups."""
    query = sa.select(deployments.c.deployment_id).where(
        UNFINISHED, deployments.c.group_id.in_(list(group_ids))
    )
    return [DeploymentId(found) for found in await connection.scalars(query)]


async def unfinished_of(connection: AsyncConnection, group_id: GroupId) -> Sequence[Unfinished]:
    """The unfinished fleet deployments of a group: the one that runs, and those that wait."""
    query = sa.select(
        deployments.c.deployment_id, deployments.c.status, deployments.c.creator, deployments.c.created_at
    ).where(UNFINISHED, deployments.c.is_fleet, deployments.c.group_id == group_id)
    return [
        Unfinished(
            deployment_id=DeploymentId(row.deployment_id),
            status=DeploymentStatus(row.status),
            creator=Creator(row.creator),
            created_at=row.created_at,
        )
        for row in await connection.execute(query)
    ]


async def queueing_groups(connection: AsyncConnection) -> Sequence[GroupId]:
    """Groups with a deployment that waits."""
    query = sa.select(deployments.c.group_id).where(
        UNFINISHED, deployments.c.status == DeploymentStatus.QUEUED.value
    )
    return [GroupId(found) for found in await connection.scalars(query.distinct())]


async def live(connection: AsyncConnection) -> Sequence[DeploymentId]:
    """Every unfinished deployment, oldest first: what recovery loads."""
    query = sa.select(deployments.c.deployment_id).where(UNFINISHED).order_by(deployments.c.created_at)
    return [DeploymentId(found) for found in await connection.scalars(query)]


async def count_live(connection: AsyncConnection) -> int:
    """How many deployments are unfinished (CP-226)."""
    return await connection.scalar(sa.select(sa.func.count()).select_from(deployments).where(UNFINISHED)) or 0


async def load_rollout(connection: AsyncConnection, deployment_id: DeploymentId) -> LoadedRollout | None:
    """Everything that is stored of one deployment, to go on with it."""
    found = sa.select(deployments.c.spec, deployments.c.record, deployments.c.group_id).where(
        deployments.c.deployment_id == deployment_id
    )
    row = (await connection.execute(found)).one_or_none()
    if row is None:
        return None
    of_events = sa.select(target_events).where(target_events.c.deployment_id == deployment_id)
    return LoadedRollout(
        spec=spec_from(row.spec),
        record=rollout_from(row.record),
        targets=await targets_of(connection, deployment_id),
        events=await pace.values(
            await connection.execute(of_events), lambda row: (row.instance_id, event_from(row))
        ),
        group_id=GroupId(row.group_id),
        sequence=await last_sequence(connection, deployment_id),
    )


async def targets_of(
    connection: AsyncConnection,
    deployment_id: DeploymentId,
    *,
    statuses: frozenset[TargetStatus] | None = None,
    after: int = -1,
    limit: int | None = None,
) -> Sequence[TargetRecord]:
    """Targets in the order of start, those behind ordinal `after`."""
    query = (
        sa.select(targets)
        .where(targets.c.deployment_id == deployment_id, targets.c.ordinal > after)
        .order_by(targets.c.ordinal)
        .limit(limit)
    )
    if statuses is not None:
        query = query.where(targets.c.status.in_([status.value for status in statuses]))
    return await pace.values(await connection.execute(query), target_from)


async def target(
    connection: AsyncConnection, deployment_id: DeploymentId, instance: str
) -> TargetRecord | None:
    """One target by its instance's id or, failing that, by the name that the instance had then."""
    named = (targets.c.instance_id == instance) | (targets.c.instance_name == instance)
    query = (
        sa.select(targets)
        .where(targets.c.deployment_id == deployment_id, named)
        .order_by((targets.c.instance_id == instance).desc(), targets.c.ordinal)
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else target_from(row)


async def targets_named(
    connection: AsyncConnection, deployment_id: DeploymentId, instances: Sequence[str]
) -> Mapping[str, TargetRecord]:
    """Those targets that have one of these ids or names, by what they were asked for with; an id wins over a name."""
    named = targets.c.instance_id.in_(instances) | targets.c.instance_name.in_(instances)
    query = (
        sa.select(targets)
        .where(targets.c.deployment_id == deployment_id, named)
        .order_by(targets.c.ordinal.desc())
    )
    records = [target_from(row) for row in await connection.execute(query)]
    by_name = {record.instance_name: record for record in records}
    by_id: dict[str, TargetRecord] = {record.instance_id: record for record in records}
    return by_name | by_id


async def events_of(
    connection: AsyncConnection, deployment_id: DeploymentId, instance_ids: Sequence[InstanceId]
) -> Mapping[InstanceId, Sequence[EventRecord]]:
    """The stored lifecycle events of these targets, in no order: the path of the deployment has one."""
    query = sa.select(target_events).where(
        target_events.c.deployment_id == deployment_id, target_events.c.instance_id.in_(instance_ids)
    )
    found: dict[InstanceId, list[EventRecord]] = {instance_id: [] for instance_id in instance_ids}
    for row in await connection.execute(query):
        found[InstanceId(row.instance_id)].append(event_from(row))
    return found


async def changes_after(
    connection: AsyncConnection, deployment_id: DeploymentId, sequence: int, limit: int
) -> Sequence[StoredChange]:
    """The next entries of a deployment's feed."""
    query = (
        sa.select(changes)
        .where(changes.c.deployment_id == deployment_id, changes.c.sequence > sequence)
        .order_by(changes.c.sequence)
        .limit(limit)
    )
    return [change_from(row) for row in await connection.execute(query)]


async def first_sequence(connection: AsyncConnection, deployment_id: DeploymentId) -> int:
    """The oldest entry that the feed still has, 0 when there is none; older readers need a snapshot."""
    query = sa.select(sa.func.min(changes.c.sequence)).where(changes.c.deployment_id == deployment_id)
    return await connection.scalar(query) or 0


async def last_sequence(connection: AsyncConnection, deployment_id: DeploymentId) -> int:
    """The newest entry of a deployment's feed, 0 when there is none."""
    query = sa.select(sa.func.max(changes.c.sequence)).where(changes.c.deployment_id == deployment_id)
    return await connection.scalar(query) or 0
