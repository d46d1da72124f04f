"""One stream to the coordinator, from Hello to its end. One task reads, one writes.

What is written goes by rank: answers, then reports, then a heartbeat that is due, then live output. Reports are read
from the outbox and only those on disk are sent, so a stream that breaks loses nothing. A message in flight may fill the
flow-control window; live output goes in small messages, so that a report waits for one of them at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import grpc
import grpc.aio
import structlog

from ferryman.v1 import agents_pb2 as pb
from ferryman_agent.clock import Clock, ends_within
from ferryman_agent.core.messages import CommandId, DeploymentDescription, DeploymentId, GroupId, Segment
from ferryman_agent.errors import JournalError
from ferryman_agent.log import WIRE
from ferryman_agent.runtime import mapping
from ferryman_agent.runtime.commands import Answer
from ferryman_agent.runtime.heartbeat import Heartbeat
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.whole_logs import LogPiece

WELCOME_SECONDS = 30.0
WRITE_SECONDS = 60.0
"""A message that the coordinator does not take for this long: it is alive enough for pings, but not for us."""
LINES_EVERY_SECONDS = 0.1

Call = grpc.aio.StreamStreamCall[pb.ConnectRequest, pb.ConnectResponse]

log = structlog.stdlib.get_logger(__name__)
wire = structlog.stdlib.get_logger(WIRE)
"""Heard only where `log.coordinator_wire` is on; kinds only, since contents may be secret (AG-071)."""


class Orders(Protocol):
    """Who carries out what the coordinator asks for."""

    async def run_segment(self, segment: Segment) -> Answer | None: ...
    async def cancel(self, command_id: CommandId, *, reason: str, kill: bool) -> None: ...
    def prefetch(self, deployment: DeploymentDescription) -> None: ...
    def forget(self, deployment_id: DeploymentId) -> None: ...
    def check_installed(self, check_id: str, group_ids: Sequence[GroupId], *, with_digests: bool) -> None: ...
    async def read_script_log(self, group_id: str, deployment_id: str, offset: int) -> LogPiece: ...


class StreamOver(Exception):
    """The stream is to end; the message says why. `reconnect_within`: spread over so many seconds, for a Drain."""

    def __init__(self, message: str, *, reconnect_within: float = 0.0) -> None:
        super().__init__(message)
        self.reconnect_within = reconnect_within


class Stream:
    """`wake` is set by everybody who has something for it to send; it sets `moved` when something got through.

    `acknowledged` is called, and must not block, when the coordinator has stored reports; `heard` with each message.
    Its Welcome gives `protocol_version`, 0 where it does not say, and `clock_skew_ms`: by how much this machine's clock
    is ahead of the coordinator's, give or take half a round trip; None where it does not say; and
    `ca_certificates`, those to be trusted, empty where it does not say.
    """

    def __init__(
        self,
        call: Call,
        *,
        host: str,
        journal: Journal,
        lines: LiveLines,
        heartbeat: Heartbeat,
        orders: Orders,
        answers: deque[pb.ConnectRequest],
        wake: asyncio.Event,
        moved: asyncio.Event,
        acknowledged: Callable[[], None],
        heard: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.clock_skew_ms: int | None = None
        self.protocol_version = 0
        self.ca_certificates = ""
        self._heard = heard
        self._call = call
        self._host = host
        self._journal = journal
        self._lines = lines
        self._heartbeat = heartbeat
        self._orders = orders
        self._answers = answers
        self._wake = wake
        self._moved = moved
        self._acknowledged = acknowledged
        self._clock = clock
        self._base_url = ""
        self._sent = 0
        self._next_lines = 0.0
        self._writing_since: float | None = None

    @property
    def base_url(self) -> str:
        """Where the coordinator serves bundles (`scheme://host:port`); empty before its Welcome."""
        return self._base_url

    async def greet(self, hello: pb.ConnectRequest) -> None:
        """Says Hello and takes the Welcome in. Raises StreamOver, AioRpcError, JournalError."""
        asked_at = self._clock.now()
        await self._send(hello)
        reading = asyncio.ensure_future(self._read_one())
        try:
            if not await ends_within(self._clock, WELCOME_SECONDS, reading):
                raise StreamOver(f"no Welcome within {WELCOME_SECONDS:.0f} s")
            message = reading.result()
        finally:
            reading.cancel()
        if message is None or message.WhichOneof("message") != "welcome":
            raise StreamOver("the coordinator does not begin with Welcome")
        welcome = message.welcome
        self.protocol_version = welcome.protocol_version
        self.ca_certificates = welcome.ca_certificates.decode("ascii", errors="replace")
        if welcome.now:
            self.clock_skew_ms = (asked_at + self._clock.now()) // 2 - welcome.now
        host = welcome.http_host or self._host
        self._base_url = f"{welcome.http_scheme or 'http'}://{_in_url(host)}:{welcome.http_port}"
        self._journal.meet(welcome.acknowledged_report)
        self._sent = self._journal.outbox.acknowledged
        self._heartbeat.start(welcome.heartbeat_interval_ms)

    async def run(self) -> None:
        """Reads and writes until one of them cannot go on. Raises StreamOver, AioRpcError, JournalError."""
        reader = asyncio.ensure_future(self._read())
        writer = asyncio.ensure_future(self._write())
        try:
            while not (reader.done() or writer.done()):
                # One timer for both: a stuck write shows within two rounds.
                timer = asyncio.ensure_future(self._clock.sleep(WRITE_SECONDS / 2))
                await asyncio.wait({reader, writer, timer}, return_when=asyncio.FIRST_COMPLETED)
                timer.cancel()
                self._demand_progress()
            if self._call.done():
                # A write may fail first, but only the read tells the status.
                await asyncio.wait({reader})
        finally:
            for task in (reader, writer):
                task.cancel()
            results = await asyncio.gather(reader, writer, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _read(self) -> None:
        while (message := await self._read_one()) is not None:
            try:
                await self._take_in(message)
            except (StreamOver, JournalError):
                raise
            except Exception:
                # One message that we cannot deal with must not end the stream, only to come again on the next one.
                log.exception("stream.message_broke", kind=str(message.WhichOneof("message")))
            self._wake.set()
            self._moved.set()
        # The status of a stream that ended well is OK, and raises nothing.
        code = await self._call.code()
        raise StreamOver(f"the coordinator ended the stream ({code.name})")

    async def _read_one(self) -> pb.ConnectResponse | None:
        message = await self._call.read()
        self._heard()
        if isinstance(message, pb.ConnectResponse):
            wire.debug("wire.received", kind=message.WhichOneof("message"))
        return message if isinstance(message, pb.ConnectResponse) else None

    async def _take_in(self, message: pb.ConnectResponse) -> None:
        match message.WhichOneof("message"):
            case "run_segment":
                answer = await self._orders.run_segment(mapping.segment(message.run_segment, self._base_url))
                if answer is not None:
                    self._answers.append(mapping.command_ack(answer))
            case "cancel":
                cancel = message.cancel
                await self._orders.cancel(
                    CommandId(cancel.command_id), reason=cancel.reason, kill=cancel.kill
                )
            case "prefetch":
                self._orders.prefetch(mapping.deployment(message.prefetch.deployment, self._base_url))
            case "forget":
                self._orders.forget(DeploymentId(message.forget.deployment_id))
            case "check_installed":
                check = message.check_installed
                group_ids = [GroupId(group_id) for group_id in check.deployment_group_ids]
                self._orders.check_installed(check.check_id, group_ids, with_digests=check.with_digests)
            case "read_script_log":
                read = message.read_script_log
                piece = await self._orders.read_script_log(
                    read.deployment_group_id, read.deployment_id, read.offset
                )
                self._answers.append(mapping.script_log_piece(read.read_id, piece))
            case "report_ack":
                self._journal.acknowledge(message.report_ack.number)
                self._acknowledged()
            case "drain":
                drain = message.drain
                raise StreamOver(
                    f"the coordinator asks for a new stream: {drain.reason}",
                    reconnect_within=drain.within_ms / 1000,
                )
            case other:
                log.debug("stream.unknown_message", kind=str(other))

    async def _write(self) -> None:
        while True:
            self._wake.clear()
            while (message := await self._next()) is not None:
                self._writing_since = self._clock.monotonic()
                await self._send(message)
                self._writing_since = None
                self._moved.set()
                if message.WhichOneof("message") == "goodbye":
                    await self._call.done_writing()
                    await asyncio.Event().wait()
            pause = self._heartbeat.due_in
            if self._lines:
                pause = min(pause, max(0.0, self._next_lines - self._clock.monotonic()))
            timer = self._clock.after(pause, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    async def _send(self, message: pb.ConnectRequest) -> None:
        wire.debug("wire.sent", kind=message.WhichOneof("message"))
        try:
            await self._call.write(message)
        except asyncio.InvalidStateError:
            # The call had ended already; only its status tells why.
            call = self._call
            raise grpc.aio.AioRpcError(
                await call.code(),
                await call.initial_metadata(),
                await call.trailing_metadata(),
                details=await call.details(),
            ) from None

    async def _next(self) -> pb.ConnectRequest | None:
        """The next message by rank; None when there is nothing to send now."""
        if self._answers:
            return self._answers.popleft()
        reports = self._journal.outbox.after(self._sent, 1)
        if reports:
            # Its number must never be given to another fact, so it has to outlive a crash of the machine.
            await self._journal.sync()
            self._sent = reports[0].number
            return mapping.report(reports[0])
        if self._heartbeat.due_in <= 0:
            return self._heartbeat.build()
        if self._lines and self._clock.monotonic() >= self._next_lines:
            self._next_lines = self._clock.monotonic() + LINES_EVERY_SECONDS
            lines = self._lines.take()
            return None if lines is None else mapping.log_lines(lines)
        return None

    def _demand_progress(self) -> None:
        since = self._writing_since
        if since is not None and self._clock.monotonic() - since >= WRITE_SECONDS:
            raise StreamOver(f"the coordinator took no message for {WRITE_SECONDS:.0f} s")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
