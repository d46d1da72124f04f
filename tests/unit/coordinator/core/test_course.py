"""How one target goes along its path: reports in order, out of order, twice, late, and impossible ones."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.course import LOG_TAIL_BYTES
from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.messages import (
    CancelSegment,
    CommandAcked,
    Disposition,
    EventFinished,
    EventStarted,
    RunSegment,
    TargetChanged,
)
from ferryman_coordinator.core.model import (
    CommandId,
    CommandPhase,
    DeploymentStatus,
    Diagnostics,
    EventRecord,
    EventStatus,
    InstanceId,
    LifecycleErrorCode,
    Segment,
    TargetStatus,
)
from tests.support.rollouts import BROKEN, OK, Drive, count, fleet, fleet_spec

ONE = InstanceId("mi-0")
SEVEN = (
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
)


@pytest.fixture
def drive() -> Drive:
    """One target, started and not heard of yet."""
    return Drive(fleet_spec(count(0)), fleet(1))


def statuses(drive: Drive, instance_id: InstanceId = ONE) -> list[str]:
    """Status of each event that has a record, in the order of the path."""
    records = drive.kept.events.get(instance_id, {})
    return [records[name].status for name in SEVEN if name in records]


@pytest.mark.req("CP-426")
def test_command_holds_all_events_under_a_derived_id(drive: Drive) -> None:
    assert drive.runs == {
        ONE: RunSegment(instance_id=ONE, command_id=CommandId("d-TESTFLEET/mi-0/1/0"), events=SEVEN)
    }
    assert drive.rollout.outstanding(ONE) == (drive.runs[ONE],)
    assert drive.target(ONE).phase is CommandPhase.OFFERED


@pytest.mark.req("CP-248", "CP-258")
def test_orderly_target(drive: Drive) -> None:
    begun = drive.now
    drive.ack(ONE)
    assert drive.target(ONE).phase is CommandPhase.STARTED
    for name in SEVEN:
        drive.after(1)
        drive.begin(ONE, name)
        started = drive.now
        assert drive.event(ONE, name) == EventRecord(
            name=name, status=EventStatus.IN_PROGRESS, started_at=started
        )
        assert drive.target(ONE).lifecycle_event == name
        assert drive.target(ONE).updated_at == started
        drive.after(2)
        drive.finish(ONE, name)
        assert drive.event(ONE, name) == EventRecord(
            name=name, status=EventStatus.SUCCEEDED, started_at=started, ended_at=drive.now, diagnostics=OK
        )
        assert drive.target(ONE).updated_at == drive.now

    target = drive.target(ONE)
    assert (target.status, target.phase) == (TargetStatus.SUCCEEDED, CommandPhase.NONE)
    assert (target.started_at, target.completed_at) == (begun, drive.now)
    assert drive.rollout.outstanding(ONE) == ()
    assert drive.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("T56")
def test_failed_event_fails_the_target_and_skips_the_rest(drive: Drive) -> None:
    drive.fail(ONE, at="Install")

    assert statuses(drive) == ["Succeeded"] * 3 + ["Failed"] + ["Skipped"] * 3
    skipped = drive.event(ONE, "ValidateService")
    assert skipped is not None
    assert (skipped.started_at, skipped.ended_at) == (None, drive.now)
    failed = drive.event(ONE, "Install")
    assert failed is not None
    assert failed.diagnostics == BROKEN
    assert drive.target(ONE).status is TargetStatus.FAILED
    assert drive.target(ONE).lifecycle_event == "Install"


@pytest.mark.req("T56")
def test_first_event_fails(drive: Drive) -> None:
    drive.fail(ONE, at="ApplicationStop")

    assert statuses(drive) == ["Failed"] + ["Skipped"] * 6


@pytest.mark.req("CP-215", "CP-216", "T57")
def test_ignored_failure_of_application_stop() -> None:
    """The agent goes on by itself; the event stays Failed and the target may still succeed."""
    drive = Drive(fleet_spec(count(0), ignore_application_stop_failures=True), fleet(1))
    assert drive.runs[ONE].ignorable_failures == ("ApplicationStop",)

    drive.begin(ONE, "ApplicationStop")
    drive.finish(ONE, "ApplicationStop", EventStatus.FAILED)
    assert drive.target(ONE).lifecycle_event == "DownloadBundle"
    for name in SEVEN[1:]:
        drive.begin(ONE, name)
        drive.finish(ONE, name)

    assert statuses(drive) == ["Failed"] + ["Succeeded"] * 6
    assert drive.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("T57")
def test_other_failures_are_never_ignored() -> None:
    drive = Drive(fleet_spec(count(0), ignore_application_stop_failures=True), fleet(1))

    drive.fail(ONE, at="BeforeInstall")

    assert drive.target(ONE).status is TargetStatus.FAILED


def test_end_without_a_start_implies_the_start(drive: Drive) -> None:
    drive.after(3)
    drive.finish(ONE, "ApplicationStop")

    record = drive.event(ONE, "ApplicationStop")
    assert record is not None
    assert (record.status, record.started_at, record.ended_at) == (
        EventStatus.SUCCEEDED,
        drive.now,
        drive.now,
    )
    assert drive.target(ONE).phase is CommandPhase.STARTED


def test_later_event_implies_that_the_earlier_ones_went_well(drive: Drive) -> None:
    drive.begin(ONE, "ApplicationStop")
    drive.begin(ONE, "Install")

    assert statuses(drive) == ["Succeeded"] * 3 + ["InProgress"]
    implied = drive.event(ONE, "DownloadBundle")
    assert implied is not None
    assert implied.diagnostics is not None
    assert implied.diagnostics.error_code is LifecycleErrorCode.SUCCESS
    assert "was lost" in implied.diagnostics.message


@pytest.mark.parametrize("status", [EventStatus.SUCCEEDED, EventStatus.FAILED])
def test_later_end_implies_that_the_earlier_ones_went_well(drive: Drive, status: EventStatus) -> None:
    drive.finish(ONE, "Install", status)

    assert statuses(drive)[:4] == ["Succeeded"] * 3 + [status]
    record = drive.event(ONE, "Install")
    assert record is not None
    assert record.started_at == record.ended_at == drive.now


def test_end_of_the_command_implies_the_end_of_its_events(drive: Drive) -> None:
    drive.begin(ONE, "ApplicationStop")
    drive.segment(ONE)

    assert statuses(drive) == ["Succeeded"] * 7
    assert drive.status is DeploymentStatus.SUCCEEDED


def test_failed_command_fails_the_present_event(drive: Drive) -> None:
    drive.begin(ONE, "ApplicationStop")
    drive.finish(ONE, "ApplicationStop")
    drive.segment(ONE, EventStatus.FAILED)

    assert statuses(drive) == ["Succeeded", "Failed"] + ["Skipped"] * 5
    failed = drive.event(ONE, "DownloadBundle")
    assert failed is not None
    assert failed.diagnostics is not None
    assert failed.diagnostics.error_code is LifecycleErrorCode.UNKNOWN_ERROR
    assert "not at which event" in failed.diagnostics.message


def test_agent_that_skips_without_being_told_fails_the_target(drive: Drive) -> None:
    drive.finish(ONE, "ApplicationStop")
    drive.segment(ONE, EventStatus.SKIPPED)

    assert statuses(drive) == ["Succeeded", "Failed"] + ["Skipped"] * 5
    assert "without being told" in drive.message


def test_command_that_is_broken_off_in_an_event_fails_the_event(drive: Drive) -> None:
    drive.begin(ONE, "ApplicationStop")
    drive.segment(ONE, EventStatus.SKIPPED)

    assert statuses(drive) == ["Failed"] + ["Skipped"] * 6


def test_event_that_is_said_to_be_skipped(drive: Drive) -> None:
    drive.finish(ONE, "ApplicationStop", EventStatus.SKIPPED, OK)

    record = drive.event(ONE, "ApplicationStop")
    assert record is not None
    assert record.diagnostics is not None
    assert (record.status, record.diagnostics.error_code) == (
        EventStatus.FAILED,
        LifecycleErrorCode.UNKNOWN_ERROR,
    )
    assert "without being told" in drive.message


def test_event_that_its_agent_broke_off_has_failed(drive: Drive) -> None:
    """Skipped is said of events that have not begun; the agent's own reason is kept."""
    drive.begin(ONE, "ApplicationStop")
    drive.stop()
    killed = Diagnostics(error_code=LifecycleErrorCode.UNKNOWN_ERROR, message="ended as it was told to")
    drive.finish(ONE, "ApplicationStop", EventStatus.SKIPPED, killed)

    assert statuses(drive) == ["Failed"] + ["Skipped"] * 6
    assert drive.status is DeploymentStatus.STOPPED
    assert "ended as it was told to" in drive.message


