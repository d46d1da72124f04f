"""A command loop that is told everything twice, cancelled and killed at any moment; a coordinator keeps score."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman_agent.core.facts import EventFinished, EventStarted, SegmentFinished
from ferryman_agent.core.messages import CommandId, Diagnostics, EventStatus, ScriptErrorCode, Segment
from ferryman_agent.runtime.outbox import Report
from tests.support.agent_bench import LoopBench
from tests.support.segments import a_segment

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
EVENTS = ("ApplicationStop", "DownloadBundle", "BeforeInstall", "Install")
SEGMENTS = [
    a_segment("d-1", "g-1", events=EVENTS),
    a_segment("d-2", "g-1", events=EVENTS, ignorable=("ApplicationStop",)),
    a_segment("d-3", "g-2", events=EVENTS[1:]),
    a_segment("d-3", "g-2", events=EVENTS, attempt=2),
]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["receive", "receive", "end", "end", "end", "fail", "cancel", "kill", "crash", "deliver", "ack"]
        ),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
)
BAD = Diagnostics(error_code=ScriptErrorCode.SCRIPT_FAILED, message="no")


class Score:
    """What the coordinator has: reports by number, and how often each event was really worked on."""

    def __init__(self) -> None:
        self.reports: dict[int, Report] = {}
        self.worked: defaultdict[str, int] = defaultdict(int)
        self.known: dict[CommandId, Segment] = {}

    def take(self, report: Report) -> None:
        kept = self.reports.setdefault(report.number, report)
        assert kept == report, "a number stands for one fact for ever"

    def of(self, command_id: CommandId) -> list[Any]:
        return [
            self.reports[number].fact
            for number in sorted(self.reports)
            if self.reports[number].command_id == command_id
        ]


async def play(folder: Path, operations: list[tuple[str, int]], *, at_once: int) -> None:
    bench, score = LoopBench(folder), Score()
    bench.max_groups = at_once
    await bench.start()
    try:
        for kind, number in operations:
            await do(bench, score, kind, number)
        await finish(bench, score)
    finally:
        count(bench, score)
        await bench.crash()
    check(score)


async def do(bench: LoopBench, score: Score, kind: str, number: int) -> None:
    segment = SEGMENTS[number]
    match kind:
        case "receive":
            await bench.loop.receive(segment)
            score.known[segment.command_id] = segment
        case "end" | "fail":
            running = sorted(bench.work.running)
            if running:
                bench.work.end(running[number % len(running)], BAD if kind == "fail" else Diagnostics())
        case "cancel" | "kill":
            await bench.loop.cancel(segment.command_id, reason="", kill=kind == "kill")
            score.known.setdefault(segment.command_id, segment)
        case "crash":
            count(bench, score)
            await bench.restart()
        case "deliver":
            await deliver(bench, score)
        case "ack":
            await deliver(bench, score)
            bench.journal.acknowledge(max(0, bench.journal.outbox.last_number - number))
    for _ in range(3):
        await asyncio.sleep(0)


async def deliver(bench: LoopBench, score: Score) -> None:
    """As the link does it: only what is on disk is sent."""
    await bench.journal.sync()
    for report in bench.journal.outbox.after(0, 1000):
        score.take(report)


async def finish(bench: LoopBench, score: Score) -> None:
    """Lets everything that was ever ordered come to its end."""
    async with asyncio.timeout(20):
        while any(command.end is None for command in bench.journal.commands.values()):
            await bench.work.until(lambda: bench.work.running or not list(bench.loop.live))
            for key in sorted(bench.work.running):
                bench.work.end(key)
            await asyncio.sleep(0)
    await deliver(bench, score)


def count(bench: LoopBench, score: Score) -> None:
    for key in bench.work.performed:
        score.worked[key] += 1


def check(score: Score) -> None:
    for command_id, segment in score.known.items():
        told = score.of(command_id)
        end = next(place for place, fact in enumerate(told) if isinstance(fact, SegmentFinished))
        facts, again = told[: end + 1], told[end + 1 :]
        assert all(fact in facts for fact in again), "what is told once more is the same"
        started = [fact.lifecycle_event for fact in facts if isinstance(fact, EventStarted)]
        finished = [fact.lifecycle_event for fact in facts if isinstance(fact, EventFinished)]
        assert started == list(segment.lifecycle_events[: len(started)]), "in table order, each once"
        assert finished == started, "each that started is reported, once"
        if facts[-1].status is EventStatus.SUCCEEDED:
            assert started == list(segment.lifecycle_events)
    for key, times in score.worked.items():
        deployment, event = key.split()
        commands = sum(segment.deployment.deployment_id == deployment for segment in SEGMENTS)
        assert times <= commands * (2 if event == "DownloadBundle" else 1), f"{key} was run {times} times"
    numbers = sorted(score.reports)
    assert numbers == list(range(1, len(numbers) + 1)), "numbers rise by one, over restarts too"


@pytest.mark.req("AG-101", "AG-102", "AG-191", "V2-001", "V2-009", "V2-034")
@settings(max_examples=100, deadline=None)
@given(OPERATIONS, st.sampled_from([1, 16]))
def test_whatever_happens_every_command_is_run_at_most_once_and_told_whole(
    operations: list[tuple[str, int]], at_once: int
) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        asyncio.run(play(Path(folder), operations, at_once=at_once))
