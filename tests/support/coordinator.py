"""A whole coordinator in this process and loop: real TLS, real SQLite, ports of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ferryman.channel import open_channel
from ferryman.faults import decode_fault
from ferryman.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    bundles_pb2_grpc,
    deployments_pb2_grpc,
    events_pb2_grpc,
    faults_pb2,
    instances_pb2_grpc,
    inventory_pb2_grpc,
    tokens_pb2,
    tokens_pb2_grpc,
)
from ferryman_coordinator.app import Ready
from ferryman_coordinator.config import load
from ferryman_coordinator.process import Coordinator

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAndRequest:
    """A key, and the request that its certificate is signed for; PEM."""

    key: bytes
    request: bytes


def make_request() -> KeyAndRequest:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return KeyAndRequest(
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        request=request.public_bytes(serialization.Encoding.PEM),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledAgent:
    """An identity on the wire."""

    instance_id: str
    name: str
    key: bytes
    chain: bytes
    address: str
    ca: bytes

    def channel(self) -> grpc.aio.Channel:
        return open_channel(
            self.address, ca_certificates=self.ca, certificate_chain=self.chain, private_key=self.key
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCoordinator:
    ready: Ready
    ca: bytes
    admin_token: str

    def channel(self) -> grpc.aio.Channel:
        """To the people's port; close it."""
        return open_channel(str(self.ready.grpc), ca_certificates=self.ca)

    @property
    def admin(self) -> Metadata:
        """Metadata of a call by the administrator."""
        return (("authorization", f"Bearer {self.admin_token}"),)

    async def join_token(self, **fields: object) -> str:
        async with self.channel() as channel:
            stub = tokens_stub(channel)
            request = tokens_pb2.CreateJoinTokenRequest(**fields)  # type: ignore[arg-type]  # as the test says
            return (await stub.CreateJoinToken(request, metadata=self.admin)).token

    async def enrol(self, name: str, *, agent_version: str = "", **tags: str) -> EnrolledAgent:
        made = make_request()
        async with self.channel() as channel:
            answer = await agents_stub(channel).Enrol(
                agents_pb2.EnrolRequest(
                    join_token=await self.join_token(),
                    certificate_signing_request=made.request,
                    instance_name=name,
                    facts=agents_pb2.Facts(agent_version=agent_version),
                    tags=[
                        agents_pb2.EnrolRequest().tags.add(key=key, value=value)
                        for key, value in tags.items()
                    ],
                )
            )
        return EnrolledAgent(
            instance_id=answer.instance_id,
            name=answer.instance_name,
            key=made.key,
            chain=answer.certificate_chain,
            address=f"{self.ready.agents.host}:{answer.agents_port}",
            ca=answer.ca_certificates,
        )


@asynccontextmanager
async def running_coordinator(
    data_dir: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[RunningCoordinator]:
    """`settings` by their dotted names, as on the command line."""
    flags = {
        "data_dir": str(data_dir),
        "listen.grpc": "127.0.0.1:0",
        "listen.http": "127.0.0.1:0",
        "agents.drain_within": "1s",
    }
    config = load(None, {}, flags | dict(settings or {}))
    announced: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    async with Coordinator.open(config) as coordinator:
        running = asyncio.create_task(coordinator.run(announced.set_result, stop))
        either: set[asyncio.Future[Any]] = {running, announced}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        try:
            yield RunningCoordinator(
                ready=announced.result(),
                ca=(data_dir / "ca.pem").read_bytes(),
                admin_token=(data_dir / "admin.token").read_text().strip(),
            )
        finally:
            stop.set()
            await running


async def refusal(call: Awaitable[object]) -> tuple[grpc.StatusCode, faults_pb2.Fault]:
    """How a call is refused; fails when it is granted, or when no fault comes with the status."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    fault = decode_fault(caught.value.trailing_metadata())
    assert fault is not None, f"{caught.value.code()}: {caught.value.details()} comes without a fault"
    return caught.value.code(), fault


def agents_stub(channel: grpc.aio.Channel) -> agents_pb2_grpc.AgentServiceAsyncStub:
    stub: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(channel)
    return stub


def bundles_stub(channel: grpc.aio.Channel) -> bundles_pb2_grpc.BundleServiceAsyncStub:
    stub: bundles_pb2_grpc.BundleServiceAsyncStub = bundles_pb2_grpc.BundleServiceStub(channel)
    return stub


def deployments_stub(channel: grpc.aio.Channel) -> deployments_pb2_grpc.DeploymentServiceAsyncStub:
    stub: deployments_pb2_grpc.DeploymentServiceAsyncStub = deployments_pb2_grpc.DeploymentServiceStub(
        channel
    )
    return stub


def events_stub(channel: grpc.aio.Channel) -> events_pb2_grpc.EventServiceAsyncStub:
    stub: events_pb2_grpc.EventServiceAsyncStub = events_pb2_grpc.EventServiceStub(channel)
    return stub


def inventory_stub(channel: grpc.aio.Channel) -> inventory_pb2_grpc.InventoryServiceAsyncStub:
    stub: inventory_pb2_grpc.InventoryServiceAsyncStub = inventory_pb2_grpc.InventoryServiceStub(channel)
    return stub


def tokens_stub(channel: grpc.aio.Channel) -> tokens_pb2_grpc.TokenServiceAsyncStub:
    stub: tokens_pb2_grpc.TokenServiceAsyncStub = tokens_pb2_grpc.TokenServiceStub(channel)
    return stub


def instances_stub(channel: grpc.aio.Channel) -> instances_pb2_grpc.InstanceServiceAsyncStub:
    stub: instances_pb2_grpc.InstanceServiceAsyncStub = instances_pb2_grpc.InstanceServiceStub(channel)
    return stub
