"""Every call of every service, tried by every role: granted or denied as the table of actions says (PF-254)."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

import ferryman.v1
from ferryman.faults import decode_fault
from ferryman_coordinator.api.auth import OF_AGENTS, OPEN
from ferryman_coordinator.api.rules import RULES, SELF_SERVICE, rule_of
from ferryman_coordinator.core.roles import ACTIONS, GRANTABLE, RoleName
from tests.support.coordinator import Metadata, RunningCoordinator, running_coordinator
from tests.support.people import person

FILES = [
    importlib.import_module(f"ferryman.v1.{module.name}")
    for module in pkgutil.iter_modules(ferryman.v1.__path__)
    if module.name.endswith("_pb2")
]


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


@pytest.mark.req("PF-254")
def test_every_call_has_a_row_and_every_action_one_in_the_table() -> None:
    assert {path for path, _ in methods()} == set(RULES)
    for path, rule in RULES.items():
        assert set(rule.actions) <= set(ACTIONS), path


def test_a_call_that_nobody_thought_of_is_closed() -> None:
    rule = rule_of("/ferryman.v1.NewService/Surprise")
    assert rule is not None
    (need,) = rule.needs(None)
    assert (need.any_of, need.on.names) == (("ferryman:Surprise",), ("*",))  # type: ignore[union-attr]  # a resource
    assert rule_of("/grpc.health.v1.Health/Check") is None


def test_what_changes_nothing_is_a_read_and_nothing_else() -> None:
    reads = (
        "Get",
        "List",
        "BatchGet",
        "Find",
        "Plan",
        "Watch",
        "Follow",
        "Read",
        "Check",
        "Search",
        "WhoAmI",
    )
    also = ("VerifyAudit", "Connect", "FetchBundle", "TestAlarm")
    for path, rule in RULES.items():
        name = path.rpartition("/")[2]
        assert rule.is_read is (name.startswith(reads) or name in also), path


@pytest.fixture
async def coordinator(tmp_path: Path) -> AsyncIterator[RunningCoordinator]:
    async with running_coordinator(tmp_path / "data", {"access.failures_per_minute": "100000"}) as running:
        yield running


def is_granted(role: RoleName, path: str, method: MethodDescriptor) -> bool:
    """By the table: the role has one of the actions of each need of an empty request."""
    request = GetMessageClass(method.input_type)()
    return all(
        any(role is RoleName.ADMIN or role in ACTIONS[action].roles for action in need.any_of)
        for need in RULES[path].needs(request)
    )


@pytest.mark.req("CP-438", "PF-254")
@pytest.mark.parametrize("role", GRANTABLE)
async def test_each_role_gets_exactly_what_the_table_says(
    coordinator: RunningCoordinator, role: RoleName
) -> None:
    metadata = await person(coordinator, "ann", role)
    async with coordinator.channel() as channel:
        for path, method in methods():
            if path in OPEN or path in OF_AGENTS:
                continue
            reason = await _refusal(channel, path, method, metadata)
            expected = is_granted(role, path, method)
            assert (reason != "AccessDeniedException") is expected, (role, path, reason)


async def _refusal(channel: grpc.aio.Channel, path: str, method: MethodDescriptor, metadata: Metadata) -> str:
    """The reason that an empty request is refused with; empty when it is granted."""
    request, answer = GetMessageClass(method.input_type)(), GetMessageClass(method.output_type)
    kinds = (method.client_streaming, method.server_streaming)
    make: Any = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
    }[kinds]
    multicallable = make(path, lambda message: message.SerializeToString(), answer.FromString)
    call = multicallable(
        iter([request]) if method.client_streaming else request, metadata=metadata, timeout=20
    )
    try:
        await (_first(call) if method.server_streaming else call)
    except grpc.aio.AioRpcError as error:
        fault = decode_fault(error.trailing_metadata())
        return "" if fault is None else fault.reason
    return ""


async def _first(call: Any) -> None:
    """Whether it begins: some streams wait for something to happen, and would for ever."""
    reading = asyncio.ensure_future(call.read())
    metadata = asyncio.ensure_future(call.initial_metadata())
    await asyncio.wait({reading}, timeout=0.3)
    if reading.done():
        reading.result()
    call.cancel()
    metadata.cancel()
    await asyncio.wait({reading, metadata})


def test_self_service_is_about_users_alone() -> None:
    for action in SELF_SERVICE:
        assert ACTIONS[action].kind == "user/"
