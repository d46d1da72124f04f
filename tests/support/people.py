"""Users of a running coordinator, each with a token of its own."""

from __future__ import annotations

from collections.abc import Sequence

import grpc.aio

from ferryman.v1 import audit_pb2, audit_pb2_grpc, identity_pb2, identity_pb2_grpc
from tests.support.coordinator import Metadata, RunningCoordinator


def identity_stub(channel: grpc.aio.Channel) -> identity_pb2_grpc.IdentityServiceAsyncStub:
    stub: identity_pb2_grpc.IdentityServiceAsyncStub = identity_pb2_grpc.IdentityServiceStub(channel)
    return stub


def audit_stub(channel: grpc.aio.Channel) -> audit_pb2_grpc.AuditServiceAsyncStub:
    stub: audit_pb2_grpc.AuditServiceAsyncStub = audit_pb2_grpc.AuditServiceStub(channel)
    return stub


def bearer(token: str) -> Metadata:
    """Metadata of a call with that token."""
    return (("authorization", f"Bearer {token}"),)


async def person(
    coordinator: RunningCoordinator, name: str, role: str = "", *, on: Sequence[str] = ()
) -> Metadata:
    """A new user with a role, if one is named, and metadata for its calls."""
    async with coordinator.channel() as channel:
        stub, admin = identity_stub(channel), coordinator.admin
        await stub.CreateUser(identity_pb2.CreateUserRequest(name=name), metadata=admin)
        if role:
            await stub.GrantRole(
                identity_pb2.GrantRoleRequest(user=name, role=role, resources=on), metadata=admin
            )
        request = identity_pb2.CreateAccessTokenRequest(user=name)
        return bearer((await stub.CreateAccessToken(request, metadata=admin)).token)


async def role_with(coordinator: RunningCoordinator, name: str, *statements: identity_pb2.Statement) -> None:
    """A role that says this."""
    async with coordinator.channel() as channel:
        request = identity_pb2.PutRoleRequest(name=name, statements=statements)
        await identity_stub(channel).PutRole(request, metadata=coordinator.admin)


def allow(*actions: str, on: Sequence[str] = ("*",)) -> identity_pb2.Statement:
    return identity_pb2.Statement(effect=identity_pb2.EFFECT_ALLOW, actions=actions, resources=on)


def deny(*actions: str, on: Sequence[str] = ("*",)) -> identity_pb2.Statement:
    return identity_pb2.Statement(effect=identity_pb2.EFFECT_DENY, actions=actions, resources=on)


async def records(coordinator: RunningCoordinator, **wanted: object) -> Sequence[audit_pb2.AuditRecord]:
    """Audit records, newest first, but for the reading of them."""
    async with coordinator.channel() as channel:
        request = audit_pb2.ListAuditRecordsRequest(**wanted)  # type: ignore[arg-type]  # as the test says
        answer = await audit_stub(channel).ListAuditRecords(request, metadata=coordinator.admin)
    return [one for one in answer.records if one.event_name != "ListAuditRecords"]
