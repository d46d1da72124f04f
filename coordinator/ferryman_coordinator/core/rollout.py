"""The planner: one deployment to a fleet of instances, from its first target to its end (CP sections 11 to 16).

Pure: events and the time go in, facts to store and commands to send come out. `Rollout` joins what others know: how a
target goes along its path (`course`), who is next (`schedule`), when a deployment has failed (`failure`), how it ends
(`ending`). No event costs more on a large fleet than on a small one, but for those that end what has not started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ferryman_coordinator.core import admission, ending, failure, rollback, transitions
from ferryman_coordinator.core.course import Course, Draft
from ferryman_coordinator.core.deadlines import Deadlines
from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.messages import (
    Command,
    CommandAcked,
    CommandStarted,
    Event,
    EventFinished,
    EventStarted,
    InstanceConnected,
    InstanceGone,
    InstanceSilent,
    Outcome,
    RolloutChanged,
    ScopeDeleted,
    SegmentFinished,
    StopRequested,
    Tick,
)
from ferryman_coordinator.core.model import (
    Creator,
    DeploymentStatus,
    ErrorInformation,
    EventRecord,
    InstanceId,
    Instant,
    Member,
    RolloutRecord,
    RolloutSpec,
    StopRecord,
    TargetRecord,
    TargetStatus,
)
from ferryman_coordinator.core.recount import recount
from ferryman_coordinator.core.schedule import Schedule, line_up
from ferryman_coordinator.core.story import Story
from ferryman_coordinator.core.target import Target, TargetRecords

_Report = CommandAcked | CommandStarted | EventStarted | EventFinished | SegmentFinished


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How many targets stand where (CP-111, CP-238)."""

    pending: int
    in_progress: int
    succeeded: int
    failed: int
    skipped: int
    ready: int = 0


