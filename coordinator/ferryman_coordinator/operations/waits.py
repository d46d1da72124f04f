"""Ending the waits of a blue/green deployment before their time (CP-452, CP-453)."""

from __future__ import annotations

from ferryman_coordinator.core.group_options import DeploymentType, WaitType
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.engine.engine import completed
from ferryman_coordinator.errors import Conflict, Invalid
from ferryman_coordinator.operations.deployment_reads import DeploymentReads


async def end_wait(deployments: DeploymentReads, deployment_id: str, wait: WaitType) -> None:
    """Go on now: with moving the traffic (READY_WAIT), or with ending the original instances (TERMINATION_WAIT).

    Raises Invalid (UnsupportedActionForDeploymentTypeException and those of the id), NotFound
    (DeploymentDoesNotExistException), Conflict (DeploymentAlreadyCompletedException,
    DeploymentIsNotInReadyStateException).
    """
    check_wait(await deployments.get(deployment_id), wait)


def check_wait(deployment: Deployment, wait: WaitType) -> None:
    """Raises as `end_wait` does; no deployment of this version, which deploys in place only, ever waits."""
    status = deployment.record.status
    if status.is_terminal:
        raise completed(deployment.deployment_id, status)
    if deployment.spec.options.style.type is DeploymentType.IN_PLACE:
        raise Invalid(
            "UnsupportedActionForDeploymentTypeException",
            f"deployment {deployment.deployment_id} is {DeploymentType.IN_PLACE}: only {DeploymentType.BLUE_GREEN} ones"
            " wait to be continued; this one goes on by itself",
        )
    before = "traffic moves" if wait is WaitType.READY_WAIT else "the original instances end"
    raise Conflict(
        "DeploymentIsNotInReadyStateException",
        f"deployment {deployment.deployment_id} is {status} and does not wait before {before}: there is nothing to end",
    )
