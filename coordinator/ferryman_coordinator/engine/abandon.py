"""How a deployment ends that the coordinator itself cannot go on with: Failed, INTERNAL_ERROR (CP section 20).

Works on stored records alone, since it is the object in memory that cannot be trusted any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ferryman_coordinator.core import ending
from ferryman_coordinator.core.messages import (
    CancelSegment,
    Change,
    EventChanged,
    RollbackOrdered,
    TargetChanged,
)
from ferryman_coordinator.core.model import (
    CommandId,
    CommandPhase,
    DeploymentStatus,
    Diagnostics,
    ErrorInformation,
    EventRecord,
    EventStatus,
    InstanceId,
    Instant,
    LifecycleErrorCode,
    TargetRecord,
    TargetStatus,
)
from ferryman_coordinator.store.queries.deployments import LoadedRollout

INTERNAL_ERROR = "INTERNAL_ERROR"


def give_up(loaded: LoadedRollout, fault: str, now: Instant) -> Sequence[Change]:
    """Every target and the deployment final; perhaps followed by a rollback, like any other failure."""
    error = ErrorInformation(
        code=INTERNAL_ERROR,
        message=(
            f"The coordinator met a fault of its own: {fault}. Instances in progress were told to stop."
            " Next: report it with the coordinator's log, then deploy again."
        ),
    )
    why = f"the coordinator gave the deployment up because of a fault of its own: {fault}"
    return _all_final(loaded, error, why, now)


def lose_sight(loaded: LoadedRollout, why: str, now: Instant) -> Sequence[Change]:
    """The same where nobody knows how it went on: never followed by a rollback, since that could undo what came later.

    `why` completes "the coordinator …".
    """
    error = ErrorInformation(
        code=INTERNAL_ERROR,
        message=f"The coordinator {why}: how the deployment went on is not known. Next: deploy again.",
    )
    changes = _all_final(loaded, error, f"the coordinator {why}: what became of it is not known", now)
    return [change for change in changes if not isinstance(change, RollbackOrdered)]


def _all_final(loaded: LoadedRollout, error: ErrorInformation, why: str, now: Instant) -> Sequence[Change]:
    diagnostics = Diagnostics(error_code=LifecycleErrorCode.UNKNOWN_ERROR, message=why)
    started = {
        (instance_id, event.name): event
        for instance_id, event in loaded.events
        if event.status is EventStatus.IN_PROGRESS
    }
    changes: list[Change] = []
    for target in loaded.targets:
        if not target.status.is_terminal:
            changes.extend(_end(target, started, diagnostics, now))
    changes.extend(ending.conclude(loaded.spec, loaded.record, DeploymentStatus.FAILED, error, now)[1])
    return changes


def cancellations(loaded: LoadedRollout) -> Iterator[CancelSegment]:
    """For the agents that are at it."""
    for target in loaded.targets:
        if target.phase is not CommandPhase.NONE:
            yield CancelSegment(
                instance_id=target.instance_id,
                command_id=command_id(loaded, target),
                reason="the deployment has ended",
            )


def command_id(loaded: LoadedRollout, target: TargetRecord) -> CommandId:
    """The target's open command, or the one it would have."""
    name = loaded.spec.deployment_id
    return CommandId(f"{name}/{target.instance_id}/{target.attempt}/{target.step}")


def _end(
    target: TargetRecord,
    started: dict[tuple[InstanceId, str], EventRecord],
    diagnostics: Diagnostics,
    now: Instant,
) -> Iterator[Change]:
    ended = replace(target, completed_at=now, updated_at=now, deadline=None)
    if target.status is TargetStatus.PENDING:
        yield TargetChanged(record=replace(ended, status=TargetStatus.SKIPPED))
        return
    name = target.lifecycle_event
    event = started.get((target.instance_id, name)) or EventRecord(name=name, status=EventStatus.PENDING)
    failed = replace(event, status=EventStatus.FAILED, ended_at=now, diagnostics=diagnostics)
    yield EventChanged(instance_id=target.instance_id, record=failed)
    yield TargetChanged(record=replace(ended, status=TargetStatus.FAILED, is_cancelled=True))
