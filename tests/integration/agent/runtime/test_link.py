"""The link over real gRPC, with time in the test's hand: what is sent, in which order, and what follows an end."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman_agent import __version__
from ferryman_agent.core.facts import EventStarted
from ferryman_agent.core.messages import (
    CommandId,
    DeploymentDescription,
    DeploymentId,
    GroupId,
    Instant,
    Segment,
)
from ferryman_agent.errors import IdentityError
from ferryman_agent.hooks.contract import OutputLine, Stream
from ferryman_agent.host import facts
from ferryman_agent.host.enrolment import EnrolOrder, enrol, parse_address
from ferryman_agent.host.identity import Identity
from ferryman_agent.runtime.commands import Answer, Disposition
from ferryman_agent.runtime.heartbeat import Heartbeat
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.link import Link, LinkState
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.whole_logs import LogPiece
from tests.support.agent_clock import ManualAgentClock
from tests.support.connect_proxy import ConnectProxy
from tests.support.fake_coordinator import FakeCoordinator, run_segment
from tests.support.segments import a_segment
from tests.support.small_ca import SmallCa


class Heard:
    """Carries nothing out, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.cancelled: list[tuple[str, str, bool]] = []
        self.prefetched: list[DeploymentDescription] = []
        self.forgotten: list[str] = []
        self.checks: list[tuple[str, list[str], bool]] = []
        self.answer: Disposition | None = Disposition.STARTED

    async def run_segment(self, segment: Segment) -> Answer | None:
        self.segments.append(segment)
        return Answer(segment.command_id, self.answer) if self.answer else None

    async def cancel(self, command_id: CommandId, *, reason: str, kill: bool) -> None:
        self.cancelled.append((command_id, reason, kill))

    def prefetch(self, deployment: DeploymentDescription) -> None:
        self.prefetched.append(deployment)

    def forget(self, deployment_id: DeploymentId) -> None:
        self.forgotten.append(deployment_id)

    def check_installed(self, check_id: str, group_ids: Sequence[GroupId], *, with_digests: bool) -> None:
        self.checks.append((check_id, list(group_ids), with_digests))

    async def read_script_log(self, group_id: str, deployment_id: str, offset: int) -> LogPiece:
        return LogPiece(content=f"{group_id} {deployment_id} {offset}".encode(), next_offset=offset + 9)


