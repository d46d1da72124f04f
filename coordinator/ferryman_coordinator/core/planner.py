"""What a deployment does next: the algorithm of CP section 13.2, zones and bakes, and the ways it can end.

`Planner` holds a deployment and its targets, and is told when a target has changed or the time has come. It decides
with what others know: how a target goes along its path (`course`), who is next (`schedule`), when a deployment has
failed (`failure`), how it ends (`ending`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ferryman_coordinator.core import ending, failure, transitions
from ferryman_coordinator.core.alarms import AlarmReading, AlarmWatch
from ferryman_coordinator.core.course import Course
from ferryman_coordinator.core.deadlines import Deadlines
from ferryman_coordinator.core.draft import Draft
from ferryman_coordinator.core.messages import RolloutChanged
from ferryman_coordinator.core.model import (
    DeploymentStatus,
    ErrorInformation,
    Instant,
    RolloutRecord,
    RolloutSpec,
    TargetStatus,
)
from ferryman_coordinator.core.schedule import Schedule
from ferryman_coordinator.core.target import Target


class Planner:
    """A deployment with its targets. `record`, `targets` and `schedule` are for reading."""

    def __init__(
        self,
        spec: RolloutSpec,
        record: RolloutRecord,
        schedule: Schedule,
        course: Course,
        alarms: AlarmWatch,
    ) -> None:
        """No target starts before `alarms` have been read."""
        self.spec = spec
        self.record = record
        self.schedule = schedule
        self.course = course
        self.alarms = alarms
        self.targets = {target.instance_id: target for target in schedule.order}
        if len(self.targets) != len(schedule.order):
            raise ValueError(f"deployment {spec.deployment_id} has an instance twice among its members")
        self.running = {target.instance_id: target for target in schedule.order if target.is_running}
        self.failed = [target for target in schedule.order if target.status is TargetStatus.FAILED]
        self.deadlines = Deadlines(len(schedule.order))
        for target in self.running.values():
            self.deadlines.put(target.ordinal, course.due(target))
        self._cap_at: Instant | None = None
        # Once everything that runs has been told to end, the run cap has nothing left to do.
        is_cut_short = record.ending is not None and all(one.is_cancelled for one in self.running.values())
        if record.started_at is not None and not is_cut_short:
            self._cap_at = Instant(record.started_at + spec.timers.run_cap_ms)

    def begin(self, draft: Draft) -> None:
        """The pre-flight has passed: the targets come into being, and the first ones start."""
        self._move(DeploymentStatus.IN_PROGRESS, draft, started_at=draft.now)
        self._cap_at = Instant(draft.now + self.spec.timers.run_cap_ms)
        for target in self.schedule.order:
            draft.target(target)
        self._settle(draft)

    @property
    def wake_at(self) -> Instant | None:
        """When `act_on_time` is due; None once the deployment is final."""
        if self.record.completed_at is not None:
            return None
        wake = self._cap_at
        first = self.deadlines.first()
        if first is not None and (wake is None or first[0] < wake):
            wake = first[0]
        bake_until = self.record.bake_until
        if bake_until is not None and (wake is None or bake_until < wake):
            wake = bake_until
        return wake

    def act_on_time(self, draft: Draft) -> None:
        """Act on everything that is due, in the order in which it became due."""
        while (wake := self.wake_at) is not None and wake <= draft.now:
            if wake == self._cap_at:
                self._time_out(draft)
            elif wake == self.record.bake_until:
                self._enter_zone(self.record.zone + 1, draft)
                self._settle(draft)
            else:
                self._expire_first(draft)

    def follow(self, target: Target, before: TargetStatus, draft: Draft) -> None:
        """Take note of what a target has become, and of what that means for the others."""
        self.deadlines.put(target.ordinal, self.course.due(target))
        if target.status is before:
            return
        self.schedule.moved(target, before)
        self.running.pop(target.instance_id, None)
        if target.status is TargetStatus.FAILED:
            self.failed.append(target)
            cause = failure.abort_cause(self.schedule, self.record.zones, target)
            if cause is not None:
                self._give_up(cause, draft)
        self._settle(draft)

    def take_alarms(self, readings: tuple[AlarmReading, ...], draft: Draft) -> None:
        """An alarm ends the deployment as a stop does (CP-355, CP-366); else whoever waited for them may start."""
        notes = self.alarms.take(readings, draft.now)
        if notes or self.alarms.records != self.record.alarms:
            messages = (*self.record.messages, *notes)
            self.amend(draft, alarms=self.alarms.records, messages=messages)
        cause = self.alarms.cause
        if cause is None:
            self._settle(draft)
        else:
            self.cut_short(cause, DeploymentStatus.STOPPED, draft)

    def cut_short(self, cause: ErrorInformation, status: DeploymentStatus, draft: Draft) -> None:
        """End, and let what is in progress finish only its running event (CP-236).

        A deployment that is being given up already keeps its cause (CP-392).
        """
        if self.record.ending is None:
            self._begin_end(cause, status, draft)
        self._cap_at = None
        for target in self.running.values():
            self.course.cancel(target, draft)
            self.deadlines.put(target.ordinal, self.course.due(target))
        self._settle(draft)

    def conclude(self, status: DeploymentStatus, error: ErrorInformation | None, draft: Draft) -> None:
        """Make it final."""
        self.record, changes = ending.conclude(self.spec, self.record, status, error, draft.now)
        draft.changes.extend(changes)

    def amend(self, draft: Draft, **changed: Any) -> None:
        """Change fields of the record."""
        self.record = replace(self.record, **changed)
        draft.changes.append(RolloutChanged(record=self.record))

    def _settle(self, draft: Draft) -> None:
        """Start whoever may start; with nothing in progress, see what comes next (CP section 13.2).

        While a zone bakes nobody of it is left to start, and nobody at all once an end has begun, or before the alarms
        are known.
        """
        while self.record.completed_at is None:
            self._start_targets(draft)
            if self.schedule.fleet.in_progress:
                return
            if self.record.ending is not None and self.record.ending_status is not None:
                error = failure.explain(self.record.ending, self.failed, self.spec.deployment_id)
                self.conclude(self.record.ending_status, error, draft)
            elif self.record.status is DeploymentStatus.BAKING or (
                self.schedule.fleet.pending and self.alarms.is_awaited
            ):
                return
            else:
                self._go_on(draft)

    def _start_targets(self, draft: Draft) -> None:
        if self.alarms.is_awaited:
            return
        while (target := self.schedule.next_target()) is not None:
            self.course.begin(target, draft)
            self.schedule.moved(target, TargetStatus.PENDING)
            self.running[target.instance_id] = target
            self.deadlines.put(target.ordinal, self.course.due(target))

    def _go_on(self, draft: Draft) -> None:
        """Nothing is in progress and nothing could be started: the next zone, or the end."""
        schedule, zone = self.schedule, self.record.zone
        tally = schedule.zones[zone] if schedule.zones else schedule.fleet
        if tally.pending:
            self._give_up(failure.stuck_cause(schedule), draft)
            return
        cause = failure.zone_cause(tally, self.record.zones[zone]) if schedule.zones else None
        if cause is None and schedule.fleet.pending:
            self._leave_zone(draft)
            return
        if cause is None and schedule.order:
            cause = failure.final_cause(schedule)
        if cause is not None:
            self._give_up(cause, draft)
            return
        if self.failed:
            self.amend(draft, messages=(*self.record.messages, failure.note(self.failed)))
        self.conclude(DeploymentStatus.SUCCEEDED, None, draft)

    def _leave_zone(self, draft: Draft) -> None:
        """The zone is done and another follows, perhaps after a bake (CP-288, CP-294, CP-295)."""
        seconds = self.schedule.bake_seconds(self.spec.zonal)
        if seconds:
            self._move(DeploymentStatus.BAKING, draft, bake_until=Instant(draft.now + seconds * 1000))
        else:
            self._enter_zone(self.record.zone + 1, draft)

    def _enter_zone(self, zone: int, draft: Draft) -> None:
        self.schedule.zone = zone
        if self.record.status is DeploymentStatus.BAKING:
            self._move(DeploymentStatus.IN_PROGRESS, draft, zone=zone, bake_until=None)
        else:
            self.amend(draft, zone=zone)

    def _expire_first(self, draft: Draft) -> None:
        first = self.deadlines.first()
        if first is not None:
            target = self.schedule.order[first[1]]
            self.course.expire(target, draft)
            self.follow(target, TargetStatus.IN_PROGRESS, draft)

    def _time_out(self, draft: Draft) -> None:
        hours = self.spec.timers.run_cap_ms / 3_600_000
        message = f"The deployment was not done within {hours:g} h, the longest it may run."
        cause = ErrorInformation(code=failure.TIMEOUT, message=message)
        self.cut_short(cause, DeploymentStatus.FAILED, draft)

    def _give_up(self, cause: str, draft: Draft) -> None:
        """What is in progress may finish its whole sequence (CP-235)."""
        error = ErrorInformation(code=failure.HEALTH_CONSTRAINTS, message=cause)
        self._begin_end(error, DeploymentStatus.FAILED, draft)

    def _begin_end(self, cause: ErrorInformation, status: DeploymentStatus, draft: Draft) -> None:
        """From now on no new target starts (CP-234)."""
        self.amend(draft, ending=cause, ending_status=status)
        for target in self.schedule.pending():
            self.course.skip(target, draft)
            self.schedule.moved(target, TargetStatus.PENDING)

    def _move(self, status: DeploymentStatus, draft: Draft, **also: Any) -> None:
        transitions.DEPLOYMENT.check(self.record.status, status, self.spec.deployment_id)
        self.amend(draft, status=status, **also)
