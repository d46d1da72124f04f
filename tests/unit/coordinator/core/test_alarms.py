"""CP section 17: what alarms do to a deployment, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from ferryman_coordinator.core.alarms import ALARM_ACTIVE, AlarmReading, AlarmWatch, describe, watched
from ferryman_coordinator.core.ending import end_unstarted
from ferryman_coordinator.core.failure import explain
from ferryman_coordinator.core.group_options import AlarmConfiguration
from ferryman_coordinator.core.messages import AlarmsRead, CancelSegment, RollbackOrdered, RolloutChanged
from ferryman_coordinator.core.model import (
    AlarmRecord,
    AlarmState,
    AutoRollback,
    Creator,
    DeploymentId,
    DeploymentStatus,
    EventStatus,
    FileExistsBehavior,
    Instant,
    LastGood,
    RollbackEvent,
    RolloutSpec,
    TargetStatus,
    ZonalConfig,
)
from ferryman_coordinator.core.rollback import rollback_spec
from tests.support.clock import START
from tests.support.coordinator_records import bundle
from tests.support.rollouts import Drive, alarmed, count, fleet, fleet_spec, percent, readings

OK, ALARM, NO_DATA = AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA
GOOD = LastGood(
    deployment_id=DeploymentId("d-LASTGOOD1"),
    revision=bundle("b"),
    file_exists_behavior=FileExistsBehavior.RETAIN,
)
ON_ALARM = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_STOP_ON_ALARM}))


def drive(*, alarms: tuple[str, ...] = ("cpu",), of_alarms: Any = None, **changes: Any) -> Drive:
    """Six targets, two at a time, with alarms to watch."""
    return Drive(fleet_spec(count(4), options=alarmed(*alarms, **(of_alarms or {})), **changes), fleet(6))


def is_ending(it: Drive) -> bool:
    return it.rollout.record.ending is not None


def zonal(alarms: tuple[str, ...] = ("cpu",)) -> Drive:
    """T47's deployment: 12 instances in 3 zones, one at a time, bakes of 600 and 60 s; its first zone is done."""
    spec = fleet_spec(
        percent(50),
        zonal=ZonalConfig(first_zone_monitor_seconds=600, monitor_seconds=60, minimum_per_zone=percent(75)),
        options=alarmed(*alarms),
    )
    drive = Drive(spec, fleet(12, zones=("a", "b", "c")))
    drive.alarms(cpu=OK)
    while drive.status is DeploymentStatus.IN_PROGRESS:
        drive.succeed(drive.in_progress[0])
    return drive


@pytest.mark.req("CP-356")
def test_no_target_starts_before_every_alarm_is_known() -> None:
    it = drive(alarms=("cpu", "latency"))
    assert it.started == []
    it.alarms(cpu=OK)
    assert it.started == []
    it.alarms(cpu=OK, latency=NO_DATA)
    assert len(it.started) == 2


@pytest.mark.req("CP-356", "CP-355", "T64")
def test_an_alarm_that_is_active_already_lets_nothing_start() -> None:
    it = drive()
    outcome = it.alarms(cpu=ALARM)
    assert outcome.commands == ()
    assert (it.status, it.code) == (DeploymentStatus.STOPPED, ALARM_ACTIVE)
    assert it.started == []
    assert len(it.with_status(TargetStatus.SKIPPED)) == 6


@pytest.mark.req("CP-355", "CP-366", "CP-234", "CP-236")
def test_running_events_end_as_after_a_stop() -> None:
    it = drive()
    it.alarms(cpu=OK)
    first, second = it.started
    it.begin(first, "Install")
    it.begin(second, "Install")

    outcome = it.alarms(cpu=ALARM)

    assert [type(one) for one in outcome.commands] == [CancelSegment, CancelSegment]
    assert it.status is DeploymentStatus.IN_PROGRESS
    assert len(it.with_status(TargetStatus.SKIPPED)) == 4
    it.finish(first, "Install")
    assert it.alarms(cpu=ALARM).commands == ()
    it.segment(second, EventStatus.SKIPPED)
    assert (it.status, it.code) == (DeploymentStatus.STOPPED, ALARM_ACTIVE)
    assert it.target(first).status is TargetStatus.FAILED
    event = it.event(first, "AfterInstall")
    assert event is not None
    assert event.status is EventStatus.SKIPPED


