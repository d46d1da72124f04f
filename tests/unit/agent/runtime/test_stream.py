"""One stream over a call in the test's hand: what only shows when the other side does not move."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any, cast

import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman_agent.core.facts import EventStarted
from ferryman_agent.core.messages import CommandId
from ferryman_agent.hooks.contract import OutputLine
from ferryman_agent.hooks.contract import Stream as Source
from ferryman_agent.runtime import mapping
from ferryman_agent.runtime.commands import Answer, Disposition
from ferryman_agent.runtime.heartbeat import Heartbeat
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.stream import Call, Orders, Stream, StreamOver
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import a_segment


class StillCall:
    """A call whose writes wait until the test takes them, and whose reads give what the test puts in."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[pb.ConnectResponse] = asyncio.Queue()
        self.written: list[str] = []
        self.may_write = asyncio.Event()

    async def write(self, message: pb.ConnectRequest) -> None:
        await self.may_write.wait()
        self.written.append(str(message.WhichOneof("message")))

    async def read(self) -> pb.ConnectResponse:
        return await self.incoming.get()

    def done(self) -> bool:
        return False


class Bench:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualAgentClock()
        self.call = StillCall()
        self.journal = Journal(folder / "journal", self.clock)
        self.journal.open()
        self.lines = LiveLines()
        self.answers: deque[pb.ConnectRequest] = deque()
        self.wake = asyncio.Event()
        self.stream = Stream(
            cast(Call, self.call),
            host="h",
            journal=self.journal,
            lines=self.lines,
            heartbeat=Heartbeat(self.clock, running=list, waiting=lambda: 0, disk_free=lambda: 0),
            orders=cast(Orders, None),
            answers=self.answers,
            wake=self.wake,
            moved=asyncio.Event(),
            acknowledged=lambda: None,
            heard=lambda: None,
            clock=self.clock,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


async def test_a_coordinator_that_takes_nothing_for_a_minute_is_left(bench: Bench) -> None:
    """It answers pings, so only flow control shows it."""
    bench.answers.append(mapping.goodbye("x", is_host_going_down=False))
    running = asyncio.create_task(bench.stream.run())
    for _ in range(2):
        await bench.clock.until_sleeping(30)
        assert not running.done()
        bench.clock.advance(30)
    with pytest.raises(StreamOver, match="took no message for 60 s"):
        await asyncio.wait_for(running, 20)


@pytest.mark.req("AG-460")
async def test_answers_go_before_reports_and_both_before_output(bench: Bench) -> None:
    for _ in range(50):
        bench.lines.put(
            CommandId("c"), "Install", "s", [OutputLine(Source.STDOUT, "x" * 3000, bench.clock.now())], 0
        )
    bench.journal.note(a_segment().command_id, [EventStarted(lifecycle_event="Install")])
    bench.journal.note(a_segment().command_id, [EventStarted(lifecycle_event="Install")])
    bench.answers.append(mapping.command_ack(Answer(CommandId("c"), Disposition.KNOWN)))
    bench.call.may_write.set()
    running = asyncio.create_task(bench.stream.run())
    async with asyncio.timeout(20):
        while bench.lines:
            bench.clock.advance(0.1)
            bench.wake.set()
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert bench.call.written[:3] == ["command_ack", "report", "report"]
    assert set(bench.call.written[3:]) <= {"log_lines", "heartbeat"}


async def test_a_report_is_sent_only_once_it_is_on_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of the machine would give its number to another fact."""
    asked, gate = asyncio.Event(), asyncio.Event()

    async def sync() -> None:
        asked.set()
        await gate.wait()

    monkeypatch.setattr(bench.journal, "sync", sync)
    bench.journal.note(a_segment().command_id, [EventStarted(lifecycle_event="Install")])
    bench.call.may_write.set()
    running = asyncio.create_task(bench.stream.run())
    await asyncio.wait_for(asked.wait(), 20)
    await asyncio.sleep(0)
    assert bench.call.written == []
    gate.set()
    await bench.clock.until_sleeping(15)
    assert bench.call.written == ["report", "heartbeat"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_without_a_welcome_it_is_over(bench: Bench) -> None:
    bench.call.may_write.set()
    greeting = asyncio.create_task(bench.stream.greet(pb.ConnectRequest(hello=pb.Hello())))
    await bench.clock.until_sleeping(30)
    bench.clock.advance(30)
    with pytest.raises(StreamOver, match="no Welcome"):
        await asyncio.wait_for(greeting, 20)
    bench.call.incoming.put_nowait(pb.ConnectResponse(forget=pb.Forget(deployment_id="d")))
    with pytest.raises(StreamOver, match="does not begin with Welcome"):
        await bench.stream.greet(pb.ConnectRequest(hello=pb.Hello()))
