"""The command loop over a real journal: order, slots, answers, cancellation, draining, and what a crash leaves."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ferryman_agent.core.messages import CommandId, DeploymentId, EventStatus
from ferryman_agent.errors import JournalError
from ferryman_agent.hooks.contract import OutputLine, ProcessMark, Stream
from ferryman_agent.runtime.commands import Disposition
from ferryman_agent.runtime.journal_file import JournalFile
from ferryman_agent.runtime.recovery import STALE_MS
from tests.support.agent_bench import BAD, OK, LoopBench
from tests.support.segments import a_segment

STOP = "d-1 ApplicationStop"
MARK = ProcessMark(pid=4242, process_group=4242, started_at_ticks=77, boot_id="b")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[LoopBench]:
    made = LoopBench(tmp_path)
    await made.start()
    yield made
    await made.crash()


async def take(bench: LoopBench, *segments: object) -> list[Disposition]:
    found = []
    for segment in segments:
        answer = await bench.loop.receive(segment)  # type: ignore[arg-type] # only segments are given
        assert answer is not None
        found.append(answer.disposition)
    return found


@pytest.mark.req("AG-108")
async def test_a_command_is_on_disk_before_it_is_answered(
    bench: LoopBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        flushed.append(bench.path.read_bytes())
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    segment = a_segment(events=("ApplicationStop",))
    assert await take(bench, segment) == [Disposition.STARTED]
    assert b'"k":"received"' in flushed[-1]
    await bench.work.started(STOP)
    assert any(b"event-started" in contents for contents in flushed), (
        "and its first event's start before the work"
    )


@pytest.mark.req(
    "AG-121", "V2-045", "AG-122", "AG-124", "AG-T77", "V2-032", "V2-033", "AG-S20", "AG-C26", "AG-X11"
)
async def test_at_most_sixteen_groups_and_one_command_of_each(bench: LoopBench) -> None:
    segments = [a_segment(f"d-{n}", f"g-{n}", events=("ApplicationStop",)) for n in range(20)]
    second = a_segment("d-x", "g-0", events=("ApplicationStop",))
    answers = await take(bench, *segments, second)
    assert answers == [Disposition.STARTED] * 16 + [Disposition.QUEUED] * 5
    await bench.work.until(lambda: len(bench.work.running) == 16)
    bench.work.end("d-3 ApplicationStop")
    await bench.work.started("d-16 ApplicationStop")
    assert bench.story(segments[16].command_id)[0] == "CommandStarted"
    assert len(bench.work.running) == 16
    bench.work.end("d-0 ApplicationStop")
    await bench.work.started("d-17 ApplicationStop")
    assert "d-x ApplicationStop" not in bench.work.performed, "its group goes behind those that wait longer"


@pytest.mark.req("AG-125")
async def test_one_at_once_is_strictly_sequential(bench: LoopBench) -> None:
    bench.max_groups = 1
    await bench.restart()
    assert await take(bench, *(a_segment(f"d-{n}", f"g-{n}", events=("Install",)) for n in range(3))) == [
        Disposition.STARTED,
        Disposition.QUEUED,
        Disposition.QUEUED,
    ]
    for n in range(3):
        await bench.work.started(f"d-{n} Install")
        assert len(bench.work.running) == 1
        bench.work.end(f"d-{n} Install")
    assert await bench.ended(CommandId("d-2/i-1/1/0")) == "Succeeded"


@pytest.mark.req("AG-124")
async def test_a_repeated_command_that_waits_is_queued_once_more(bench: LoopBench) -> None:
    """The first such answer may have been lost, and the coordinator's start timer would run on."""
    first, second = a_segment("d-0", events=("Install",)), a_segment("d-1", events=("Install",))
    assert await take(bench, first, second, second) == [
        Disposition.STARTED,
        Disposition.QUEUED,
        Disposition.QUEUED,
    ]
    await bench.work.started("d-0 Install")
    bench.work.end("d-0 Install")
    await bench.ended(first.command_id)
    assert await take(bench, second) == [Disposition.KNOWN]


