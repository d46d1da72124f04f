"""Reads of what an autoscaler's instances are to us: who is concerned, and what is done about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core import health
from ferryman_coordinator.core.inventory import DeploymentGroup
from ferryman_coordinator.core.model import (
    GroupId,
    InstanceId,
    Instant,
    Member,
    RevisionLocation,
)
from ferryman_coordinator.core.scaling import LifecycleAction
from ferryman_coordinator.core.scaling_hooks import ScalingHook
from ferryman_coordinator.store.inventory_records import hooks_from
from ferryman_coordinator.store.queries import groups
from ferryman_coordinator.store.records import installation_from, location_from
from ferryman_coordinator.store.scaling_records import action_from
from ferryman_coordinator.store.tables import deployment_groups, installations, instances, lifecycle_actions

_OPEN = sa.text("lifecycle_actions.answered_at IS NULL")
"""As text, as the partial index says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFilter:
    """Empty members let everything through; `is_open` None as well."""

    auto_scaling_group: str = ""
    instance_id: str = ""
    is_open: bool | None = None


async def member(
    connection: AsyncConnection, group: DeploymentGroup, instance_id: InstanceId
) -> Sequence[Member]:
    """That instance as a deployment to it alone sees it, whatever it belongs to; none when it is not registered."""
    here = installations.c.group_id == group.group_id
    query = (
        sa.select(instances.c.name, instances.c.zone, installations)
        .select_from(instances)
        .outerjoin(installations, (installations.c.instance_id == instances.c.instance_id) & here)
        .where(instances.c.instance_id == instance_id, instances.c.deregistered_at.is_(None))
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return ()
    installation = installation_from(row) if row.group_id is not None else None
    target_key = group.target_revision.key if group.target_revision else None
    return (
        Member(
            instance_id=instance_id,
            name=row.name,
            zone=row.zone,
            instance_health=health.instance_health(installation),
            revision_health=health.revision_health(installation, target_key),
        ),
    )


async def installed(
    connection: AsyncConnection, group_id: GroupId, instance_id: InstanceId
) -> tuple[bool, RevisionLocation | None]:
    """Whether that group was ever deployed to the instance, and what it has there if the last time went well."""
    query = sa.select(installations.c.revision).where(
        installations.c.group_id == group_id, installations.c.instance_id == instance_id
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return False, None
    return True, None if row.revision is None else location_from(row.revision)


async def hooked(connection: AsyncConnection, auto_scaling_group: str) -> Sequence[DeploymentGroup]:
    """The deployment groups that have this autoscaling group, those first that have had it for longest."""
    query = sa.select(deployment_groups.c.group_id, deployment_groups.c.auto_scaling_hooks).where(
        deployment_groups.c.auto_scaling_hooks != "[]"
    )
    ids = [
        GroupId(row.group_id)
        for row in await connection.execute(query)
        if hook_in(hooks_from(row.auto_scaling_hooks), auto_scaling_group) is not None
    ]
    found = [group for group_id in ids if (group := await groups.get(connection, group_id)) is not None]
    return sorted(found, key=lambda group: _seniority(group, auto_scaling_group))


async def shared_with(
    connection: AsyncConnection, group: DeploymentGroup
) -> Sequence[tuple[str, Sequence[str]]]:
    """Those autoscaling groups of `group` that others have as well, with the labels of all who have them (CP-402)."""
    found = []
    for hook in group.hooks:
        having = await hooked(connection, hook.auto_scaling_group)
        if len(having) > 1:
            labels = [f"{one.application_name}/{one.name}" for one in having]
            found.append((hook.auto_scaling_group, labels))
    return found


def hook_in(hooks: Sequence[ScalingHook], auto_scaling_group: str) -> ScalingHook | None:
    """The hook in that autoscaling group, if there is one."""
    return next((hook for hook in hooks if hook.auto_scaling_group == auto_scaling_group), None)


async def unhooked(connection: AsyncConnection) -> Sequence[DeploymentGroup]:
    """Groups whose hooks are not those of their autoscaling groups: saved by a version that had none."""
    query = sa.select(deployment_groups.c.group_id, deployment_groups.c.options).where(
        deployment_groups.c.auto_scaling_hooks == "[]",
        deployment_groups.c.options.contains('"auto_scaling_groups":["'),
    )
    ids = [GroupId(row.group_id) for row in await connection.execute(query)]
    return [group for group_id in ids if (group := await groups.get(connection, group_id)) is not None]


async def looping(connection: AsyncConnection) -> int:
    """How many hooks have abandoned so many launches in a row that it is called a loop."""
    query = sa.select(deployment_groups.c.auto_scaling_hooks).where(
        deployment_groups.c.auto_scaling_hooks != "[]"
    )
    return sum(hook.is_looping for text in await connection.scalars(query) for hook in hooks_from(text))


async def get(connection: AsyncConnection, auto_scaling_group: str, token: str) -> LifecycleAction | None:
    query = sa.select(lifecycle_actions.c.action).where(
        lifecycle_actions.c.auto_scaling_group == auto_scaling_group, lifecycle_actions.c.token == token
    )
    found = await connection.scalar(query)
    return None if found is None else action_from(found)


async def open_actions(connection: AsyncConnection) -> Sequence[LifecycleAction]:
    """Those without an answer, oldest first."""
    query = sa.select(lifecycle_actions.c.action).where(_OPEN).order_by(lifecycle_actions.c.created_at)
    return [action_from(found) for found in await connection.scalars(query)]


async def open_of(connection: AsyncConnection, instance_id: InstanceId) -> Sequence[LifecycleAction]:
    """Those of one instance, in the order in which they are done."""
    query = (
        sa.select(lifecycle_actions.c.action)
        .where(_OPEN, lifecycle_actions.c.instance_id == instance_id)
        .order_by(lifecycle_actions.c.created_at, lifecycle_actions.c.token)
    )
    return [action_from(found) for found in await connection.scalars(query)]


async def before(
    connection: AsyncConnection, wanted: ActionFilter, key: tuple[Any, ...], limit: int
) -> Sequence[LifecycleAction]:
    """The next actions, newest first; `key` is time, group and token of the last one seen, or empty."""
    table = lifecycle_actions.c
    order = (table.created_at, table.auto_scaling_group, table.token)
    query = sa.select(table.action).order_by(*(column.desc() for column in order)).limit(limit)
    if key:
        query = query.where(sa.tuple_(*order) < sa.tuple_(*key))
    if wanted.auto_scaling_group:
        query = query.where(table.auto_scaling_group == wanted.auto_scaling_group)
    if wanted.instance_id:
        query = query.where(table.instance_id == wanted.instance_id)
    if wanted.is_open is not None:
        query = query.where(_OPEN if wanted.is_open else table.answered_at.is_not(None))
    return [action_from(found) for found in await connection.scalars(query)]


def has_hooks(group_id: GroupId, text: str) -> sa.ColumnElement[bool]:
    """A guard: nobody changed the group's hooks since they were read."""
    return sa.exists().where(
        deployment_groups.c.group_id == group_id, deployment_groups.c.auto_scaling_hooks == text
    )


def _seniority(group: DeploymentGroup, auto_scaling_group: str) -> tuple[Instant, str]:
    hook = hook_in(group.hooks, auto_scaling_group)
    return (Instant(0) if hook is None else hook.installed_at, group.group_id)