@pytest.mark.req("CP-355")
def test_the_message_names_alarm_state_time_place_and_the_way_out() -> None:
    it = drive(alarms=("cpu", "latency", "disk"))
    it.alarms(cpu=OK, latency=OK, disk=OK)
    it.after(30)
    one, other = it.started
    since = Instant(START + 20_000)
    it.handle(
        AlarmsRead(
            readings=(
                AlarmReading(
                    name="cpu", state=ALARM, source="aws (us-east-1)", since=since, detail="crossed 80."
                ),
                *readings(latency=ALARM, disk=OK),
            )
        )
    )
    it.segment(one, EventStatus.SKIPPED)
    it.segment(other, EventStatus.SKIPPED)
    assert (
        "Alarm cpu is in state ALARM since 2023-11-14T22:13:40Z, says aws (us-east-1): crossed 80."
        in it.message
    )
    # The source does not say since when, so it is when that was first seen.
    assert "Alarm latency is in state ALARM since 2023-11-14T22:13:50Z, says prometheus" in it.message
    assert "disk" not in it.message
    assert "--no-alarms" in it.message


@pytest.mark.req("CP-365")
def test_only_alarm_stops() -> None:
    it = drive(alarms=("a", "b"))
    it.alarms(a=OK, b=NO_DATA)
    it.alarms(a=NO_DATA, b=OK)
    assert it.status is DeploymentStatus.IN_PROGRESS
    assert len(it.in_progress) == 2


@pytest.mark.req("CP-363", "CP-359", "CP-358", "T65")
def test_three_failed_polls_in_a_row_stop_and_fewer_do_not() -> None:
    it = drive()
    it.alarms(cpu=OK)
    for _ in range(2):
        it.alarms(cpu=None)
        it.alarms(cpu=None)
        it.alarms(cpu=OK)
    it.alarms(cpu=None)
    it.alarms(cpu=None)
    assert not is_ending(it)
    it.alarms(cpu=None)
    assert is_ending(it)
    for one in it.started:
        it.segment(one, EventStatus.SKIPPED)
    assert (it.status, it.code) == (DeploymentStatus.STOPPED, ALARM_ACTIVE)
    assert "The state of alarm cpu cannot be read from prometheus (http://prom:9090)" in it.message
    assert "connection refused" in it.message


@pytest.mark.req("CP-359", "T65", "TS-73", "PF-202")
def test_unreadable_alarms_may_be_ignored_with_a_warning() -> None:
    it = drive(of_alarms={"ignore_poll_alarm_failure": True})
    it.alarms(cpu=None)
    it.alarms(cpu=None)
    assert it.started == []
    it.alarms(cpu=None)
    assert len(it.started) == 2
    (note,) = it.rollout.record.messages
    assert "cannot be read" in note
    it.alarms(cpu=None)
    assert it.rollout.record.messages == (note,)
    it.alarms(cpu=ALARM)
    assert is_ending(it)


@pytest.mark.req("CP-360", "CP-361", "T64", "PF-203")
def test_switched_off_alarms_are_not_watched_but_kept() -> None:
    configuration = AlarmConfiguration(enabled=False, alarms=("cpu",))
    assert watched(configuration) == ()
    assert configuration.alarms == ("cpu",)
    it = drive(of_alarms={"enabled": False})
    assert len(it.started) == 2
    it.alarms(cpu=ALARM)
    assert not is_ending(it)
    assert it.rollout.record.alarms == ()


