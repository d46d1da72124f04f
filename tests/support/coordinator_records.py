"""Builders of what the coordinator stores of a deployment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ferryman_coordinator.core.lifecycle import in_place_path
from ferryman_coordinator.core.model import (
    AutoRollback,
    BundleLocation,
    BundleType,
    Creator,
    DeploymentId,
    DeploymentStatus,
    EventRecord,
    EventStatus,
    FileExistsBehavior,
    HealthyHostsType,
    InstanceId,
    Instant,
    MinimumHealthyHosts,
    RolloutRecord,
    RolloutSpec,
    TargetRecord,
    TargetStatus,
    Timers,
)
from tests.support.clock import START


def bundle(digit: str = "a") -> BundleLocation:
    """A location whose digest is that digit, 64 times."""
    return BundleLocation(sha256=digit * 64, size_bytes=1024, bundle_type=BundleType.ZIP)


_SPEC = RolloutSpec(
    deployment_id=DeploymentId("d-000000001"),
    application_name="web",
    group_name="production",
    creator=Creator.USER,
    revision=bundle(),
    config_name="CodeDeployDefault.OneAtATime",
    minimum=MinimumHealthyHosts(type=HealthyHostsType.MOST_CONCURRENCY, value=1),
    zonal=None,
    path=in_place_path(),
    ignore_application_stop_failures=False,
    file_exists_behavior=FileExistsBehavior.DISALLOW,
    update_outdated_instances_only=False,
    auto_rollback=AutoRollback(),
    last_good=None,
    timers=Timers(),
    max_targets=1000,
)


def rollout_spec(deployment_id: str, **changes: Any) -> RolloutSpec:
    """An in-place deployment of `bundle()`, one at a time, with `changes`."""
    return replace(_SPEC, deployment_id=DeploymentId(deployment_id), **changes)


def rollout_record(status: DeploymentStatus = DeploymentStatus.CREATED, **changes: Any) -> RolloutRecord:
    """Created when the clock of tests starts."""
    return replace(RolloutRecord(status=status, created_at=START), **changes)


def target_record(ordinal: int, status: TargetStatus = TargetStatus.PENDING, **changes: Any) -> TargetRecord:
    """The target on instance `mi-<ordinal>`."""
    record = TargetRecord(
        instance_id=InstanceId(f"mi-{ordinal}"),
        instance_name=f"web-{ordinal}",
        zone="",
        ordinal=ordinal,
        status=status,
        was_healthy=False,
        updated_at=START,
    )
    return replace(record, **changes)


def event_record(name: str, status: EventStatus = EventStatus.SUCCEEDED, **changes: Any) -> EventRecord:
    """A lifecycle event that started and ended when the clock of tests starts."""
    record = EventRecord(name=name, status=status, started_at=START, ended_at=Instant(START + 5))
    return replace(record, **changes)
