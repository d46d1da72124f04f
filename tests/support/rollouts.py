"""Drives one rollout without any engine: keeps what would be stored, and speaks for the agents.

`Drive` applies every change to a store of its own, from which the rollout can be restored at any point, and lets the
core check itself after each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ferryman_coordinator.core.alarms import AlarmReading
from ferryman_coordinator.core.group_options import AlarmConfiguration, GroupOptions
from ferryman_coordinator.core.messages import (
    AlarmsRead,
    CancelSegment,
    Change,
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
    RollbackOrdered,
    RolloutChanged,
    RunSegment,
    SegmentFinished,
    StopRequested,
    TargetChanged,
    Tick,
)
from ferryman_coordinator.core.model import (
    AlarmState,
    CommandId,
    DeploymentStatus,
    Diagnostics,
    EventRecord,
    EventStatus,
    HealthyHostsType,
    InstanceHealth,
    InstanceId,
    Instant,
    LifecycleErrorCode,
    Member,
    MinimumHealthyHosts,
    RevisionHealth,
    RolloutRecord,
    RolloutSpec,
    TargetRecord,
    TargetStatus,
)
from ferryman_coordinator.core.rollout import Rollout
from tests.support.clock import START
from tests.support.coordinator_records import rollout_spec

OK = Diagnostics(error_code=LifecycleErrorCode.SUCCESS)
BROKEN = Diagnostics(
    error_code=LifecycleErrorCode.SCRIPT_FAILED,
    script_name="scripts/start.sh",
    message="exit status 1",
    log_tail="port 80 is taken\n",
)


def count(value: int) -> MinimumHealthyHosts:
    return MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=value)


def percent(value: int) -> MinimumHealthyHosts:
    return MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=value)


def at_a_time(value: int) -> MinimumHealthyHosts:
    return MinimumHealthyHosts(type=HealthyHostsType.MOST_CONCURRENCY, value=value)


def alarmed(*names: str, **changes: Any) -> GroupOptions:
    """Options that watch these alarms, with `changes` of the alarm configuration."""
    return GroupOptions(alarms=AlarmConfiguration(**{"enabled": True, "alarms": names, **changes}))


def readings(**states: AlarmState | None) -> tuple[AlarmReading, ...]:
    return tuple(
        AlarmReading(
            name=name,
            state=state,
            source="prometheus (http://prom:9090)",
            detail="connection refused" if state is None else "value 0.9",
        )
        for name, state in states.items()
    )


def fleet_spec(minimum: MinimumHealthyHosts, **changes: Any) -> RolloutSpec:
    """An in-place deployment under that minimum."""
    return rollout_spec("d-TESTFLEET", minimum=minimum, **changes)


def member(number: int, **changes: Any) -> Member:
    """Healthy, with an older revision, unless told otherwise."""
    values: dict[str, Any] = {
        "instance_id": InstanceId(f"mi-{number}"),
        "name": f"web-{number}",
        "zone": "",
        "instance_health": InstanceHealth.HEALTHY,
        "revision_health": RevisionHealth.OLD,
    }
    return Member(**(values | changes))


def fleet(size: int, *, unhealthy: int = 0, zones: Sequence[str] = ("",)) -> list[Member]:
    """`size` members dealt to the zones in turn; the first `unhealthy` of them are so."""
    return [
        member(
            number,
            zone=zones[number % len(zones)],
            instance_health=InstanceHealth.UNHEALTHY if number < unhealthy else InstanceHealth.HEALTHY,
        )
        for number in range(size)
    ]


class Kept:
    """What a store holds of a rollout."""

    def __init__(self) -> None:
        self.record: RolloutRecord | None = None
        self.targets: dict[InstanceId, TargetRecord] = {}
        self.events: dict[InstanceId, dict[str, EventRecord]] = {}
        self.rollbacks: list[RollbackOrdered] = []

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, RolloutChanged):
                self.record = change.record
            elif isinstance(change, TargetChanged):
                self.targets[change.record.instance_id] = change.record
            elif isinstance(change, EventChanged):
                self.events.setdefault(change.instance_id, {})[change.record.name] = change.record
            else:
                self.rollbacks.append(change)

    def restore(self, spec: RolloutSpec) -> Rollout:
        assert self.record is not None
        events = [(whose, record) for whose, records in self.events.items() for record in records.values()]
        return Rollout.restore(spec, self.record, self.targets.values(), events)


class Drive:
    """One rollout, its store, and the mouths of its agents. Time stands still until `now` is moved."""

    def __init__(self, spec: RolloutSpec, members: Sequence[Member], now: Instant = START) -> None:
        self.spec = spec
        self.now = now
        self.kept = Kept()
        self.changes: list[Change] = []
        self.runs: dict[InstanceId, RunSegment] = {}
        self.cancels: list[CancelSegment] = []
        # Instances in the order in which they were told to run their first command.
        self.started: list[InstanceId] = []
        self.rollout, outcome = Rollout.start(spec, members, now, created_at=now)
        self.last = self._take(outcome)

    def handle(self, event: Event) -> Outcome:
        self.last = self._take(self.rollout.handle(event, self.now))
        return self.last

    def _take(self, outcome: Outcome) -> Outcome:
        self.kept.apply(outcome.changes)
        self.changes += outcome.changes
        for command in outcome.commands:
            if isinstance(command, CancelSegment):
                self.cancels.append(command)
            else:
                if command.instance_id not in self.runs:
                    self.started.append(command.instance_id)
                self.runs[command.instance_id] = command
        assert outcome.wake_at == self.rollout.wake_at
        self.rollout.check()
        return outcome

    # Time

    def after(self, seconds: float) -> Outcome:
        """So much later nothing has happened but time."""
        self.now = Instant(self.now + round(seconds * 1000))
        return self.handle(Tick())

    def pass_time(self, seconds: float) -> None:
        """Move on, with a tick whenever one is due."""
        end = Instant(self.now + round(seconds * 1000))
        while (wake := self.rollout.wake_at) is not None and wake <= end:
            self.now = max(self.now, wake)
            self.handle(Tick())
        self.now = end

    # What agents say; the instance is the one that was started so many-th, from 1

    def id_of(self, number: int) -> InstanceId:
        return self.started[number - 1]

    def command_of(self, instance_id: InstanceId) -> CommandId:
        return self.runs[instance_id].command_id

    def ack(
        self, instance_id: InstanceId, disposition: Disposition = Disposition.STARTED, reason: str = ""
    ) -> Outcome:
        return self.handle(
            CommandAcked(
                instance_id=instance_id,
                command_id=self.command_of(instance_id),
                disposition=disposition,
                reason=reason,
            )
        )

    def turn(self, instance_id: InstanceId) -> Outcome:
        """The command has left the agent's queue."""
        return self.handle(CommandStarted(instance_id=instance_id, command_id=self.command_of(instance_id)))

    def begin(self, instance_id: InstanceId, name: str) -> Outcome:
        return self.handle(
            EventStarted(
                instance_id=instance_id, command_id=self.command_of(instance_id), lifecycle_event=name
            )
        )

    def finish(
        self,
        instance_id: InstanceId,
        name: str,
        status: EventStatus = EventStatus.SUCCEEDED,
        diagnostics: Diagnostics | None = None,
    ) -> Outcome:
        return self.handle(
            EventFinished(
                instance_id=instance_id,
                command_id=self.command_of(instance_id),
                lifecycle_event=name,
                status=status,
                diagnostics=diagnostics or (OK if status is EventStatus.SUCCEEDED else BROKEN),
            )
        )

    def segment(self, instance_id: InstanceId, status: EventStatus = EventStatus.SUCCEEDED) -> Outcome:
        return self.handle(
            SegmentFinished(instance_id=instance_id, command_id=self.command_of(instance_id), status=status)
        )

    def succeed(self, instance_id: InstanceId) -> None:
        """Run every event of the open command."""
        names = self.runs[instance_id].events
        self.ack(instance_id)
        for name in names:
            self.begin(instance_id, name)
            self.finish(instance_id, name)

    def fail(self, instance_id: InstanceId, at: str = "ApplicationStart") -> None:
        """Run the events of the open command up to one that fails."""
        names = self.runs[instance_id].events
        self.ack(instance_id)
        for name in names[: names.index(at)]:
            self.begin(instance_id, name)
            self.finish(instance_id, name)
        self.begin(instance_id, at)
        self.finish(instance_id, at, EventStatus.FAILED)

    def silent(self, instance_id: InstanceId) -> Outcome:
        return self.handle(InstanceSilent(instance_id=instance_id))

    def connected(self, instance_id: InstanceId) -> Outcome:
        return self.handle(InstanceConnected(instance_id=instance_id))

    def gone(self, instance_id: InstanceId, reason: str = "was terminated", **options: bool) -> Outcome:
        return self.handle(InstanceGone(instance_id=instance_id, reason=reason, **options))

    def stop(self, by: str = "alice", auto_rollback: bool | None = None) -> Outcome:
        return self.handle(StopRequested(by=by, auto_rollback=auto_rollback))

    def alarms(self, **states: AlarmState | None) -> Outcome:
        """A poll has found the alarms so; None: it could not be read."""
        return self.handle(AlarmsRead(readings=readings(**states)))

    # What has become of it

    @property
    def status(self) -> DeploymentStatus:
        return self.rollout.record.status

    @property
    def code(self) -> str:
        error = self.rollout.record.error
        return "" if error is None else error.code

    @property
    def message(self) -> str:
        error = self.rollout.record.error
        return "" if error is None else error.message

    @property
    def in_progress(self) -> list[InstanceId]:
        return self.with_status(TargetStatus.IN_PROGRESS)

    def with_status(self, status: TargetStatus) -> list[InstanceId]:
        return [one.instance_id for one in self.rollout.targets.values() if one.status is status]

    def target(self, instance_id: InstanceId) -> TargetRecord:
        return self.rollout.targets[instance_id]

    def event(self, instance_id: InstanceId, name: str) -> EventRecord | None:
        return self.kept.events.get(instance_id, {}).get(name)