@pytest.mark.req("T54", "K4")
def test_agent_restarted_in_mid_event(drive: Drive) -> None:
    """What an agent reports after it was killed in a hook fails the event at once."""
    drive.begin(ONE, "ApplicationStart")
    drive.after(5)
    restarted = Diagnostics(error_code=LifecycleErrorCode.UNKNOWN_ERROR, message="the agent was restarted")
    drive.finish(ONE, "ApplicationStart", EventStatus.FAILED, restarted)

    assert drive.target(ONE).status is TargetStatus.FAILED
    assert "the agent was restarted" in drive.message


def test_refused_command_fails_the_target_with_the_agents_reason(drive: Drive) -> None:
    drive.ack(ONE, Disposition.REFUSED, reason="no space left on device")

    assert statuses(drive) == ["Failed"] + ["Skipped"] * 6
    assert "no space left on device" in drive.message
    assert drive.rollout.outstanding(ONE) == ()


@pytest.mark.req("CP-245", "CP-426")
def test_repeated_and_late_reports_change_nothing(drive: Drive) -> None:
    drive.ack(ONE)
    for name in SEVEN[:3]:
        drive.begin(ONE, name)
        assert not drive.begin(ONE, name).changes
        drive.finish(ONE, name)
        assert not drive.finish(ONE, name).changes
        assert not drive.finish(ONE, name, EventStatus.FAILED).changes
        assert not drive.begin(ONE, name).changes
    assert not drive.ack(ONE).changes
    assert not drive.ack(ONE, Disposition.KNOWN).changes
    assert not drive.ack(ONE, Disposition.QUEUED).changes
    assert not drive.turn(ONE).changes
    drive.fail(ONE)
    assert drive.target(ONE).status is TargetStatus.FAILED
    assert not drive.segment(ONE, EventStatus.FAILED).changes
    assert not drive.finish(ONE, "ValidateService").changes


