"""A deployment and the one that rolls it back, or brings its revision to those that came late: created in one
transaction with the end of the first (CP-343), and each showing the other (CP-338, CP-412).
"""

from __future__ import annotations

from dataclasses import replace

from ferryman_coordinator.core import rollback
from ferryman_coordinator.core.follow_on import follow_on_spec
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.messages import RollbackOrdered
from ferryman_coordinator.core.model import DeploymentId, DeploymentStatus, Instant, RolloutRecord
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.records import rollout_values


def rolling_back(
    deployment: Deployment, ordered: RollbackOrdered, deployment_id: DeploymentId, now: Instant
) -> Deployment:
    """The rollback of `deployment`, in status Created."""
    return Deployment(
        spec=rollback.rollback_spec(deployment.spec, ordered, deployment_id),
        record=RolloutRecord(
            status=DeploymentStatus.CREATED,
            created_at=now,
            rollback_message=rollback.progress(DeploymentStatus.CREATED),
        ),
        application_id=deployment.application_id,
        application_name=deployment.application_name,
        group_id=deployment.group_id,
        group_name=deployment.group_name,
        description=f"Rolls back {deployment.deployment_id}",
        overview={},
        rollback_triggering_deployment_id=deployment.deployment_id,
    )


def follow_on(deployment: Deployment, deployment_id: DeploymentId, now: Instant) -> Deployment:
    """The follow-on of `deployment`, in status Created; those of one root are told from the others by it."""
    root = deployment.auto_update_root_id or deployment.deployment_id
    return Deployment(
        spec=follow_on_spec(deployment.spec, deployment_id),
        record=RolloutRecord(status=DeploymentStatus.CREATED, created_at=now),
        application_id=deployment.application_id,
        application_name=deployment.application_name,
        group_id=deployment.group_id,
        group_name=deployment.group_name,
        description=f"Brings the revision of {root} to instances that came late",
        overview={},
        auto_update_root_id=root,
    )


def enter_progress(
    batch: Batch, triggering_id: DeploymentId, triggering: RolloutRecord, status: DeploymentStatus
) -> None:
    """Let the deployment that was rolled back show how that goes; `status` is the rollback's."""
    record = replace(triggering, rollback_message=rollback.progress(status))
    batch.update(tables.deployments, {"deployment_id": triggering_id}, rollout_values(record))
