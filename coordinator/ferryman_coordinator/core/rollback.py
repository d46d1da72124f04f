"""Whether an ended deployment is rolled back, to what, and as what kind of deployment (CP section 16)."""

from __future__ import annotations

from dataclasses import replace

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


def decide(spec: RolloutSpec, ended: RolloutRecord) -> RollbackOrdered | str:
    """A rollback, or why there is none: a sentence when one was wanted and is impossible, else an empty one.

    A deployment that failed before its first target changed nothing and is not rolled back; one that was stopped
    then is, if that is asked for (CP-329, CP-334).
    """
    if spec.creator is Creator.ROLLBACK:
        # A failed rollback is not rolled back (CP-342); its message says how it went (CP-338).
        return progress(ended.status)
    if not _is_wanted(spec.auto_rollback, ended):
        return ""
    if ended.is_orphaned:
        return "No rollback: the deployment group was deleted."
    if ended.status is DeploymentStatus.FAILED and ended.started_at is None:
        return "No rollback: the deployment failed before it touched an instance."
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
    cause = (
        RollbackEvent.DEPLOYMENT_STOP_ON_REQUEST
        if ended.status is DeploymentStatus.STOPPED
        else RollbackEvent.DEPLOYMENT_FAILURE
    )
    return settings.enabled and cause in settings.events
