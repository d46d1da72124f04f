"""One agent's stream: what is stored is acknowledged, what is not stored is not, and the order stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, cast

import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import types_pb2
from ferryman_coordinator.api.agent_stream import AgentStream
from ferryman_coordinator.api.auth import AgentIdentity, Context
from ferryman_coordinator.api.mapping.agents import AgentEvent, OrderMapper
from ferryman_coordinator.core.drift import InstalledState
from ferryman_coordinator.core.messages import CommandAcked, EventStarted
from ferryman_coordinator.core.model import CommandId, DeploymentId, InstanceId, Instant
from ferryman_coordinator.engine.logs import LogLine
from ferryman_coordinator.errors import Invalid, StoreUnavailable, StreamEnded, Unauthenticated
from ferryman_coordinator.links.orders import ForgetOrder
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.operations.script_logs import LogPiece
from tests.support.clock import START, ManualClock

WEB = InstanceId("mi-web")
COMMAND = "d-AAAAAAAAA/mi-web/1/0"


class Events:
    """An engine that stores when the test says so."""

    def __init__(self) -> None:
        self.delivered: list[AgentEvent] = []
        self.answers: list[asyncio.Future[None]] = []
        self.scripts: list[tuple[str, str, str, str]] = []
        self.lines: list[tuple[str, LogLine]] = []
        self.done: list[tuple[str, str, str]] = []
        self.came = asyncio.Event()

    async def deliver(self, report: AgentEvent) -> None:
        self.delivered.append(report)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        self.came.set()
        await answer

    def script_started(
        self, command_id: CommandId, instance_id: str, lifecycle_event: str, script_name: str
    ) -> None:
        self.scripts.append((command_id, instance_id, lifecycle_event, script_name))

    def prefetched(self, deployment_id: DeploymentId, instance_id: str, error: str = "") -> None:
        self.done.append((deployment_id, instance_id, error))

    def log_lines(self, deployment_id: DeploymentId, lines: Iterable[LogLine]) -> None:
        self.lines += [(deployment_id, line) for line in lines]

    async def wait_for(self, count: int) -> None:
        while len(self.delivered) < count:
            self.came.clear()
            await self.came.wait()


class Seen:
    async def keep(self, seen: Mapping[InstanceId, Instant]) -> None:
        """Nobody looks."""


class Installed:
    """Keeps what the agent found installed, once it may."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Sequence[InstalledState]]] = []
        self.may_store = asyncio.Event()
        self.may_store.set()

    async def take(self, instance_id: InstanceId, check_id: str, states: Sequence[InstalledState]) -> None:
        assert instance_id == WEB
        await self.may_store.wait()
        self.taken.append((check_id, states))


