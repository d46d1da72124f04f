"""One segment's run: order, failures, cancellation, and what a restart may do."""

from __future__ import annotations

import pytest

from ferryman_agent.core.facts import (
    CancelNoted,
    CancelRequested,
    CommandStarted,
    EndScripts,
    EventFinished,
    EventResumed,
    EventStarted,
    Fact,
    Outcome,
    Perform,
    ScriptStarted,
    SegmentFinished,
    WorkEnded,
)
from ferryman_agent.core.machine import SegmentRun
from ferryman_agent.core.messages import Diagnostics, EventStatus, ScriptErrorCode, Segment
from tests.support.segments import IN_PLACE, a_segment

OK = Diagnostics()
BAD = Diagnostics(error_code=ScriptErrorCode.SCRIPT_FAILED, message="exit 9")


def names(outcome: Outcome) -> list[str]:
    """Facts as short words: `start X`, `Succeeded X`, `end Failed`."""
    words = []
    for fact in outcome.facts:
        match fact:
            case EventStarted(lifecycle_event=name):
                words.append(f"start {name}")
            case EventFinished(lifecycle_event=name, status=status):
                words.append(f"{status.value} {name}")
            case SegmentFinished(status=status):
                words.append(f"end {status.value}")
            case _:
                words.append(type(fact).__name__)
    return words


def ended(run: SegmentRun, diagnostics: Diagnostics = OK, *, is_stopped: bool = False) -> Outcome:
    assert run.running is not None
    return run.handle(WorkEnded(lifecycle_event=run.running, diagnostics=diagnostics, is_stopped=is_stopped))


def restarted(segment: Segment, *facts: Fact) -> SegmentRun:
    return SegmentRun.restore(segment, facts)


@pytest.mark.req("CP-256")
def test_events_run_in_order_and_the_last_ends_the_segment() -> None:
    run = SegmentRun(a_segment(events=("BeforeInstall", "Install")))
    begun = run.begin(is_announced=True)
    assert names(begun) == ["start BeforeInstall"]
    assert [type(each) for each in begun.instructions] == [Perform]
    assert names(ended(run)) == ["Succeeded BeforeInstall", "start Install"]
    final = ended(run)
    assert names(final) == ["Succeeded Install", "end Succeeded"]
    assert final.instructions == ()
    run.check()


@pytest.mark.req("AG-124")
def test_a_command_that_waited_says_that_it_starts() -> None:
    run = SegmentRun(a_segment())
    assert isinstance(run.begin(is_announced=False).facts[0], CommandStarted)


@pytest.mark.req("AG-191", "AG-116")
def test_a_failure_ends_the_segment() -> None:
    run = SegmentRun(a_segment())
    run.begin(is_announced=True)
    assert names(ended(run, BAD)) == ["Failed ApplicationStop", "end Failed"]


@pytest.mark.req("AG-193")
def test_an_ignorable_failure_is_reported_as_such_and_the_segment_goes_on() -> None:
    run = SegmentRun(a_segment(events=("ApplicationStop", "BeforeInstall"), ignorable=("ApplicationStop",)))
    run.begin(is_announced=True)
    assert names(ended(run, BAD)) == ["Failed ApplicationStop", "start BeforeInstall"]
    assert names(ended(run)) == ["Succeeded BeforeInstall", "end Succeeded"]


def test_late_and_repeated_ends_change_nothing() -> None:
    run = SegmentRun(a_segment())
    late = WorkEnded(lifecycle_event="ApplicationStop", diagnostics=OK)
    assert run.handle(late) == Outcome()
    run.begin(is_announced=True)
    assert run.handle(WorkEnded(lifecycle_event="Install", diagnostics=OK)) == Outcome()
    run.handle(late)
    assert run.handle(late) == Outcome()
    assert run.begin(is_announced=True) == Outcome()
    run.check()