@pytest.mark.req("CP-344")
def test_a_rollback_records_alarms_and_goes_on() -> None:
    broken = fleet_spec(count(4), options=alarmed("cpu", "disk"), last_good=GOOD)
    order = RollbackOrdered(
        revision=GOOD.revision, file_exists_behavior=FileExistsBehavior.RETAIN, message=""
    )
    it = Drive(rollback_spec(broken, order, DeploymentId("d-ROLLBACK1")), fleet(6))
    assert it.spec.creator is Creator.ROLLBACK
    assert len(it.started) == 2
    for _ in range(3):
        it.alarms(cpu=ALARM, disk=None)
    assert [(one.name, one.state) for one in it.rollout.record.alarms] == [
        ("cpu", ALARM),
        ("disk", AlarmState.UNREADABLE),
    ]
    while it.in_progress:
        it.succeed(it.in_progress[0])
    assert it.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("CP-334", "PF-201")
@pytest.mark.parametrize(
    "events, is_rolled_back",
    [
        ({RollbackEvent.DEPLOYMENT_STOP_ON_ALARM}, True),
        ({RollbackEvent.DEPLOYMENT_STOP_ON_REQUEST, RollbackEvent.DEPLOYMENT_FAILURE}, False),
    ],
)
def test_an_alarm_rolls_back_on_its_own_event(events: set[RollbackEvent], is_rolled_back: bool) -> None:
    it = drive(auto_rollback=AutoRollback(enabled=True, events=frozenset(events)), last_good=GOOD)
    it.alarms(cpu=OK)
    it.alarms(cpu=ALARM)
    for one in it.started:
        it.segment(one, EventStatus.SKIPPED)
    assert it.status is DeploymentStatus.STOPPED
    assert bool(it.kept.rollbacks) is is_rolled_back


@pytest.mark.req("CP-334")
def test_a_stop_by_request_is_no_stop_by_alarm() -> None:
    it = drive(auto_rollback=ON_ALARM, last_good=GOOD)
    it.alarms(cpu=OK)
    it.stop()
    it.alarms(cpu=ALARM)
    for one in it.started:
        it.segment(one, EventStatus.SKIPPED)
    assert (it.status, it.code) == (DeploymentStatus.STOPPED, "MANUAL_STOP")
    assert it.kept.rollbacks == []


@pytest.mark.req("CP-356", "CP-334")
def test_what_ends_before_its_first_target_is_not_rolled_back() -> None:
    spec = fleet_spec(count(4), options=alarmed("cpu"), auto_rollback=ON_ALARM, last_good=GOOD)
    watch = AlarmWatch(spec)
    watch.take(readings(cpu=ALARM), START)
    assert watch.cause is not None
    error = explain(watch.cause, [], spec.deployment_id)
    (change,) = end_unstarted(spec, START, START, error, alarms=watch.records).changes
    assert isinstance(change, RolloutChanged)
    assert change.record.status is DeploymentStatus.STOPPED
    assert change.record.started_at is None
    assert [one.state for one in change.record.alarms] == [ALARM]
    assert change.record.rollback_message == (
        "No rollback: the deployment was stopped by an alarm before it touched an instance."
    )


@pytest.mark.req("CP-294", "T49", "CP-355", "CP-354")
def test_an_alarm_in_a_bake_ends_the_deployment() -> None:
    it = zonal()
    assert it.status is DeploymentStatus.BAKING
    it.pass_time(300)
    it.alarms(cpu=OK)
    assert it.status is DeploymentStatus.BAKING
    it.alarms(cpu=ALARM)
    assert (it.status, it.code) == (DeploymentStatus.STOPPED, ALARM_ACTIVE)
    assert len(it.with_status(TargetStatus.SKIPPED)) == 8
    assert len(it.with_status(TargetStatus.SUCCEEDED)) == 4


@pytest.mark.req("CP-294")
def test_calm_alarms_neither_shorten_nor_lengthen_a_bake() -> None:
    it = zonal()
    it.pass_time(599)
    it.alarms(cpu=OK)
    statuses = [it.status]
    it.pass_time(1)
    statuses.append(it.status)
    assert statuses == [DeploymentStatus.BAKING, DeploymentStatus.IN_PROGRESS]


