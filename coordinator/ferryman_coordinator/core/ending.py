"""The last change of a deployment, whether it ran or never started (CP sections 11.1, 15, 16)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ferryman_coordinator.core import rollback, transitions
from ferryman_coordinator.core.alarms import ALARM_ACTIVE
from ferryman_coordinator.core.failure import MANUAL_STOP, instances
from ferryman_coordinator.core.messages import Change, Outcome, RolloutChanged
from ferryman_coordinator.core.model import (
    AlarmRecord,
    DeploymentStatus,
    ErrorInformation,
    Instant,
    RolloutRecord,
    RolloutSpec,
    StopRecord,
)


def conclude(
    spec: RolloutSpec,
    record: RolloutRecord,
    status: DeploymentStatus,
    error: ErrorInformation | None,
    now: Instant,
) -> tuple[RolloutRecord, tuple[Change, ...]]:
    """The final record, and with it perhaps the order for a rollback, to be stored together (CP-343)."""
    transitions.DEPLOYMENT.check(record.status, status, spec.deployment_id)
    final = replace(
        record, status=status, error=error, ending=None, ending_status=None, bake_until=None, completed_at=now
    )
    decision = rollback.decide(spec, final, was_queued=record.status is DeploymentStatus.QUEUED)
    if isinstance(decision, str):
        final = replace(final, rollback_message=decision)
        return final, (RolloutChanged(record=final),)
    final = replace(final, rollback_message=decision.message)
    return final, (RolloutChanged(record=final), decision)


def end_unstarted(
    spec: RolloutSpec,
    created_at: Instant,
    now: Instant,
    error: ErrorInformation,
    *,
    before: DeploymentStatus = DeploymentStatus.CREATED,
    stop: StopRecord | None = None,
    alarms: tuple[AlarmRecord, ...] = (),
) -> Outcome:
    """End a deployment that is still Created or Queued (`before`): what it needs is gone, or it is stopped (CP-228,
    CP-327, CP-356).

    With `stop`, or by an alarm, it ends Stopped, else Failed. `alarms`: what was read of them by then.
    """
    record = RolloutRecord(status=before, created_at=created_at, stop=stop, alarms=alarms)
    is_stopped = stop is not None or error.code == ALARM_ACTIVE
    status = DeploymentStatus.STOPPED if is_stopped else DeploymentStatus.FAILED
    return Outcome(changes=conclude(spec, record, status, error, now)[1])


def stopped_by(stop: StopRecord) -> ErrorInformation:
    """CP-331."""
    return ErrorInformation(code=MANUAL_STOP, message=f"Stopped by {stop.by}.")


@dataclass(frozen=True, slots=True)
class StopAnswer:
    """What whoever asked for a stop is told; `is_stopped`: no lifecycle event will run any more (CP-321 to CP-323)."""

    is_stopped: bool
    message: str


def stop_answer(record: RolloutRecord, in_progress: int) -> StopAnswer:
    """The answer to a stop that was taken in, with so many targets still at their running event."""
    if record.status.is_terminal:
        return StopAnswer(
            True, f"The deployment has ended as {record.status}; no more lifecycle events will run."
        )
    ends = DeploymentStatus.STOPPED if record.ending_status is None else record.ending_status
    return StopAnswer(
        False,
        f"Waiting for the running lifecycle event of {instances(in_progress)}; no other event and no other instance"
        f" starts. The deployment will end as {ends}.",
    )