class Logs:
    """Keeps the pieces of script logs."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, LogPiece]] = []

    def take(self, instance_id: InstanceId, read_id: str, piece: LogPiece) -> None:
        assert instance_id == WEB
        self.taken.append((read_id, piece))


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


class Wire:
    """Both directions of the stream, and what runs on them."""

    def __init__(self, expires_at: int = START + 3_600_000) -> None:
        self.clock = ManualClock()
        self.links = Links(self.clock, Seen())
        self.link = self.links.attach(WEB, self.clock.now())
        self.events = Events()
        self.written: asyncio.Queue[pb.ConnectResponse] = asyncio.Queue()
        self._incoming: asyncio.Queue[pb.ConnectRequest | None] = asyncio.Queue()
        agent = AgentIdentity(instance_id=WEB, expires_at=Instant(expires_at))
        self.installed = Installed()
        self.logs = Logs()
        stream = AgentStream(
            agent,
            self.link,
            self.links,
            self.events,
            self.installed,
            self.logs,
            OrderMapper(),
            self.clock,
        )
        self.running = asyncio.create_task(stream.run(self._requests(), cast("Context", self)))

    async def write(self, message: pb.ConnectResponse) -> None:
        """As a context of grpc.aio."""
        await self.written.put(message)

    def say(self, **message: Any) -> None:
        self._incoming.put_nowait(pb.ConnectRequest(**message))

    def report(self, number: int, event: str = "Install") -> None:
        started = pb.EventStarted(lifecycle_event=event)
        self.say(report=pb.Report(number=number, command_id=COMMAND, event_started=started))

    def hang_up(self) -> None:
        self._incoming.put_nowait(None)

    async def acknowledged(self) -> int:
        """Waits for an acknowledgement; lets the time pass that they gather for."""
        await settle()
        assert self.clock.next_wake is not None, "nothing is to be acknowledged"
        self.clock.move_to(self.clock.next_wake)
        message = await self.written.get()
        assert message.WhichOneof("message") == "report_ack"
        return message.report_ack.number

    async def _requests(self) -> AsyncIterator[pb.ConnectRequest]:
        while (message := await self._incoming.get()) is not None:
            yield message


async def test_a_report_is_acknowledged_once_it_is_stored() -> None:
    wire = Wire()
    wire.report(1)
    await wire.events.wait_for(1)
    assert wire.written.empty()
    wire.events.answers[0].set_result(None)
    assert await wire.acknowledged() == 1
    wire.hang_up()
    await wire.running


async def test_reports_keep_their_order_and_are_acknowledged_together() -> None:
    wire = Wire()
    wire.report(1, "A")
    await wire.events.wait_for(1)
    for number, event in enumerate("BCDEFG", start=2):
        wire.report(number, event)
    wire.say(heartbeat=pb.Heartbeat())
    wire.events.answers[0].set_result(None)
    await wire.events.wait_for(7)
    for answer in reversed(wire.events.answers[1:]):
        answer.set_result(None)
    assert await wire.acknowledged() == 7
    names = [event.lifecycle_event for event in wire.events.delivered if isinstance(event, EventStarted)]
    assert "".join(names) == "ABCDEFG"
    wire.hang_up()
    await wire.running


async def test_what_cannot_be_stored_is_not_acknowledged_and_ends_the_stream() -> None:
    wire = Wire()
    wire.report(1)
    await wire.events.wait_for(1)
    wire.report(2)
    wire.report(3)
    wire.report(4)
    wire.events.answers[0].set_result(None)
    await wire.events.wait_for(4)
    wire.events.answers[1].set_result(None)
    wire.events.answers[2].set_exception(StoreUnavailable("no disk"))
    wire.events.answers[3].set_result(None)
    with pytest.raises(StoreUnavailable):
        await wire.running
    assert wire.written.empty()


async def test_what_was_stored_before_a_failure_is_acknowledged() -> None:
    wire = Wire()
    for number in (1, 2, 3):
        wire.report(number)
    await wire.events.wait_for(3)
    # The middle one fails: the last one is stored, but only the first may be forgotten.
    for answer, error in zip(wire.events.answers, (None, StoreUnavailable("no disk"), None), strict=True):
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)
    with pytest.raises(StoreUnavailable):
        await wire.running
    taken = [(event, number) for number, event in enumerate(wire.events.delivered, start=1)]
    assert AgentStream._acknowledgeable(taken, [None, StoreUnavailable(""), None]) == 1


async def test_reports_without_an_event_of_the_core_are_acknowledged_in_their_turn() -> None:
    wire = Wire()
    wire.report(1)
    script = pb.ScriptStarted(lifecycle_event="BeforeInstall", script_name="a.sh")
    wire.say(report=pb.Report(number=2, command_id=COMMAND, script_started=script))
    await wire.events.wait_for(1)
    assert wire.written.empty()
    wire.events.answers[0].set_result(None)
    assert await wire.acknowledged() == 2
    assert wire.events.scripts == [(COMMAND, WEB, "BeforeInstall", "a.sh")]
    wire.hang_up()
    await wire.running


async def test_what_waits_is_stored_before_a_stream_ends() -> None:
    wire = Wire()
    wire.report(1)
    wire.say(goodbye=pb.Goodbye(reason="shutdown"))
    await wire.events.wait_for(1)
    assert not wire.running.done()
    wire.events.answers[0].set_result(None)
    await wire.running
    assert (await wire.written.get()).report_ack.number == 1


async def test_a_flood_of_reports_is_read_no_faster_than_it_is_stored() -> None:
    wire = Wire()
    for number in range(1, 2_001):
        wire.report(number)
    await wire.events.wait_for(1)
    await settle()
    # Some that are being stored, and as many that wait.
    assert len(wire.events.delivered) <= 256
    assert wire._incoming.qsize() >= 2_000 - 2 * 256 - 1
    wire.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.running


async def test_heartbeats_count_as_being_heard_and_store_nothing() -> None:
    wire = Wire()
    wire.clock.advance(30_000)
    wire.say(heartbeat=pb.Heartbeat())
    wire.hang_up()
    await wire.running
    assert wire.link.last_heard == START + 30_000
    assert wire.events.delivered == []


async def test_acks_of_commands_reach_the_engine() -> None:
    wire = Wire()
    ack = pb.CommandAck(command_id=COMMAND, disposition=pb.COMMAND_DISPOSITION_REFUSED, reason="disk full")
    wire.say(command_ack=ack)
    await wire.events.wait_for(1)
    acked = wire.events.delivered[0]
    assert isinstance(acked, CommandAcked)
    assert (acked.instance_id, acked.reason, acked.disposition.value) == (WEB, "disk full", "refused")
    wire.events.answers[0].set_result(None)
    wire.hang_up()
    await wire.running


async def test_output_and_prefetches_are_passed_on() -> None:
    wire = Wire()
    lines = [pb.LogLine(text="x" * 100_000, is_stderr=True), pb.LogLine(text="b")]
    wire.say(log_lines=pb.LogLines(command_id=COMMAND, dropped=2, lines=lines))
    wire.say(log_lines=pb.LogLines(command_id="d-AAAAAAAAA/mi-other/1/0", lines=lines))
    wire.say(prefetch_done=pb.PrefetchDone(deployment_id="d-AAAAAAAAA", error="no space"))
    wire.hang_up()
    await wire.running
    assert [(one, len(line.text), line.dropped_before) for one, line in wire.events.lines] == [
        ("d-AAAAAAAAA", 4 * 1024 + 64, 2),
        ("d-AAAAAAAAA", 1, 0),
    ]
    assert wire.events.done == [("d-AAAAAAAAA", WEB, "no space")]


async def test_orders_go_out_in_order() -> None:
    wire = Wire()
    for name in ("d-AAAAAAAAA", "d-BBBBBBBBB"):
        wire.link.offer(ForgetOrder(deployment_id=DeploymentId(name)))
    forgotten = [(await wire.written.get()).forget.deployment_id for _ in range(2)]
    assert forgotten == ["d-AAAAAAAAA", "d-BBBBBBBBB"]
    wire.hang_up()
    await wire.running


async def test_a_link_that_the_coordinator_closes_ends_the_stream() -> None:
    wire = Wire()
    wire.link.close("too far behind")
    with pytest.raises(StreamEnded, match="too far behind"):
        await wire.running


async def test_a_stream_does_not_outlive_its_certificate() -> None:
    wire = Wire(expires_at=START + 10_000)
    wire.say(heartbeat=pb.Heartbeat())
    wire.clock.advance(10_000)
    wire.say(heartbeat=pb.Heartbeat())
    with pytest.raises(Unauthenticated) as caught:
        await wire.running
    assert caught.value.reason == "CertificateExpired"


@pytest.mark.parametrize("message", [{}, {"hello": pb.Hello(protocol_version=1)}])
async def test_what_does_not_belong_there_ends_the_stream(message: dict[str, Any]) -> None:
    wire = Wire()
    wire.say(**message)
    with pytest.raises(Invalid) as caught:
        await wire.running
    assert caught.value.reason == "UnexpectedMessage"


async def test_a_report_that_cannot_be_read_does_not_come_for_ever() -> None:
    wire = Wire()
    finished = pb.SegmentFinished(status=cast("types_pb2.LifecycleEventStatus.ValueType", 99))
    wire.say(report=pb.Report(number=1, command_id=COMMAND, segment_finished=finished))
    assert await wire.acknowledged() == 1
    assert wire.events.delivered == []
    wire.hang_up()
    await wire.running
