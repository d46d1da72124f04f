"""Thousands of pretend agents in one process: real enrolment, real mutual TLS, real streams, no hooks.

A pretend agent answers each segment at once, as an agent whose hooks are all empty would.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ferryman.channel import PROTOCOL_VERSION, open_channel
from ferryman.v1 import agents_pb2, agents_pb2_grpc, types_pb2

# Handshakes under way at once: a fleet comes back paced, not as one burst.
_CONNECTING = 64


class SwarmAgent:
    """One pretend agent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.instance_id = ""
        # When each command arrived, by the monotonic clock.
        self.arrivals: dict[str, float] = {}
        self.reports = 0
        self.acknowledged = 0
        # When the end of the last event was handed to gRPC, by the monotonic clock: that ends a target.
        self.said_at = 0.0
        # The end of the last event is not told before it is set.
        self.last_event = ""
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.connected = asyncio.Event()
        self._outgoing: asyncio.Queue[agents_pb2.ConnectRequest] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._enrolled: agents_pb2.EnrolResponse | None = None
        self._key = b""

    async def enrol(self, stub: agents_pb2_grpc.AgentServiceAsyncStub, token: str) -> None:
        """Gets an identity."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        self._enrolled = await stub.Enrol(
            agents_pb2.EnrolRequest(
                join_token=token,
                certificate_signing_request=request.public_bytes(serialization.Encoding.PEM),
                instance_name=self.name,
                tags=[types_pb2.Tag(key="fleet", value="swarm")],
            )
        )
        self.instance_id = self._enrolled.instance_id

    def start(self, host: str) -> None:
        """Connects, and answers until `stop`."""
        self._task = asyncio.create_task(self._run(host), name=self.name)

    async def stop(self) -> None:
        """Ends the stream."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, host: str) -> None:
        assert self._enrolled is not None
        channel = open_channel(
            f"{host}:{self._enrolled.agents_port}",
            ca_certificates=self._enrolled.ca_certificates,
            certificate_chain=self._enrolled.certificate_chain,
            private_key=self._key,
        )
        async with channel:
            stub: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(channel)
            hello = agents_pb2.Hello(protocol_version=PROTOCOL_VERSION, agent_version="swarm")
            self._outgoing.put_nowait(agents_pb2.ConnectRequest(hello=hello))
            async for response in stub.Connect(self._requests()):
                self._handle(response)

    async def _requests(self) -> AsyncIterator[agents_pb2.ConnectRequest]:
        while True:
            message = await self._outgoing.get()
            if message.report.event_finished.lifecycle_event == self.last_event != "":
                await self.may_finish.wait()
                self.said_at = time.monotonic()
            yield message

    def _handle(self, response: agents_pb2.ConnectResponse) -> None:
        match response.WhichOneof("message"):
            case "welcome":
                self.connected.set()
            case "run_segment":
                self.arrivals[response.run_segment.command_id] = time.monotonic()
                self._answer(response.run_segment)
            case "report_ack":
                self.acknowledged = response.report_ack.number

    def _answer(self, segment: agents_pb2.RunSegment) -> None:
        ack = agents_pb2.CommandAck(
            command_id=segment.command_id, disposition=agents_pb2.COMMAND_DISPOSITION_STARTED
        )
        self._outgoing.put_nowait(agents_pb2.ConnectRequest(command_ack=ack))
        self.last_event = segment.lifecycle_events[-1]
        succeeded = types_pb2.LIFECYCLE_EVENT_STATUS_SUCCEEDED
        success = types_pb2.Diagnostics(error_code=types_pb2.LIFECYCLE_ERROR_CODE_SUCCESS)
        for name in segment.lifecycle_events:
            self._report(segment, event_started=agents_pb2.EventStarted(lifecycle_event=name))
            finished = agents_pb2.EventFinished(lifecycle_event=name, status=succeeded, diagnostics=success)
            self._report(segment, event_finished=finished)
        self._report(segment, segment_finished=agents_pb2.SegmentFinished(status=succeeded))

    def _report(
        self,
        segment: agents_pb2.RunSegment,
        *,
        event_started: agents_pb2.EventStarted | None = None,
        event_finished: agents_pb2.EventFinished | None = None,
        segment_finished: agents_pb2.SegmentFinished | None = None,
    ) -> None:
        self.reports += 1
        report = agents_pb2.Report(
            number=self.reports,
            command_id=segment.command_id,
            at=int(time.time() * 1000),
            event_started=event_started,
            event_finished=event_finished,
            segment_finished=segment_finished,
        )
        self._outgoing.put_nowait(agents_pb2.ConnectRequest(report=report))


class Swarm:
    """Many pretend agents of one coordinator."""

    def __init__(self, count: int) -> None:
        self.agents = [SwarmAgent(f"swarm-{number}") for number in range(count)]

    async def enrol(self, address: str, ca_certificates: bytes, token: str) -> None:
        """Gets an identity for each; the token must be good for all of them."""
        limit = asyncio.Semaphore(_CONNECTING)
        async with open_channel(address, ca_certificates=ca_certificates) as channel:
            stub: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(channel)

            async def one(agent: SwarmAgent) -> None:
                async with limit:
                    await agent.enrol(stub, token)

            await asyncio.gather(*(one(agent) for agent in self.agents))

    async def connect(self, host: str) -> None:
        """Returns when every agent has been welcomed."""
        limit = asyncio.Semaphore(_CONNECTING)

        async def one(agent: SwarmAgent) -> None:
            async with limit:
                agent.start(host)
                await agent.connected.wait()

        await asyncio.gather(*(one(agent) for agent in self.agents))

    async def stop(self) -> None:
        """Ends every stream."""
        await asyncio.gather(*(agent.stop() for agent in self.agents))
