"""Rows <-> values of deployments and their feed. JSON text where a column holds more than one fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec

from ferryman_coordinator.core.health import Installation
from ferryman_coordinator.core.inventory import (
    Deployment,
)
from ferryman_coordinator.core.messages import EventChanged, RolloutChanged, TargetChanged
from ferryman_coordinator.core.model import (
    ApplicationId,
    BundleLocation,
    CommandPhase,
    CoordinatorEvent,
    DeploymentId,
    Diagnostics,
    EventRecord,
    EventStatus,
    GitHubLocation,
    GroupId,
    InstanceId,
    Instant,
    LastGood,
    RevisionLocation,
    RolloutRecord,
    RolloutSpec,
    S3Location,
    Segment,
    Step,
    TargetRecord,
    TargetStatus,
    UrlLocation,
)

Values = dict[str, Any]
"""A row to store, by column."""


def to_json(value: object) -> str:
    return _encode(value).decode()


_encode = msgspec.json.Encoder(order="deterministic").encode


# Deployments ----------------------------------------------------------------------------------------------------------


def deployment_row(
    spec: RolloutSpec,
    record: RolloutRecord,
    *,
    application_id: ApplicationId,
    group_id: GroupId,
    description: str = "",
    request_key: str | None = None,
    triggering_deployment_id: DeploymentId | None = None,
    auto_update_root_id: DeploymentId | None = None,
) -> Values:
    """A whole new row of `deployments`; `triggering_deployment_id` is what a rollback rolls back (CP-338)."""
    return {
        "deployment_id": spec.deployment_id,
        "application_id": application_id,
        "group_id": group_id,
        "application_name": spec.application_name,
        "group_name": spec.group_name,
        "is_fleet": spec.creator.is_fleet,
        "creator": spec.creator.value,
        "config_name": spec.config_name,
        "revision_key": spec.revision.key,
        "spec": to_json(spec),
        "description": description,
        "request_key": request_key or None,
        "rollback_triggering_deployment_id": triggering_deployment_id,
        "auto_update_root_id": auto_update_root_id,
        "created_at": record.created_at,
        **rollout_values(record),
    }


def rollout_values(record: RolloutRecord) -> Values:
    """What changes of a row of `deployments` when its record does: for `Batch.update`."""
    return {"status": record.status.value, "record": to_json(record)}


def target_row(deployment_id: DeploymentId, record: TargetRecord) -> Values:
    """A whole row of `targets`: for `Batch.put`."""
    return {
        "deployment_id": deployment_id,
        "instance_id": record.instance_id,
        "instance_name": record.instance_name,
        "zone": record.zone,
        "ordinal": record.ordinal,
        "status": record.status.value,
        "was_healthy": record.was_healthy,
        "attempt": record.attempt,
        "step": record.step,
        "phase": record.phase.value,
        "is_cancelled": record.is_cancelled,
        "lifecycle_event": record.lifecycle_event,
        "deadline": record.deadline,
        "silent_since": record.silent_since,
        "failed_by_silence": record.failed_by_silence,
        "started_at": record.started_at,
        "completed_at": record.completed_at,
        "updated_at": record.updated_at,
    }


def target_from(row: Any) -> TargetRecord:
    return TargetRecord(
        instance_id=InstanceId(row.instance_id),
        instance_name=row.instance_name,
        zone=row.zone,
        ordinal=row.ordinal,
        status=TargetStatus(row.status),
        was_healthy=row.was_healthy,
        attempt=row.attempt,
        step=row.step,
        phase=CommandPhase(row.phase),
        is_cancelled=row.is_cancelled,
        lifecycle_event=row.lifecycle_event,
        deadline=row.deadline,
        silent_since=row.silent_since,
        failed_by_silence=row.failed_by_silence,
        started_at=row.started_at,
        completed_at=row.completed_at,
        updated_at=row.updated_at,
    )


def event_row(deployment_id: DeploymentId, instance_id: InstanceId, record: EventRecord) -> Values:
    """A whole row of `target_events`: for `Batch.put`."""
    return {
        "deployment_id": deployment_id,
        "instance_id": instance_id,
        "name": record.name,
        "status": record.status.value,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "diagnostics": None if record.diagnostics is None else to_json(record.diagnostics),
    }


def event_from(row: Any) -> EventRecord:
    return EventRecord(
        name=row.name,
        status=EventStatus(row.status),
        started_at=row.started_at,
        ended_at=row.ended_at,
        diagnostics=None if row.diagnostics is None else _diagnostics.decode(row.diagnostics),
    )


def installation_row(
    group_id: GroupId,
    instance_id: InstanceId,
    *,
    outcome: TargetStatus,
    revision: RevisionLocation,
    deployment_id: DeploymentId,
    at: Instant,
) -> Values:
    """What is known of an instance once a target on it has Succeeded or Failed: for `Batch.put` (CP-314, CP-315).

    Not for a Skipped target: that one was not attempted (CP-319).
    """
    is_installed = outcome is TargetStatus.SUCCEEDED
    return {
        "group_id": group_id,
        "instance_id": instance_id,
        "revision_key": revision.key if is_installed else None,
        "revision": to_json(revision) if is_installed else None,
        "last_outcome": outcome.value,
        "last_deployment_id": deployment_id,
        "attempted_at": at,
    }


def installation_from(row: Any) -> Installation:
    return Installation(
        group_id=GroupId(row.group_id),
        instance_id=InstanceId(row.instance_id),
        revision_key=row.revision_key,
        last_outcome=TargetStatus(row.last_outcome),
        last_deployment_id=DeploymentId(row.last_deployment_id),
    )


def spec_from(text: str) -> RolloutSpec:
    raw = msgspec.json.decode(text)
    values = {
        name: msgspec.convert(value, _SPEC[name])
        for name, value in raw.items()
        if name in _SPEC and name not in _SPEC_UNIONS
    }
    last_good = raw["last_good"]
    return RolloutSpec(
        **values,
        path=tuple(_step(step) for step in raw["path"]),
        revision=_location(raw["revision"]),
        last_good=None
        if last_good is None
        else LastGood(
            deployment_id=last_good["deployment_id"],
            revision=_location(last_good["revision"]),
            file_exists_behavior=msgspec.convert(
                last_good["file_exists_behavior"], _SPEC["file_exists_behavior"]
            ),
        ),
    )


def rollout_from(text: str) -> RolloutRecord:
    return _rollout.decode(text)


def deployment_from(
    row: Any, overview: Mapping[TargetStatus, int], follow_ons: tuple[DeploymentId, ...] = ()
) -> Deployment:
    """From a row of `queries.deployments.selected()`."""
    return Deployment(
        spec=spec_from(row.spec),
        record=rollout_from(row.record),
        application_id=ApplicationId(row.application_id),
        application_name=row.application_name,
        group_id=GroupId(row.group_id),
        group_name=row.group_name,
        description=row.description,
        overview=overview,
        rollback_deployment_id=row.rollback_deployment_id,
        rollback_triggering_deployment_id=row.rollback_triggering_deployment_id,
        auto_update_root_id=row.auto_update_root_id,
        auto_update_ids=follow_ons,
    )


def attempted_values(deployment_id: DeploymentId) -> Values:
    """What a group's row takes on when a fleet deployment is accepted (CP-026): for `Batch.update`."""
    return {"last_attempted_id": deployment_id}


