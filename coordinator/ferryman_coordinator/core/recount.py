"""The self-check of a rollout: everything that is kept running is counted again from the targets themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ferryman_coordinator.core.course import Course
from ferryman_coordinator.core.deadlines import Deadlines
from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.model import (
    CommandPhase,
    DeploymentStatus,
    RolloutRecord,
    TargetStatus,
)
from ferryman_coordinator.core.planner import Planner
from ferryman_coordinator.core.schedule import Schedule, Tally
from ferryman_coordinator.core.target import Target


def recount(planner: Planner) -> None:
    """Raise InvariantBroken with every difference found."""
    record, schedule = planner.record, planner.schedule
    wrong = [
        *_record_faults(record, schedule),
        *_tally_faults("the fleet", schedule.fleet, schedule.order),
        *_zone_faults(record, schedule),
        *(
            fault
            for target in schedule.order
            for fault in _target_faults(target, planner.course, planner.deadlines)
        ),
    ]
    if list(planner.running.values()) != [target for target in schedule.order if target.is_running]:
        wrong.append("the targets in progress are not those that are kept as such")
    if set(planner.failed) != {target for target in schedule.order if target.status is TargetStatus.FAILED}:
        wrong.append("the failed targets are not those that are kept as such")
    if wrong:
        raise InvariantBroken(f"deployment {planner.spec.deployment_id} does not add up", wrong)


def _record_faults(record: RolloutRecord, schedule: Schedule) -> Iterable[str]:
    fleet = schedule.fleet
    if (record.counted, record.minimum) != (fleet.counted, fleet.minimum):
        yield "N or M in the record is not what is scheduled by"
    if record.status.is_terminal:
        if fleet.pending or fleet.in_progress:
            yield f"it has ended with {fleet.pending} targets pending and {fleet.in_progress} in progress"
        if record.completed_at is None or record.completed_at < (record.started_at or record.created_at):
            yield "it ended before it began"
    elif record.ending is not None and fleet.pending:
        yield f"it is ending, but {fleet.pending} targets are still pending"
    if (record.error is not None) != (record.status in (DeploymentStatus.FAILED, DeploymentStatus.STOPPED)):
        yield f"its status is {record.status}, its error {record.error}"
    if (record.bake_until is not None) != (record.status is DeploymentStatus.BAKING):
        yield f"its status is {record.status}, it bakes until {record.bake_until}"


def _tally_faults(whose: str, tally: Tally, targets: Sequence[Target]) -> Iterable[str]:
    counts = Counter(target.status for target in targets)
    for status, kept in tally.by_status.items():
        if kept != counts[status]:
            yield f"{whose}: {counts[status]} targets are {status}, {kept} are kept"
    healthy = sum(
        target.status is TargetStatus.SUCCEEDED
        or (target.was_healthy and target.status in (TargetStatus.PENDING, TargetStatus.SKIPPED))
        for target in targets
    )
    available = tally.counted - len(targets) + healthy
    if tally.available != available:
        yield f"{whose}: {available} are available, {tally.available} are kept"
    if tally.in_progress > tally.concurrency:
        yield f"{whose}: {tally.in_progress} are in progress, at most {tally.concurrency} may be"


def _zone_faults(record: RolloutRecord, schedule: Schedule) -> Iterable[str]:
    if schedule.zones and record.zone != schedule.zone:
        yield f"zone {record.zone} is recorded, zone {schedule.zone} is scheduled"
    for number, tally in enumerate(schedule.zones):
        targets = [target for target in schedule.order if target.zone_index == number]
        yield from _tally_faults(f"zone {record.zones[number]}", tally, targets)
        if number > record.zone and tally.in_progress:
            yield f"zone {record.zones[number]} has targets in progress before its turn"


def _target_faults(target: Target, course: Course, deadlines: Deadlines) -> Iterable[str]:
    if deadlines.of(target.ordinal) != course.due(target):
        yield f"{target.label} is due at {course.due(target)}, {deadlines.of(target.ordinal)} is kept"
    if target.is_running != (target.completed_at is None and target.started_at is not None):
        yield f"{target.label} is {target.status}, started at {target.started_at}, ended at {target.completed_at}"
    has_command = target.phase is not CommandPhase.NONE
    if target.is_running and not has_command:
        yield f"{target.label} is in progress without a command"
    if target.is_running and target.deadline is None and target.phase is not CommandPhase.QUEUED:
        yield f"{target.label} may stay in progress for ever"
    if has_command and target.status not in (TargetStatus.IN_PROGRESS, TargetStatus.FAILED):
        yield f"{target.label} is {target.status} and has a command"
