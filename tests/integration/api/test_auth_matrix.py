"""Nothing is reachable without identity but health and enrolment (D12): every call of every service is tried."""

from __future__ import annotations

import asyncio
import datetime
import importlib
import pkgutil
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import ferryman.v1
from ferryman.channel import open_channel
from ferryman.v1 import agents_pb2, inventory_pb2
from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.identity.authority import Authority
from tests.support.coordinator import (
    EnrolledAgent,
    Metadata,
    RunningCoordinator,
    agents_stub,
    inventory_stub,
    make_request,
    refusal,
    running_coordinator,
)

# Found, not listed: a service that comes later is tried as well.
FILES = [
    importlib.import_module(f"ferryman.v1.{module.name}")
    for module in pkgutil.iter_modules(ferryman.v1.__path__)
    if module.name.endswith("_pb2")
]
OPEN = {"/ferryman.v1.AgentService/Enrol"}
OF_AGENTS = {f"/ferryman.v1.AgentService/{name}" for name in ("Connect", "FetchBundle", "RenewCertificate")}


@pytest.fixture
async def patient_coordinator(tmp_path: Path) -> AsyncIterator[RunningCoordinator]:
    """One that does not tire of refusing: there are many calls to try."""
    async with running_coordinator(tmp_path / "data", {"access.failures_per_minute": "10000"}) as running:
        yield running


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


def call(
    channel: grpc.aio.Channel, path: str, method: MethodDescriptor, metadata: Metadata
) -> Awaitable[object]:
    """An empty request, or a stream of one."""
    request = GetMessageClass(method.input_type)()
    answer = GetMessageClass(method.output_type)
    kinds = (method.client_streaming, method.server_streaming)
    make: Any = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }[kinds]
    multicallable = make(path, _serialize, answer.FromString)
    made = multicallable(
        iter([request]) if method.client_streaming else request, metadata=metadata, timeout=10
    )
    answered: Awaitable[object] = made.read() if method.server_streaming else made
    return answered


def _serialize(message: object) -> bytes:
    return message.SerializeToString()  # type: ignore[attr-defined,no-any-return]  # a message of any kind


def test_every_call_is_tried() -> None:
    tried = {path for path, _ in methods()}
    assert len(tried) >= 39
    assert tried > OPEN | OF_AGENTS


@pytest.mark.req("CP-433")
@pytest.mark.parametrize(
    "metadata,reason",
    [
        ((), "TokenRequired"),
        ((("authorization", "Bearer ferryman-access-1-wrong"),), "TokenInvalid"),
        ((("authorization", "Bearer "),), "TokenRequired"),
        ((("authorization", "Basic YWRtaW46YWRtaW4="),), "TokenRequired"),
    ],
)
async def test_no_call_of_people_is_granted_without_a_token(
    patient_coordinator: RunningCoordinator, metadata: Metadata, reason: str
) -> None:
    async with patient_coordinator.channel() as channel:
        for path, method in methods():
            if path in OPEN:
                continue
            code, fault = await refusal(call(channel, path, method, metadata))
            assert code is grpc.StatusCode.UNAUTHENTICATED, path
            assert fault.reason == ("AgentCertificateRequired" if path in OF_AGENTS else reason), path