@pytest.mark.req("AG-101", "V2-034")
async def test_a_repeated_command_is_known_at_every_stage(bench: LoopBench) -> None:
    segment = a_segment(events=("ApplicationStop",))
    assert await take(bench, segment, segment) == [Disposition.STARTED, Disposition.KNOWN]
    await bench.work.started(STOP)
    bench.work.end(STOP)
    await bench.ended(segment.command_id)
    waiting = len(bench.journal.outbox)
    assert await take(bench, segment) == [Disposition.KNOWN]
    assert len(bench.journal.outbox) == waiting, "its end is on its way already"
    bench.journal.acknowledge(bench.journal.outbox.last_number)
    assert await take(bench, segment, segment) == [Disposition.KNOWN] * 2
    assert bench.story() == ["Succeeded ApplicationStop", "end Succeeded"], "told once more, and once only"
    await bench.restart()
    assert await take(bench, segment) == [Disposition.KNOWN]
    assert bench.work.performed == []
    bench.loop.forget(DeploymentId("d-1"))
    assert segment.command_id not in bench.journal.commands


async def test_a_repeated_command_brings_a_fresh_address_and_nothing_else(bench: LoopBench) -> None:
    segment = a_segment(events=("ApplicationStop", "DownloadBundle"))
    await take(bench, segment)
    revision = replace(segment.deployment.revision, url="https://coordinator/fresh")
    other = replace(
        segment, lifecycle_events=("Install",), deployment=replace(segment.deployment, revision=revision)
    )
    await take(bench, other)
    (live,) = bench.loop.live
    assert live.run.segment.deployment.revision.url == "https://coordinator/fresh"
    assert live.run.segment.lifecycle_events == segment.lifecycle_events


