"""Whatever happens in whatever order, the planner keeps its promises (STYLE section 8).

A state machine lets instances report well or badly, twice, late and out of order, come and go, lets people stop, and
time pass. Every event is also given to a rollout that was restored from the store a moment before: both must do the
same, always.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ferryman_coordinator.core import transitions
from ferryman_coordinator.core.messages import (
    CancelSegment,
    CommandAcked,
    CommandStarted,
    Disposition,
    Event,
    EventChanged,
    EventFinished,
    EventStarted,
    InstanceConnected,
    InstanceGone,
    InstanceSilent,
    Outcome,
    RolloutChanged,
    RunSegment,
    ScopeDeleted,
    SegmentFinished,
    StopRequested,
    TargetChanged,
    Tick,
)
from ferryman_coordinator.core.model import (
    AutoRollback,
    CommandId,
    DeploymentStatus,
    EventStatus,
    InstanceHealth,
    InstanceId,
    Instant,
    MinimumHealthyHosts,
    RevisionHealth,
    RollbackEvent,
    Segment,
    Step,
    TargetRecord,
    TargetStatus,
    Timers,
    ZonalConfig,
)
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.core.schedule import resolve_minimum
from tests.support.clock import START
from tests.support.rollouts import BROKEN, OK, Kept, at_a_time, count, fleet_spec, member, percent

TIMERS = Timers(
    event_start_ms=5_000,
    event_run_ms=60_000,
    report_grace_ms=1_000,
    reboot_grace_ms=4_000,
    run_cap_ms=600_000,
)
PATHS: list[tuple[Step, ...]] = [
    (Segment(("ApplicationStop", "Install", "ApplicationStart")),),
    (Segment(("BeforeBlockTraffic",)), Segment(("AfterBlockTraffic", "ApplicationStop", "Install"))),
]

minima = st.one_of(
    st.integers(0, 5).map(count),
    st.integers(0, 99).map(percent),
    st.integers(1, 3).map(at_a_time),
)
zonals = st.none() | st.builds(
    ZonalConfig,
    first_zone_monitor_seconds=st.none() | st.integers(0, 9),
    monitor_seconds=st.none() | st.integers(0, 9),
    minimum_per_zone=st.integers(0, 1).map(count) | st.integers(0, 80).map(percent),
)
members = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(InstanceHealth),
        st.sampled_from(RevisionHealth),
        st.booleans(),
    ),
    max_size=9,
)


class RolloutMachine(RuleBasedStateMachine):
    """`rollout` is the one that is never stopped, `kept` what is stored of it."""

    @initialize(
        shape=members,
        minimum=minima,
        zonal=zonals,
        path=st.sampled_from(PATHS),
        ignores=st.booleans(),
        outdated_only=st.booleans(),
        rolls_back=st.booleans(),
    )
    def begin(
        self,
        shape: list[tuple[str, InstanceHealth, RevisionHealth, bool]],
        minimum: MinimumHealthyHosts,
        zonal: ZonalConfig | None,
        path: tuple[Step, ...],
        ignores: bool,
        outdated_only: bool,
        rolls_back: bool,
    ) -> None:
        self.now = START
        self.spec = fleet_spec(
            minimum,
            zonal=zonal,
            path=path,
            ignore_application_stop_failures=ignores,
            update_outdated_instances_only=outdated_only,
            timers=TIMERS,
            auto_rollback=AutoRollback(enabled=rolls_back, events=frozenset(RollbackEvent)),
        )
        self.members = [
            # An up-to-date member of an outdated-only deployment is healthy by definition.
            member(number, zone=zone, instance_health=health, revision_health=revision)
            if not (outdated_only and is_current)
            else member(number, zone=zone, is_target=False)
            for number, (zone, health, revision, is_current) in enumerate(shape)
        ]
        self.ids = [one.instance_id for one in self.members]
        self.healthy = {
            one.instance_id: one.instance_health is InstanceHealth.HEALTHY for one in self.members
        }
        self.kept = Kept()
        self.commands: dict[CommandId, RunSegment] = {}
        self.reports: list[Event] = []
        self.gone: set[InstanceId] = set()
        self.rollout, outcome = Rollout.start(self.spec, self.members, self.now, created_at=self.now)
        again, repeated = Rollout.start(self.spec, self.members, self.now, created_at=self.now)
        assert repeated == outcome
        assert again.record == self.rollout.record
        self._take(outcome, {})

    # What happens

    @rule(who=st.integers(0, 8), data=st.data())
    def agent_reports(self, who: int, data: st.DataObject) -> None:
        """Something about a command that the instance was given, in order or not."""
        command = self._command_of(who)
        if command is None:
            return
        name = data.draw(st.sampled_from(command.events))
        events: list[Event] = [
            EventStarted(
                instance_id=command.instance_id, command_id=command.command_id, lifecycle_event=name
            ),
            self._finished(command, name, EventStatus.SUCCEEDED),
            self._finished(command, name, EventStatus.SUCCEEDED),
            self._finished(command, name, EventStatus.FAILED),
            self._finished(command, name, EventStatus.SKIPPED),
            *(
                SegmentFinished(instance_id=command.instance_id, command_id=command.command_id, status=status)
                for status in (EventStatus.SUCCEEDED, EventStatus.FAILED, EventStatus.SKIPPED)
            ),
        ]
        event = data.draw(st.sampled_from(events))
        self._happen(event)

    @rule(who=st.integers(0, 8))
    def agent_goes_on(self, who: int) -> None:
        """What an orderly agent says next, so that rollouts get somewhere."""
        command = self._command_of(who)
        if command is None:
            return
        target = self.rollout.targets[command.instance_id]
        if target.status is not TargetStatus.IN_PROGRESS:
            return
        running = self.kept.events.get(command.instance_id, {}).get(target.lifecycle_event)
        if running is None:
            self._happen(
                EventStarted(
                    instance_id=command.instance_id,
                    command_id=command.command_id,
                    lifecycle_event=target.lifecycle_event,
                )
            )
        self._happen(self._finished(command, target.lifecycle_event, EventStatus.SUCCEEDED))

    @rule()
    def wave_ends_well(self) -> None:
        """Everybody who is in progress is done, so that rollouts get as far as their second zone."""
        for instance_id, target in list(self.rollout.targets.items()):
            if target.status is TargetStatus.IN_PROGRESS:
                command = self._command_of(self.ids.index(instance_id))
                assert command is not None
                self._happen(
                    SegmentFinished(
                        instance_id=instance_id, command_id=command.command_id, status=EventStatus.SUCCEEDED
                    )
                )

    @rule(who=st.integers(0, 8), disposition=st.sampled_from(Disposition))
    def agent_acks(self, who: int, disposition: Disposition) -> None:
        command = self._command_of(who)
        if command is not None:
            self._happen(
                CommandAcked(
                    instance_id=command.instance_id, command_id=command.command_id, disposition=disposition
                )
            )

    @rule(who=st.integers(0, 8))
    def agent_takes_its_turn(self, who: int) -> None:
        command = self._command_of(who)
        if command is not None:
            self._happen(CommandStarted(instance_id=command.instance_id, command_id=command.command_id))

    @precondition(lambda self: self.reports)
    @rule(which=st.integers(0, 1_000))
    def old_report_comes_again(self, which: int) -> None:
        """Anything that was said before may arrive again, and then changes nothing that it has changed already."""
        self._happen(self.reports[which % len(self.reports)])

    @rule(who=st.integers(0, 8))
    def instance_falls_silent(self, who: int) -> None:
        if self.ids:
            self._happen(InstanceSilent(instance_id=self.ids[who % len(self.ids)]))

    @rule(who=st.integers(0, 8))
    def instance_connects(self, who: int) -> None:
        if self.ids:
            self._happen(InstanceConnected(instance_id=self.ids[who % len(self.ids)]))

    @rule(who=st.integers(0, 8), may_finish=st.booleans())
    def instance_goes(self, who: int, may_finish: bool) -> None:
        if self.ids:
            gone = self.ids[who % len(self.ids)]
            self._happen(InstanceGone(instance_id=gone, reason="was terminated", may_finish=may_finish))
            self.gone.add(gone)

    @rule(by=st.sampled_from(["alice", "bob"]), rollback=st.sampled_from([None, True, False]))
    def somebody_stops(self, by: str, rollback: bool | None) -> None:
        self._happen(StopRequested(by=by, auto_rollback=rollback))

    @rule()
    def group_is_deleted(self) -> None:
        self._happen(ScopeDeleted(code="DEPLOYMENT_GROUP_MISSING"))

    @rule(seconds=st.integers(0, 9))
    def time_passes(self, seconds: int) -> None:
        self.now = Instant(self.now + seconds * 1000)
        self._happen(Tick())

    @precondition(lambda self: self.rollout.wake_at is not None)
    @rule()
    def next_deadline_comes(self) -> None:
        wake = self.rollout.wake_at
        assert wake is not None
        self.now = max(self.now, wake)
        self._happen(Tick())

    @rule()
    def strangers_report(self) -> None:
        """Unknown instances, other deployments' commands and unreadable ids are nobody's business."""
        known = self.ids[0] if self.ids else InstanceId("mi-0")
        for whose, command in (
            (InstanceId("mi-unknown"), "d-TESTFLEET/mi-unknown/1/0"),
            (known, f"d-OTHER/{known}/1/0"),
            (known, "nonsense"),
            (known, f"d-TESTFLEET/{known}/one/zero"),
        ):
            event = EventStarted(
                instance_id=whose, command_id=CommandId(command), lifecycle_event="ApplicationStop"
            )
            outcome = self.rollout.handle(event, self.now)
            assert (outcome.changes, outcome.commands) == ((), ())

    # What must hold

    @invariant()
    def tallies_equal_a_recount(self) -> None:
        self.rollout.check()

    @invariant()
    def store_holds_everything(self) -> None:
        assert self.kept.record == self.rollout.record
        assert self.kept.targets == dict(self.rollout.targets)

    @invariant()
    def restored_is_the_same(self) -> None:
        restored = self.kept.restore(self.spec)
        restored.check()
        assert restored.record == self.rollout.record
        assert dict(restored.targets) == dict(self.rollout.targets)
        assert restored.overview == self.rollout.overview
        assert restored.wake_at == self.rollout.wake_at
        assert all(restored.outstanding(one) == self.rollout.outstanding(one) for one in self.ids)

    @invariant()
    def somebody_will_wake_it(self) -> None:
        assert (self.rollout.wake_at is None) == self.rollout.record.status.is_terminal

    def teardown(self) -> None:
        """If nobody ever says anything again, it ends by its timers alone, and then stays as it is."""
        if not hasattr(self, "rollout"):
            return
        limit = (
            self.now
            + TIMERS.run_cap_ms
            + TIMERS.event_run_ms
            + TIMERS.report_grace_ms
            + TIMERS.event_start_ms
        )
        while (wake := self.rollout.wake_at) is not None:
            self.now = max(self.now, wake)
            assert self.now <= limit
            self._happen(Tick())
            self.rollout.check()
        record = self.rollout.record
        assert record.status.is_terminal
        assert (record.error is None) == (record.status is DeploymentStatus.SUCCEEDED)
        assert all(one.status.is_terminal for one in self.rollout.targets.values())
        for event in [*self.reports, Tick(), StopRequested(by="late")]:
            assert self.rollout.handle(event, self.now) == Outcome()
        if record.status is DeploymentStatus.SUCCEEDED and self.rollout.targets:
            failed = self.rollout.overview.failed
            assert self.rollout.overview.succeeded >= 1
            assert record.counted - failed >= record.minimum

    # How it is watched

    def _command_of(self, who: int) -> RunSegment | None:
        if not self.ids:
            return None
        given = [one for one in self.commands.values() if one.instance_id == self.ids[who % len(self.ids)]]
        return given[-1] if given else None

    def _finished(self, command: RunSegment, name: str, status: EventStatus) -> EventFinished:
        return EventFinished(
            instance_id=command.instance_id,
            command_id=command.command_id,
            lifecycle_event=name,
            status=status,
            diagnostics=OK if status is EventStatus.SUCCEEDED else BROKEN,
        )

    def _happen(self, event: Event) -> None:
        """Give an event to the rollout, to a restored one, and to the first one again."""
        before = dict(self.rollout.targets)
        was_over = self.rollout.record.status.is_terminal
        restored = self.kept.restore(self.spec)
        outcome = self.rollout.handle(event, self.now)
        assert restored.handle(event, self.now) == outcome
        if was_over:
            assert outcome == Outcome()
        self._take(outcome, before)
        if not isinstance(event, Tick | StopRequested | ScopeDeleted):
            self.reports.append(event)
        if not isinstance(event, InstanceSilent | InstanceConnected):
            again = self.rollout.handle(event, self.now)
            assert (again.changes, again.commands) == ((), ())

    def _take(self, outcome: Outcome, before: dict[InstanceId, TargetRecord]) -> None:
        self._judge_moves(outcome, before)
        self._judge_starts(outcome, before)
        self.kept.apply(outcome.changes)
        for command in outcome.commands:
            if isinstance(command, RunSegment):
                # The same command is never ordered twice, and none is ordered while another is open.
                assert command.command_id not in self.commands
                self.commands[command.command_id] = command
            else:
                assert isinstance(command, CancelSegment)
                assert command.command_id in self.commands
        for instance_id in self.ids:
            assert len(self.rollout.outstanding(instance_id)) <= 1
        assert outcome.wake_at == self.rollout.wake_at

    def _judge_moves(self, outcome: Outcome, before: dict[InstanceId, TargetRecord]) -> None:
        """Every status moves as the tables say, and a final one never moves."""
        deployment = self.kept.record.status if self.kept.record else DeploymentStatus.CREATED
        targets = {whose: record.status for whose, record in before.items()}
        events = {
            (whose, name): record.status
            for whose, records in self.kept.events.items()
            for name, record in records.items()
        }
        for change in outcome.changes:
            if isinstance(change, RolloutChanged):
                if change.record.status is not deployment:
                    assert transitions.DEPLOYMENT.allows(deployment, change.record.status)
                    deployment = change.record.status
            elif isinstance(change, TargetChanged):
                whose, status = change.record.instance_id, change.record.status
                if targets.get(whose) is not status:
                    assert transitions.TARGET.allows(targets.get(whose), status)
                    targets[whose] = status
            elif isinstance(change, EventChanged):
                key = (change.instance_id, change.record.name)
                assert transitions.EVENT.allows(events.get(key, EventStatus.PENDING), change.record.status)
                assert change.record.status is EventStatus.IN_PROGRESS or change.record.ended_at is not None
                events[key] = change.record.status

    def _judge_starts(self, outcome: Outcome, before: dict[InstanceId, TargetRecord]) -> None:
        """No target starts below the healthy floor, beyond the cap, out of its zone or after an ending began."""
        record = self.rollout.record
        zone_of = {one.instance_id: one.zone for one in self.members}
        status = {one.instance_id: TargetStatus.PENDING for one in self.members if one.is_target}
        status |= {whose: one.status for whose, one in before.items()}
        everybody = [one.instance_id for one in self.members]
        is_ending = self.kept.record is not None and self.kept.record.ending is not None
        for change in outcome.changes:
            if isinstance(change, RolloutChanged):
                is_ending = is_ending or change.record.ending is not None
            if not isinstance(change, TargetChanged):
                continue
            whose, now = change.record.instance_id, change.record.status
            if status.get(whose) is TargetStatus.PENDING and now is TargetStatus.IN_PROGRESS:
                assert not is_ending
                assert whose not in self.gone
                self._judge_floor(whose, status, everybody, record.counted, record.minimum)
                if self.spec.zonal is not None:
                    zone = [one for one in everybody if zone_of[one] == zone_of[whose]]
                    minimum = resolve_minimum(self.spec.zonal.minimum_per_zone, len(zone))
                    self._judge_floor(whose, status, zone, len(zone), minimum)
                    others = [one for one in status if zone_of[one] != zone_of[whose]]
                    assert TargetStatus.IN_PROGRESS not in {status[one] for one in others}
            status[whose] = now

    def _judge_floor(
        self,
        whose: InstanceId,
        status: dict[InstanceId, TargetStatus],
        counted: list[InstanceId],
        n: int,
        m: int,
    ) -> None:
        states = [status.get(one) for one in counted]
        failed, running = states.count(TargetStatus.FAILED), states.count(TargetStatus.IN_PROGRESS)
        assert n - failed - running - 1 >= m
        if self.healthy[whose]:
            available = sum(self._is_available(one, status) for one in counted)
            assert available - 1 >= m

    def _is_available(self, whose: InstanceId, status: dict[InstanceId, TargetStatus]) -> bool:
        state = status.get(whose)
        if state is TargetStatus.SUCCEEDED or state is None:
            return True
        return self.healthy[whose] and state in (TargetStatus.PENDING, TargetStatus.SKIPPED)


RolloutMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


TestRollout = RolloutMachine.TestCase
