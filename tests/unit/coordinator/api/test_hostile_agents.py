"""What an enrolled agent that means harm can make the coordinator keep, write down and wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman_coordinator.api import agent_stream
from ferryman_coordinator.api.agent_stream import AgentStream
from ferryman_coordinator.api.auth import AgentIdentity, Context
from ferryman_coordinator.api.mapping import agents as mapping
from ferryman_coordinator.api.mapping.agents import OrderMapper
from ferryman_coordinator.core.model import DeploymentId, InstanceId, Instant
from ferryman_coordinator.errors import Invalid, StreamEnded
from ferryman_coordinator.links.orders import ForgetOrder
from ferryman_coordinator.links.registry import Links
from tests.support.clock import START, ManualClock
from tests.unit.coordinator.api.test_agent_stream import (
    COMMAND,
    WEB,
    Events,
    Installed,
    Logs,
    Seen,
    Wire,
    settle,
)

LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    "report",
    [
        pb.Report(command_id=LONG, command_started=pb.CommandStarted()),
        pb.Report(command_id=COMMAND, event_started=pb.EventStarted(lifecycle_event=LONG)),
        pb.Report(command_id=COMMAND, event_finished=pb.EventFinished(lifecycle_event=LONG)),
        pb.Report(command_id=COMMAND, script_started=pb.ScriptStarted(lifecycle_event=LONG)),
    ],
)
async def test_names_that_nothing_has_are_neither_kept_nor_logged(
    report: pb.Report, capsys: pytest.CaptureFixture[str]
) -> None:
    wire = Wire()
    report.number = 1
    wire.say(report=report)
    assert await wire.acknowledged() == 1
    assert wire.events.delivered == []
    assert wire.events.scripts == []
    shown = capsys.readouterr()
    assert len(shown.out + shown.err) < 5_000
    wire.hang_up()
    await wire.running


@pytest.mark.parametrize(
    "message",
    [
        pb.ConnectRequest(command_ack=pb.CommandAck(command_id=LONG)),
        pb.ConnectRequest(prefetch_done=pb.PrefetchDone(deployment_id=LONG)),
        pb.ConnectRequest(log_lines=pb.LogLines(command_id=COMMAND, lifecycle_event=LONG)),
        pb.ConnectRequest(log_lines=pb.LogLines(command_id=f"{LONG}/{WEB}/1/0")),
    ],
)
async def test_nor_do_they_reach_anybody_by_another_message(message: pb.ConnectRequest) -> None:
    wire = Wire()
    wire._incoming.put_nowait(message)
    with pytest.raises(Invalid) as caught:
        await wire.running
    assert caught.value.reason == "NameTooLong"


def test_a_message_of_lines_is_not_unfolded() -> None:
    lines = pb.LogLines(dropped=3, script_name=LONG, lines=[pb.LogLine(text=str(n)) for n in range(50_000)])
    found = mapping.log_lines_from(WEB, lines)
    assert isinstance(found, Iterator)
    taken = list(found)
    assert [line.text for line in taken] == [str(number) for number in range(49_000, 50_000)]
    assert [line.dropped_before for line in taken] == [49_003] + [0] * 999
    assert {len(line.script_name) for line in taken} == {1024}


@pytest.mark.parametrize("at", [-(2**63), -1, 2**63 - 1, 253_402_300_800_000])
def test_a_line_is_of_no_time_that_cannot_be_shown(at: int) -> None:
    (line,) = mapping.log_lines_from(WEB, pb.LogLines(lines=[pb.LogLine(at=at)]))
    assert 0 <= line.at <= 253_402_300_799_999


async def test_a_flood_is_read_at_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_stream, "_BURST", 20)
    monkeypatch.setattr(agent_stream, "_PER_SECOND", 10)
    wire = Wire()
    for _ in range(40):
        wire.say(heartbeat=pb.Heartbeat())
    await settle()
    assert 15 <= wire._incoming.qsize() <= 20
    wire.clock.advance(1_000)
    await settle()
    left = wire._incoming.qsize()
    assert 5 <= left <= 12
    wire.hang_up()
    while not wire.running.done():
        await settle()
        wire.clock.advance(100)
    await wire.running


async def test_an_agent_that_takes_no_orders_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may go on with heartbeats and pings: its stream, and every one that it opens after it, would stay for ever."""
    monkeypatch.setattr(agent_stream, "_WRITE_S", 0.05)
    clock = ManualClock()
    links = Links(clock, Seen())
    link = links.attach(WEB, clock.now())

    class Stuck:
        async def write(self, message: pb.ConnectResponse) -> None:
            await asyncio.Event().wait()

    async def nothing() -> AsyncIterator[pb.ConnectRequest]:
        await asyncio.Event().wait()
        yield pb.ConnectRequest()

    agent = AgentIdentity(instance_id=InstanceId(WEB), expires_at=Instant(START + 3_600_000))
    stream = AgentStream(agent, link, links, Events(), Installed(), Logs(), OrderMapper(), clock)
    link.offer(ForgetOrder(deployment_id=DeploymentId("d-AAAAAAAAA")))
    with pytest.raises(StreamEnded, match="took nothing"):
        await asyncio.wait_for(stream.run(nothing(), cast("Context", Stuck())), 20)