@pytest.mark.req("V2-035", "AG-453")
async def test_a_mistake_of_ours_costs_one_event_and_frees_the_slot(
    bench: LoopBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(bench.work, "perform", broken)
        segment = a_segment(events=("ApplicationStop",))
        await take(bench, segment)
        assert await bench.ended(segment.command_id) == "Failed"
    following = a_segment("d-2", events=("ApplicationStop",))
    await take(bench, following)
    await bench.work.started("d-2 ApplicationStop")


@pytest.mark.req("V2-040")
async def test_a_command_that_cannot_be_run_fails_and_is_remembered(bench: LoopBench) -> None:
    wrong = a_segment(instance="i-2")
    assert await take(bench, wrong, wrong) == [Disposition.REFUSED, Disposition.KNOWN]
    assert bench.story() == ["start ApplicationStop", "Failed ApplicationStop", "end Failed"]


class TestCancel:
    async def test_a_queued_command_leaves_its_place(self, bench: LoopBench) -> None:
        first, second, third = (a_segment(f"d-{n}", events=("Install",)) for n in (1, 2, 3))
        await take(bench, first, second, third)
        await bench.work.started("d-1 Install")
        await bench.loop.cancel(second.command_id, reason="", kill=False)
        assert await bench.ended(second.command_id) == "Skipped"
        bench.work.end("d-1 Install")
        await bench.work.started("d-3 Install")
        assert "d-2 Install" not in bench.work.performed

    @pytest.mark.req("AG-128")
    async def test_with_kill_the_running_work_is_told_to_stop(self, bench: LoopBench) -> None:
        segment = a_segment()
        await take(bench, segment)
        await bench.work.started(STOP)
        await bench.loop.cancel(segment.command_id, reason="", kill=True)
        assert await bench.ended(segment.command_id) == "Skipped"
        assert bench.story()[-2:] == ["Skipped ApplicationStop", "end Skipped"]

    async def test_ahead_of_the_command_is_remembered_over_a_restart(self, bench: LoopBench) -> None:
        segment = a_segment()
        await bench.loop.cancel(segment.command_id, reason="", kill=False)
        assert bench.story() == ["end Skipped"]
        await bench.restart()
        assert await take(bench, segment) == [Disposition.KNOWN]
        await bench.loop.cancel(segment.command_id, reason="", kill=True)
        assert bench.story() == ["end Skipped"]
        assert bench.work.performed == []

    async def test_after_the_end_changes_nothing(self, bench: LoopBench) -> None:
        segment = a_segment(events=("Install",))
        await take(bench, segment)
        await bench.work.started("d-1 Install")
        bench.work.end("d-1 Install")
        await bench.ended(segment.command_id)
        before = bench.story()
        await bench.loop.cancel(segment.command_id, reason="", kill=True)
        assert bench.story() == before


class TestDrain:
    @pytest.mark.req("AG-139", "AG-142", "V2-037", "AG-H23")
    async def test_the_running_event_ends_and_the_rest_waits_for_the_next_process(
        self, bench: LoopBench
    ) -> None:
        segment = a_segment()
        await take(bench, segment)
        await bench.work.started(STOP)
        draining = asyncio.create_task(bench.loop.drain(7200))
        await asyncio.sleep(0)
        assert await bench.loop.receive(a_segment("d-2", "g-2")) is None
        assert not draining.done()
        bench.work.end(STOP)
        assert await draining
        assert bench.work.performed == [STOP]
        bench.loop.end()
        await asyncio.wait_for(bench.task, 20)
        await bench.restart()
        await bench.work.started("d-1 DownloadBundle")

    async def test_the_wait_has_an_end(self, bench: LoopBench) -> None:
        await take(bench, a_segment())
        await bench.work.started(STOP)
        draining = asyncio.create_task(bench.loop.drain(7200))
        await bench.clock.until_sleeping(7200)
        bench.clock.advance(7200)
        assert not await draining
        bench.loop.end_scripts()
        assert await bench.loop.drain(30)
        assert bench.story()[-2:] == ["Failed ApplicationStop", "end Failed"]

    async def test_idle_it_is_over_at_once(self, bench: LoopBench) -> None:
        assert await bench.loop.drain(7200)


class TestRestart:
    @pytest.mark.req("V2-007", "V2-008", "AG-134", "AG-137", "V2-004", "AG-X10")
    async def test_every_interrupted_command_is_reported_after_its_processes_are_gone(
        self, bench: LoopBench
    ) -> None:
        segments = [a_segment(f"d-{n}", f"g-{n}") for n in range(3)]
        await take(bench, *segments)
        for n in range(3):
            await bench.work.started(f"d-{n} ApplicationStop")
            watch = bench.work.watches[f"d-{n} ApplicationStop"]
            watch.script_started(
                "stop.sh", ProcessMark(pid=100 + n, process_group=100 + n, started_at_ticks=1, boot_id="b")
            )
        await bench.restart()
        assert sorted(mark.pid for mark in bench.ended_processes) == [100, 101, 102]
        for segment in segments:
            assert bench.journal.commands[segment.command_id].processes == []
            assert bench.story(segment.command_id)[-2:] == ["Failed ApplicationStop", "end Failed"]
        assert bench.work.performed == []
        # Once reported, it stays so over further restarts.
        before = bench.story()
        await bench.restart()
        assert bench.story() == before
        assert len(bench.ended_processes) == 3

    async def test_a_process_that_had_ended_is_not_looked_for(self, bench: LoopBench) -> None:
        await take(bench, a_segment())
        await bench.work.started(STOP)
        watch = bench.work.watches[STOP]
        watch.script_started("stop.sh", MARK)
        watch.script_ended("stop.sh", MARK)
        await bench.restart()
        assert bench.ended_processes == []

    async def test_what_had_begun_comes_before_what_had_not(self, bench: LoopBench) -> None:
        bench.max_groups = 1
        await bench.restart()
        first, second = a_segment("d-1", "g-1"), a_segment("d-2", "g-2")
        await take(bench, first, second)
        await bench.work.started(STOP)
        bench.work.end(STOP)
        await bench.work.started("d-1 DownloadBundle")
        await bench.restart()
        await bench.work.started("d-1 DownloadBundle")
        assert bench.work.performed == ["d-1 DownloadBundle"]
        bench.work.is_quick = True
        bench.work.end("d-1 DownloadBundle")
        assert await bench.ended(second.command_id) == "Succeeded"
        assert bench.story(first.command_id).count("start DownloadBundle") == 1

    @pytest.mark.req("AG-130", "V2-016", "V2-017", "AG-T71", "AG-Q06")
    async def test_a_command_of_the_day_before_yesterday_is_let_go(self, bench: LoopBench) -> None:
        old, fresh = a_segment("d-1", "g-1"), a_segment("d-2", "g-2")
        await take(bench, old)
        await bench.work.started(STOP)
        bench.clock.advance(STALE_MS / 1000 + 1)
        await take(bench, fresh)
        assert STOP in bench.work.running, "while it runs, it does not age"
        await bench.restart()
        assert old.command_id not in bench.journal.commands
        assert bench.story(old.command_id) == ["start ApplicationStop"]
        assert bench.story(fresh.command_id)[-1] == "end Failed"

    @pytest.mark.req("V2-010", "AG-138")
    async def test_a_command_whose_record_is_lost_is_failed_and_never_run(self, bench: LoopBench) -> None:
        lost, other = a_segment("d-1", "g-1"), a_segment("d-2", "g-2")
        await take(bench, lost, other)
        await bench.work.started(STOP)
        await bench.crash()
        lines = bench.path.read_bytes().split(b"\n")
        damaged = [line[:-9] if b'"received"' in line and b"d-1/" in line else line for line in lines]
        bench.path.write_bytes(b"\n".join(damaged))
        await bench.start()
        assert bench.story(lost.command_id)[-1] == "end Failed"
        assert bench.story(other.command_id)[-1] == "end Failed"
        assert await take(bench, lost) == [Disposition.KNOWN]
        assert bench.work.performed == []

    @pytest.mark.req("V2-006", "AG-138")
    async def test_a_full_disk_does_not_keep_the_agent_from_starting(
        self, bench: LoopBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        segment = a_segment()
        await take(bench, segment)
        await bench.work.started(STOP)
        bench.work.watches[STOP].script_started("stop.sh", MARK)
        await bench.crash()

        def full(*_: object) -> None:
            raise JournalError("cannot write the journal: No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(JournalFile, "append", full)
            await bench.start()
            assert bench.ended_processes == [MARK]
            assert bench.work.performed == []
            assert await take(bench, segment) == [Disposition.KNOWN]
        # The next start does what this one could not.
        await bench.restart()
        assert bench.story()[-2:] == ["Failed ApplicationStop", "end Failed"]

    async def test_facts_that_contradict_each_other_fail_the_command_for_good(self, bench: LoopBench) -> None:
        segment = a_segment()
        await take(bench, segment)
        await bench.work.started(STOP)
        bench.work.end(STOP)
        await bench.work.started("d-1 DownloadBundle")
        await bench.crash()
        lines = bench.path.read_bytes().split(b"\n")
        bench.path.write_bytes(b"\n".join(line for line in lines if b'"event-finished"' not in line))
        await bench.start()
        assert bench.story()[-2:] == ["Failed ApplicationStop", "end Failed"]
        await bench.restart()
        assert bench.journal.commands[segment.command_id].end is not None
        assert bench.story().count("end Failed") == 1


class TestFullDisk:
    @pytest.mark.req("AG-029")
    async def test_a_command_is_refused_and_a_result_waits(
        self, bench: LoopBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = a_segment(events=("ApplicationStop",))
        await take(bench, first)
        await bench.work.started(STOP)

        def full(*_: object) -> None:
            raise JournalError("cannot write the journal: No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(bench.journal._file, "append", full)
            answer = await bench.loop.receive(a_segment("d-2", "g-2"))
            assert answer is not None
            assert answer.disposition is Disposition.REFUSED
            assert "No space left" in answer.reason
            bench.work.end(STOP)
            await bench.clock.until_sleeping(5.0)
            assert bench.journal.commands[first.command_id].end is None
        bench.clock.advance(5.0)
        assert await bench.ended(first.command_id) == "Succeeded"
        assert await take(bench, a_segment("d-2", "g-2")) == [Disposition.STARTED]

    async def test_a_disk_that_cannot_flush_ends_the_agent(
        self, bench: LoopBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            with pytest.raises(JournalError, match="Input/output error"):
                await bench.loop.receive(a_segment())
        # The kernel tells of what it lost once only; nothing may be believed from then on.
        with pytest.raises(JournalError, match="Input/output error"):
            await bench.journal.sync()


async def test_what_a_running_event_tells(bench: LoopBench) -> None:
    await take(bench, a_segment(events=("DownloadBundle",)))
    await bench.work.started("d-1 DownloadBundle")
    watch = bench.work.watches["d-1 DownloadBundle"]
    for received in range(10):
        watch.download_progress(received, 10)
    bench.clock.advance(2.0)
    watch.download_progress(10, None)
    watch.lines("s", [OutputLine(Stream.STDOUT, "x", bench.clock.now())], 0)
    assert bench.story() == ["start DownloadBundle", "DownloadProgress", "DownloadProgress"]
    bench.work.end("d-1 DownloadBundle", BAD)
    assert await bench.ended(CommandId("d-1/i-1/1/0")) == EventStatus.FAILED
    assert OK.is_success