@pytest.mark.req("CP-232", "CP-245")
def test_final_statuses_stay() -> None:
    """A target that was given up stays Failed whatever its agent says afterwards, and so does its deployment."""
    drive = Drive(fleet_spec(count(0)), fleet(2))
    given_up, other = drive.started
    drive.begin(other, "ApplicationStop")
    drive.after(300)
    assert drive.target(given_up).status is TargetStatus.FAILED

    drive.segment(given_up)
    assert drive.target(given_up).status is TargetStatus.FAILED
    drive.succeed(other)
    assert drive.status is DeploymentStatus.SUCCEEDED
    assert not drive.gone(other).changes
    assert not drive.stop().changes
    assert drive.rollout.wake_at is None


class TestContradictions:
    """Reports that cannot be are told with the story of their target, and change nothing."""

    def test_event_that_the_command_does_not_hold(self, drive: Drive) -> None:
        drive.begin(ONE, "ApplicationStop")
        before = drive.target(ONE)

        with pytest.raises(InvariantBroken, match="reports Reboot, which is no part of command") as broken:
            drive.begin(ONE, "Reboot")

        assert any("ApplicationStop InProgress" in line for line in broken.value.story)
        assert broken.value.story[-1].startswith("now: TargetRecord(")
        assert str(broken.value).count("\n") == len(broken.value.story)
        assert drive.target(ONE) == before
        drive.rollout.check()
        drive.succeed(ONE)
        assert drive.status is DeploymentStatus.SUCCEEDED

    @pytest.mark.parametrize("status", [EventStatus.PENDING, EventStatus.IN_PROGRESS])
    def test_end_that_is_none(self, drive: Drive, status: EventStatus) -> None:
        with pytest.raises(InvariantBroken, match=f"finished as {status}"):
            drive.finish(ONE, "Install", status)
        with pytest.raises(InvariantBroken, match=f"finished as {status}"):
            drive.segment(ONE, status)

        assert not drive.kept.events

    @pytest.mark.parametrize("command", ["d-TESTFLEET/mi-0/1/1", "d-TESTFLEET/mi-0/2/0"])
    def test_command_that_was_never_given(self, drive: Drive, command: str) -> None:
        with pytest.raises(InvariantBroken, match="never given"):
            drive.handle(
                CommandAcked(instance_id=ONE, command_id=CommandId(command), disposition=Disposition.STARTED)
            )

    def test_command_of_a_target_that_has_not_started(self) -> None:
        drive = Drive(fleet_spec(count(1)), fleet(2))
        (pending,) = drive.with_status(TargetStatus.PENDING)
        with pytest.raises(InvariantBroken, match="never given"):
            drive.handle(
                EventStarted(
                    instance_id=pending,
                    command_id=CommandId(f"d-TESTFLEET/{pending}/1/0"),
                    lifecycle_event="ApplicationStop",
                )
            )

    @pytest.mark.parametrize("number", ["9" * 5_000, "9" * 19, "٣", "²"])
    def test_numbers_that_no_command_has_do_not_end_the_deployment(self, drive: Drive, number: str) -> None:
        """Python itself refuses to read a number of more than 4,300 digits."""
        before = drive.target(ONE)
        for command in (f"d-TESTFLEET/mi-0/{number}/0", f"d-TESTFLEET/mi-0/1/{number}"):
            drive.handle(
                CommandAcked(instance_id=ONE, command_id=CommandId(command), disposition=Disposition.STARTED)
            )
        assert drive.target(ONE) == before

    def test_foreign_and_unreadable_commands_are_none_of_its_business(self, drive: Drive) -> None:
        for whose, command in (
            ("mi-9", "d-TESTFLEET/mi-9/1/0"),
            ("mi-0", "d-OTHER/mi-0/1/0"),
            ("mi-0", "d-TESTFLEET/mi-0/x/y"),
            ("mi-0", "d-TESTFLEET/mi-1/1/0"),
            ("mi-0", ""),
        ):
            outcome = drive.handle(
                EventStarted(
                    instance_id=InstanceId(whose), command_id=CommandId(command), lifecycle_event="Install"
                )
            )
            assert not outcome.changes


