"""Which decisions of a round become audit records (CP-448)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferryman_coordinator.core.alarms import ALARM_ACTIVE
from ferryman_coordinator.core.audit import Decision
from ferryman_coordinator.core.deadlines import START_TIMER
from ferryman_coordinator.core.decisions import decisions_of, taken_over
from ferryman_coordinator.core.failure import TIMEOUT
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.messages import Change, EventChanged, RollbackOrdered, RolloutChanged
from ferryman_coordinator.core.model import (
    ApplicationId,
    DeploymentId,
    DeploymentStatus,
    Diagnostics,
    ErrorInformation,
    EventRecord,
    EventStatus,
    FileExistsBehavior,
    GroupId,
    InstanceId,
    LifecycleErrorCode,
    StopRecord,
)
from tests.support.coordinator_records import rollout_record, rollout_spec

RUNNING = rollout_record(DeploymentStatus.IN_PROGRESS)
SPEC = rollout_spec("d-ABCDEFGHI")


def deployment(**fields: object) -> Deployment:
    made: dict[str, object] = {
        "spec": SPEC,
        "record": RUNNING,
        "application_id": ApplicationId("a"),
        "application_name": "web",
        "group_id": GroupId("g"),
        "group_name": "prod",
        "description": "",
        "overview": {},
    }
    return Deployment(**(made | fields))  # type: ignore[arg-type]  # as the test says


def decisions(*changes: Change, **fields: object) -> list[Decision]:
    return list(decisions_of(RUNNING, changes, deployment(**fields)))


def ending(code: str, **fields: object) -> RolloutChanged:
    cause = ErrorInformation(code=code, message=f"because of {code}")
    return RolloutChanged(record=replace(RUNNING, ending=cause, **fields))  # type: ignore[arg-type]  # as given


@pytest.mark.req("CP-448")
@pytest.mark.parametrize(
    "code, event",
    [
        (ALARM_ACTIVE, "StopDeploymentOnAlarm"),
        (TIMEOUT, "DeploymentTimerExpired"),
        ("HEALTH_CONSTRAINTS", "FailDeployment"),
    ],
)
def test_the_end_that_the_coordinator_decides_is_told_once(code: str, event: str) -> None:
    first = ending(code)
    final = RolloutChanged(
        record=replace(first.record, status=DeploymentStatus.FAILED, error=first.record.ending)
    )
    (decision,) = decisions(first, final)
    assert (decision.event, decision.deployment_id, decision.creator) == (event, "d-ABCDEFGHI", "user")
    assert decision.cause == f"because of {code}"
    assert decision.details == {"errorCode": code}


def test_a_stop_that_a_person_asked_for_is_recorded_where_he_asked() -> None:
    assert decisions(ending("MANUAL_STOP", stop=StopRecord(by="ann", auto_rollback=None))) == []
    assert decisions(RolloutChanged(record=RUNNING)) == []


@pytest.mark.req("CP-448")
def test_a_rollback_names_its_deployment_and_its_cause() -> None:
    ordered = RollbackOrdered(
        revision=SPEC.revision,
        file_exists_behavior=FileExistsBehavior.DISALLOW,
        message="the last good one is rolled out again",
    )
    (decision,) = decisions(ordered, rollback_deployment_id=DeploymentId("d-ROLLBACK1"))
    assert (decision.event, decision.creator) == ("CreateRollbackDeployment", "codeDeployRollback")
    assert decision.cause == ordered.message
    assert decision.details == {"rollbackDeploymentId": "d-ROLLBACK1"}


@pytest.mark.req("CP-448")
def test_timers_of_events_are_told_and_failures_of_scripts_are_not() -> None:
    def failed(detail_code: str) -> EventChanged:
        diagnostics = Diagnostics(
            error_code=LifecycleErrorCode.UNKNOWN_ERROR, message="did not begin", detail_code=detail_code
        )
        record = EventRecord(name="Install", status=EventStatus.FAILED, diagnostics=diagnostics)
        return EventChanged(instance_id=InstanceId("mi-1"), record=record)

    (decision,) = decisions(failed(START_TIMER), failed("FILES_SOURCE_NOT_FOUND"))
    assert (decision.event, decision.cause) == ("LifecycleEventTimerExpired", "did not begin")
    assert decision.details == {"instanceId": "mi-1", "lifecycleEvent": "Install"}


@pytest.mark.req("CP-448")
def test_going_on_after_a_start_is_told() -> None:
    decision = taken_over(deployment())
    assert decision.event == "ResumeDeployment"
    assert "the deployment was InProgress" in decision.cause
