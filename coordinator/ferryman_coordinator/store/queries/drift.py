"""Reads of what agents found installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.drift import InstalledState
from ferryman_coordinator.core.health import Installation
from ferryman_coordinator.core.model import GroupId, InstanceId, TargetStatus
from ferryman_coordinator.store.drift_records import STATE_COLUMNS, state_from
from ferryman_coordinator.store.queries import pace
from ferryman_coordinator.store.records import installation_from
from ferryman_coordinator.store.tables import (
    deployments,
    installations,
    installed_states,
    instances,
    targets,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftCount:
    """Registered instances that a group was deployed to: those whose agent looked, those that it found changed."""

    checked: int = 0
    drifted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What is known of a group on an instance: by the coordinator, and by the agent that looked last."""

    instance_id: InstanceId
    installation: Installation
    state: InstalledState | None


_SAME = (installed_states.c.group_id == installations.c.group_id) & (
    installed_states.c.instance_id == installations.c.instance_id
)
# As `InstalledState.is_of` has it.
_CURRENT = (installations.c.last_outcome != TargetStatus.SUCCEEDED.value) | (
    installations.c.last_deployment_id == installed_states.c.deployment_id
)
_REGISTERED = (instances.c.instance_id == installations.c.instance_id) & instances.c.deregistered_at.is_(None)


def _own_groups() -> sa.CompoundSelect[str]:
    is_meant: sa.BindParameter[Sequence[str]] = sa.bindparam("groups", expanding=True)
    known = sa.select(installations.c.group_id).where(
        installations.c.instance_id == sa.bindparam("instance"), installations.c.group_id.in_(is_meant)
    )
    meant = (
        sa.select(deployments.c.group_id)
        .join(targets, targets.c.deployment_id == deployments.c.deployment_id)
        .where(targets.c.instance_id == sa.bindparam("instance"), deployments.c.group_id.in_(is_meant))
    )
    return known.union(meant)


# Asked after every deployment, by each of its targets: to put it together takes longer than to run it.
_OWN_GROUPS = _own_groups()


async def own_groups(
    connection: AsyncConnection, instance_id: InstanceId, group_ids: Sequence[GroupId]
) -> frozenset[GroupId]:
    """Those of `group_ids` that the instance was ever deployed to, a deployment that is under way included."""
    found = await connection.scalars(_OWN_GROUPS, {"instance": instance_id, "groups": list(group_ids)})
    return frozenset(GroupId(group_id) for group_id in found)


async def installed(connection: AsyncConnection, group_id: GroupId) -> Mapping[InstanceId, Installed]:
    """What is known of every instance that the group was deployed to."""
    query = (
        sa.select(installations, *STATE_COLUMNS)
        .outerjoin(installed_states, _SAME)
        .where(installations.c.group_id == group_id)
    )
    found = await pace.values(
        await connection.execute(query),
        lambda row: Installed(
            instance_id=InstanceId(row.instance_id),
            installation=installation_from(row),
            state=state_from(row),
        ),
    )
    return {one.instance_id: one for one in found}


async def counts(connection: AsyncConnection, group_ids: Sequence[GroupId]) -> Mapping[GroupId, DriftCount]:
    """How many instances have changed files, by group."""
    query = (
        sa.select(
            installations.c.group_id,
            sa.func.count().label("checked"),
            sa.func.sum(sa.case((installed_states.c.files_drifted > 0, 1), else_=0)).label("drifted"),
        )
        .join(installed_states, _SAME)
        .join(instances, _REGISTERED)
        .where(installations.c.group_id.in_(group_ids), _CURRENT)
        .group_by(installations.c.group_id)
    )
    rows = await connection.execute(query)
    return {
        GroupId(row.group_id): DriftCount(checked=int(row.checked), drifted=int(row.drifted)) for row in rows
    }


async def count_drifted(connection: AsyncConnection) -> int:
    """How many registered instances have changed files of any group."""
    query = (
        sa.select(sa.func.count(installations.c.instance_id.distinct()))
        .select_from(installations)
        .join(installed_states, _SAME)
        .join(instances, _REGISTERED)
        .where(installed_states.c.files_drifted > 0, _CURRENT)
    )
    return int(await connection.scalar(query) or 0)
