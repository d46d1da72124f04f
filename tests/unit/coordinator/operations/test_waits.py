"""What is said to whoever would end the wait of a deployment that does not wait."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.group_options import (
    BlueGreen,
    DeploymentStyle,
    DeploymentType,
    GroupOptions,
    WaitType,
)
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import ApplicationId, DeploymentStatus, GroupId
from ferryman_coordinator.errors import Conflict
from ferryman_coordinator.operations.waits import check_wait
from tests.support.coordinator_records import rollout_record, rollout_spec

SWAPPED = GroupOptions(style=DeploymentStyle(type=DeploymentType.BLUE_GREEN), blue_green=BlueGreen())


def blue_green(status: DeploymentStatus) -> Deployment:
    return Deployment(
        spec=rollout_spec("d-000000001", options=SWAPPED),
        record=rollout_record(status),
        application_id=ApplicationId("a"),
        application_name="shop",
        group_id=GroupId("g"),
        group_name="web",
        description="",
        overview={},
    )


@pytest.mark.req("CP-452", "CP-453")
@pytest.mark.parametrize("wait, before", [("READY_WAIT", "traffic"), ("TERMINATION_WAIT", "original")])
def test_a_blue_green_deployment_that_is_not_that_far_is_not_ready(wait: str, before: str) -> None:
    with pytest.raises(Conflict, match=f"is InProgress and does not wait before.*{before}") as refused:
        check_wait(blue_green(DeploymentStatus.IN_PROGRESS), WaitType(wait))
    assert refused.value.reason == "DeploymentIsNotInReadyStateException"


@pytest.mark.parametrize("status", [status for status in DeploymentStatus if status.is_terminal])
def test_one_that_is_over_is_completed(status: DeploymentStatus) -> None:
    with pytest.raises(Conflict) as refused:
        check_wait(blue_green(status), WaitType.READY_WAIT)
    assert refused.value.reason == "DeploymentAlreadyCompletedException"
