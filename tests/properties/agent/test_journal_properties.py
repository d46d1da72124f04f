"""Whatever happens to the journal's file: nothing intact before the damage is lost, and nothing breaks."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman_agent.core.facts import (
    CancelNoted,
    EventFinished,
    EventStarted,
    Fact,
    ScriptStarted,
    SegmentFinished,
)
from ferryman_agent.core.machine import SegmentRun
from ferryman_agent.core.messages import CommandId, DeploymentId, Diagnostics, EventStatus, ScriptErrorCode
from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.runtime.journal import Journal
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import IN_PLACE, a_segment

MARK = ProcessMark(pid=7, process_group=7, started_at_ticks=1, boot_id="boot")
EVENTS = st.sampled_from(IN_PLACE)
FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(EventStarted, lifecycle_event=EVENTS),
    st.builds(ScriptStarted, lifecycle_event=EVENTS, script_name=st.text()),
    st.builds(
        EventFinished,
        lifecycle_event=EVENTS,
        status=st.sampled_from(EventStatus),
        diagnostics=st.builds(
            Diagnostics,
            error_code=st.sampled_from(ScriptErrorCode),
            message=st.text(max_size=50),
            log=st.text(max_size=50),
            exit_status=st.none() | st.integers(0, 255),
        ),
    ),
    st.builds(SegmentFinished, status=st.sampled_from(EventStatus)),
    st.builds(CancelNoted, reason=st.text(max_size=20), kill=st.booleans()),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["receive", "note", "began", "gone", "acknowledge", "forget", "ahead", "compact", "meet"]
        ),
        st.integers(0, 3),
        st.lists(FACTS, min_size=1, max_size=3),
    ),
    max_size=25,
)


def play(journal: Journal, steps: list[tuple[str, int, list[Fact]]]) -> None:
    """Does to the journal what a runtime could do to it, sensible or not."""
    for kind, number, facts in steps:
        segment = a_segment(f"d-{number}")
        match kind:
            case "receive":
                if segment.command_id not in journal.commands:
                    journal.receive(segment, is_announced=bool(number % 2))
            case "note":
                journal.note(segment.command_id, facts)
            case "began":
                journal.process_began(segment.command_id, MARK)
            case "gone":
                journal.process_gone(segment.command_id, MARK)
            case "acknowledge":
                journal.acknowledge(max(0, journal.outbox.last_number - number))
            case "forget":
                journal.forget(DeploymentId(f"d-{number}"))
            case "ahead":
                journal.cancel_ahead(CommandId(f"d-{number}/i-1/9/0"))
            case "compact":
                journal.compact()
            case "meet":
                journal.meet(journal.outbox.last_number + number)


# In memory where there is such a place: what a disk does is not the question here, and it is slow.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Journals:
    """Opens journals in a folder of their own, each as another process would, and closes them."""

    def __enter__(self) -> Journals:
        self._folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.path = Path(self._folder.name) / "journal"
        self._opened: list[Journal] = []
        return self

    def __exit__(self, *_: object) -> None:
        for journal in self._opened:
            journal.close()
        self._folder.cleanup()

    def open(self, path: Path | None = None) -> Journal:
        self._opened.append(Journal(path or self.path, ManualAgentClock()))
        self._opened[-1].open()
        return self._opened[-1]


def state(journal: Journal) -> tuple[object, ...]:
    outbox = journal.outbox
    numbers = (outbox.last_number, outbox.acknowledged)
    return dict(journal.commands), dict(journal.results), outbox.after(0, 10_000), numbers


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_a_restart_at_any_moment_finds_the_same_state(steps: list[tuple[str, int, list[Fact]]]) -> None:
    with Journals() as journals:
        journal = journals.open()
        play(journal, steps)
        expected = state(journal)
        found = journals.open()
        assert state(found) == expected
        assert found.damage == []
        found.compact()
        # Compaction may only let go of what is finished, acknowledged and old; nothing here is old.
        assert state(journals.open()) == expected


@pytest.mark.req("V2-010", "V2-288")
@settings(max_examples=200, deadline=None)
@given(STEPS, st.data())
def test_damage_costs_at_most_what_is_damaged(
    steps: list[tuple[str, int, list[Fact]]], data: st.DataObject
) -> None:
    with Journals() as journals:
        path = journals.path
        play(journals.open(), [step for step in steps if step[0] != "compact"])
        source = path.read_bytes()
        at = data.draw(st.integers(0, len(source)), label="damage at")
        kind = data.draw(st.sampled_from(["cut", "flip", "insert", "zeros"]), label="kind")
        noise = data.draw(st.binary(min_size=1, max_size=40), label="noise")
        match kind:
            case "cut":
                damaged = source[:at]
            case "flip":
                damaged = source[:at] + noise[: len(source) - at] + source[at + len(noise) :]
            case "insert":
                damaged = source[:at] + noise + source[at:]
            case _:
                damaged = source[:at] + b"\0" * (len(source) - at)
        path.write_bytes(damaged)
        intact = source[: source.rfind(b"\n", 0, at) + 1]
        reference = path.with_name("intact")
        reference.write_bytes(intact)

        found, before = journals.open(), journals.open(reference)
        numbers = {report.number for report in found.outbox.after(0, 10_000)}
        for report in before.outbox.after(0, 10_000):
            # Later records that survived may acknowledge it, or give it a new number.
            is_known = report.number in numbers or found.outbox.acknowledged >= report.number
            assert is_known, f"report {report.number} is lost"
        for command in found.commands.values():
            if command.segment is not None:
                run = SegmentRun.restore(command.segment, [fact for _, _, fact in command.facts])
                run.recover()
                # Where the end of an event was damaged, the end of the whole is what counts.
                if run.status is not EventStatus.SUCCEEDED:
                    run.check()
        # It goes on working, and tells of the damage once.
        found.receive(a_segment("d-new"), is_announced=True)
        again = journals.open()
        assert "d-new/i-1/1/0" in again.commands
        assert again.damage == []


@pytest.mark.req("V2-288", "V2-383")
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2_000))
def test_any_bytes_can_be_opened(source: bytes) -> None:
    with Journals() as journals:
        path = journals.path
        path.write_bytes(source)
        journals.open().receive(a_segment(), is_announced=True)
        assert list(journals.open().commands) == ["d-1/i-1/1/0"]
