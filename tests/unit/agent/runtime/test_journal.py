"""The journal: what a restart finds again, and what it does about damage, growth, full disks and strange numbers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferryman_agent.core.facts import (
    CancelNoted,
    DownloadProgress,
    EventFinished,
    EventStarted,
    ScriptStarted,
    SegmentFinished,
)
from ferryman_agent.core.messages import CommandId, DeploymentId, Diagnostics, EventStatus
from ferryman_agent.errors import JournalError
from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.runtime import journal_file
from ferryman_agent.runtime.journal import KEEP_FINISHED_MS, Journal
from ferryman_agent.runtime.journal_file import JournalFile
from ferryman_agent.runtime.records import Format, to_line
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import a_segment

MARK = ProcessMark(pid=4242, process_group=4242, started_at_ticks=77, boot_id="b")
STARTED = EventStarted(lifecycle_event="ApplicationStop")
FINISHED = EventFinished(lifecycle_event="ApplicationStop", status=EventStatus.SUCCEEDED)
END = SegmentFinished(status=EventStatus.SUCCEEDED)

Opened = Callable[[], Journal]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal"


@pytest.fixture
def clock() -> ManualAgentClock:
    return ManualAgentClock()


@pytest.fixture
def opened(path: Path, clock: ManualAgentClock) -> Iterator[Opened]:
    """Opens the journal, each time as another process would."""
    journals = []

    def opener() -> Journal:
        journals.append(Journal(path, clock))
        journals[-1].open()
        return journals[-1]

    yield opener
    for journal in journals:
        journal.close()


def waiting(journal: Journal) -> list[tuple[int, str]]:
    return [(report.number, type(report.fact).__name__) for report in journal.outbox.after(0, 1000)]


@pytest.mark.req("V2-009", "AG-102")
def test_a_restart_finds_commands_facts_marks_and_reports_again(opened: Opened) -> None:
    segment = a_segment()
    journal = opened()
    journal.receive(segment, is_announced=True)
    journal.note(segment.command_id, [STARTED])
    journal.process_began(segment.command_id, MARK)
    journal.note(segment.command_id, [ScriptStarted(lifecycle_event="ApplicationStop", script_name="s")])
    journal.note(segment.command_id, [CancelNoted(reason="r", kill=True)])

    found = opened()
    command = found.commands[segment.command_id]
    assert command.segment == segment
    assert command.is_announced
    assert [fact for _, _, fact in command.facts] == [
        STARTED,
        ScriptStarted(lifecycle_event="ApplicationStop", script_name="s"),
        CancelNoted(reason="r", kill=True),
    ]
    assert command.processes == [MARK]
    assert waiting(found) == [(1, "EventStarted"), (2, "ScriptStarted")]
    assert found.damage == []


@pytest.mark.req("AG-470")
def test_the_result_of_a_group_names_the_last_event_that_was_not_skipped(opened: Opened) -> None:
    segment = a_segment()
    journal = opened()
    journal.receive(segment, is_announced=True)
    skipped = EventFinished(lifecycle_event="DownloadBundle", status=EventStatus.SKIPPED)
    journal.note(segment.command_id, [STARTED, FINISHED, skipped])
    journal.note(segment.command_id, [SegmentFinished(status=EventStatus.SKIPPED)])
    for each in (journal, opened()):
        (result,) = each.results.values()
        assert (result.status, result.lifecycle_event) == (EventStatus.SKIPPED, "ApplicationStop")


def test_numbers_go_on_over_restarts_and_acknowledgements(opened: Opened) -> None:
    segment = a_segment()
    journal = opened()
    journal.receive(segment, is_announced=True)
    journal.note(segment.command_id, [STARTED, FINISHED])
    journal.acknowledge(2)
    found = opened()
    assert waiting(found) == []
    found.note(segment.command_id, [END])
    assert waiting(found) == [(3, "SegmentFinished")]
    assert waiting(opened()) == [(3, "SegmentFinished")]


@pytest.mark.req("V2-010", "V2-288")
def test_a_cut_last_line_is_dropped_and_what_follows_is_whole(opened: Opened, path: Path) -> None:
    segment = a_segment()
    journal = opened()
    journal.receive(segment, is_announced=True)
    journal.note(segment.command_id, [STARTED])
    whole = path.read_bytes()
    path.write_bytes(whole + b'1234abcd {"k":"noted","comm')
    found = opened()
    assert [fact for _, _, fact in found.commands[segment.command_id].facts] == [STARTED]
    assert len(found.damage) == 1
    found.note(segment.command_id, [FINISHED])
    assert [fact for _, _, fact in opened().commands[segment.command_id].facts] == [STARTED, FINISHED]
    assert not path.with_name("journal.quarantine").exists()


def test_a_cut_last_line_is_cut_off_even_when_the_file_cannot_be_written_anew(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = a_segment()
    opened().receive(segment, is_announced=True)
    path.write_bytes(path.read_bytes() + b"1234abcd {")

    def full(*_: object) -> None:
        raise JournalError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "rewrite", full)
        opened().note(segment.command_id, [STARTED])
    assert waiting(opened()) == [(1, "EventStarted")]


@pytest.mark.req("V2-010")
def test_another_broken_line_is_set_aside_and_blocks_nothing(opened: Opened, path: Path) -> None:
    first, second = a_segment("d-1"), a_segment("d-2")
    journal = opened()
    journal.receive(first, is_announced=True)
    journal.receive(second, is_announced=True)
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b"name of", b"NAME OF")
    path.write_bytes(b"\n".join(lines))
    found = opened()
    assert list(found.commands) == [second.command_id]
    assert path.with_name("journal.quarantine").read_bytes() == lines[1] + b"\n"
    assert opened().damage == [], "the damage is told once"


def test_compaction_keeps_everything_that_is_of_use(opened: Opened) -> None:
    segment, other = a_segment("d-1"), a_segment("d-2", group="g-2")
    journal = opened()
    journal.receive(segment, is_announced=True)
    journal.receive(other, is_announced=False)
    journal.note(segment.command_id, [STARTED])
    journal.acknowledge(1)
    journal.note(other.command_id, [STARTED])
    journal.note(segment.command_id, [ScriptStarted(lifecycle_event="ApplicationStop", script_name="s")])
    journal.note(segment.command_id, [DownloadProgress(received_bytes=1, total_bytes=2), FINISHED])
    journal.note(segment.command_id, [CancelNoted(reason="", kill=False)])
    journal.process_began(other.command_id, MARK)
    journal.cancel_ahead(CommandId("d-9/i-1/1/0"))
    before = (dict(journal.commands), waiting(journal), journal.outbox.acknowledged)
    journal.compact()
    found = opened()
    assert (dict(found.commands), waiting(found), found.outbox.acknowledged) == before
    found.compact()
    assert (dict(opened().commands), waiting(opened())) == before[:2]


def test_it_is_compacted_by_itself_when_it_has_grown(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "REWRITE_BYTES", 20_000)
    journal = opened()
    for number in range(100):
        segment = a_segment(f"d-{number}")
        journal.receive(segment, is_announced=True)
        journal.note(segment.command_id, [STARTED, FINISHED, END])
        journal.acknowledge(journal.outbox.last_number)
        journal.forget(DeploymentId(f"d-{number}"))
    assert path.stat().st_size < 25_000
    assert journal.outbox.last_number == opened().outbox.last_number == 300


def test_finished_commands_are_kept_until_forgotten_or_too_old(
    opened: Opened, clock: ManualAgentClock
) -> None:
    journal = opened()
    done, old, unheard = a_segment("d-1"), a_segment("d-2"), a_segment("d-3")
    for segment in (done, old, unheard):
        journal.receive(segment, is_announced=True)
        journal.note(segment.command_id, [END])
    journal.acknowledge(2)
    journal.forget(DeploymentId("d-1"))
    assert list(journal.commands) == [old.command_id, unheard.command_id]
    clock.advance(KEEP_FINISHED_MS / 1000 + 1)
    journal.compact()
    assert list(journal.commands) == [unheard.command_id], "its report still waits"


def test_a_running_deployment_is_not_forgotten(opened: Opened) -> None:
    journal = opened()
    segment = a_segment()
    journal.receive(segment, is_announced=True)
    journal.forget(segment.deployment.deployment_id)
    assert list(journal.commands) == [segment.command_id]


def test_a_coordinator_that_has_more_than_was_ever_sent_gets_new_numbers(opened: Opened) -> None:
    segment = a_segment()
    journal = opened()
    journal.receive(segment, is_announced=True)
    journal.note(segment.command_id, [STARTED, FINISHED])
    journal.meet(500)
    assert waiting(journal) == [(501, "EventStarted"), (502, "EventFinished")]
    found = opened()
    assert waiting(found) == [(501, "EventStarted"), (502, "EventFinished")]
    found.note(segment.command_id, [END])
    assert waiting(found)[-1] == (503, "SegmentFinished")
    found.acknowledge(503)
    assert found.commands[segment.command_id].newest_report == 503
    found.meet(501)
    assert found.outbox.acknowledged == 503


def test_a_full_disk_is_met_with_the_reserve_and_then_refused(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    segment = a_segment()
    journal.receive(segment, is_announced=True)
    size = path.stat().st_size
    real, is_full = os.write, [True, False]

    def write(descriptor: int, data: bytes) -> int:
        if is_full.pop(0):
            real(descriptor, bytes(data)[:7])
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    reserve = path.with_name("journal.reserve")
    assert reserve.stat().st_size == journal_file.RESERVE_BYTES
    monkeypatch.setattr(os, "write", write)
    journal.note(segment.command_id, [STARTED])
    assert not reserve.exists()
    is_full += [True]
    with pytest.raises(JournalError, match="No space left"):
        journal.note(segment.command_id, [FINISHED])
    monkeypatch.undo()
    assert waiting(journal) == [(1, "EventStarted")], "what is not written is not known either"
    assert path.stat().st_size > size
    assert waiting(opened()) == [(1, "EventStarted")]


def test_a_journal_of_a_newer_agent_is_refused(path: Path, opened: Opened) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(to_line(Format(version=99)))
    with pytest.raises(JournalError, match="newer agent"):
        opened()


def test_its_files_are_private(opened: Opened, path: Path) -> None:
    journal = opened()
    journal.compact()
    for name in ("journal", "journal.reserve"):
        assert path.with_name(name).stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.req("AG-454")
def test_names_that_are_no_text_are_written_down_all_the_same(opened: Opened) -> None:
    segment = a_segment()
    journal = opened()
    journal.receive(segment, is_announced=True)
    diagnostics = Diagnostics(message="cannot open b\udcff\udcfe", log="\ud800")
    journal.note(segment.command_id, [STARTED])
    journal.note(
        segment.command_id,
        [
            EventFinished(
                lifecycle_event="ApplicationStop", status=EventStatus.FAILED, diagnostics=diagnostics
            )
        ],
    )
    fact = opened().commands[segment.command_id].facts[-1][2]
    assert isinstance(fact, EventFinished)
    assert fact.diagnostics.message == r"cannot open b\udcff\udcfe"


async def test_callers_at_the_same_time_share_a_flush(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    segment = a_segment()
    journal.receive(segment, is_announced=True)
    flushes, gate = [], threading.Event()
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        flushes.append(descriptor)
        gate.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    first = asyncio.create_task(journal.sync())
    await asyncio.sleep(0)
    journal.note(segment.command_id, [STARTED])
    others = [asyncio.create_task(journal.sync()) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *others)
    assert len(flushes) == 2
    await journal.sync()
    assert len(flushes) == 2, "nothing new, nothing to flush"
    monkeypatch.undo()
    journal.close()
