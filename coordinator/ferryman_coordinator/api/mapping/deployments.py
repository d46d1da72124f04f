"""Deployments, their targets, and what watchers see of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ferryman.v1 import deployments_pb2
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.api.mapping.alarms import watched_to
from ferryman_coordinator.api.mapping.group_options import options_to
from ferryman_coordinator.api.mapping.values import (
    diagnostics_to,
    location_to,
    minimum_to,
    rollback_to,
    zonal_to,
)
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import (
    DeploymentId,
    ErrorInformation,
    EventRecord,
    TargetRecord,
    TargetStatus,
)
from ferryman_coordinator.core.plan import PlannedTarget
from ferryman_coordinator.engine.logs import LogLine
from ferryman_coordinator.engine.updates import (
    DeploymentUpdate,
    EventUpdate,
    ScriptUpdate,
    Snapshot,
    TargetUpdate,
    TargetView,
    Update,
)

SNAPSHOT_BYTES = 2 * 1024 * 1024
"""Of targets in the first message of a watch; half of what a message may have."""


def deployment_to(deployment: Deployment) -> deployments_pb2.Deployment:
    spec, record = deployment.spec, deployment.record
    return deployments_pb2.Deployment(
        deployment_id=spec.deployment_id,
        application_name=deployment.application_name,
        deployment_group_name=deployment.group_name,
        deployment_group_id=deployment.group_id,
        status=words.deployment_statuses.wire(record.status),
        revision=location_to(spec.revision),
        previous_revision=None if spec.last_good is None else location_to(spec.last_good.revision),
        deployment_config_name=spec.config_name,
        minimum_healthy_hosts=minimum_to(spec.minimum),
        description=deployment.description,
        creator=spec.creator.value,
        created_at=record.created_at,
        started_at=record.started_at,
        completed_at=record.completed_at,
        overview=_overview_to(deployment.overview),
        error=None if record.error is None else error_to(record.error),
        rollback=_rollback_info_to(deployment),
        auto_rollback=rollback_to(spec.auto_rollback),
        ignore_application_stop_failures=spec.ignore_application_stop_failures,
        file_exists_behavior=words.file_exists.wire(spec.file_exists_behavior),
        adopt=spec.adopt,
        update_outdated_instances_only=spec.update_outdated_instances_only,
        status_messages=record.messages,
        counted_instances=record.counted,
        minimum_healthy=record.minimum,
        concurrency=record.concurrency,
        stopped_by="" if record.stop is None else record.stop.by,
        zonal=None if spec.zonal is None else zonal_to(spec.zonal),
        warnings=spec.warnings,
        options=options_to(spec.options),
        overrides_alarms=spec.overrides_alarms,
        watched_alarms=watched_to(spec, record),
        auto_update_deployment_ids=deployment.auto_update_ids,
        auto_update_root_deployment_id=deployment.auto_update_root_id or "",
    )


def error_to(error: ErrorInformation) -> deployments_pb2.ErrorInformation:
    return deployments_pb2.ErrorInformation(code=error.code, message=error.message)


def _overview_to(overview: Mapping[TargetStatus, int]) -> deployments_pb2.DeploymentOverview:
    """The six counters of CP-111; a target whose status is not known has been started, so it counts as in progress."""
    return deployments_pb2.DeploymentOverview(
        pending=overview.get(TargetStatus.PENDING, 0),
        in_progress=overview.get(TargetStatus.IN_PROGRESS, 0) + overview.get(TargetStatus.UNKNOWN, 0),
        succeeded=overview.get(TargetStatus.SUCCEEDED, 0),
        failed=overview.get(TargetStatus.FAILED, 0),
        skipped=overview.get(TargetStatus.SKIPPED, 0),
        ready=overview.get(TargetStatus.READY, 0),
    )


def _rollback_info_to(deployment: Deployment) -> deployments_pb2.RollbackInfo | None:
    message = deployment.record.rollback_message
    following, causing = deployment.rollback_deployment_id, deployment.rollback_triggering_deployment_id
    if not message and following is None and causing is None:
        return None
    return deployments_pb2.RollbackInfo(
        rollback_deployment_id=following or "",
        rollback_triggering_deployment_id=causing or "",
        rollback_message=message,
    )


def target_to(deployment_id: DeploymentId, target: TargetView) -> deployments_pb2.Target:
    message = target_record_to(deployment_id, target.record)
    message.target_arn = target.arn
    message.lifecycle_events.extend(lifecycle_event_to(event) for event in target.events)
    return message


def target_record_to(deployment_id: DeploymentId, record: TargetRecord) -> deployments_pb2.Target:
    """Without its lifecycle events."""
    return deployments_pb2.Target(
        deployment_id=deployment_id,
        instance_id=record.instance_id,
        instance_name=record.instance_name,
        zone=record.zone,
        status=words.target_statuses.wire(record.status),
        last_updated_at=record.updated_at,
        started_at=record.started_at,
        completed_at=record.completed_at,
    )


def lifecycle_event_to(event: EventRecord) -> deployments_pb2.LifecycleEvent:
    return deployments_pb2.LifecycleEvent(
        name=event.name,
        status=words.event_statuses.wire(event.status),
        started_at=event.started_at,
        ended_at=event.ended_at,
        diagnostics=None if event.diagnostics is None else diagnostics_to(event.diagnostics),
    )


def updates_to(
    deployment_id: DeploymentId, update: Update
) -> Iterator[deployments_pb2.WatchDeploymentResponse]:
    """Usually one message; a snapshot of a large deployment is more than a message can hold."""
    if isinstance(update, Snapshot):
        yield from _snapshot_to(deployment_id, update)
    else:
        yield _change_to(deployment_id, update)


def _snapshot_to(
    deployment_id: DeploymentId, snapshot: Snapshot
) -> Iterator[deployments_pb2.WatchDeploymentResponse]:
    """The deployment with its first targets, then the others one by one.

    Only the last message carries the sequence: a reader who loses the stream in between begins anew.
    """
    whole = deployments_pb2.DeploymentSnapshot(deployment=deployment_to(snapshot.deployment))
    message = deployments_pb2.WatchDeploymentResponse(at=snapshot.at, snapshot=whole)
    room = SNAPSHOT_BYTES
    for target in (target_to(deployment_id, one) for one in snapshot.targets):
        if room > 0:
            room -= target.ByteSize()
            message.snapshot.targets.append(target)
        else:
            yield message
            message = deployments_pb2.WatchDeploymentResponse(at=snapshot.at, target=target)
    message.sequence = snapshot.sequence
    yield message


def _change_to(
    deployment_id: DeploymentId, update: DeploymentUpdate | TargetUpdate | EventUpdate | ScriptUpdate
) -> deployments_pb2.WatchDeploymentResponse:
    message = deployments_pb2.WatchDeploymentResponse(sequence=update.sequence, at=update.at)
    match update:
        case DeploymentUpdate():
            message.deployment.MergeFrom(deployment_to(update.deployment))
        case TargetUpdate():
            message.target.MergeFrom(target_record_to(deployment_id, update.target))
        case EventUpdate():
            message.target_event.instance_id = update.instance_id
            message.target_event.lifecycle_event.MergeFrom(lifecycle_event_to(update.event))
        case ScriptUpdate():
            message.target_event.instance_id = update.instance_id
            # Without the lifecycle event: when that began is not known here, and readers have it already.
            message.target_event.running_script = update.script_name
    return message


def planned_target_to(
    target: PlannedTarget, *, is_connected: bool, can_roll_back: bool | None
) -> deployments_pb2.PlannedTarget:
    member = target.member
    return deployments_pb2.PlannedTarget(
        instance_id=member.instance_id,
        instance_name=member.name,
        zone=member.zone,
        wave=target.wave,
        instance_health=words.instance_health.wire(member.instance_health),
        revision_health=words.revision_health.wire(member.revision_health),
        is_connected=is_connected,
        can_roll_back=can_roll_back,
        reason=target.reason,
    )


def log_line_to(line: LogLine, instance_name: str) -> deployments_pb2.FollowLogsResponse:
    return deployments_pb2.FollowLogsResponse(
        instance_id=line.instance_id,
        instance_name=instance_name,
        lifecycle_event=line.lifecycle_event,
        script_name=line.script_name,
        at=line.at,
        is_stderr=line.is_stderr,
        text=line.text,
        dropped_before=line.dropped_before,
    )