@pytest.mark.req("CP-439", "PF-277")
async def test_not_even_the_administrator_gets_at_calls_of_agents(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel:
        for path, method in methods():
            if path in OF_AGENTS:
                code, fault = await refusal(call(channel, path, method, coordinator.admin))
                assert (code, fault.reason) == (grpc.StatusCode.UNAUTHENTICATED, "AgentCertificateRequired")


@pytest.mark.req("CP-439", "PF-276", "PF-277")
async def test_agents_get_at_their_own_calls_only(patient_coordinator: RunningCoordinator) -> None:
    agent = await patient_coordinator.enrol("web-1")
    async with agent.channel() as channel:
        for path, method in methods():
            if path not in OF_AGENTS:
                code, fault = await refusal(call(channel, path, method, patient_coordinator.admin))
                assert (code, fault.reason) == (grpc.StatusCode.PERMISSION_DENIED, "WrongPort"), path


async def test_the_administrator_is_let_in(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel:
        answer = await inventory_stub(channel).ListApplications(
            inventory_pb2.ListApplicationsRequest(), metadata=coordinator.admin
        )
    assert list(answer.applications) == []


async def test_health_needs_no_identity_and_knows_every_service(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "ferryman.v1.AgentService", "ferryman.v1.DeploymentService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_needs_a_token_and_names_every_service(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        code, _ = await refusal(stub.ServerReflectionInfo(iter([request])).read())
        assert code is grpc.StatusCode.UNAUTHENTICATED
        answer = await stub.ServerReflectionInfo(iter([request]), metadata=coordinator.admin).read()
        names = {service.name for service in answer.list_services_response.service}
    assert {path.split("/")[1] for path, _ in methods()} < names
    assert "grpc.health.v1.Health" in names


async def test_too_many_wrong_tokens_close_the_door_but_not_for_known_callers(
    coordinator: RunningCoordinator,
) -> None:
    wrong = (("authorization", "Bearer ferryman-access-1-guess"),)
    async with coordinator.channel() as channel:
        stub = inventory_stub(channel)
        request = inventory_pb2.ListApplicationsRequest()
        await stub.ListApplications(request, metadata=coordinator.admin)
        for _ in range(60):
            code, _ = await refusal(stub.ListApplications(request, metadata=wrong))
            assert code is grpc.StatusCode.UNAUTHENTICATED
        code, fault = await refusal(stub.ListApplications(request, metadata=wrong))
        assert (code, fault.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TooManyFailures")
        assert fault.is_retryable
        await stub.ListApplications(request, metadata=coordinator.admin)


# TLS -----------------------------------------------------------------------------------------------------------------


def foreign(
    agent: EnrolledAgent, authority: Authority, *, age_ms: int = 0, lifetime_ms: int = 86_400_000
) -> EnrolledAgent:
    """The same instance with a certificate of that authority, made `age_ms` ago."""
    made = make_request()
    now = Instant(int(datetime.datetime.now(datetime.UTC).timestamp() * 1000))
    signed = authority.sign_request(
        made.request, InstanceId(agent.instance_id), Instant(now - age_ms), lifetime_ms
    )
    return EnrolledAgent(
        instance_id=agent.instance_id,
        name=agent.name,
        key=made.key,
        chain=signed.chain,
        address=agent.address,
        ca=agent.ca,
    )


async def renew(agent: EnrolledAgent) -> agents_pb2.RenewCertificateResponse:
    request = agents_pb2.RenewCertificateRequest(certificate_signing_request=make_request().request)
    async with agent.channel() as channel:
        return await agents_stub(channel).RenewCertificate(request, timeout=5)


@pytest.mark.req("CP-020")
async def test_a_certificate_of_another_authority_gets_no_connection(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    agent = await coordinator.enrol("web-1")
    now = Instant(int(datetime.datetime.now(datetime.UTC).timestamp() * 1000))
    other = Authority.open(tmp_path / "other", now, 86_400_000)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await renew(foreign(agent, other))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_expired_certificate_gets_no_connection(coordinator: RunningCoordinator) -> None:
    agent = await coordinator.enrol("web-1")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await renew(foreign(agent, ours(coordinator), age_ms=7_200_000, lifetime_ms=3_600_000))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def ours(coordinator: RunningCoordinator) -> Authority:
    """The coordinator's own authority, as whoever stole its key would have it."""
    return Authority.open(Path(coordinator.ready.data_dir) / "ca", Instant(1), 1)


async def test_a_certificate_that_was_never_issued_is_refused(coordinator: RunningCoordinator) -> None:
    agent = await coordinator.enrol("web-1")
    code, fault = await refusal(renew(foreign(agent, ours(coordinator))))
    assert (code, fault.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CertificateUnknown")


async def test_the_agents_port_wants_a_certificate(coordinator: RunningCoordinator) -> None:
    async with open_channel(str(coordinator.ready.agents), ca_certificates=coordinator.ca) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_plain_text_gets_no_answer(coordinator: RunningCoordinator) -> None:
    for address in (coordinator.ready.grpc, coordinator.ready.agents):
        async with grpc.aio.insecure_channel(str(address)) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def handshake(coordinator: RunningCoordinator, port: int, version: ssl.TLSVersion, ciphers: str = "") -> str:
    """The version that was agreed on."""
    context = ssl.create_default_context(cadata=coordinator.ca.decode())
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        # Old versions are what the test is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        return str(secured.version())


@pytest.mark.req("CP-441")
async def test_tls_is_new_enough_and_has_forward_secrecy(coordinator: RunningCoordinator) -> None:
    port = coordinator.ready.grpc.port
    assert await asyncio.to_thread(handshake, coordinator, port, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert await asyncio.to_thread(handshake, coordinator, port, ssl.TLSVersion.TLSv1_2, "ECDHE") == "TLSv1.2"
    refused = [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "AES256-SHA"),
    ]
    for version, ciphers in refused:
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.to_thread(handshake, coordinator, port, version, ciphers)


async def test_enrolling_by_fingerprint_is_possible(coordinator: RunningCoordinator) -> None:
    chain = ssl.get_server_certificate(("127.0.0.1", coordinator.ready.grpc.port))
    leaf = x509.load_pem_x509_certificate(chain.encode())
    root = x509.load_pem_x509_certificate(coordinator.ca)
    leaf.verify_directly_issued_by(root)
    assert root.public_bytes(serialization.Encoding.PEM) == coordinator.ca
