"""CP section 15, and the drain of CP-234 to CP-237."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.ending import StopAnswer, end_unstarted, stop_answer, stopped_by
from ferryman_coordinator.core.messages import (
    CancelSegment,
    Disposition,
    RollbackOrdered,
    RolloutChanged,
    ScopeDeleted,
)
from ferryman_coordinator.core.model import (
    AutoRollback,
    DeploymentId,
    DeploymentStatus,
    ErrorInformation,
    EventStatus,
    FileExistsBehavior,
    Instant,
    LastGood,
    RollbackEvent,
    StopRecord,
    TargetStatus,
    ZonalConfig,
)
from tests.support.clock import START
from tests.support.coordinator_records import bundle
from tests.support.rollouts import Drive, count, fleet, fleet_spec

GOOD = LastGood(
    deployment_id=DeploymentId("d-LASTGOOD1"),
    revision=bundle("b"),
    file_exists_behavior=FileExistsBehavior.RETAIN,
)


@pytest.fixture
def drive() -> Drive:
    """Two of six targets in progress."""
    drive = Drive(fleet_spec(count(4)), fleet(6))
    assert len(drive.in_progress) == 2
    return drive


@pytest.mark.req("CP-234", "CP-236", "CP-321", "CP-323", "CP-326", "CP-331", "CP-332", "T58")
def test_running_events_end_and_nothing_else_begins(drive: Drive) -> None:
    first, second = drive.started
    drive.begin(first, "Install")
    drive.begin(second, "Install")

    outcome = drive.stop(by="alice")

    assert outcome.commands == tuple(
        CancelSegment(instance_id=one, command_id=drive.command_of(one), reason="the deployment has ended")
        for one in (first, second)
    )
    assert drive.status is DeploymentStatus.IN_PROGRESS
    assert len(drive.with_status(TargetStatus.SKIPPED)) == 4
    answer = stop_answer(drive.rollout.record, drive.rollout.overview.in_progress)
    assert answer == StopAnswer(False, answer.message)
    assert "of 2 instances" in answer.message
    assert "Stopped" in answer.message

    drive.finish(first, "Install")
    assert drive.target(first).status is TargetStatus.FAILED
    assert drive.status is DeploymentStatus.IN_PROGRESS
    drive.segment(second, EventStatus.SKIPPED)

    assert (drive.status, drive.code) == (DeploymentStatus.STOPPED, "MANUAL_STOP")
    assert "Stopped by alice" in drive.message
    assert drive.rollout.record.stop == StopRecord(by="alice", auto_rollback=None)
    for one in (first, second):
        event = drive.event(one, "Install")
        assert event is not None
        assert event.status is EventStatus.SUCCEEDED
        event = drive.event(one, "AfterInstall")
        assert event is not None
        assert event.status is EventStatus.SKIPPED


@pytest.mark.req("CP-322", "CP-330")
def test_answer_once_everything_has_ended(drive: Drive) -> None:
    """With the last target the deployment is final, so there is never bookkeeping left that a stop could reach."""
    drive.stop()
    for one in drive.started:
        drive.segment(one, EventStatus.SKIPPED)

    answer = stop_answer(drive.rollout.record, drive.rollout.overview.in_progress)

    assert answer.is_stopped
    assert "Stopped" in answer.message


@pytest.mark.req("CP-236")
def test_command_that_was_cancelled_before_it_began(drive: Drive) -> None:
    first, second = drive.started
    drive.stop()
    drive.segment(first, EventStatus.SKIPPED)

    assert drive.target(first).status is TargetStatus.FAILED
    records = drive.kept.events[first]
    assert {record.status for record in records.values()} == {EventStatus.SKIPPED}
    assert len(records) == 7
    drive.segment(second, EventStatus.SKIPPED)
    assert drive.status is DeploymentStatus.STOPPED
    assert "Ended before their last event" in drive.message


@pytest.mark.req("CP-236")
def test_target_whose_last_event_was_running_has_succeeded(drive: Drive) -> None:
    first, second = drive.started
    drive.begin(first, "ValidateService")
    drive.stop()
    drive.finish(first, "ValidateService")
    drive.segment(second, EventStatus.SKIPPED)

    assert drive.target(first).status is TargetStatus.SUCCEEDED
    assert drive.status is DeploymentStatus.STOPPED


def test_failure_of_the_running_event_is_told(drive: Drive) -> None:
    first, second = drive.started
    drive.begin(first, "Install")
    drive.stop()
    drive.finish(first, "Install", EventStatus.FAILED)
    drive.segment(second, EventStatus.SKIPPED)

    assert drive.code == "MANUAL_STOP"
    assert f"First failure: web-{first[3:]} ({first}) at Install" in drive.message


def test_agent_that_began_the_next_event_just_before_is_let_finish_it(drive: Drive) -> None:
    first, _ = drive.started
    drive.begin(first, "Install")
    drive.stop()
    drive.finish(first, "Install", EventStatus.SUCCEEDED)
    assert drive.target(first).status is TargetStatus.FAILED

    crossed = Drive(fleet_spec(count(0)), fleet(1))
    one = crossed.started[0]
    crossed.finish(one, "ApplicationStop")
    crossed.stop()
    crossed.begin(one, "DownloadBundle")
    assert crossed.in_progress == [one]
    crossed.finish(one, "DownloadBundle")
    assert crossed.status is DeploymentStatus.STOPPED
    skipped = crossed.event(one, "BeforeInstall")
    assert skipped is not None
    assert skipped.status is EventStatus.SKIPPED


class TestBoundedDrain:
    """CP-237: an instance that never answers does not hold the end up for ever."""

    @pytest.mark.req("CP-237")
    def test_running_event(self, drive: Drive) -> None:
        first, second = drive.started
        drive.begin(first, "Install")
        drive.begin(second, "Install")
        drive.stop()
        drive.pass_time(3600 + 15)

        assert drive.status is DeploymentStatus.STOPPED
        assert drive.code == "MANUAL_STOP"

    @pytest.mark.req("CP-237")
    @pytest.mark.parametrize("disposition", [None, Disposition.STARTED, Disposition.QUEUED])
    def test_nothing_running(self, drive: Drive, disposition: Disposition | None) -> None:
        """The waiting event is skipped, not failed: it was stopped."""
        first, second = drive.started
        if disposition is not None:
            drive.ack(first, disposition)
        drive.stop()
        drive.segment(second, EventStatus.SKIPPED)
        drive.pass_time(300)

        assert drive.status is DeploymentStatus.STOPPED
        assert drive.target(first).status is TargetStatus.FAILED
        assert {record.status for record in drive.kept.events[first].values()} == {EventStatus.SKIPPED}

    @pytest.mark.req("CP-237")
    def test_queued_only_after_the_stop(self, drive: Drive) -> None:
        first, second = drive.started
        drive.stop()
        drive.segment(second, EventStatus.SKIPPED)
        drive.ack(first, Disposition.QUEUED)
        drive.pass_time(300)

        assert drive.status is DeploymentStatus.STOPPED


@pytest.mark.req("CP-332")
def test_cancelled_command_is_not_offered_again(drive: Drive) -> None:
    """At a connection only the cancellation is sent: an agent that never had the command must not begin it."""
    first, _ = drive.started
    drive.stop()

    (command,) = drive.rollout.outstanding(first)
    assert isinstance(command, CancelSegment)
    assert drive.kept.restore(drive.spec).outstanding(first) == (command,)


@pytest.mark.req("CP-325")
class TestRepeatedStop:
    def test_changes_nothing(self, drive: Drive) -> None:
        drive.stop(by="alice", auto_rollback=True)

        outcome = drive.stop(by="bob", auto_rollback=None)

        assert (outcome.changes, outcome.commands) == ((), ())
        assert drive.rollout.record.stop == StopRecord(by="alice", auto_rollback=True)

    def test_first_one_who_asked_is_recorded(self, drive: Drive) -> None:
        drive.stop(by="alice")
        drive.stop(by="bob", auto_rollback=True)

        assert drive.rollout.record.stop == StopRecord(by="alice", auto_rollback=True)

    @pytest.mark.parametrize("words", [[None, True], [True, False], [False, True], [True, False, None]])
    def test_last_word_on_the_rollback_wins(self, words: list[bool | None]) -> None:
        drive = Drive(fleet_spec(count(4), last_good=GOOD), fleet(6))
        for word in words:
            drive.stop(auto_rollback=word)
        for one in drive.started:
            drive.segment(one, EventStatus.SKIPPED)

        said = [word for word in words if word is not None]
        assert bool(drive.kept.rollbacks) is said[-1]


@pytest.mark.req("CP-392")
def test_stop_of_a_deployment_that_is_being_given_up() -> None:
    """The first cause in time stays; but what runs ends after its running event."""
    drive = Drive(fleet_spec(count(2)), fleet(5))
    slow, second, third = drive.started
    drive.begin(slow, "ApplicationStop")
    drive.gone(drive.with_status(TargetStatus.PENDING)[0])
    drive.fail(second)
    drive.fail(third)
    assert drive.rollout.record.ending_status is DeploymentStatus.FAILED

    drive.stop(by="alice", auto_rollback=False)
    assert "end as Failed" in stop_answer(drive.rollout.record, 1).message
    drive.finish(slow, "ApplicationStop")

    assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")
    assert drive.rollout.record.stop == StopRecord(by="alice", auto_rollback=False)


@pytest.mark.req("CP-294")
def test_stop_while_baking() -> None:
    zonal = ZonalConfig(monitor_seconds=600)
    drive = Drive(fleet_spec(count(0), zonal=zonal), fleet(2, zones=("a", "b")))
    drive.succeed(drive.started[0])
    assert drive.status is DeploymentStatus.BAKING

    drive.stop()

    assert (drive.status, drive.rollout.overview.skipped) == (DeploymentStatus.STOPPED, 1)


class TestUnstarted:
    """Deployments that are still Created have no rollout yet."""

    SPEC = fleet_spec(count(0), last_good=GOOD)

    @pytest.mark.req("CP-327", "CP-331")
    def test_stop_ends_it_at_once(self) -> None:
        stop = StopRecord(by="alice", auto_rollback=None)
        outcome = end_unstarted(self.SPEC, START, Instant(START + 5), stopped_by(stop), stop=stop)

        (change,) = outcome.changes
        assert isinstance(change, RolloutChanged)
        record = change.record
        assert (record.status, record.stop) == (DeploymentStatus.STOPPED, stop)
        assert record.error == ErrorInformation(code="MANUAL_STOP", message="Stopped by alice.")
        assert (record.created_at, record.started_at, record.completed_at) == (START, None, START + 5)
        assert (outcome.commands, outcome.wake_at) == ((), None)

    @pytest.mark.req("CP-329")
    @pytest.mark.parametrize("word, is_ordered", [(None, True), (True, True), (False, False)])
    def test_rollback_follows_the_same_rules(self, word: bool | None, is_ordered: bool) -> None:
        spec = fleet_spec(
            count(0),
            last_good=GOOD,
            auto_rollback=AutoRollback(
                enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_STOP_ON_REQUEST})
            ),
        )
        stop = StopRecord(by="alice", auto_rollback=word)
        outcome = end_unstarted(spec, START, START, stopped_by(stop), stop=stop)

        assert any(isinstance(change, RollbackOrdered) for change in outcome.changes) is is_ordered

    @pytest.mark.req("CP-228")
    def test_missing_revision_fails_it(self) -> None:
        error = ErrorInformation(code="REVISION_MISSING", message="Revision r1 was deleted.")
        outcome = end_unstarted(self.SPEC, START, START, error)

        (change,) = outcome.changes
        assert isinstance(change, RolloutChanged)
        assert (change.record.status, change.record.error) == (DeploymentStatus.FAILED, error)


class TestDeletedScope:
    @pytest.mark.req("CP-183", "CP-153")
    @pytest.mark.parametrize("code", ["DEPLOYMENT_GROUP_MISSING", "APPLICATION_MISSING"])
    def test_deployment_fails_after_the_drain(self, drive: Drive, code: str) -> None:
        first, second = drive.started
        drive.begin(first, "Install")
        outcome = drive.handle(ScopeDeleted(code=code))
        assert {command.instance_id for command in outcome.commands} == {first, second}
        drive.finish(first, "Install")
        drive.segment(second, EventStatus.SKIPPED)

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, code)

    def test_nothing_can_follow_it(self) -> None:
        """Not even the rollback that a stop before it had asked for: there is no group to deploy to."""
        drive = Drive(fleet_spec(count(0), last_good=GOOD), fleet(1))
        drive.stop(auto_rollback=True)
        drive.handle(ScopeDeleted(code="DEPLOYMENT_GROUP_MISSING"))
        drive.segment(drive.started[0], EventStatus.SKIPPED)

        assert (drive.status, drive.code) == (DeploymentStatus.STOPPED, "MANUAL_STOP")
        assert not drive.kept.rollbacks
        assert "deleted" in drive.rollout.record.rollback_message
