"""CP section 12: what happens when nothing is heard."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferryman_coordinator.core.messages import CancelSegment, Disposition, InstanceGone, Tick
from ferryman_coordinator.core.model import (
    CommandPhase,
    Creator,
    DeploymentStatus,
    EventStatus,
    InstanceId,
    Instant,
    LifecycleErrorCode,
    TargetStatus,
    Timers,
    ZonalConfig,
)
from tests.support.rollouts import Drive, count, fleet, fleet_spec

ONE = InstanceId("mi-0")


@pytest.fixture
def drive() -> Drive:
    """One target with the timers of the table, started and not heard of yet."""
    return Drive(fleet_spec(count(0)), fleet(1))


def failed_at(drive: Drive, name: str, instance_id: InstanceId = ONE) -> LifecycleErrorCode:
    """Error code of the event that failed the target, which must be this one."""
    record = drive.event(instance_id, name)
    assert record is not None
    assert record.status is EventStatus.FAILED
    assert record.ended_at == drive.now
    assert record.diagnostics is not None
    assert drive.target(instance_id).status is TargetStatus.FAILED
    return record.diagnostics.error_code


@pytest.mark.req("CP-264", "AG-Q03", "AG-Q09", "A30")
def test_defaults_are_those_of_the_table() -> None:
    timers = Timers()

    assert timers.event_start_ms == 5 * 60 * 1000
    assert timers.event_run_ms == 3600 * 1000
    assert timers.reboot_grace_ms == 5 * 60 * 1000
    assert timers.run_cap_ms == 12 * 3600 * 1000


class TestStartTimer:
    @pytest.mark.req("CP-260", "CP-263", "AG-Q03")
    def test_agent_that_never_answers(self, drive: Drive) -> None:
        drive.after(299.999)
        assert drive.in_progress == [ONE]
        drive.after(0.001)

        assert failed_at(drive, "ApplicationStop") is LifecycleErrorCode.UNKNOWN_ERROR
        assert drive.target(ONE).failed_by_silence
        assert "the agent of web-0 (mi-0) did not begin ApplicationStop within 300 s" in drive.message
        assert drive.code == "AGENT_ISSUE"

    @pytest.mark.req("CP-260")
    def test_runs_anew_between_events(self, drive: Drive) -> None:
        drive.after(200)
        drive.begin(ONE, "ApplicationStop")
        drive.after(1000)
        drive.finish(ONE, "ApplicationStop")
        drive.after(299)
        assert drive.in_progress == [ONE]
        drive.after(1)

        assert failed_at(drive, "DownloadBundle") is LifecycleErrorCode.UNKNOWN_ERROR

    @pytest.mark.req("CP-260")
    def test_having_the_command_does_not_extend_it(self, drive: Drive) -> None:
        """A dead or stuck agent cannot buy time by acknowledging."""
        drive.after(200)
        drive.ack(ONE)
        drive.connected(ONE)
        drive.after(100)

        assert failed_at(drive, "ApplicationStop") is LifecycleErrorCode.UNKNOWN_ERROR

    @pytest.mark.req("CP-261", "K8", "CP-418")
    def test_stands_still_while_the_command_is_queued(self, drive: Drive) -> None:
        drive.ack(ONE, Disposition.QUEUED)
        assert drive.target(ONE).phase is CommandPhase.QUEUED
        drive.after(4 * 3600)
        assert drive.in_progress == [ONE]

        drive.turn(ONE)
        drive.after(299)
        assert drive.in_progress == [ONE]
        drive.after(1)
        assert failed_at(drive, "ApplicationStop") is LifecycleErrorCode.UNKNOWN_ERROR

    @pytest.mark.req("CP-261")
    def test_known_leaves_a_queued_command_queued(self, drive: Drive) -> None:
        """After a reconnect the agent says that it knows the command; it may still be waiting for its turn."""
        drive.ack(ONE, Disposition.QUEUED)
        drive.ack(ONE, Disposition.KNOWN)
        drive.after(3600)

        assert drive.in_progress == [ONE]

    @pytest.mark.req("CP-264", "K27")
    def test_is_configurable(self) -> None:
        drive = Drive(fleet_spec(count(0), timers=Timers(event_start_ms=1000)), fleet(1))
        drive.after(1)

        assert drive.status is DeploymentStatus.FAILED

    @pytest.mark.req("T51", "CP-057", "CP-276")
    def test_one_of_two_is_down(self) -> None:
        """A host that is known to be down is tried, and then counts as failed."""
        drive = Drive(fleet_spec(count(0)), fleet(2))
        down, fine = drive.started
        drive.silent(down)
        drive.succeed(fine)
        drive.pass_time(300)

        assert drive.status is DeploymentStatus.SUCCEEDED
        record = drive.event(down, "ApplicationStop")
        assert record is not None
        assert record.diagnostics is not None
        assert "agent" in record.diagnostics.message


class TestRunTimer:
    @pytest.mark.req("CP-259")
    def test_is_per_event(self, drive: Drive) -> None:
        """Each event has its hour, whatever the ones before it took."""
        for name in ("ApplicationStop", "DownloadBundle", "BeforeInstall"):
            drive.begin(ONE, name)
            drive.after(3500)
            drive.finish(ONE, name)

        assert drive.in_progress == [ONE]

    @pytest.mark.req("AG-413")
    def test_agent_is_given_a_moment_to_report_its_own_timeout(self, drive: Drive) -> None:
        drive.begin(ONE, "ApplicationStart")
        drive.after(3600 + 14.999)
        assert drive.in_progress == [ONE]
        drive.after(0.001)

        assert failed_at(drive, "ApplicationStart") is LifecycleErrorCode.SCRIPT_TIMED_OUT
        assert not drive.target(ONE).failed_by_silence
        assert "did not end within 3600 s" in drive.message
        assert drive.code == "HEALTH_CONSTRAINTS"

    @pytest.mark.req("CP-259", "T53", "AG-Q05", "AG-C27")
    def test_exact_limit(self) -> None:
        drive = Drive(fleet_spec(count(0), timers=Timers(report_grace_ms=0)), fleet(1))
        drive.begin(ONE, "ApplicationStart")
        drive.after(3599.999)
        assert drive.in_progress == [ONE]
        drive.after(0.001)

        assert failed_at(drive, "ApplicationStart") is LifecycleErrorCode.SCRIPT_TIMED_OUT

    def test_agent_is_told_not_to_go_on(self, drive: Drive) -> None:
        drive.begin(ONE, "ApplicationStart")
        drive.after(3615)

        assert drive.last.commands == (
            CancelSegment(
                instance_id=ONE,
                command_id=drive.command_of(ONE),
                reason="the coordinator has given this instance up",
            ),
        )


class TestSilence:
    @pytest.mark.req("CP-262")
    def test_loss_of_the_stream_fails_the_running_event_early(self, drive: Drive) -> None:
        drive.begin(ONE, "ApplicationStart")
        drive.after(100)
        drive.silent(ONE)
        drive.after(299)
        assert drive.in_progress == [ONE]
        drive.after(1)

        assert failed_at(drive, "ApplicationStart") is LifecycleErrorCode.UNKNOWN_ERROR
        assert drive.target(ONE).failed_by_silence
        assert "has been silent for 300 s, in ApplicationStart" in drive.message
        assert drive.code == "AGENT_ISSUE"

    @pytest.mark.req("CP-262")
    def test_return_in_time_gives_the_event_its_full_hour(self, drive: Drive) -> None:
        drive.begin(ONE, "ApplicationStart")
        drive.silent(ONE)
        drive.after(299)
        drive.connected(ONE)
        assert drive.rollout.wake_at == drive.now + (3600 + 15 - 299) * 1000
        drive.after(3300)

        assert drive.in_progress == [ONE]

    @pytest.mark.req("CP-263")
    def test_counts_from_the_first_word_of_it(self, drive: Drive) -> None:
        drive.begin(ONE, "ApplicationStart")
        drive.silent(ONE)
        drive.after(200)
        assert not drive.silent(ONE).changes
        drive.after(100)

        assert drive.target(ONE).status is TargetStatus.FAILED

    @pytest.mark.req("T55")
    def test_between_two_events(self, drive: Drive) -> None:
        """Whatever ends first: the start timer or the grace for a reboot."""
        drive.finish(ONE, "ApplicationStop")
        drive.after(60)
        drive.silent(ONE)
        drive.after(240)

        assert failed_at(drive, "DownloadBundle") is LifecycleErrorCode.UNKNOWN_ERROR

    @pytest.mark.req("CP-262", "CP-264", "AG-Q04")
    def test_short_grace(self) -> None:
        drive = Drive(fleet_spec(count(0), timers=Timers(reboot_grace_ms=10_000)), fleet(1))
        drive.finish(ONE, "ApplicationStop")
        drive.silent(ONE)
        drive.after(10)

        assert failed_at(drive, "DownloadBundle") is LifecycleErrorCode.UNKNOWN_ERROR
        assert "silent for 10 s, before DownloadBundle" in drive.message

    def test_queued_command_of_a_lost_agent_does_not_wait_for_ever(self, drive: Drive) -> None:
        drive.ack(ONE, Disposition.QUEUED)
        drive.after(1000)
        drive.silent(ONE)
        drive.after(300)

        assert failed_at(drive, "ApplicationStop") is LifecycleErrorCode.UNKNOWN_ERROR

    def test_before_the_agent_has_the_command_only_the_start_timer_counts(self) -> None:
        drive = Drive(fleet_spec(count(0), timers=Timers(reboot_grace_ms=10_000)), fleet(1))
        drive.silent(ONE)
        drive.after(299)
        assert drive.in_progress == [ONE]

    def test_connection_that_was_never_missed(self, drive: Drive) -> None:
        assert not drive.connected(ONE).changes
        drive.silent(ONE)
        assert drive.connected(ONE).changes
        assert not drive.connected(ONE).changes

    def test_nobody_else_is_concerned(self) -> None:
        drive = Drive(fleet_spec(count(1)), fleet(3))
        (pending,) = drive.with_status(TargetStatus.PENDING)

        assert not drive.silent(pending).changes
        assert not drive.connected(pending).changes
        assert not drive.silent(InstanceId("mi-unknown")).changes


class TestRunCap:
    @pytest.mark.req("T85", "CP-143", "AG-Q09")
    def test_in_an_endless_bake(self) -> None:
        zonal = ZonalConfig(monitor_seconds=1_000_000)
        drive = Drive(fleet_spec(count(0), zonal=zonal), fleet(2, zones=("a", "b")))
        drive.succeed(drive.started[0])
        assert drive.status is DeploymentStatus.BAKING
        drive.pass_time(12 * 3600 - 0.001)
        assert drive.status is DeploymentStatus.BAKING
        drive.pass_time(0.001)

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "TIMEOUT")
        assert "12 h" in drive.message
        assert len(drive.with_status(TargetStatus.SKIPPED)) == 1

    @pytest.mark.req("T85", "CP-236")
    def test_running_event_is_drained(self) -> None:
        drive = Drive(fleet_spec(count(1), timers=Timers(run_cap_ms=60_000)), fleet(3))
        one, other = drive.started
        for running in (one, other):
            drive.begin(running, "ApplicationStop")
        drive.after(60)
        assert drive.status is DeploymentStatus.IN_PROGRESS
        assert {command.instance_id for command in drive.last.commands} == {one, other}
        assert len(drive.with_status(TargetStatus.SKIPPED)) == 1

        for running in (one, other):
            drive.finish(running, "ApplicationStop")
        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "TIMEOUT")
        assert drive.rollout.wake_at is None

    @pytest.mark.req("CP-392")
    def test_cuts_an_endless_drain_short(self) -> None:
        """A deployment that was given up lets its targets finish, but not beyond the cap; the cause stays."""
        drive = Drive(fleet_spec(count(2), timers=Timers(run_cap_ms=60_000)), fleet(5))
        slow, second, third = drive.started
        drive.begin(slow, "ApplicationStop")
        drive.gone(drive.with_status(TargetStatus.PENDING)[0])
        drive.fail(second)
        drive.fail(third)
        assert drive.rollout.record.ending is not None
        assert not drive.cancels
        drive.after(60)
        assert drive.target(slow).is_cancelled
        drive.finish(slow, "ApplicationStop")

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")

    def test_has_nothing_left_to_do_after_a_stop(self) -> None:
        drive = Drive(fleet_spec(count(0), timers=Timers(run_cap_ms=60_000)), fleet(1))
        drive.begin(ONE, "ApplicationStop")
        drive.stop()

        assert drive.rollout.wake_at == drive.now + 3_615_000
        assert drive.kept.restore(drive.spec).wake_at == drive.rollout.wake_at


class TestTick:
    def test_nothing_due_changes_nothing(self, drive: Drive) -> None:
        outcome = drive.handle(Tick())

        assert not outcome.changes
        assert outcome.wake_at == drive.now + 300_000

    @pytest.mark.req("CP-233")
    def test_clock_that_was_put_back(self, drive: Drive) -> None:
        drive.after(100)
        drive.begin(ONE, "ApplicationStop")
        later = drive.now
        drive.now = Instant(drive.now - 50_000)
        drive.finish(ONE, "ApplicationStop")

        record = drive.event(ONE, "ApplicationStop")
        assert record is not None
        assert (record.started_at, record.ended_at) == (later, later)

    @pytest.mark.req("CP-233")
    def test_clock_that_was_put_back_while_the_coordinator_was_down(self, drive: Drive) -> None:
        drive.after(100)
        drive.begin(ONE, "ApplicationStop")
        later = drive.now
        drive.now = Instant(drive.now - 50_000)
        drive.rollout = drive.kept.restore(drive.spec)
        drive.finish(ONE, "ApplicationStop")

        assert drive.target(ONE).updated_at == later

    def test_several_due_at_once(self) -> None:
        drive = Drive(fleet_spec(count(0)), fleet(5))
        drive.after(300)

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "AGENT_ISSUE")
        assert len(drive.with_status(TargetStatus.FAILED)) == 5


class TestFirstContact:
    """Of an instance that was just launched: its machine may still be booting."""

    @pytest.fixture
    def launch(self) -> Drive:
        return Drive(replace(fleet_spec(count(0)), creator=Creator.AUTO_SCALING), fleet(1))

    @pytest.mark.req("CP-264", "A9", "CP-260")
    def test_an_agent_that_never_comes_fails_it_after_an_hour(self, launch: Drive) -> None:
        launch.after(3_599.999)
        assert launch.in_progress == [ONE]
        launch.after(0.001)

        assert failed_at(launch, "ApplicationStop") is LifecycleErrorCode.UNKNOWN_ERROR
        assert "did not begin ApplicationStop within 3600 s" in launch.message

    @pytest.mark.req("A9", "CP-260")
    def test_an_agent_that_came_has_as_long_as_any_other(self, launch: Drive) -> None:
        launch.after(3_000)
        launch.connected(ONE)
        launch.after(299)
        assert launch.in_progress == [ONE]
        launch.after(1)

        assert failed_at(launch, "ApplicationStop") is LifecycleErrorCode.UNKNOWN_ERROR
        assert "within 300 s" in launch.message

    @pytest.mark.req("A9", "CP-260")
    def test_coming_late_buys_no_time(self, launch: Drive) -> None:
        launch.after(3_500)
        launch.connected(ONE)
        launch.after(100)

        assert failed_at(launch, "ApplicationStop") is LifecycleErrorCode.UNKNOWN_ERROR

    @pytest.mark.req("A9", "CP-260")
    def test_one_that_was_there_already_and_only_acknowledges_has_no_hour(self, launch: Drive) -> None:
        launch.ack(ONE)
        launch.after(300)

        assert failed_at(launch, "ApplicationStop") is LifecycleErrorCode.UNKNOWN_ERROR


class TestEndedByItsGroup:
    @pytest.mark.req("CP-409", "PF-122", "CP-306")
    def test_its_event_may_end_and_it_has_failed_at_once(self, drive: Drive) -> None:
        drive.begin(ONE, "ApplicationStop")
        drive.handle(InstanceGone(instance_id=ONE, reason="was terminated by its group", is_reachable=True))

        assert failed_at(drive, "ApplicationStop") is LifecycleErrorCode.UNKNOWN_ERROR
        assert "instance web-0 (mi-0) was terminated by its group" in drive.message
        assert isinstance(drive.rollout.outstanding(ONE)[0], CancelSegment)
