from __future__ import annotations

import pytest

from ferryman_coordinator.core.health import (
    Installation,
    after_target,
    instance_health,
    is_outdated,
    revision_health,
)
from ferryman_coordinator.core.model import (
    DeploymentId,
    GroupId,
    InstanceHealth,
    InstanceId,
    RevisionHealth,
    TargetStatus,
)

NEVER = Installation(group_id=GroupId("g"), instance_id=InstanceId("mi-1"))
OLD, NEW = "sha256:old", "sha256:new"
D1, D2 = DeploymentId("d-1"), DeploymentId("d-2")

CURRENT_NOW = after_target(NEVER, TargetStatus.SUCCEEDED, D1, OLD)
OLDER = after_target(NEVER, TargetStatus.SUCCEEDED, D1, "sha256:ancient")
BROKEN = after_target(NEVER, TargetStatus.FAILED, D1, OLD)


@pytest.mark.req("CP-311", "CP-312", "CP-314")
@pytest.mark.parametrize(
    "installation, revision, instance",
    [
        (None, RevisionHealth.UNKNOWN, InstanceHealth.UNHEALTHY),
        (NEVER, RevisionHealth.UNKNOWN, InstanceHealth.UNHEALTHY),
        (CURRENT_NOW, RevisionHealth.CURRENT, InstanceHealth.HEALTHY),
        (OLDER, RevisionHealth.OLD, InstanceHealth.HEALTHY),
        (BROKEN, RevisionHealth.UNKNOWN, InstanceHealth.UNHEALTHY),
    ],
    ids=["no record", "never", "current", "older", "broken"],
)
def test_health_from_facts(
    installation: Installation | None, revision: RevisionHealth, instance: InstanceHealth
) -> None:
    assert revision_health(installation, OLD) is revision
    assert instance_health(installation) is instance


@pytest.mark.req("CP-313", "CP-315", "CP-316", "CP-317", "CP-319")
@pytest.mark.parametrize("overall", ["Succeeded", "Failed or Stopped"])
@pytest.mark.parametrize(
    "before", [CURRENT_NOW, OLDER, BROKEN, NEVER], ids=["current", "older", "broken", "never"]
)
@pytest.mark.parametrize("outcome", [TargetStatus.SUCCEEDED, TargetStatus.FAILED, TargetStatus.SKIPPED])
def test_table_of_health_after_a_deployment(
    overall: str, before: Installation, outcome: TargetStatus
) -> None:
    """CP section 14: the group's pointer moves only with the overall success, everything else follows from facts."""
    pointer = NEW if overall == "Succeeded" else OLD

    after = after_target(before, outcome, D2, NEW)

    if outcome is TargetStatus.SUCCEEDED:
        expected = RevisionHealth.CURRENT if overall == "Succeeded" else RevisionHealth.OLD
        assert (revision_health(after, pointer), instance_health(after)) == (expected, InstanceHealth.HEALTHY)
        assert after.last_deployment_id == D2
    elif outcome is TargetStatus.FAILED:
        assert (revision_health(after, pointer), instance_health(after)) == (
            RevisionHealth.UNKNOWN,
            InstanceHealth.UNHEALTHY,
        )
    else:
        assert after == before, "a skipped target was not attempted"
        assert instance_health(after) is instance_health(before)


@pytest.mark.req("CP-219")
@pytest.mark.parametrize(
    "installation, expected",
    [(None, True), (BROKEN, True), (OLDER, True), (CURRENT_NOW, False)],
    ids=["never", "unhealthy", "other revision", "same revision"],
)
def test_what_an_outdated_only_deployment_goes_to(installation: Installation | None, expected: bool) -> None:
    assert is_outdated(installation, OLD) is expected
