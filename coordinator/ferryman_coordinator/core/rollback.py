"""Whether an ended deployment is rolled back, to what, and as what kind of deployment (CP section 16)."""

from __future__ import annotations

from dataclasses import replace

from ferryman_coordinator.core.alarms import ALARM_ACTIVE
from ferryman_coordinator.core.messages import RollbackOrdered
from ferryman_coordinator.core.model import (
    AutoRollback,
    Creator,
    DeploymentId,
    DeploymentStatus,
    RollbackEvent,
    RolloutRecord,
    RolloutSpec,
)


def decide(spec: RolloutSpec, ended: RolloutRecord, *, was_queued: bool = False) -> RollbackOrdered | str:
    """A rollback, or why there is none: a sentence when one was wanted and is impossible, else an empty one.

    A deployment that failed, or met an alarm, before its first target changed nothing and is not rolled back; one that
    somebody stopped then is, if that is asked for (CP-329, CP-334). But not one that waited in a queue: another one of
    its group runs (CP-416).
    """
    if spec.creator is Creator.ROLLBACK:
        # A failed rollback is not rolled back (CP-342); its message says how it went (CP-338).
        return progress(ended.status)
    if not _is_wanted(spec.auto_rollback, ended):
        return ""
    if ended.is_orphaned:
        return "No rollback: the deployment group was deleted."
    if was_queued:
        return "No rollback: the deployment was still queued."
    is_asked_for = _cause(ended) is RollbackEvent.DEPLOYMENT_STOP_ON_REQUEST
    if ended.started_at is None and not is_asked_for:
        how = "failed" if ended.status is DeploymentStatus.FAILED else "was stopped by an alarm"
        return f"No rollback: the deployment {how} before it touched an instance."
    if spec.last_good is None:
        return f"No rollback: deployment group {spec.group_name} has no successful deployment to go back to."
    good = spec.last_good
    return RollbackOrdered(
        revision=good.revision,
        file_exists_behavior=good.file_exists_behavior,
        message=f"Rolling back to the revision of {good.deployment_id}, the group's last successful deployment.",
    )


def rollback_spec(spec: RolloutSpec, ordered: RollbackOrdered, deployment_id: DeploymentId) -> RolloutSpec:
    """The snapshot of the rollback of `spec`'s deployment: its configuration without zones (CP-299, CP-305)."""
    return replace(
        spec,
        deployment_id=deployment_id,
        creator=Creator.ROLLBACK,
        revision=ordered.revision,
        zonal=None,
        # What the half-installed revision leaves behind may be what failed (CP-341).
        ignore_application_stop_failures=True,
        file_exists_behavior=ordered.file_exists_behavior,
        # Only people take files away from another group; what was adopted goes back to it (AG-326).
        adopt=False,
        # All members, touched or not (CP-345).
        update_outdated_instances_only=False,
        auto_rollback=AutoRollback(),
        overrides_alarms=False,
        warnings=(),
    )


def progress(status: DeploymentStatus) -> str:
    """What both sides of a rollback show while and after it runs (CP-338); `status` is the rollback's."""
    if status is DeploymentStatus.SUCCEEDED:
        return "The rollback succeeded."
    if status.is_terminal:
        return f"The rollback {'failed' if status is DeploymentStatus.FAILED else 'was stopped'}; it is not repeated."
    return "The rollback is in progress."


def _is_wanted(settings: AutoRollback, ended: RolloutRecord) -> bool:
    if ended.status not in (DeploymentStatus.FAILED, DeploymentStatus.STOPPED):
        return False
    # The word of whoever stopped it wins over the settings (CP-329).
    if ended.stop is not None and ended.stop.auto_rollback is not None:
        return ended.stop.auto_rollback
    return settings.enabled and _cause(ended) in settings.events


def _cause(ended: RolloutRecord) -> RollbackEvent:
    if ended.status is DeploymentStatus.FAILED:
        return RollbackEvent.DEPLOYMENT_FAILURE
    if ended.error is not None and ended.error.code == ALARM_ACTIVE:
        return RollbackEvent.DEPLOYMENT_STOP_ON_ALARM
    return RollbackEvent.DEPLOYMENT_STOP_ON_REQUEST
