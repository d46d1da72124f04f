"""One deployment to a fleet of instances, from its first target to its end (CP sections 11 to 16).

The core's only door. Events and the time go in; facts to store and commands to send come out. Late, repeated and
foreign events are told from the others here; what the others lead to, `planner` decides. No event costs more on a large
fleet than on a small one, but for those that end what has not started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ferryman_coordinator.core import admission, ending, failure, rollback
from ferryman_coordinator.core.alarms import AlarmWatch
from ferryman_coordinator.core.course import Course
from ferryman_coordinator.core.draft import Draft
from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.lifecycle import Route
from ferryman_coordinator.core.messages import (
    AlarmsRead,
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
from ferryman_coordinator.core.planner import Planner
from ferryman_coordinator.core.recount import recount
from ferryman_coordinator.core.schedule import Schedule, line_up
from ferryman_coordinator.core.story import Story
from ferryman_coordinator.core.target import Target, TargetRecords


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

    def __init__(self, planner: Planner, now: Instant) -> None:
        """Use `start` or `restore`."""
        self._planner = planner
        self._story = Story()
        self._now = now

    @classmethod
    def start(
        cls,
        spec: RolloutSpec,
        members: Sequence[Member],
        now: Instant,
        *,
        created_at: Instant,
        alarms: AlarmWatch | None = None,
    ) -> tuple[Rollout, Outcome]:
        """Resolve the targets, check whether it may start (CP-228), and start the first ones.

        `alarms` have been read; without them the first targets wait for the first AlarmsRead, if any are watched.
        Raises ValueError for a path that nothing can walk and for a member given twice.
        """
        schedule, zones = line_up(spec, members, now)
        is_rollback = spec.creator is Creator.ROLLBACK
        alarms = AlarmWatch(spec) if alarms is None else alarms
        record = RolloutRecord(
            status=DeploymentStatus.CREATED,
            created_at=created_at,
            counted=schedule.fleet.counted,
            minimum=schedule.fleet.minimum,
            concurrency=schedule.fleet.concurrency,
            zones=zones,
            zone_counted=tuple(tally.counted for tally in schedule.zones),
            rollback_message=rollback.progress(DeploymentStatus.CREATED) if is_rollback else "",
            messages=(*admission.notes(schedule), *alarms.warnings),
            alarms=alarms.records,
        )
        refused = admission.refusal(spec, schedule, zones)
        if refused is not None:
            # Targets come into being when the pre-flight has passed.
            schedule = Schedule(spec, (), record.counted, record.zone_counted)
        draft, planner = Draft(now), Planner(spec, record, schedule, Course(spec), alarms)
        if refused is not None:
            planner.conclude(DeploymentStatus.FAILED, refused, draft)
        else:
            planner.begin(draft)
        rollout = cls(planner, now)
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

        Only the InProgress and Failed events of InProgress and Failed targets are needed; others do no harm. New
        targets wait for the first AlarmsRead, if alarms are watched. Send what is `outstanding` to each instance that
        connects, and `handle(Tick(), …)` by `wake_at`.
        """
        by_target: dict[InstanceId, list[EventRecord]] = {}
        for instance_id, event in events:
            by_target.setdefault(instance_id, []).append(event)
        route = Route(spec.path)
        zones = {zone: number for number, zone in enumerate(record.zones)}
        order = [
            Target.restore(one, zones.get(one.zone, 0), route, by_target.get(one.instance_id, ()))
            for one in sorted(targets, key=lambda one: one.ordinal)
        ]
        schedule = Schedule(spec, order, record.counted, record.zone_counted)
        schedule.zone = record.zone
        latest = max((target.updated_at for target in order), default=record.created_at)
        alarms = AlarmWatch(spec, record.alarms)
        return cls(Planner(spec, record, schedule, Course(spec), alarms), latest)

    # What can be asked ------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> RolloutSpec:
        return self._planner.spec

    @property
    def record(self) -> RolloutRecord:
        return self._planner.record

    @property
    def targets(self) -> Mapping[InstanceId, TargetRecord]:
        """In the order of start."""
        return TargetRecords(self._planner.targets)

    @property
    def overview(self) -> Overview:
        fleet = self._planner.schedule.fleet
        return Overview(
            pending=fleet.pending,
            in_progress=fleet.in_progress,
            succeeded=fleet.succeeded,
            failed=fleet.failed,
            skipped=fleet.by_status[TargetStatus.SKIPPED],
        )

    @property
    def wake_at(self) -> Instant | None:
        """When `handle(Tick(), …)` is due; None once the deployment is final."""
        return self._planner.wake_at

    def outstanding(self, instance_id: InstanceId) -> tuple[Command, ...]:
        """What has to be sent to that instance now, again or for the first time; nothing for one that is no target."""
        target = self._planner.targets.get(instance_id)
        return () if target is None else self._planner.course.commands.outstanding(target)

    def check(self) -> None:
        """Recount everything; raise InvariantBroken where it is not what is kept. Takes time with every target."""
        recount(self._planner)

    # The way in -------------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: Instant) -> Outcome:
        """What follows from an event: nothing at all, if it is late, repeated or about something else.

        A report that contradicts what is known raises InvariantBroken with the story of its target. Nothing has
        changed then, and the rollout goes on without it.
        """
        if self._planner.record.completed_at is not None:
            return Outcome()
        # A clock that was put back must not make anything end before it began (CP-233).
        draft = Draft(max(now, self._now))
        kind = type(event)
        try:
            take_report = _REPORTS.get(kind)
            if take_report is not None:
                self._take_report(event, take_report, draft)
            else:
                _OTHERS[kind](self, event, draft)
        except InvariantBroken as broken:
            raise InvariantBroken(broken.message, self._tell(event)) from None
        return self._outcome(draft)

    def _outcome(self, draft: Draft) -> Outcome:
        self._now = draft.now
        changes = tuple(draft.changes)
        if changes:
            self._story.note(changes, draft.now)
        return Outcome(changes=changes, commands=tuple(draft.commands), wake_at=self._planner.wake_at)

    def _tell(self, event: Any) -> list[str]:
        """What is known of the target that an event is about."""
        target = self._planner.targets.get(getattr(event, "instance_id", InstanceId("")))
        if target is None:
            return []
        return [*self._story.of(target.instance_id), f"now: {target.record()}"]

    def _take_report(self, report: Any, take: _TakeReport, draft: Draft) -> None:
        """A word of an agent about a command, if it is about the one that its target has now."""
        planner = self._planner
        target = planner.targets.get(report.instance_id)
        if target is not None and planner.course.commands.is_current(target, report.command_id):
            take(planner.course, target, report, draft)
            planner.follow(target, TargetStatus.IN_PROGRESS, draft)

    def _instance_silent(self, event: InstanceSilent, draft: Draft) -> None:
        target = self._planner.running.get(event.instance_id)
        if target is not None:
            self._planner.course.silent(target, draft)
            self._planner.follow(target, TargetStatus.IN_PROGRESS, draft)

    def _instance_connected(self, event: InstanceConnected, draft: Draft) -> None:
        target = self._planner.running.get(event.instance_id)
        if target is not None:
            self._planner.course.connected(target, draft)
            self._planner.follow(target, TargetStatus.IN_PROGRESS, draft)

    def _instance_gone(self, event: InstanceGone, draft: Draft) -> None:
        target = self._planner.targets.get(event.instance_id)
        if target is None or target.status.is_terminal or (event.may_finish and target.is_running):
            return
        before = target.status
        self._planner.course.gone(target, event.reason, draft, is_reachable=event.is_reachable)
        self._planner.follow(target, before, draft)

    def _stop_requested(self, event: StopRequested, draft: Draft) -> None:
        """CP-234, CP-325: the first one who asks is recorded, the last word on a rollback counts."""
        known = self._planner.record.stop
        if known is None:
            stop = StopRecord(by=event.by, auto_rollback=event.auto_rollback)
        elif event.auto_rollback is None:
            stop = known
        else:
            stop = replace(known, auto_rollback=event.auto_rollback)
        if stop != known:
            self._planner.amend(draft, stop=stop)
        self._planner.cut_short(ending.stopped_by(stop), DeploymentStatus.STOPPED, draft)

    def _scope_deleted(self, event: ScopeDeleted, draft: Draft) -> None:
        """CP-153, CP-183."""
        if self._planner.record.is_orphaned:
            return
        self._planner.amend(draft, is_orphaned=True)
        what = "application" if event.code == failure.APPLICATION_MISSING else "deployment group"
        cause = ErrorInformation(code=event.code, message=f"The {what} was deleted while the deployment ran.")
        self._planner.cut_short(cause, DeploymentStatus.FAILED, draft)

    def _alarms_read(self, event: AlarmsRead, draft: Draft) -> None:
        self._planner.take_alarms(event.readings, draft)

    def _tick(self, event: Tick, draft: Draft) -> None:
        self._planner.act_on_time(draft)


_TakeReport = Callable[[Course, Target, Any, Draft], None]

_REPORTS: Mapping[type[Event], _TakeReport] = {
    CommandAcked: lambda course, target, it, draft: course.acked(target, it.disposition, it.reason, draft),
    CommandStarted: lambda course, target, it, draft: course.command_started(target, draft),
    EventStarted: lambda course, target, it, draft: course.event_started(target, it.lifecycle_event, draft),
    EventFinished: lambda course, target, it, draft: course.event_finished(
        target, it.lifecycle_event, it.status, it.diagnostics, draft
    ),
    SegmentFinished: lambda course, target, it, draft: course.segment_finished(target, it.status, draft),
}

_OTHERS: Mapping[type[Event], Callable[[Rollout, Any, Draft], None]] = {
    InstanceConnected: Rollout._instance_connected,
    InstanceSilent: Rollout._instance_silent,
    InstanceGone: Rollout._instance_gone,
    StopRequested: Rollout._stop_requested,
    ScopeDeleted: Rollout._scope_deleted,
    AlarmsRead: Rollout._alarms_read,
    Tick: Rollout._tick,
}