class Rollout:
    """One deployment while it runs. Mutable inside; `handle` is the only way in."""

    def __init__(self, spec: RolloutSpec, record: RolloutRecord, schedule: Schedule, now: Instant) -> None:
        """Use `start` or `restore`."""
        self._spec = spec
        self._record = record
        self._schedule = schedule
        self._course = Course(spec)
        self._targets = {target.instance_id: target for target in schedule.order}
        if len(self._targets) != len(schedule.order):
            raise ValueError(f"deployment {spec.deployment_id} has an instance twice among its members")
        self._running = {target.instance_id: target for target in schedule.order if target.is_running}
        self._failed = [target for target in schedule.order if target.status is TargetStatus.FAILED]
        # Once everything that runs has been told to end, the run cap has nothing left to do.
        is_cut_short = record.ending is not None and all(one.is_cancelled for one in self._running.values())
        self._cap_at: Instant | None = None
        if record.started_at is not None and not is_cut_short:
            self._cap_at = Instant(record.started_at + spec.timers.run_cap_ms)
        self._deadlines = Deadlines(len(schedule.order))
        for target in self._running.values():
            self._deadlines.put(target.ordinal, self._course.due(target))
        self._story = Story()
        self._now = now

    @classmethod
    def start(
        cls, spec: RolloutSpec, members: Sequence[Member], now: Instant, *, created_at: Instant
    ) -> tuple[Rollout, Outcome]:
        """Resolve the targets, check whether it may start (CP-228), and start the first ones.

        Raises ValueError for a path that nothing can walk and for a member given twice.
        """
        schedule, zones = line_up(spec, members, now)
        refused = admission.refusal(spec, schedule, zones)
        fleet = schedule.fleet
        record = RolloutRecord(
            status=DeploymentStatus.CREATED,
            created_at=created_at,
            counted=fleet.counted,
            minimum=fleet.minimum,
            concurrency=fleet.concurrency,
            zones=zones,
            zone_counted=tuple(tally.counted for tally in schedule.zones),
            rollback_message=rollback.progress(DeploymentStatus.CREATED)
            if spec.creator is Creator.ROLLBACK
            else "",
            messages=admission.notes(schedule),
        )
        draft = Draft(now)
        if refused is not None:
            # Targets come into being when the pre-flight has passed.
            rollout = cls(spec, record, Schedule(spec, (), fleet.counted, record.zone_counted), now)
            rollout._conclude(DeploymentStatus.FAILED, refused, draft)
        else:
            transitions.DEPLOYMENT.check(record.status, DeploymentStatus.IN_PROGRESS, spec.deployment_id)
            record = replace(record, status=DeploymentStatus.IN_PROGRESS, started_at=now)
            rollout = cls(spec, record, schedule, now)
            draft.changes.append(RolloutChanged(record=record))
            for target in schedule.order:
                draft.target(target)
            rollout._settle(draft)
        return rollout, rollout._outcome(draft)

    @classmethod
    def restore(
        cls,
        spec: RolloutSpec,
        record: RolloutRecord,
        targets: Iterable[TargetRecord],
        events: Iterable[tuple[InstanceId, EventRecord]],
    ) -> Rollout:
        """The same rollout again from what is stored.

        Only the InProgress and Failed events of InProgress and Failed targets are needed; others do no harm. Send
        what is `outstanding` to each instance that connects, and `handle(Tick(), …)` by `wake_at`.
        """
        route = Course(spec).route
        by_target: dict[InstanceId, list[EventRecord]] = {}
        for instance_id, event in events:
            by_target.setdefault(instance_id, []).append(event)
        places = {zone: place for place, zone in enumerate(record.zones)}
        order = [
            Target.restore(one, places.get(one.zone, 0), route, by_target.get(one.instance_id, ()))
            for one in sorted(targets, key=lambda one: one.ordinal)
        ]
        schedule = Schedule(spec, order, record.counted, record.zone_counted)
        schedule.zone = record.zone
        latest = max((target.updated_at for target in order), default=record.started_at or record.created_at)
        return cls(spec, record, schedule, latest)

    # What can be asked ------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> RolloutSpec:
        return self._spec

    @property
    def record(self) -> RolloutRecord:
        return self._record

    @property
    def targets(self) -> Mapping[InstanceId, TargetRecord]:
        """In the order of start."""
        return TargetRecords(self._targets)

    @property
    def overview(self) -> Overview:
        fleet = self._schedule.fleet
        return Overview(
            pending=fleet.pending,
            in_progress=fleet.in_progress,
            succeeded=fleet.succeeded,
            failed=fleet.failed,
            skipped=fleet.by_status[TargetStatus.SKIPPED],
        )

    @property
    def wake_at(self) -> Instant | None:
        """When `handle(Tick(), …)` is due; None when nothing is."""
        if self._record.completed_at is not None:
            return None
        wake = self._cap_at
        first = self._deadlines.first()
        if first is not None and (wake is None or first[0] < wake):
            wake = first[0]
        bake_until = self._record.bake_until
        if bake_until is not None and (wake is None or bake_until < wake):
            wake = bake_until
        return wake

    def outstanding(self, instance_id: InstanceId) -> tuple[Command, ...]:
        """What has to be sent to that instance now, again or for the first time; nothing for one that is no target."""
        target = self._targets.get(instance_id)
        return () if target is None else self._course.outstanding(target)

    def check(self) -> None:
        """Recount everything; raise InvariantBroken where it is not what is kept. Takes time with every target."""
        recount(
            self._spec,
            self._record,
            self._schedule,
            self._course,
            self._deadlines,
            self._running,
            self._failed,
        )

    # The way in -------------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: Instant) -> Outcome:
        """What follows from an event: nothing at all, if it is late, repeated or about something else.

        A report that contradicts what is known raises InvariantBroken with the story of its target. Nothing has
        changed then, and the rollout goes on without it.
        """
        if self._record.completed_at is not None:
            return Outcome()
        # A clock that was put back must not make anything end before it began (CP-233).
        draft = Draft(max(now, self._now))
        try:
            _HANDLERS[type(event)](self, event, draft)
        except InvariantBroken as broken:
            raise InvariantBroken(broken.message, self._tell(event)) from None
        return self._outcome(draft)

    def _outcome(self, draft: Draft) -> Outcome:
        self._now = draft.now
        changes = tuple(draft.changes)
        if changes:
            self._story.note(changes, draft.now)
        return Outcome(changes=changes, commands=tuple(draft.commands), wake_at=self.wake_at)

    def _tell(self, event: Event) -> list[str]:
        target = self._targets.get(getattr(event, "instance_id", InstanceId("")))
        if target is None:
            return []
        return [*self._story.of(target.instance_id), f"now: {target.record()}"]

    # Reports of agents ------------------------------------------------------------------------------------------------

    def _reporting(self, event: _Report) -> Target | None:
        """The target that a report is about, None if it has nothing to say any more."""
        target = self._targets.get(event.instance_id)
        if target is None or not self._course.is_current(target, event.command_id):
            return None
        return target

    def _command_acked(self, event: CommandAcked, draft: Draft) -> None:
        target = self._reporting(event)
        if target is not None:
            self._course.acked(target, event.disposition, event.reason, draft)
            self._follow(target, TargetStatus.IN_PROGRESS, draft)

    def _command_started(self, event: CommandStarted, draft: Draft) -> None:
        target = self._reporting(event)
        if target is not None:
            self._course.command_started(target, draft)
            self._follow(target, TargetStatus.IN_PROGRESS, draft)

    def _event_started(self, event: EventStarted, draft: Draft) -> None:
        target = self._reporting(event)
        if target is not None:
            self._course.event_started(target, event.lifecycle_event, draft)
            self._follow(target, TargetStatus.IN_PROGRESS, draft)

    def _event_finished(self, event: EventFinished, draft: Draft) -> None:
        target = self._reporting(event)
        if target is not None:
            self._course.event_finished(target, event.lifecycle_event, event.status, event.diagnostics, draft)
            self._follow(target, TargetStatus.IN_PROGRESS, draft)

    def _segment_finished(self, event: SegmentFinished, draft: Draft) -> None:
        target = self._reporting(event)
        if target is not None:
            self._course.segment_finished(target, event.status, draft)
            self._follow(target, TargetStatus.IN_PROGRESS, draft)

    # What happens to instances ----------------------------------------------------------------------------------------

    def _instance_silent(self, event: InstanceSilent, draft: Draft) -> None:
        target = self._running.get(event.instance_id)
        if target is not None:
            self._course.silent(target, draft)
            self._follow(target, TargetStatus.IN_PROGRESS, draft)

    def _instance_connected(self, event: InstanceConnected, draft: Draft) -> None:
        target = self._running.get(event.instance_id)
        if target is not None:
            self._course.connected(target, draft)
            self._follow(target, TargetStatus.IN_PROGRESS, draft)

    def _instance_gone(self, event: InstanceGone, draft: Draft) -> None:
        target = self._targets.get(event.instance_id)
        if target is None or target.status.is_terminal or (event.may_finish and target.is_running):
            return
        before = target.status
        self._course.gone(target, event.reason, draft)
        self._follow(target, before, draft)

    # What people do ---------------------------------------------------------------------------------------------------

    def _stop_requested(self, event: StopRequested, draft: Draft) -> None:
        """CP-234, CP-236, CP-325; a deployment that is being given up already keeps its cause (CP-392)."""
        known = self._record.stop
        if known is None:
            stop = StopRecord(by=event.by, auto_rollback=event.auto_rollback)
        elif event.auto_rollback is None:
            stop = known
        else:
            stop = replace(known, auto_rollback=event.auto_rollback)
        if stop != known:
            self._amend(draft, stop=stop)
        self._cut_short(ending.stopped_by(stop), DeploymentStatus.STOPPED, draft)

    def _scope_deleted(self, event: ScopeDeleted, draft: Draft) -> None:
        """CP-153, CP-183."""
        if self._record.is_orphaned:
            return
        self._amend(draft, is_orphaned=True)
        what = "application" if event.code == failure.APPLICATION_MISSING else "deployment group"
        cause = ErrorInformation(code=event.code, message=f"The {what} was deleted while the deployment ran.")
        self._cut_short(cause, DeploymentStatus.FAILED, draft)

    # Time -------------------------------------------------------------------------------------------------------------

    def _tick(self, event: Tick, draft: Draft) -> None:
        """Act on everything that is due, in the order in which it became due."""
        while (wake := self.wake_at) is not None and wake <= draft.now:
            if wake == self._cap_at:
                self._time_out(draft)
            elif wake == self._record.bake_until:
                self._enter_zone(self._record.zone + 1, draft)
                self._settle(draft)
            else:
                self._expire_first(draft)

    def _expire_first(self, draft: Draft) -> None:
        first = self._deadlines.first()
        if first is not None:
            target = self._schedule.order[first[1]]
            self._course.expire(target, draft)
            self._follow(target, TargetStatus.IN_PROGRESS, draft)

    def _time_out(self, draft: Draft) -> None:
        hours = self._spec.timers.run_cap_ms / 3_600_000
        cause = ErrorInformation(
            code=failure.TIMEOUT,
            message=f"The deployment was not done within {hours:g} h, the longest it may run.",
        )
        self._cut_short(cause, DeploymentStatus.FAILED, draft)

    # What follows -----------------------------------------------------------------------------------------------------

    def _follow(self, target: Target, before: TargetStatus, draft: Draft) -> None:
        """Take note of what a target has become, and of what that means for the others."""
        self._deadlines.put(target.ordinal, self._course.due(target))
        if target.status is before:
            return
        self._schedule.moved(target, before)
        self._running.pop(target.instance_id, None)
        if target.status is TargetStatus.FAILED:
            self._failed.append(target)
            if self._record.ending is None:
                cause = failure.abort_cause(self._schedule, self._record.zones, target)
                if cause is not None:
                    self._give_up(cause, draft)
        self._settle(draft)

    def _settle(self, draft: Draft) -> None:
        """Start whoever may start; with nothing in progress, see what comes next (CP section 13.2)."""
        while self._record.completed_at is None:
            if self._record.ending is None and self._record.status is not DeploymentStatus.BAKING:
                self._start_targets(draft)
            if self._schedule.fleet.in_progress:
                return
            if self._record.ending is not None and self._record.ending_status is not None:
                error = failure.explain(self._record.ending, self._failed, self._spec.deployment_id)
                self._conclude(self._record.ending_status, error, draft)
            elif self._record.status is DeploymentStatus.BAKING:
                return
            else:
                self._go_on(draft)

    def _start_targets(self, draft: Draft) -> None:
        while (target := self._schedule.next_target()) is not None:
            self._course.begin(target, draft)
            self._schedule.moved(target, TargetStatus.PENDING)
            self._running[target.instance_id] = target
            self._deadlines.put(target.ordinal, self._course.due(target))

    def _go_on(self, draft: Draft) -> None:
        """Nothing is in progress and nothing could be started: the next zone, or the end."""
        schedule, zone = self._schedule, self._record.zone
        tally = schedule.zones[zone] if schedule.zones else schedule.fleet
        if tally.pending:
            self._give_up(failure.stuck_cause(schedule), draft)
            return
        cause = failure.zone_cause(tally, self._record.zones[zone]) if schedule.zones else None
        if cause is None and schedule.fleet.pending:
            self._leave_zone(draft)
            return
        if cause is None and schedule.order:
            cause = failure.final_cause(schedule)
        if cause is not None:
            self._give_up(cause, draft)
            return
        if self._failed:
            self._amend(draft, messages=(*self._record.messages, failure.note(self._failed)))
        self._conclude(DeploymentStatus.SUCCEEDED, None, draft)

    def _leave_zone(self, draft: Draft) -> None:
        """The zone is done and another follows, perhaps after a bake (CP-288, CP-294, CP-295)."""
        seconds = self._schedule.bake_seconds(self._spec.zonal)
        if seconds:
            self._move(DeploymentStatus.BAKING, draft, bake_until=Instant(draft.now + seconds * 1000))
        else:
            self._enter_zone(self._record.zone + 1, draft)

    def _enter_zone(self, zone: int, draft: Draft) -> None:
        self._schedule.zone = zone
        if self._record.status is DeploymentStatus.BAKING:
            self._move(DeploymentStatus.IN_PROGRESS, draft, zone=zone, bake_until=None)
        else:
            self._amend(draft, zone=zone)

    def _give_up(self, cause: str, draft: Draft) -> None:
        """What is in progress may finish its whole sequence (CP-235)."""
        self._begin_end(
            ErrorInformation(code=failure.HEALTH_CONSTRAINTS, message=cause), DeploymentStatus.FAILED, draft
        )

    def _cut_short(self, cause: ErrorInformation, status: DeploymentStatus, draft: Draft) -> None:
        """End, and let what is in progress finish only its running event (CP-236)."""
        if self._record.ending is None:
            self._begin_end(cause, status, draft)
        self._cap_at = None
        for target in self._running.values():
            self._course.cancel(target, draft)
            self._deadlines.put(target.ordinal, self._course.due(target))
        self._settle(draft)

    def _begin_end(self, cause: ErrorInformation, status: DeploymentStatus, draft: Draft) -> None:
        """From now on no new target starts (CP-234)."""
        self._amend(draft, ending=cause, ending_status=status)
        for target in self._schedule.pending():
            self._course.skip(target, draft)
            self._schedule.moved(target, TargetStatus.PENDING)

    def _conclude(self, status: DeploymentStatus, error: ErrorInformation | None, draft: Draft) -> None:
        self._record, changes = ending.conclude(self._spec, self._record, status, error, draft.now)
        draft.changes.extend(changes)

    def _move(self, status: DeploymentStatus, draft: Draft, **also: Any) -> None:
        transitions.DEPLOYMENT.check(self._record.status, status, self._spec.deployment_id)
        self._amend(draft, status=status, **also)

    def _amend(self, draft: Draft, **changed: Any) -> None:
        self._record = replace(self._record, **changed)
        draft.changes.append(RolloutChanged(record=self._record))


_HANDLERS: Mapping[type[Event], Callable[[Rollout, Any, Draft], None]] = {
    CommandAcked: Rollout._command_acked,
    CommandStarted: Rollout._command_started,
    EventStarted: Rollout._event_started,
    EventFinished: Rollout._event_finished,
    SegmentFinished: Rollout._segment_finished,
    InstanceConnected: Rollout._instance_connected,
    InstanceSilent: Rollout._instance_silent,
    InstanceGone: Rollout._instance_gone,
    StopRequested: Rollout._stop_requested,
    ScopeDeleted: Rollout._scope_deleted,
    Tick: Rollout._tick,
}
