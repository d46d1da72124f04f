"""A coordinator for the agent's tests: real gRPC over TLS on both ports, and no mind of its own.

It enrols, renews, takes streams, keeps what it hears, acknowledges when it is told to, and sends what a test wants.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc
import grpc.aio

from ferryman.channel import server_options
from ferryman.faults import encode_fault
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import agents_pb2_grpc, types_pb2
from tests.support.small_ca import SmallCa

PATIENCE_SECONDS = 20.0
SECRET = "a-secret"


class Session:
    """One agent's stream, from Hello to its end."""

    def __init__(self, hello: pb.Hello, identity: str) -> None:
        self.hello = hello
        self.identity = identity
        self.outgoing: asyncio.Queue[pb.ConnectResponse | None] = asyncio.Queue()
        self.goodbye: pb.Goodbye | None = None
        self.is_over = False

    def send(self, **message: Any) -> None:
        """Sends one message, for example `cancel=pb.Cancel(...)`."""
        self.outgoing.put_nowait(pb.ConnectResponse(**message))

    def end(self) -> None:
        """Ends the stream with status OK."""
        self.outgoing.put_nowait(None)


class FakeCoordinator(agents_pb2_grpc.AgentServiceServicer):
    """`async with` starts it. What it heard stays over streams and restarts of its servers."""

    def __init__(self, *, heartbeat_ms: int = 15_000, certificate_seconds: float = 3600) -> None:
        self.ca = SmallCa()
        self.server_ca = self.ca
        self.heartbeat_ms = heartbeat_ms
        self.certificate_seconds = certificate_seconds
        self.is_acknowledging = True
        self.is_reading = asyncio.Event()
        self.is_reading.set()
        self.may_renew = asyncio.Event()
        self.may_renew.set()
        self.now_ms = 0
        self.protocol_version = 0
        self.refusal: tuple[grpc.StatusCode, str, str] | None = None
        self.enrolments: list[pb.EnrolRequest] = []
        self.token_uses = 100
        self.renewals = 0
        self.versions: dict[str, str] = {}
        self.sessions: list[Session] = []
        self.attempts = 0
        self.reports: dict[int, pb.Report] = {}
        self.report_copies: list[int] = []
        self.acknowledged = 0
        self.acks: list[pb.CommandAck] = []
        self.heartbeats: list[pb.Heartbeat] = []
        self.lines: list[pb.LogLines] = []
        self.prefetched: list[pb.PrefetchDone] = []
        self.installed: list[pb.InstalledState] = []
        self.archives: dict[str, bytes] = {}
        self.http_host, self.http_port = "", 1
        self.fetched: list[str] = []
        self.port = 0
        self.agents_port = 0
        self._servers: list[grpc.aio.Server] = []
        self._changed = asyncio.Condition()

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    @property
    def token(self) -> str:
        return f"ferryman-join-1-{self.ca.fingerprint}-{SECRET}"

    @property
    def session(self) -> Session:
        """The newest stream."""
        return self.sessions[-1]

    async def __aenter__(self) -> FakeCoordinator:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listens; after the first time on the same ports."""
        server = self.server_ca.server("localhost", "127.0.0.1")
        pairs = [(server.key, server.chain)]
        people = grpc.ssl_server_credentials(pairs)
        agents = grpc.ssl_server_credentials(pairs, self.ca.pem, require_client_auth=True)
        self._servers = []
        for credentials, name in ((people, "port"), (agents, "agents_port")):
            listening = grpc.aio.server(options=server_options())
            agents_pb2_grpc.add_AgentServiceServicer_to_server(self, listening)
            port = listening.add_secure_port(f"127.0.0.1:{getattr(self, name)}", credentials)
            setattr(self, name, port)
            await listening.start()
            self._servers.append(listening)

    async def stop(self) -> None:
        """Ends all streams at once."""
        for server in self._servers:
            await server.stop(None)
        self._servers = []

    # What agents call

    async def Enrol(  # noqa: N802 - the name in the .proto
        self, request: pb.EnrolRequest, context: Any
    ) -> pb.EnrolResponse:
        self._note_version("Enrol", context)
        self.enrolments.append(request)
        is_vouched = request.HasField("provider_identity") and not request.join_token
        if not is_vouched and not request.join_token.endswith(f"-{SECRET}"):
            await _refuse(
                context, grpc.StatusCode.UNAUTHENTICATED, "JoinTokenInvalid", "this join token is not known"
            )
        if self.token_uses <= 0:
            await _refuse(
                context, grpc.StatusCode.UNAUTHENTICATED, "JoinTokenUsedUp", "this join token is used up"
            )
        self.token_uses -= 1
        instance_id = request.provider_instance_id or f"i-{len(self.enrolments)}"
        signed = self.ca.sign(request.certificate_signing_request, instance_id, self.certificate_seconds)
        return pb.EnrolResponse(
            instance_id=instance_id,
            instance_name=request.instance_name or request.facts.host_name,
            certificate_chain=signed.chain,
            ca_certificates=self.ca.pem,
            agents_port=self.agents_port,
            certificate_expires_at=signed.expires_at,
        )

    async def RenewCertificate(  # noqa: N802 - the name in the .proto
        self, request: pb.RenewCertificateRequest, context: Any
    ) -> pb.RenewCertificateResponse:
        self._note_version("RenewCertificate", context)
        await self.may_renew.wait()
        await self._maybe_refuse(context)
        self.renewals += 1
        signed = self.ca.sign(
            request.certificate_signing_request, _identity(context), self.certificate_seconds
        )
        return pb.RenewCertificateResponse(
            certificate_chain=signed.chain,
            ca_certificates=self.ca.pem,
            certificate_expires_at=signed.expires_at,
        )

    async def FetchBundle(  # noqa: N802 - the name in the .proto
        self, request: pb.FetchBundleRequest, context: Any
    ) -> AsyncIterator[pb.FetchBundleResponse]:
        self.fetched.append(request.address)
        if (content := self.archives.get(request.address)) is None:
            await _refuse(context, grpc.StatusCode.NOT_FOUND, "BundleDoesNotExist", "there is none")
            return
        for begin in range(0, len(content), 1000):
            yield pb.FetchBundleResponse(content=content[begin : begin + 1000])

    async def Connect(  # noqa: N802 - the name in the .proto
        self, requests: AsyncIterator[pb.ConnectRequest], context: Any
    ) -> AsyncIterator[pb.ConnectResponse]:
        self.attempts += 1
        self._note_version("Connect", context)
        await self._tell()
        first = await anext(aiter(requests))
        # Not before it has read: grpc.aio hides the status of a call that ends while a message is being written.
        await self._maybe_refuse(context)
        assert first.WhichOneof("message") == "hello", "Hello comes first"
        session = Session(first.hello, _identity(context))
        welcome = pb.Welcome(
            instance_id=session.identity,
            heartbeat_interval_ms=self.heartbeat_ms,
            http_scheme="http",
            http_host=self.http_host,
            http_port=self.http_port,
            acknowledged_report=self.acknowledged,
            now=self.now_ms,
            protocol_version=self.protocol_version,
        )
        yield pb.ConnectResponse(welcome=welcome)
        self.sessions.append(session)
        reading = asyncio.create_task(self._read(requests, session))
        await self._tell()
        try:
            while (message := await session.outgoing.get()) is not None:
                yield message
        finally:
            session.is_over = True
            reading.cancel()
            await asyncio.shield(self._tell())

    async def _read(self, requests: AsyncIterator[pb.ConnectRequest], session: Session) -> None:
        async for message in requests:
            await self.is_reading.wait()
            self._take(message, session)
            await self._tell()
        session.end()

    def _take(self, message: pb.ConnectRequest, session: Session) -> None:
        match message.WhichOneof("message"):
            case "report":
                report = message.report
                self.report_copies.append(report.number)
                known = self.reports.setdefault(report.number, report)
                assert known == report, f"report {report.number} changed"
                if self.is_acknowledging:
                    self.acknowledge(report.number, session)
            case "command_ack":
                self.acks.append(message.command_ack)
            case "heartbeat":
                self.heartbeats.append(message.heartbeat)
            case "log_lines":
                self.lines.append(message.log_lines)
            case "prefetch_done":
                self.prefetched.append(message.prefetch_done)
            case "installed_state":
                self.installed.append(message.installed_state)
            case "goodbye":
                session.goodbye = message.goodbye
                session.end()

    def acknowledge(self, number: int, session: Session | None = None) -> None:
        """Everything up to `number` is stored."""
        self.acknowledged = max(self.acknowledged, number)
        (session or self.session).send(report_ack=pb.ReportAck(number=number))

    def _note_version(self, call: str, context: Any) -> None:
        self.versions[call] = dict(context.invocation_metadata())["ferryman-agent-version"]

    async def _maybe_refuse(self, context: Any) -> None:
        if self.refusal is not None:
            await _refuse(context, *self.refusal)

    # What tests wait for

    async def until(self, condition: Callable[[], object], what: str = "the condition") -> None:
        """Returns when the condition holds; fails when that takes too long."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
                await self._changed.wait_for(lambda: bool(condition()))
        except TimeoutError:
            raise AssertionError(
                f"waited {PATIENCE_SECONDS:.0f} s for {what}; heard: {self.story()}"
            ) from None

    async def connected(self, count: int = 1) -> Session:
        """Returns the newest stream once there have been `count` of them and it stands."""
        await self.until(lambda: len(self.sessions) >= count and not self.session.is_over, f"stream {count}")
        return self.session

    async def finished(self, command_id: str) -> str:
        """Waits for the end of a segment; returns its status, such as `SUCCEEDED`."""
        await self.until(lambda: self._end(command_id), f"the end of {command_id}")
        end = self._end(command_id)
        assert end is not None
        return _status(end.segment_finished.status)

    def _end(self, command_id: str) -> pb.Report | None:
        reports = self.reports.values()
        return next(
            (each for each in reports if each.command_id == command_id and each.HasField("segment_finished")),
            None,
        )

    def story(self, command_id: str | None = None) -> list[str]:
        """Reports in the order of their numbers: `start X`, `SUCCEEDED X`, `end SUCCEEDED`, `script X s`."""
        numbers = sorted(self.reports)
        return [
            _word(self.reports[number])
            for number in numbers
            if command_id in (None, self.reports[number].command_id)
        ]

    def finish_of(self, lifecycle_event: str) -> types_pb2.Diagnostics:
        """Diagnostics of the event's end."""
        for report in self.reports.values():
            if report.event_finished.lifecycle_event == lifecycle_event:
                return report.event_finished.diagnostics
        raise AssertionError(f"{lifecycle_event} has not ended")

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def run_segment(
    deployment: str = "d-1",
    group: str = "g-1",
    *,
    instance: str = "i-1",
    events: Iterable[str] = ("BeforeInstall",),
    ignorable: Iterable[str] = (),
    attempt: int = 1,
    download_url: str = "/bundles/none",
) -> pb.RunSegment:
    """A command with everything in it that is required."""
    return pb.RunSegment(
        command_id=f"{deployment}/{instance}/{attempt}/0",
        deployment=a_description(deployment, group, download_url=download_url),
        lifecycle_events=list(events),
        event_timeout_seconds=3600,
        ignorable_failures=list(ignorable),
    )