def succeeded_values(deployment_id: DeploymentId, revision: RevisionLocation) -> Values:
    """What a group's row takes on when a fleet deployment succeeds (CP-027, CP-028): for `Batch.update`."""
    return {
        "last_successful_id": deployment_id,
        "target_revision": to_json(revision),
        "target_revision_key": revision.key,
    }


# The feed -------------------------------------------------------------------------------------------------------------

FeedChange = RolloutChanged | TargetChanged | EventChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChange:
    """One entry of a deployment's feed."""

    sequence: int
    at: Instant
    change: FeedChange


def change_row(deployment_id: DeploymentId, stored: StoredChange) -> Values:
    """A row of `changes`: for `Batch.insert`."""
    match stored.change:
        case RolloutChanged(record=rollout):
            kind, instance_id, body = "deployment", "", to_json(rollout)
        case TargetChanged(record=target):
            kind, instance_id, body = "target", target.instance_id, to_json(target)
        case _:
            instance, event = stored.change.instance_id, stored.change.record
            kind, instance_id, body = "event", instance, to_json(event)
    return {
        "deployment_id": deployment_id,
        "sequence": stored.sequence,
        "at": stored.at,
        "kind": kind,
        "instance_id": instance_id,
        "body": body,
    }


def change_from(row: Any) -> StoredChange:
    change: FeedChange
    match row.kind:
        case "deployment":
            change = RolloutChanged(record=_rollout.decode(row.body))
        case "target":
            change = TargetChanged(record=_target.decode(row.body))
        case _:
            change = EventChanged(instance_id=row.instance_id, record=_event.decode(row.body))
    return StoredChange(sequence=row.sequence, at=row.at, change=change)


# Pieces ---------------------------------------------------------------------------------------------------------------


def _location(raw: Values) -> RevisionLocation:
    # msgspec cannot tell two dataclasses of one union apart.
    for member, kind in _SOURCES.items():
        if member in raw:
            return msgspec.convert(raw, kind)
    return msgspec.convert(raw, BundleLocation)


def location_from(text: str) -> RevisionLocation:
    return _location(msgspec.json.decode(text))


def _step(raw: Values) -> Step:
    return Segment(tuple(raw["events"])) if "events" in raw else CoordinatorEvent(raw["name"])


_SOURCES: dict[str, type[UrlLocation | S3Location | GitHubLocation]] = {
    "url": UrlLocation,
    "bucket": S3Location,
    "repository": GitHubLocation,
}

_SPEC = get_type_hints(RolloutSpec)
_SPEC_UNIONS = frozenset({"path", "revision", "last_good"})

_rollout = msgspec.json.Decoder(RolloutRecord)
_target = msgspec.json.Decoder(TargetRecord)
_event = msgspec.json.Decoder(EventRecord)
_diagnostics = msgspec.json.Decoder(Diagnostics)