class TestSeveralSegments:
    """Nothing assumes a single segment."""

    PATH = (Segment(("ApplicationStop", "Install")), Segment(("ApplicationStart",)))

    @pytest.mark.req("CP-256")
    def test_next_segment_is_offered_when_the_one_before_is_over(self) -> None:
        drive = Drive(fleet_spec(count(0), path=self.PATH), fleet(1))
        first = drive.runs[ONE]
        drive.begin(ONE, "ApplicationStop")
        drive.finish(ONE, "ApplicationStop")
        outcome = drive.finish(ONE, "Install")

        (second,) = outcome.commands
        assert second == RunSegment(
            instance_id=ONE, command_id=CommandId("d-TESTFLEET/mi-0/1/1"), events=("ApplicationStart",)
        )
        assert drive.target(ONE).phase is CommandPhase.OFFERED
        late = EventFinished(
            instance_id=ONE,
            command_id=first.command_id,
            lifecycle_event="Install",
            status=EventStatus.SUCCEEDED,
            diagnostics=OK,
        )
        assert not drive.handle(late).changes
        with pytest.raises(InvariantBroken, match="no part of command"):
            drive.begin(ONE, "Install")
        drive.finish(ONE, "ApplicationStart")
        assert drive.status is DeploymentStatus.SUCCEEDED

    @pytest.mark.req("CP-236")
    def test_stop_leaves_out_the_segments_that_follow(self) -> None:
        drive = Drive(fleet_spec(count(0), path=self.PATH), fleet(1))
        drive.begin(ONE, "Install")
        drive.stop()
        drive.finish(ONE, "Install")

        assert drive.status is DeploymentStatus.STOPPED
        start = drive.event(ONE, "ApplicationStart")
        assert start is not None
        assert start.status is EventStatus.SKIPPED


@pytest.mark.req("CP-257")
def test_log_tail_is_bounded(drive: Drive) -> None:
    long = Diagnostics(
        error_code=LifecycleErrorCode.SCRIPT_FAILED,
        log_tail="ä" * LOG_TAIL_BYTES + "the end",
        message="exit 1",
    )
    drive.finish(ONE, "ApplicationStop", EventStatus.FAILED, long)

    record = drive.event(ONE, "ApplicationStop")
    assert record is not None
    assert record.diagnostics is not None
    assert LOG_TAIL_BYTES - 2 < len(record.diagnostics.log_tail.encode()) <= LOG_TAIL_BYTES
    assert record.diagnostics.log_tail.endswith("äthe end")


