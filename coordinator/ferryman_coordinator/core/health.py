"""Health of an instance in a deployment group, derived from stored facts and never stored itself (CP section 14).

Health here is about deployments: whether the last one to the instance went well and what it left there. It has
nothing to do with whether the agent is connected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ferryman_coordinator.core.model import (
    DeploymentId,
    GroupId,
    InstanceHealth,
    InstanceId,
    RevisionHealth,
    TargetStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What is known of one group on one instance (CP-315, CP-318); no record means: never deployed to."""

    group_id: GroupId
    instance_id: InstanceId
    # Identity of the revision that was installed well; None after a failure, when files may be half replaced (CP-314).
    revision_key: str | None = None
    # Succeeded or Failed; None when no attempt was made.
    last_outcome: TargetStatus | None = None
    last_deployment_id: DeploymentId | None = None


def instance_health(installation: Installation | None) -> InstanceHealth:
    """Healthy when the last deployment to it succeeded; Unhealthy when it failed or none was made (CP-312)."""
    if installation is not None and installation.last_outcome is TargetStatus.SUCCEEDED:
        return InstanceHealth.HEALTHY
    return InstanceHealth.UNHEALTHY


def revision_health(installation: Installation | None, last_success_key: str | None) -> RevisionHealth:
    """`last_success_key`: revision of the group's last successful deployment, None when there is none (CP-311)."""
    if installation is None or installation.revision_key is None:
        return RevisionHealth.UNKNOWN
    if installation.revision_key == last_success_key:
        return RevisionHealth.CURRENT
    return RevisionHealth.OLD


def is_outdated(installation: Installation | None, revision_key: str) -> bool:
    """Whether an outdated-only deployment of that revision goes to the instance (CP-219)."""
    if instance_health(installation) is InstanceHealth.UNHEALTHY or installation is None:
        return True
    return installation.revision_key != revision_key


def after_target(
    installation: Installation, status: TargetStatus, deployment_id: DeploymentId, revision_key: str
) -> Installation:
    """The facts once a target has ended; a Skipped one was not attempted and changes nothing (CP-317, CP-319)."""
    if status is TargetStatus.SUCCEEDED:
        installed: str | None = revision_key
    elif status is TargetStatus.FAILED:
        installed = None
    else:
        return installation
    return replace(
        installation, revision_key=installed, last_outcome=status, last_deployment_id=deployment_id
    )