class TestCancel:
    @pytest.mark.req("AG-126")
    def test_before_its_turn_it_never_starts(self) -> None:
        run = SegmentRun(a_segment())
        assert names(run.handle(CancelRequested())) == ["CancelNoted", "end Skipped"]
        assert run.begin(is_announced=True) == Outcome()

    @pytest.mark.req("AG-126", "AG-127")
    def test_the_running_event_ends_by_itself_and_the_rest_is_skipped(self) -> None:
        run = SegmentRun(a_segment())
        run.begin(is_announced=True)
        outcome = run.handle(CancelRequested())
        assert names(outcome) == ["CancelNoted"]
        assert outcome.instructions == ()
        assert names(ended(run)) == ["Succeeded ApplicationStop", "end Skipped"]

    def test_in_the_last_event_it_comes_too_late(self) -> None:
        run = SegmentRun(a_segment(events=("Install",)))
        run.begin(is_announced=True)
        run.handle(CancelRequested())
        assert names(ended(run)) == ["Succeeded Install", "end Succeeded"]

    def test_a_failure_stays_a_failure(self) -> None:
        run = SegmentRun(a_segment())
        run.begin(is_announced=True)
        run.handle(CancelRequested())
        assert names(ended(run, BAD)) == ["Failed ApplicationStop", "end Failed"]

    @pytest.mark.req("AG-128", "V2-257")
    def test_with_kill_the_scripts_are_ended_and_the_event_is_no_failure(self) -> None:
        run = SegmentRun(a_segment())
        run.begin(is_announced=True)
        outcome = run.handle(CancelRequested(kill=True))
        assert outcome.instructions == (EndScripts(lifecycle_event="ApplicationStop"),)
        assert names(ended(run, BAD, is_stopped=True)) == ["Skipped ApplicationStop", "end Skipped"]

    def test_a_kill_may_follow_an_ordinary_cancel_but_not_twice(self) -> None:
        run = SegmentRun(a_segment())
        run.begin(is_announced=True)
        run.handle(CancelRequested())
        assert run.handle(CancelRequested()) == Outcome()
        assert len(run.handle(CancelRequested(kill=True)).instructions) == 1
        assert run.handle(CancelRequested(kill=True)) == Outcome()

    def test_an_event_ended_by_force_that_nobody_cancelled_has_failed(self) -> None:
        run = SegmentRun(a_segment())
        run.begin(is_announced=True)
        assert names(ended(run, BAD, is_stopped=True)) == ["Failed ApplicationStop", "end Failed"]