class Bench:
    """A link with all that it needs around it."""

    def __init__(self, identity: Identity, folder: Path) -> None:
        self.identity: Identity | None = identity
        self.clock = ManualAgentClock()
        self.journal = Journal(folder / "journal", self.clock)
        self.journal.open()
        self.lines = LiveLines()
        self.heard = Heard()
        self.chance = 1.0
        self.facts_problem: Exception | None = None
        self.proxy: str | None = None
        self.changes = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.link = Link(
            load_identity=self._load,
            gather_facts=lambda: self._gather(folder),
            open_commands=lambda: [CommandId("d-7/i-1/1/0")],
            orders=self.heard,
            journal=self.journal,
            lines=self.lines,
            heartbeat=Heartbeat(
                self.clock,
                running=lambda: [CommandId("d-7/i-1/1/0")],
                waiting=lambda: 0,
                disk_free=lambda: 42,
            ),
            clock=self.clock,
            random=lambda: self.chance,
            changed=self.changes.set,
            proxy_for=lambda host: self.proxy,
        )

    def _gather(self, folder: Path) -> facts.Facts:
        if self.facts_problem is not None:
            raise self.facts_problem
        return facts.gather(folder)

    def _load(self) -> Identity:
        if self.identity is None:
            raise IdentityError("this agent is not enrolled")
        return self.identity

    async def until(self, condition: Callable[[], object]) -> None:
        """Returns when the condition, about the link's status, holds."""
        async with asyncio.timeout(20):
            while not condition():
                self.changes.clear()
                await self.changes.wait()

    async def connected(self) -> None:
        """Returns when this end has taken the Welcome in."""
        await self.until(lambda: self.link.status.state is LinkState.CONNECTED)

    def start(self) -> None:
        self.task = asyncio.create_task(self.link.run())

    def report(self, count: int = 1) -> None:
        """Writes down facts that are to be reported."""
        segment = a_segment()
        for _ in range(count):
            self.journal.note(segment.command_id, [EventStarted(lifecycle_event="ApplicationStop")])
        self.link.wake()

    async def waits(self, seconds: float) -> None:
        """Returns when the link waits for its next try, in so many seconds."""
        try:
            await self.until(lambda: self.link.status.state is LinkState.WAITING)
            async with asyncio.timeout(20):
                await self.clock.until_sleeping(seconds)
        except TimeoutError:
            status, next_wake = self.link.status, self.clock.next_wake
            raise AssertionError(f"no wait of {seconds} s but of {next_wake}: {status}") from None

    async def close(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.journal.close()


@pytest.fixture
async def coordinator() -> AsyncIterator[FakeCoordinator]:
    # An interval that no other wait of the link has.
    async with FakeCoordinator(heartbeat_ms=7_000) as running:
        yield running


@pytest.fixture
async def bench(coordinator: FakeCoordinator, tmp_path: Path) -> AsyncIterator[Bench]:
    host, port = parse_address(coordinator.address)
    order = EnrolOrder(
        host=host, port=port, token=coordinator.token, facts=pb.Facts(), ca_pem=coordinator.ca.pem
    )
    made = Bench(await enrol(order, ManualAgentClock().now()), tmp_path)
    made.start()
    yield made
    await made.close()


@pytest.mark.req("AG-032")
async def test_hello_comes_first_and_says_what_the_agent_knows(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    session = await coordinator.connected()
    assert session.identity == "i-1"
    assert session.hello.protocol_version == 1
    assert list(session.hello.open_command_ids) == ["d-7/i-1/1/0"]
    assert session.hello.facts.host_name
    assert coordinator.versions == {"Enrol": __version__, "Connect": __version__}


async def test_orders_reach_whom_they_are_for(coordinator: FakeCoordinator, bench: Bench) -> None:
    session = await coordinator.connected()
    wanted = run_segment(download_url="/bundles/abc?expires=1")
    session.send(run_segment=wanted)
    session.send(cancel=pb.Cancel(command_id="c", reason="r", kill=True))
    session.send(forget=pb.Forget(deployment_id="d-9"))
    session.send(prefetch=pb.Prefetch(deployment=wanted.deployment))
    session.send(
        check_installed=pb.CheckInstalled(check_id="k", deployment_group_ids=["g-1"], with_digests=True)
    )
    session.send(run_segment=wanted)
    await coordinator.until(lambda: len(coordinator.acks) == 2)
    heard = bench.heard
    assert heard.segments[0].deployment.revision.url == "http://localhost:1/bundles/abc?expires=1"
    assert heard.cancelled == [("c", "r", True)]
    assert heard.forgotten == ["d-9"]
    assert heard.checks == [("k", ["g-1"], True)]
    assert heard.prefetched[0].deployment_id == "d-1"


@pytest.mark.req("AG-100")
async def test_heartbeats_come_at_the_interval_of_the_welcome(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    await coordinator.connected()
    await bench.connected()

    def has_beaten(count: int) -> bool:
        return len(coordinator.heartbeats) == count

    for count in (1, 2, 3):
        async with asyncio.timeout(20):
            await bench.clock.until_sleeping(7.0)
        bench.clock.advance(7.0)
        await coordinator.until(partial(has_beaten, count))
    beat = coordinator.heartbeats[0]
    assert list(beat.running_command_ids) == ["d-7/i-1/1/0"]
    assert beat.disk_free_bytes == 42


@pytest.mark.req("AG-102", "V2-003", "V2-009")
async def test_reports_are_sent_until_acknowledged_and_in_order_after_a_break(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    coordinator.is_acknowledging = False
    await coordinator.connected()
    bench.report(5)
    await coordinator.until(lambda: len(coordinator.reports) == 5)
    coordinator.acknowledge(2)
    # A round trip behind the acknowledgement.
    coordinator.session.send(run_segment=run_segment())
    await coordinator.until(lambda: coordinator.acks)
    await coordinator.stop()
    bench.report(3)
    await bench.waits(0.5)
    await coordinator.start()
    bench.clock.advance(0.5)
    session = await coordinator.connected(2)
    assert session.hello.last_acknowledged_report == 2
    await coordinator.until(lambda: len(coordinator.reports) == 8)
    assert coordinator.report_copies == [1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8]


async def test_what_the_coordinator_already_has_is_not_sent_again(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    coordinator.is_acknowledging = False
    await coordinator.connected()
    bench.report(3)
    await coordinator.until(lambda: len(coordinator.reports) == 3)
    coordinator.acknowledged = 3  # Stored, but the acknowledgement never arrived.
    coordinator.session.end()
    await bench.waits(0.5)
    bench.clock.advance(0.5)
    await coordinator.connected(2)
    bench.report()
    await coordinator.until(lambda: len(coordinator.reports) == 4)
    assert coordinator.report_copies == [1, 2, 3, 4]


async def test_a_coordinator_with_another_history_gets_new_numbers(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    await coordinator.connected()
    coordinator.acknowledged = 90
    coordinator.session.end()
    bench.report(2)
    await bench.waits(0.5)
    heard = len(coordinator.report_copies)
    bench.clock.advance(0.5)
    await coordinator.connected(2)
    bench.report()
    await coordinator.until(lambda: len(coordinator.reports) >= 3)
    assert coordinator.report_copies[heard:][-1] > 90


async def test_the_pauses_between_tries_grow_and_start_anew_after_a_stable_stream(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    await coordinator.connected()
    await coordinator.stop()
    for seconds in (0.5, 1, 2, 4, 8, 16, 32, 60, 60):
        await bench.waits(seconds)
        bench.clock.advance(seconds)
        await bench.until(lambda: bench.link.status.state is not LinkState.WAITING)
    await bench.waits(60)
    await coordinator.start()
    bench.clock.advance(60)
    await coordinator.connected(2)
    await bench.until(lambda: bench.link.status.state is LinkState.CONNECTED)
    bench.clock.advance(31)
    coordinator.session.end()
    await bench.waits(0.5)


async def test_the_pause_is_jittered_down_to_nothing(coordinator: FakeCoordinator, bench: Bench) -> None:
    await coordinator.connected()
    bench.chance = 0.0
    coordinator.session.end()
    await coordinator.connected(2)


@pytest.mark.req("AG-104", "AG-105")
@pytest.mark.parametrize(
    "code,seconds,kind",
    [
        (grpc.StatusCode.UNAUTHENTICATED, 300, "unidentified"),
        (grpc.StatusCode.PERMISSION_DENIED, 300, "unidentified"),
        (grpc.StatusCode.FAILED_PRECONDITION, 300, "refused"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 75, "throttled"),
        (grpc.StatusCode.CANCELLED, 0.5, "lost"),
        (grpc.StatusCode.UNAVAILABLE, 0.5, "lost"),
        (grpc.StatusCode.INTERNAL, 0.5, "failing"),
    ],
)
async def test_each_kind_of_end_has_its_pause(
    coordinator: FakeCoordinator, bench: Bench, code: grpc.StatusCode, seconds: float, kind: str
) -> None:
    await coordinator.connected()
    coordinator.refusal = (code, "SomeReason", "so it is")
    coordinator.session.end()
    await bench.waits(0.5)
    bench.clock.advance(0.5)
    await coordinator.until(lambda: coordinator.attempts == 2)
    # The second failure in a row: an ordinary one waits twice as long.
    await bench.waits(seconds if seconds > 1 else 1.0)
    assert bench.link.status.problem_kind == kind
    assert "so it is" in bench.link.status.problem
    coordinator.refusal = None
    bench.clock.advance(seconds if seconds > 1 else 1.0)
    await coordinator.connected(2)
    await bench.until(lambda: bench.link.status.state is LinkState.CONNECTED)
    assert bench.link.status.problem == ""


@pytest.mark.req("AG-092", "AG-093", "AG-X40", "AG-C28", "V2-347", "V2-132")
async def test_a_server_of_another_ca_is_not_talked_to(coordinator: FakeCoordinator, bench: Bench) -> None:
    await coordinator.connected()
    await coordinator.stop()
    coordinator.server_ca = SmallCa("an impostor")
    await coordinator.start()
    await bench.waits(0.5)
    bench.clock.advance(0.5)
    await bench.until(lambda: bench.link.status.problem_kind == "untrusted")
    assert "not the coordinator that this agent enrolled with" in bench.link.status.problem
    assert len(coordinator.sessions) == 1


async def test_a_clock_that_is_wrong_is_thought_of(
    coordinator: FakeCoordinator, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await coordinator.connected()
    await coordinator.stop()
    ahead = partial(coordinator.server_ca.server, begin=datetime.timedelta(hours=1))
    monkeypatch.setattr(coordinator.server_ca, "server", ahead)
    await coordinator.start()
    await bench.waits(0.5)
    bench.clock.advance(0.5)
    await bench.until(lambda: bench.link.status.problem_kind == "untrusted")
    assert "compare the clocks" in bench.link.status.problem


class TestProxy:
    @pytest.mark.req("V2-350", "AG-072", "AG-K08")
    async def test_the_stream_goes_through_it_and_shows_who_it_is(
        self, coordinator: FakeCoordinator, bench: Bench
    ) -> None:
        await coordinator.connected()
        async with ConnectProxy(user="u@x", password="p:w") as proxy:
            bench.proxy = f"http://u%40x:p%3Aw@127.0.0.1:{proxy.port}"
            bench.link.reconnect()
            session = await coordinator.connected(2)
            await bench.connected()
            assert proxy.asked == [f"localhost:{coordinator.agents_port}"]
            assert session.identity == "i-1", "TLS goes through it end to end"
            assert bench.link.status.is_proxied
            bench.proxy = ""
            bench.link.reconnect()
            await coordinator.connected(3)
            assert len(proxy.asked) == 1

    @pytest.mark.req("V2-350")
    async def test_one_that_lets_nobody_through_is_named(
        self, coordinator: FakeCoordinator, bench: Bench, capsys: pytest.CaptureFixture[str]
    ) -> None:
        await coordinator.connected()
        async with ConnectProxy(user="u", password="right") as proxy:
            bench.proxy = f"http://u:wrong@127.0.0.1:{proxy.port}"
            bench.link.reconnect()
            await bench.until(lambda: bench.link.status.problem_kind == "lost")
            assert "through the configured proxy" in bench.link.status.problem
            assert "wrong" not in bench.link.status.problem
            assert "wrong" not in capsys.readouterr().out
            assert len(coordinator.sessions) == 1


async def taken_in(coordinator: FakeCoordinator, count: int) -> None:
    """Returns when the agent has taken in the Welcome of that stream: a round trip lies behind it."""
    before = len(coordinator.acks)
    (await coordinator.connected(count)).send(run_segment=run_segment())
    await coordinator.until(lambda: len(coordinator.acks) > before)


class TestComparing:
    @pytest.mark.req("AG-091", "AG-T79", "AG-S16")
    @pytest.mark.parametrize(
        "ahead_ms,verdict,level",
        [(-61_000, "differ", "warning"), (600_000, "contradict", "error")],
    )
    async def test_clocks_that_differ_are_told_once(
        self,
        coordinator: FakeCoordinator,
        bench: Bench,
        capsys: pytest.CaptureFixture[str],
        ahead_ms: int,
        verdict: str,
        level: str,
    ) -> None:
        await coordinator.connected()
        await bench.connected()
        coordinator.now_ms = bench.clock.now() - ahead_ms
        for count in (2, 3):
            bench.link.reconnect()
            await taken_in(coordinator, count)
            assert bench.link.status.clock_skew_ms == ahead_ms
        told = [line for line in capsys.readouterr().out.splitlines() if "clock.compared" in line]
        assert len(told) == 1
        assert f"verdict={verdict}" in told[0]
        assert f"ahead_seconds={ahead_ms // 1000}" in told[0]
        assert level in told[0]
        coordinator.now_ms = bench.clock.now()
        bench.link.reconnect()
        await coordinator.connected(4)
        await bench.until(lambda: bench.link.status.clock_skew_ms == 0)
        assert "verdict=agree" in capsys.readouterr().out

    @pytest.mark.req("AG-035", "V2-142")
    async def test_another_protocol_is_told_once_and_not_with_each_stream(
        self, coordinator: FakeCoordinator, bench: Bench, capsys: pytest.CaptureFixture[str]
    ) -> None:
        await coordinator.connected()
        await bench.connected()
        coordinator.protocol_version = 2
        for count in (2, 3):
            bench.link.reconnect()
            await taken_in(coordinator, count)
        assert capsys.readouterr().out.count("protocol.differs") == 1


async def test_a_fresh_certificate_makes_a_new_stream_at_once(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    await coordinator.connected()
    bench.report(2)
    bench.link.reconnect()
    await coordinator.connected(2)
    bench.report(2)
    await coordinator.until(lambda: len(coordinator.reports) == 4)


async def test_without_an_identity_it_waits_and_takes_the_new_one(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    await coordinator.connected()
    kept, bench.identity = bench.identity, None
    coordinator.session.end()
    await bench.waits(0.5)
    bench.clock.advance(0.5)
    await bench.waits(300)
    assert "not enrolled" in bench.link.status.problem
    assert kept is not None
    bench.identity = replace(kept, instance_name="again")
    bench.clock.advance(300)
    await coordinator.connected(2)


@pytest.mark.req("AG-090", "AG-S22")
async def test_an_agent_whose_certificate_has_expired_is_told_to_enroll_again(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    await coordinator.connected()
    assert bench.identity is not None
    bench.identity = replace(bench.identity, expires_at=Instant(bench.clock.now() - 1))
    coordinator.refusal = (grpc.StatusCode.UNAUTHENTICATED, "CertificateExpired", "it has expired")
    coordinator.session.end()
    await bench.waits(0.5)
    bench.clock.advance(0.5)
    await bench.until(lambda: bench.link.status.problem_kind == "unidentified")
    said = bench.link.status.problem
    assert said.startswith("this agent's certificate has expired: enroll again with a new join token")


async def test_a_drained_stream_begins_anew_spread_over_the_given_time(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    session = await coordinator.connected()
    session.send(drain=pb.Drain(within_ms=5_000, reason="maintenance"))
    await bench.waits(5.0)
    bench.clock.advance(5.0)
    await coordinator.connected(2)


async def test_an_unknown_or_impossible_order_does_not_end_the_stream(
    coordinator: FakeCoordinator, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await coordinator.connected()

    def broken(deployment_id: DeploymentId) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(bench.heard, "forget", broken)
    session.outgoing.put_nowait(pb.ConnectResponse())
    session.send(forget=pb.Forget(deployment_id="d-1"))
    session.send(run_segment=run_segment())
    await coordinator.until(lambda: coordinator.acks)
    assert len(coordinator.sessions) == 1


async def test_a_mistake_of_ours_costs_a_stream_and_no_more(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    await coordinator.connected()
    bench.facts_problem = RuntimeError("a mistake of ours")
    coordinator.session.end()
    await bench.waits(0.5)
    bench.clock.advance(0.5)
    await bench.until(lambda: "a mistake of ours" in bench.link.status.problem)
    bench.facts_problem = None
    await bench.waits(1.0)
    bench.clock.advance(1.0)
    await coordinator.connected(2)


@pytest.mark.req("AG-460")
async def test_live_output_never_delays_a_report_and_what_is_dropped_is_counted(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    await coordinator.connected()
    await bench.connected()
    total = 20_000
    for number in range(total // 10):
        lines = [
            OutputLine(Stream.STDOUT, f"line {number}.{part} " + "x" * 80, bench.clock.now())
            for part in range(10)
        ]
        bench.lines.put(CommandId("c"), "AfterInstall", "s.sh", lines, 0)
    assert len(bench.lines) <= 5_000
    bench.report()
    # Output waits for its time, the report does not.
    await coordinator.until(lambda: coordinator.reports)
    assert len(coordinator.lines) <= 1

    def has_more(sent: int) -> bool:
        return len(coordinator.lines) > sent

    while bench.lines:
        sent = len(coordinator.lines)
        bench.clock.advance(0.1)
        bench.link.wake()
        await coordinator.until(partial(has_more, sent))

    def dropped() -> int:
        return sum(lines.dropped for lines in coordinator.lines)

    await coordinator.until(lambda: sum(len(lines.lines) for lines in coordinator.lines) + dropped() == total)
    assert dropped() >= total - 5_000
    last = coordinator.lines[-1]
    assert last.first_line + len(last.lines) - 1 == total
    assert last.lines[-1].text.startswith("line 1999.9")
    assert max(lines.ByteSize() for lines in coordinator.lines) < 64 * 1024


@pytest.mark.req("AG-143")
async def test_goodbye_follows_the_last_report(coordinator: FakeCoordinator, bench: Bench) -> None:
    session = await coordinator.connected()
    await bench.connected()
    bench.report(20)
    await bench.link.close("the agent was stopped", is_host_going_down=True)
    assert bench.task is not None
    await asyncio.wait_for(bench.task, 20)
    assert len(coordinator.reports) == 20
    assert session.goodbye is not None
    assert session.goodbye.host_going_down
    assert bench.journal.outbox.acknowledged == 20


@pytest.mark.req("V2-036", "V2-055")
async def test_waiting_for_the_next_try_does_not_hold_up_the_end(
    coordinator: FakeCoordinator, bench: Bench
) -> None:
    await coordinator.connected()
    await coordinator.stop()
    await bench.waits(0.5)
    await bench.link.close("the agent was stopped", is_host_going_down=False)
    assert bench.task is not None
    await asyncio.wait_for(bench.task, 20)