def a_description(
    deployment: str, group: str, *, download_url: str = "/bundles/none"
) -> pb.DeploymentDescription:
    """What an agent is told of a deployment."""
    return pb.DeploymentDescription(
        deployment_id=deployment,
        deployment_group_id=group,
        deployment_group_name=f"name-of-{group}",
        application_name="app",
        revision=types_pb2.RevisionLocation(
            bundle=types_pb2.BundleLocation(
                sha256="0" * 64, size_bytes=1, bundle_type=types_pb2.BUNDLE_TYPE_ZIP
            )
        ),
        download_url=download_url,
    )


async def _refuse(context: Any, code: grpc.StatusCode, reason: str, message: str) -> None:
    await context.abort(code, message, encode_fault(reason, message, {}, is_retryable=False))


def _identity(context: Any) -> str:
    names = context.auth_context().get("x509_common_name", [b""])
    return str(names[0].decode())


def _status(status: types_pb2.LifecycleEventStatus.ValueType) -> str:
    return types_pb2.LifecycleEventStatus.Name(status).removeprefix("LIFECYCLE_EVENT_STATUS_")


def _word(report: pb.Report) -> str:
    kind = report.WhichOneof("fact")
    match kind:
        case "event_started":
            return f"start {report.event_started.lifecycle_event}"
        case "script_started":
            return f"script {report.script_started.lifecycle_event} {report.script_started.script_name}"
        case "event_finished":
            return f"{_status(report.event_finished.status)} {report.event_finished.lifecycle_event}"
        case "segment_finished":
            return f"end {_status(report.segment_finished.status)}"
        case _:
            return str(kind)