class TestRestart:
    def test_not_begun_it_starts_when_its_turn_comes(self) -> None:
        run = restarted(a_segment())
        assert run.recover() == Outcome()
        assert names(run.begin(is_announced=False)) == ["CommandStarted", "start ApplicationStop"]

    def test_between_two_events_it_goes_on_with_the_next(self) -> None:
        done = "ApplicationStop"
        run = restarted(
            a_segment(),
            EventStarted(lifecycle_event=done),
            EventFinished(lifecycle_event=done, status=EventStatus.SUCCEEDED),
        )
        assert run.recover() == Outcome()
        assert names(run.begin(is_announced=False)) == ["start DownloadBundle"]

    @pytest.mark.req("AG-133", "V2-001", "V2-002")
    def test_a_running_hook_has_failed_with_code_7(self) -> None:
        run = restarted(
            a_segment(),
            EventStarted(lifecycle_event="ApplicationStop"),
            ScriptStarted(lifecycle_event="ApplicationStop", script_name="stop.sh"),
        )
        outcome = run.recover()
        assert names(outcome) == ["Failed ApplicationStop", "end Failed"]
        failed = outcome.facts[0]
        assert isinstance(failed, EventFinished)
        assert failed.diagnostics.error_code is ScriptErrorCode.FAILED_AFTER_RESTART
        assert failed.diagnostics.script_name == "stop.sh"
        assert "restarted" in failed.diagnostics.message
        assert run.begin(is_announced=False) == Outcome()

    def test_a_running_hook_whose_failure_is_ignored_lets_the_segment_go_on(self) -> None:
        segment = a_segment(ignorable=("ApplicationStop",))
        run = restarted(segment, EventStarted(lifecycle_event="ApplicationStop"))
        assert names(run.recover()) == ["Failed ApplicationStop"]
        assert names(run.begin(is_announced=False)) == ["start DownloadBundle"]

    @pytest.mark.req("AG-133")
    def test_an_install_is_not_repeated(self) -> None:
        run = restarted(a_segment(events=("Install",)), EventStarted(lifecycle_event="Install"))
        assert names(run.recover()) == ["Failed Install", "end Failed"]

    @pytest.mark.req("AG-145", "AG-S19")
    def test_a_download_is_done_once_more_and_only_once(self) -> None:
        segment = a_segment(events=("DownloadBundle", "BeforeInstall"))
        started = EventStarted(lifecycle_event="DownloadBundle")
        run = restarted(segment, started)
        assert run.recover() == Outcome()
        assert run.begin(is_announced=False).facts == (EventResumed(lifecycle_event="DownloadBundle"),)
        assert names(ended(run)) == ["Succeeded DownloadBundle", "start BeforeInstall"]
        again = restarted(segment, started, EventResumed(lifecycle_event="DownloadBundle"))
        assert names(again.recover()) == ["Failed DownloadBundle", "end Failed"]

    def test_a_cancelled_download_is_not_resumed(self) -> None:
        segment = a_segment(events=("DownloadBundle",))
        started = EventStarted(lifecycle_event="DownloadBundle")
        run = restarted(segment, started)
        run.recover()
        assert names(run.handle(CancelRequested())) == [
            "CancelNoted",
            "Skipped DownloadBundle",
            "end Skipped",
        ]
        cancelled = restarted(segment, started, CancelNoted(reason="", kill=False))
        assert names(cancelled.recover()) == ["Failed DownloadBundle", "end Failed"]

    def test_cancelled_between_two_events_it_ends(self) -> None:
        done = EventFinished(lifecycle_event="ApplicationStop", status=EventStatus.SUCCEEDED)
        run = restarted(
            a_segment(),
            EventStarted(lifecycle_event="ApplicationStop"),
            CancelNoted(reason="", kill=False),
            done,
        )
        assert names(run.recover()) == ["end Skipped"]

    @pytest.mark.req("V2-010")
    def test_contradicting_facts_fail_the_segment_instead_of_running_something_twice(self) -> None:
        run = restarted(
            a_segment(),
            EventStarted(lifecycle_event="ApplicationStop"),
            EventStarted(lifecycle_event="DownloadBundle"),
        )
        assert run.known_facts == 1
        assert "DownloadBundle started out of turn" in run.damage
        assert names(run.recover()) == ["Failed ApplicationStop", "end Failed"]

    def test_an_ending_agent_pauses_between_two_events(self) -> None:
        run = SegmentRun(a_segment())
        run.begin(is_announced=True)
        event = WorkEnded(lifecycle_event="ApplicationStop", diagnostics=OK)
        outcome = run.handle(event, is_pausing=True)
        assert names(outcome) == ["Succeeded ApplicationStop"]
        assert outcome.instructions == ()
        assert not run.is_finished


@pytest.mark.req("V2-040", "AG-112")
def test_a_refused_command_is_reported_as_a_failure_of_its_first_event() -> None:
    run = SegmentRun(a_segment())
    refused = run.fail(Diagnostics(error_code=ScriptErrorCode.UNKNOWN_ERROR, message="why"))
    assert names(refused) == ["start ApplicationStop", "Failed ApplicationStop", "end Failed"]
    assert names(SegmentRun(a_segment(events=())).fail(BAD)) == ["end Failed"]


def test_a_whole_in_place_segment() -> None:
    run = SegmentRun(a_segment())
    run.begin(is_announced=True)
    seen = []
    while not run.is_finished:
        seen.append(run.running)
        ended(run)
        run.check()
    assert tuple(seen) == IN_PLACE
    assert set(run.results.values()) == {EventStatus.SUCCEEDED}
