"""What a deployment would do: which targets, in which order, how many at once, and why. Starts nothing.

Stands on the same schedule as `Rollout`, with every target taking equally long and succeeding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ferryman_coordinator.core import admission
from ferryman_coordinator.core.model import (
    ErrorInformation,
    InstanceHealth,
    InstanceId,
    Instant,
    Member,
    RevisionHealth,
    RolloutSpec,
    TargetStatus,
)
from ferryman_coordinator.core.schedule import Schedule, line_up
from ferryman_coordinator.core.target import Target

_RANK_REASONS = {
    RevisionHealth.UNKNOWN: "nothing known is installed",
    RevisionHealth.OLD: "an older revision is installed",
    RevisionHealth.CURRENT: "the group's present revision is installed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTarget:
    """`wave` counts from 1: targets of one wave start together when all take equally long."""

    member: Member
    wave: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`counted`, `minimum`, `concurrency` are N, M and C; `error` is set when it would end before its first target."""

    targets: tuple[PlannedTarget, ...]
    counted: int
    minimum: int
    concurrency: int
    # Which limit binds, in one sentence.
    reason: str
    # How many targets there are, even if it would end before the first one.
    targeted: int
    error: ErrorInformation | None = None
    warnings: tuple[str, ...] = ()


def plan(spec: RolloutSpec, members: Sequence[Member]) -> Plan:
    """The course of a deployment of `spec` to `members` if nothing fails (CP-422)."""
    schedule, zones = line_up(spec, members, Instant(0))
    fleet = schedule.fleet
    error = admission.refusal(spec, schedule, zones)
    is_impossible = fleet.minimum >= fleet.counted
    warning = admission.small_fleet_warning(spec.minimum, fleet.counted) if is_impossible else None
    warnings = [*admission.notes(schedule), *([warning] if warning else [])]
    if schedule.order and error is None and fleet.available < fleet.minimum:
        warnings.append(
            f"only {fleet.available} instances are healthy now, fewer than the minimum of {fleet.minimum}:"
            " healthy ones wait until enough of the others have succeeded"
        )
    return Plan(
        targets=() if error else _waves(spec, schedule, zones, {one.instance_id: one for one in members}),
        counted=fleet.counted,
        minimum=fleet.minimum,
        concurrency=fleet.concurrency,
        reason=_binding(spec, schedule, zones),
        targeted=len(schedule.order),
        error=error,
        warnings=tuple(warnings),
    )


def _waves(
    spec: RolloutSpec, schedule: Schedule, zones: Sequence[str], members: dict[InstanceId, Member]
) -> tuple[PlannedTarget, ...]:
    planned: list[PlannedTarget] = []
    wave: list[Target] = []
    number = 0
    while schedule.first_pending() is not None:
        number += 1
        # The targets of a wave end one after another, and each end may let others start: they are the next wave.
        ending, wave = wave, []
        _start(schedule, wave)
        for target in ending:
            _become(schedule, target, TargetStatus.SUCCEEDED)
            _start(schedule, wave)
        if not wave and not schedule.fleet.in_progress:
            if not schedule.zones or schedule.zones[schedule.zone].pending:
                break
            schedule.zone += 1
            _start(schedule, wave)
        planned += [
            PlannedTarget(
                member=members[one.instance_id], wave=number, reason=_why(spec, members[one.instance_id])
            )
            for one in wave
        ]
    return tuple(planned)


def _start(schedule: Schedule, wave: list[Target]) -> None:
    while (target := schedule.next_target()) is not None:
        _become(schedule, target, TargetStatus.IN_PROGRESS)
        wave.append(target)


def _become(schedule: Schedule, target: Target, status: TargetStatus) -> None:
    before, target.status = target.status, status
    schedule.moved(target, before)


def _why(spec: RolloutSpec, member: Member) -> str:
    """Why this target stands where it does in the order (CP-277)."""
    place = f"zone {member.zone}, " if spec.zonal is not None else ""
    if member.instance_health is InstanceHealth.UNHEALTHY:
        return f"{place}unhealthy, so it goes first"
    return f"{place}healthy, {_RANK_REASONS[member.revision_health]}"


def _binding(spec: RolloutSpec, schedule: Schedule, zones: Sequence[str]) -> str:
    """Which limit decides how many go at once."""
    fleet = schedule.fleet
    tightest = min(schedule.zones, key=lambda tally: tally.concurrency, default=None)
    if spec.zonal is not None and tightest is not None and tightest.concurrency < fleet.concurrency:
        zone = zones[schedule.zones.index(tightest)]
        return (
            f"{admission.describe(spec.zonal.minimum_per_zone)} in each zone: of the {tightest.counted} instances of"
            f" zone {zone} {tightest.minimum} stay healthy, so at most {tightest.concurrency} go at once there."
        )
    return (
        f"{spec.config_name}, {admission.describe(spec.minimum)}: of {fleet.counted} instances {fleet.minimum} stay"
        f" healthy, so at most {fleet.concurrency} go at once."
    )
