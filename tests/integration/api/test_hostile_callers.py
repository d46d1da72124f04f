"""What callers who want no good can make the gRPC ports do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ferryman.v1 import agents_pb2, tokens_pb2, types_pb2
from ferryman_coordinator.api import interceptors
from tests.support.coordinator import Metadata, RunningCoordinator, agents_stub, refusal

CREATE_TOKEN = "/ferryman.v1.TokenService/CreateJoinToken"


def call_without_message(
    channel: grpc.aio.Channel, metadata: Metadata = ()
) -> grpc.aio.StreamUnaryCall[bytes, bytes]:
    """As a caller whose request never comes."""
    method: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(CREATE_TOKEN)
    return method(metadata=metadata, timeout=30)


def call_with(channel: grpc.aio.Channel, request: bytes, metadata: Metadata = ()) -> Awaitable[bytes]:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CREATE_TOKEN)
    return method(request, metadata=metadata, timeout=30)


@pytest.mark.req("CP-433")
async def test_who_calls_is_asked_before_a_request_is_read(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel:
        code, fault = await refusal(call_without_message(channel))
        assert (code, fault.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TokenRequired")


async def test_a_stranger_learns_why_however_large_the_request(coordinator: RunningCoordinator) -> None:
    """Two bytes a message in the message: objects for it all would take thirty times the memory."""
    tags = tokens_pb2.CreateJoinTokenRequest(tags=[types_pb2.Tag()])
    async with coordinator.channel() as channel:
        code, fault = await refusal(call_with(channel, tags.SerializeToString() * 1_900_000))
        assert (code, fault.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TokenRequired")


async def test_a_known_caller_has_to_say_what_it_wants(
    coordinator: RunningCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interceptors, "_REQUEST_S", 0.05)
    async with coordinator.channel() as channel:
        code, fault = await refusal(call_without_message(channel, coordinator.admin))
        assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "RequestIncomplete")
        ended = call_without_message(channel, coordinator.admin)
        await ended.done_writing()
        code, fault = await refusal(ended)
        assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "RequestIncomplete")


async def test_enrolment_takes_no_more_than_an_enrolment_needs(coordinator: RunningCoordinator) -> None:
    request = agents_pb2.EnrolRequest(join_token="x" * 100_000)
    async with coordinator.channel() as channel:
        code, fault = await refusal(agents_stub(channel).Enrol(request))
        assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "RequestTooLarge")


async def test_a_request_that_is_none(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel:
        code, fault = await refusal(call_with(channel, b"\xff\xff", coordinator.admin))
        assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MalformedRequest")


async def test_strangers_watch_health_in_small_numbers(
    coordinator: RunningCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interceptors, "_ANONYMOUS_STREAMS", 3)
    request = health_pb2.HealthCheckRequest()
    async with coordinator.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(request) for _ in range(3)]
        for watch in watches:
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        code, fault = await refusal(stub.Watch(request).read())
        assert (code, fault.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TooManyStreams")
        # Asking, and who goes, are not counted.
        await stub.Check(request)
        watches[0].cancel()
        async with asyncio.timeout(10):
            while await is_refused(stub.Watch(request)):
                pass


async def is_refused(watch: grpc.aio.UnaryStreamCall[Any, Any]) -> bool:
    try:
        await watch.read()
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return False


async def test_a_flood_of_pings_ends_its_connection(coordinator: RunningCoordinator) -> None:
    """HTTP/2 by hand: preface, settings, and a hundred pings that nobody waits for."""
    context = ssl.create_default_context(cadata=coordinator.ca.decode())
    context.set_alpn_protocols(["h2"])
    address = coordinator.ready.grpc
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=context, server_hostname=address.host
    )
    settings, ping = b"\0\0\0\4\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0ferryman"
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + 100 * ping)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        async with asyncio.timeout(20):
            while await reader.read(4096):
                pass
    writer.close()


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer nobody's"),)])
async def test_strangers_who_go_on_cost_no_line_of_the_log(
    coordinator: RunningCoordinator, capsys: pytest.CaptureFixture[str], metadata: Metadata
) -> None:
    await coordinator.join_token()
    capsys.readouterr()
    async with coordinator.channel() as channel:
        reasons = [(await refusal(call_with(channel, b"", metadata)))[1].reason for _ in range(70)]
        assert reasons[60:] == ["TooManyFailures"] * 10
        assert len(set(reasons[:60])) == 1
        shown = capsys.readouterr()
        assert (shown.out + shown.err).count("caller_refused") == 60
        # Nobody is kept from asking for health, and no known caller kept out.
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    await coordinator.join_token()
