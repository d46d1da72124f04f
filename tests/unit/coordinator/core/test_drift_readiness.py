"""Whether what is known of an instance still counts, and what a rollout is told of its way back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferryman_coordinator.core.drift import (
    InstalledState,
    RollbackReadiness,
    readiness,
    readiness_warnings,
)
from ferryman_coordinator.core.health import Installation
from ferryman_coordinator.core.model import DeploymentId, GroupId, InstanceId, Instant, TargetStatus

NEW, OLD = DeploymentId("d-NEW000000"), DeploymentId("d-OLD000000")
GOOD = Installation(
    group_id=GroupId("g"),
    instance_id=InstanceId("i"),
    revision_key="r",
    last_outcome=TargetStatus.SUCCEEDED,
    last_deployment_id=NEW,
)
FAILED = replace(GOOD, revision_key=None, last_outcome=TargetStatus.FAILED)
STATE = InstalledState(
    group_id=GroupId("g"),
    deployment_id=NEW,
    files_checked=1,
    files_drifted=0,
    drifted=(),
    checked_at=Instant(1),
    received_at=Instant(2),
    with_digests=False,
    archive_whole=True,
)


@pytest.mark.req("AG-554")
def test_findings_count_until_another_deployment_has_succeeded() -> None:
    assert STATE.is_of(GOOD)
    assert not replace(STATE, deployment_id=OLD).is_of(GOOD)
    # After a failure it is not known here what is on the machine: what the agent found is the best there is.
    assert replace(STATE, deployment_id=OLD).is_of(FAILED)


@pytest.mark.req("AG-558")
@pytest.mark.parametrize(
    "installation, state, expected",
    [
        (GOOD, STATE, True),
        (GOOD, replace(STATE, archive_whole=False), False),
        # What agents say that know the difference.
        (GOOD, replace(STATE, archive_whole=False, bundle_whole=True), True),
        (GOOD, replace(STATE, archive_whole=False, bundle_whole=False), False),
        (GOOD, replace(STATE, deployment_id=OLD), None),
        (GOOD, None, None),
        (FAILED, STATE, None),
        (None, None, None),
    ],
)
def test_who_could_go_back(
    installation: Installation | None, state: InstalledState | None, expected: bool | None
) -> None:
    assert readiness(installation, state) is expected


def instances(count: int, can: bool | None, *, was_asked: bool = True) -> list[RollbackReadiness]:
    return [
        RollbackReadiness(instance_name=f"{can}-{number}", can_roll_back=can, was_asked=was_asked)
        for number in range(count)
    ]


@pytest.mark.req("AG-558")
def test_warnings_name_who_could_not_and_who_did_not_say() -> None:
    assert readiness_warnings(instances(10, True)) == ()
    # Agents that never say anything are no news.
    assert readiness_warnings(instances(10, None, was_asked=False)) == ()
    many = [*instances(12, False), *instances(1, None), *instances(7, True)]
    cannot, unknown = readiness_warnings(many)
    assert cannot.startswith("12 of 20 instances could not roll back from disk: False-0, False-1, ")
    assert "False-9, …;" in cannot
    assert unknown == "1 of 20 instances did not say whether they could roll back from disk: None-0"
