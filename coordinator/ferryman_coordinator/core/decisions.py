"""What of a decision round is worth an audit record: what the coordinator decided by itself, and why (CP-448).

What a person asked for is recorded where they asked; here is what followed from timers, alarms and failures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ferryman_coordinator.core.alarms import ALARM_ACTIVE
from ferryman_coordinator.core.audit import Decision
from ferryman_coordinator.core.deadlines import OWN_TIMERS
from ferryman_coordinator.core.failure import MANUAL_STOP, TIMEOUT
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.messages import Change, EventChanged, RollbackOrdered, RolloutChanged
from ferryman_coordinator.core.model import (
    Creator,
    EventStatus,
    RolloutRecord,
)

STOP_ON_ALARM = "StopDeploymentOnAlarm"
TIMER_EXPIRED = "DeploymentTimerExpired"
EVENT_TIMER_EXPIRED = "LifecycleEventTimerExpired"
FAIL = "FailDeployment"
ROLL_BACK = "CreateRollbackDeployment"
FOLLOW_ON = "CreateFollowOnDeployment"
TAKE_OVER = "ResumeDeployment"

_BY_CODE = {ALARM_ACTIVE: STOP_ON_ALARM, TIMEOUT: TIMER_EXPIRED}


def decisions_of(
    before: RolloutRecord, changes: Iterable[Change], deployment: Deployment
) -> Iterator[Decision]:
    """`before` is what was stored of the deployment, `deployment` what is stored now, with its rollback if any."""
    for change in changes:
        match change:
            case RolloutChanged(record=record):
                if (decision := _ending(before, record, deployment)) is not None:
                    yield decision
                before = record
            case EventChanged(record=event):
                # Agents report what ran too long on their side; these they had no chance to report.
                diagnostics = event.diagnostics
                if (
                    event.status is EventStatus.FAILED
                    and diagnostics is not None
                    and diagnostics.detail_code in OWN_TIMERS
                ):
                    yield _decision(
                        EVENT_TIMER_EXPIRED,
                        deployment,
                        diagnostics.message,
                        instanceId=change.instance_id,
                        lifecycleEvent=event.name,
                    )
            case RollbackOrdered(message=message):
                rollback_id = deployment.rollback_deployment_id or ""
                yield Decision(
                    event=ROLL_BACK,
                    deployment_id=deployment.deployment_id,
                    creator=Creator.ROLLBACK,
                    cause=message,
                    details={"rollbackDeploymentId": rollback_id},
                )


def taken_over(deployment: Deployment) -> Decision:
    """A coordinator that was started goes on with what another one, or itself, left unfinished."""
    return _decision(
        TAKE_OVER, deployment, f"the coordinator was started; the deployment was {deployment.record.status}"
    )


def followed(deployment: Deployment, follow_on: Deployment) -> Decision:
    """Instances came late to a successful deployment, so another one brings them its revision."""
    return Decision(
        event=FOLLOW_ON,
        deployment_id=deployment.deployment_id,
        creator=follow_on.spec.creator,
        cause="instances joined the group, or came back, without the revision that it deployed",
        details={"followOnDeploymentId": follow_on.deployment_id},
    )


def _ending(before: RolloutRecord, record: RolloutRecord, deployment: Deployment) -> Decision | None:
    cause = record.ending or record.error
    if cause is None or before.ending is not None or before.error is not None:
        return None
    if cause.code == MANUAL_STOP:
        # A person asked for it.
        return None
    return _decision(_BY_CODE.get(cause.code, FAIL), deployment, cause.message, errorCode=cause.code)


def _decision(event: str, deployment: Deployment, cause: str, **details: str) -> Decision:
    return Decision(
        event=event,
        deployment_id=deployment.deployment_id,
        creator=deployment.spec.creator,
        cause=cause,
        details=details,
    )