def test_a_restart_waits_for_the_alarms_and_only_then_starts_the_next_targets() -> None:
    it = drive()
    it.alarms(cpu=OK)
    first, second = it.started
    it.rollout = it.kept.restore(it.spec)
    # What runs goes on meanwhile.
    it.succeed(first)
    assert it.target(first).status is TargetStatus.SUCCEEDED
    assert it.in_progress == [second]
    it.succeed(second)
    assert it.in_progress == []
    assert it.status is DeploymentStatus.IN_PROGRESS
    it.alarms(cpu=None)
    assert it.in_progress == []
    it.alarms(cpu=OK)
    assert len(it.in_progress) == 2


def test_a_restart_at_the_end_of_a_bake_reads_the_alarms_before_the_next_zone() -> None:
    it = zonal()
    it.rollout = it.kept.restore(it.spec)
    it.pass_time(600)
    assert it.status is DeploymentStatus.IN_PROGRESS
    assert it.in_progress == []
    it.alarms(cpu=ALARM)
    assert (it.status, it.code) == (DeploymentStatus.STOPPED, ALARM_ACTIVE)


def test_a_restart_does_not_wait_when_nothing_is_left_to_start() -> None:
    it = Drive(fleet_spec(count(4), options=alarmed("cpu")), fleet(5))
    it.alarms(cpu=OK)
    for _ in range(4):
        it.succeed(it.in_progress[0])
    it.rollout = it.kept.restore(it.spec)
    it.succeed(it.in_progress[0])
    assert it.status is DeploymentStatus.SUCCEEDED


def test_a_stop_reaches_a_deployment_that_waits_for_its_alarms() -> None:
    it = drive()
    it.stop()
    assert (it.status, it.code) == (DeploymentStatus.STOPPED, "MANUAL_STOP")


def test_what_has_failed_keeps_its_cause_when_an_alarm_follows() -> None:
    it = drive()
    it.alarms(cpu=OK)
    first, second = it.started
    it.fail(first)
    it.fail(second)
    # The fleet can afford no more: it is being given up already.
    third = it.in_progress
    it.alarms(cpu=ALARM)
    for one in third:
        it.segment(one, EventStatus.SKIPPED)
    assert (it.status, it.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")


def watch(*names: str, **changes: Any) -> AlarmWatch:
    return AlarmWatch(_spec(*names, **changes))


def _spec(*names: str, **changes: Any) -> RolloutSpec:
    return fleet_spec(count(1), options=alarmed(*names, **changes))


@pytest.mark.req("CP-357")
def test_names_are_matched_exactly() -> None:
    it = watch("High CPU")
    it.take(readings(**{"high cpu": ALARM, "High CPU ": ALARM, "HighCPU": ALARM}), START)
    assert it.records == ()
    assert it.is_awaited


def test_what_is_stored_changes_only_with_a_state() -> None:
    it = watch("cpu")
    it.take(readings(cpu=OK), START)
    first = it.records
    it.take(readings(cpu=OK), Instant(START + 10_000))
    assert it.records == first
    it.take(readings(cpu=None), Instant(START + 20_000))
    assert it.records == first
    it.take(readings(cpu=NO_DATA), Instant(START + 30_000))
    assert [(one.state, one.since) for one in it.records] == [(NO_DATA, START + 30_000)]


def test_a_list_with_a_name_twice_is_watched_once() -> None:
    assert watch("cpu", "disk", "cpu").names == ("cpu", "disk")


def test_many_alarms_are_counted_not_listed() -> None:
    names = [f"a{number}" for number in range(50)]
    it = watch(*names)
    it.take(readings(**dict.fromkeys(names, ALARM)), START)
    assert it.cause is not None
    assert it.cause.message.count("is in state ALARM") == 10
    assert "And 40 more." in it.cause.message


def test_a_sentence_ends_once() -> None:
    record = AlarmRecord(name="cpu", state=ALARM, source="aws", since=START, detail="crossed.")
    assert describe(record).endswith("says aws: crossed.")