def test_failure_never_says_success(drive: Drive) -> None:
    drive.finish(ONE, "ApplicationStop", EventStatus.FAILED, OK)

    record = drive.event(ONE, "ApplicationStop")
    assert record is not None
    assert record.diagnostics is not None
    assert record.diagnostics.error_code is LifecycleErrorCode.UNKNOWN_ERROR
    assert "at ApplicationStop, UnknownError" in drive.message


@pytest.mark.req("CP-258")
def test_success_carries_nothing_but_that(drive: Drive) -> None:
    chatty = Diagnostics(
        error_code=LifecycleErrorCode.UNKNOWN_ERROR, script_name="x.sh", log_tail="output", duration_ms=7
    )
    drive.finish(ONE, "ApplicationStop", EventStatus.SUCCEEDED, chatty)

    record = drive.event(ONE, "ApplicationStop")
    assert record is not None
    assert record.diagnostics == Diagnostics(error_code=LifecycleErrorCode.SUCCESS, duration_ms=7)


class TestGoneInstance:
    """CP-306: it stays counted, and counts as failed."""

    @pytest.mark.req("CP-306", "T55")
    def test_in_progress(self) -> None:
        drive = Drive(fleet_spec(count(0)), fleet(2))
        gone, other = drive.started
        drive.begin(gone, "ApplicationStop")
        drive.gone(gone, "was terminated by its provider")

        assert drive.target(gone).status is TargetStatus.FAILED
        assert statuses(drive, gone) == ["Failed"] + ["Skipped"] * 6
        assert drive.rollout.record.counted == 2
        assert drive.rollout.outstanding(gone) == ()
        drive.succeed(other)
        assert drive.status is DeploymentStatus.SUCCEEDED
        assert "was terminated by its provider" in drive.rollout.record.messages[-1]

    @pytest.mark.req("CP-306")
    def test_before_its_turn(self) -> None:
        drive = Drive(fleet_spec(count(2)), fleet(4))
        pending = drive.with_status(TargetStatus.PENDING)
        drive.gone(pending[0])
        assert drive.target(pending[0]).status is TargetStatus.FAILED
        assert statuses(drive, pending[0]) == ["Failed"] + ["Skipped"] * 6

        drive.gone(pending[1])
        assert drive.code == ""
        for running in drive.in_progress:
            drive.succeed(running)
        assert drive.status is DeploymentStatus.SUCCEEDED, "2 of 4 are healthy, and nothing was left to risk"

    @pytest.mark.req("CP-095")
    def test_deregistered_instance_may_finish_what_runs(self) -> None:
        drive = Drive(fleet_spec(count(1)), fleet(3))
        running = drive.in_progress
        (pending,) = drive.with_status(TargetStatus.PENDING)
        assert not drive.gone(running[0], "was deregistered", may_finish=True).changes
        drive.gone(pending, "was deregistered", may_finish=True)
        assert drive.target(pending).status is TargetStatus.FAILED

        for one in running:
            drive.succeed(one)
        assert drive.status is DeploymentStatus.SUCCEEDED


def test_reports_after_the_given_up_target_is_told_to_stop(drive: Drive) -> None:
    """A target that the coordinator gave up is told so, again at each connection, until the deployment ends."""
    pair = Drive(fleet_spec(count(0)), fleet(2))
    given_up, other = pair.started
    pair.begin(other, "ApplicationStop")
    pair.after(300)
    cancel = CancelSegment(
        instance_id=given_up,
        command_id=pair.command_of(given_up),
        reason="the coordinator has given this instance up",
    )
    assert pair.last.commands == (cancel,)
    assert pair.rollout.outstanding(given_up) == (cancel,)
    assert pair.kept.restore(pair.spec).outstanding(given_up) == (cancel,)
    assert drive.rollout.outstanding(InstanceId("mi-unknown")) == ()


def test_changes_come_before_what_depends_on_them(drive: Drive) -> None:
    """Facts in order: an event's end, then the target's, then the deployment's."""
    drive.begin(ONE, "ApplicationStop")
    drive.finish(ONE, "ApplicationStop", EventStatus.FAILED)

    kinds = [type(change).__name__ for change in drive.last.changes]
    assert kinds[:1] == ["EventChanged"]
    assert kinds.index("TargetChanged") < kinds.index("RolloutChanged")
    assert isinstance(drive.last.changes[7], TargetChanged)
