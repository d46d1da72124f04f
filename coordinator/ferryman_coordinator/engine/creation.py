"""How a deployment comes into being: its snapshot, and the rows that are stored with it (CP-194, CP-224, CP-026)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.group_options import AlarmConfiguration
from ferryman_coordinator.core.inventory import Deployment, DeploymentGroup
from ferryman_coordinator.core.lifecycle import in_place_path
from ferryman_coordinator.core.messages import RolloutChanged
from ferryman_coordinator.core.model import (
    AutoRollback,
    Creator,
    DeploymentId,
    DeploymentStatus,
    FileExistsBehavior,
    GroupId,
    Instant,
    LastGood,
    MinimumHealthyHosts,
    RevisionLocation,
    RolloutRecord,
    RolloutSpec,
    ZonalConfig,
)
from ferryman_coordinator.engine.outbox import enter_creation
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.engine.updates import Update, update_of
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.inventory_records import use_revision
from ferryman_coordinator.store.queries import deployments
from ferryman_coordinator.store.records import StoredChange, attempted_values, change_row, deployment_row

GROUP_MOVED = "deployment group has moved"
"""Guard of a creation: the group still exists, with the last success that was put into the snapshot (CP-030)."""


OLD_SEQUENCE = "sequence of the creation is too low"
"""Guard of a creation: its number is above those that were accepted before (CP-231)."""

QUEUE_BEFORE = "a deployment of the group is queued"
"""Guard of a creation that would start at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOrder:
    """A deployment that passed every check of a creation, but those that only storing it can answer."""

    group: DeploymentGroup
    config_name: str
    minimum: MinimumHealthyHosts
    zonal: ZonalConfig | None
    revision: RevisionLocation
    auto_rollback: AutoRollback
    description: str = ""
    ignore_application_stop_failures: bool = False
    file_exists_behavior: FileExistsBehavior = FileExistsBehavior.DISALLOW
    adopt: bool = False
    update_outdated_instances_only: bool = False
    # Instead of the group's (CP-214).
    override_alarms: AlarmConfiguration | None = None
    # Empty: none.
    request_key: str = ""
    # 0: none. Else above that of every earlier creation of the group (CP-231).
    sequence: int = 0
    # For people.
    warnings: tuple[str, ...] = ()


def snapshot(
    order: CreateOrder, deployment_id: DeploymentId, last_good: LastGood | None, settings: EngineSettings
) -> RolloutSpec:
    """Everything that will decide about the deployment (CP-224)."""
    options = order.group.options
    if order.override_alarms is not None:
        options = replace(options, alarms=order.override_alarms)
    return RolloutSpec(
        deployment_id=deployment_id,
        application_name=order.group.application_name,
        group_name=order.group.name,
        creator=Creator.USER,
        revision=order.revision,
        config_name=order.config_name,
        minimum=order.minimum,
        zonal=order.zonal,
        path=in_place_path(),
        ignore_application_stop_failures=order.ignore_application_stop_failures,
        file_exists_behavior=order.file_exists_behavior,
        adopt=order.adopt,
        update_outdated_instances_only=order.update_outdated_instances_only,
        auto_rollback=order.auto_rollback,
        last_good=last_good,
        timers=settings.timers,
        max_targets=settings.max_targets,
        warnings=order.warnings,
        selection=order.group.selection,
        options=options,
        overrides_alarms=order.override_alarms is not None,
    )


async def last_good(connection: AsyncConnection, group: DeploymentGroup) -> LastGood | None:
    """The group's last successful deployment (CP-336, CP-340)."""
    if group.last_successful is None:
        return None
    found = await deployments.get(connection, group.last_successful.deployment_id)
    if found is None:
        return None
    return LastGood(
        deployment_id=found.deployment_id,
        revision=found.spec.revision,
        file_exists_behavior=found.spec.file_exists_behavior,
    )


def ensure_unmoved(batch: Batch, group_id: GroupId, good: LastGood | None) -> None:
    """Refuse the batch with GROUP_MOVED when the group is gone, or has another last success than `good`."""
    table = tables.deployment_groups
    pointer = table.c.last_successful_id
    expected = pointer.is_(None) if good is None else pointer == good.deployment_id
    batch.ensure(GROUP_MOVED, sa.exists().where(table.c.group_id == group_id, expected))


def ensure_sequence(batch: Batch, group_id: GroupId, sequence: int) -> None:
    """Refuse the batch with OLD_SEQUENCE when a creation with this number or a higher one was accepted before."""
    table = tables.deployment_groups
    is_newer = sa.exists().where(table.c.group_id == group_id, table.c.last_sequence < sequence)
    batch.ensure(OLD_SEQUENCE, is_newer)
    batch.update(table, {"group_id": group_id}, {"last_sequence": sequence})


def ensure_no_queue(batch: Batch, group_id: GroupId) -> None:
    """Refuse the batch with QUEUE_BEFORE when a deployment of the group waits for its turn: nobody overtakes it."""
    table = tables.deployments
    waits = sa.exists().where(table.c.group_id == group_id, table.c.status == DeploymentStatus.QUEUED.value)
    batch.ensure(QUEUE_BEFORE, ~waits)


def enter_new(
    batch: Batch, deployment: Deployment, *, request_key: str = "", is_retried: bool = False
) -> Sequence[Update]:
    """Store a deployment that was just accepted, and the group's pointer to it; returns what watchers see of it.

    With `is_retried` the row may be there from an earlier attempt whose outcome was lost sight of.
    """
    row = deployment_row(
        deployment.spec,
        deployment.record,
        application_id=deployment.application_id,
        group_id=deployment.group_id,
        description=deployment.description,
        request_key=request_key,
        triggering_deployment_id=deployment.rollback_triggering_deployment_id,
        auto_update_root_id=deployment.auto_update_root_id,
    )
    if is_retried:
        batch.put(tables.deployments, row)
    else:
        batch.insert(tables.deployments, row)
    if deployment.spec.creator.is_fleet:
        batch.update(
            tables.deployment_groups,
            {"group_id": deployment.group_id},
            attempted_values(deployment.deployment_id),
        )
    first = StoredChange(
        sequence=1, at=deployment.record.created_at, change=RolloutChanged(record=deployment.record)
    )
    batch.put(tables.changes, change_row(deployment.deployment_id, first))
    enter_creation(batch, deployment)
    return [update_of(first, deployment)]


def enter_use(batch: Batch, deployment: Deployment) -> None:
    """Note that the revision is used; register it when it is not registered yet (CP-194, CP-203)."""
    use_revision(
        batch,
        deployment.application_id,
        deployment.spec.revision,
        deployment.deployment_id,
        deployment.record.created_at,
    )


def new_deployment(
    spec: RolloutSpec,
    group: DeploymentGroup,
    now: Instant,
    *,
    status: DeploymentStatus = DeploymentStatus.CREATED,
    description: str = "",
) -> Deployment:
    """A deployment in status Created, or Queued."""
    return Deployment(
        spec=spec,
        record=RolloutRecord(status=status, created_at=now),
        application_id=group.application_id,
        application_name=group.application_name,
        group_id=group.group_id,
        group_name=group.name,
        description=description,
        overview={},
    )
