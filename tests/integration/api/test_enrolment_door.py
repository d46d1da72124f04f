"""Enrolment and renewal over the wire: who gets an identity, who does not, and why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from ferryman.v1 import agents_pb2, inventory_pb2, tokens_pb2
from tests.support.coordinator import (
    EnrolledAgent,
    RunningCoordinator,
    agents_stub,
    inventory_stub,
    make_request,
    refusal,
    running_coordinator,
    tokens_stub,
)


async def enrol(coordinator: RunningCoordinator, token: str, **fields: object) -> agents_pb2.EnrolResponse:
    given: dict[str, object] = {
        "certificate_signing_request": make_request().request,
        "instance_name": "web-1",
    }
    request = agents_pb2.EnrolRequest(join_token=token, **(given | fields))  # type: ignore[arg-type]  # as told
    async with coordinator.channel() as channel:
        return await agents_stub(channel).Enrol(request)


async def instances(coordinator: RunningCoordinator) -> list[inventory_pb2.Instance]:
    async with coordinator.channel() as channel:
        answer = await inventory_stub(channel).ListInstances(
            inventory_pb2.ListInstancesRequest(), metadata=coordinator.admin
        )
    return list(answer.instances)


@pytest.mark.req("CP-079", "PF-273")
async def test_a_join_token_is_exchanged_for_an_identity(coordinator: RunningCoordinator) -> None:
    token = await coordinator.join_token()
    assert token.startswith(f"ferryman-join-1-{coordinator.ready.ca_fingerprint.removeprefix('sha256:')}-")
    answer = await enrol(coordinator, token, facts=agents_pb2.Facts(host_name="h1", cpu_count=4))
    leaf = x509.load_pem_x509_certificate(answer.certificate_chain)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(answer.ca_certificates))
    assert answer.ca_certificates == coordinator.ca
    assert answer.agents_port == coordinator.ready.agents.port
    (instance,) = await instances(coordinator)
    assert (instance.instance_id, instance.name) == (answer.instance_id, "web-1")
    assert (instance.facts.host_name, instance.facts.cpu_count) == ("h1", 4)
    assert instance.certificate_expires_at == answer.certificate_expires_at
    assert not instance.is_connected


async def test_name_and_tags_of_the_token_are_given_to_the_instance(coordinator: RunningCoordinator) -> None:
    token = await coordinator.join_token(instance_name="db-1", tags=[{"key": "role", "value": "db"}])
    answer = await enrol(coordinator, token, instance_name="", tags=[{"key": "rack", "value": "7"}])
    (instance,) = await instances(coordinator)
    assert answer.instance_name == "db-1"
    assert {(tag.key, tag.value) for tag in instance.tags} == {("role", "db"), ("rack", "7")}


async def revoked(coordinator: RunningCoordinator) -> str:
    async with coordinator.channel() as channel:
        stub = tokens_stub(channel)
        made = await stub.CreateJoinToken(tokens_pb2.CreateJoinTokenRequest(), metadata=coordinator.admin)
        request = tokens_pb2.RevokeJoinTokenRequest(token_id=made.join_token.token_id)
        await stub.RevokeJoinToken(request, metadata=coordinator.admin)
        listed = await stub.ListJoinTokens(tokens_pb2.ListJoinTokensRequest(), metadata=coordinator.admin)
    assert listed.join_tokens[0].HasField("revoked_at")
    return made.token


async def used_up(coordinator: RunningCoordinator) -> str:
    token = await coordinator.join_token()
    await enrol(coordinator, token, instance_name="first")
    return token


@pytest.mark.parametrize(
    "reason,message",
    [
        ("JoinTokenUsedUp", "has had its one use"),
        ("JoinTokenRevoked", "was revoked"),
        ("JoinTokenUnknown", "not known here"),
        ("JoinTokenForeign", "another coordinator"),
        ("JoinTokenMalformed", "no join token"),
    ],
)
async def test_a_wrong_token_is_refused_for_a_reason_of_its_own(
    coordinator: RunningCoordinator, reason: str, message: str
) -> None:
    good = await coordinator.join_token()
    prefix, fingerprint, secret = good.rsplit("-", 2)
    tokens = {
        "JoinTokenUnknown": f"{prefix}-{fingerprint}-{secret[::-1]}",
        "JoinTokenForeign": f"{prefix}-{fingerprint[::-1]}-{secret}",
        "JoinTokenMalformed": secret,
    }
    if reason == "JoinTokenUsedUp":
        token = await used_up(coordinator)
    elif reason == "JoinTokenRevoked":
        token = await revoked(coordinator)
    else:
        token = tokens[reason]
    before = await instances(coordinator)
    code, fault = await refusal(enrol(coordinator, token))
    assert (code, fault.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert message in fault.message
    assert token not in fault.message
    assert await instances(coordinator) == before


async def test_a_name_that_is_registered_is_refused_and_the_way_out_is_told(
    coordinator: RunningCoordinator,
) -> None:
    first = await coordinator.enrol("web-1")
    token = await coordinator.join_token()
    code, fault = await refusal(enrol(coordinator, token))
    assert (code, fault.reason) == (grpc.StatusCode.ALREADY_EXISTS, "InstanceNameAlreadyRegisteredException")
    assert "ferryman instance deregister web-1" in fault.message
    async with coordinator.channel() as channel:
        request = inventory_pb2.DeregisterInstanceRequest(instance="web-1")
        await inventory_stub(channel).DeregisterInstance(request, metadata=coordinator.admin)
    again = await enrol(coordinator, token)
    assert again.instance_id != first.instance_id


async def test_of_many_at_once_a_token_serves_as_many_as_it_has_uses(coordinator: RunningCoordinator) -> None:
    token = await coordinator.join_token(uses=3)
    answers = await asyncio.gather(
        *(enrol(coordinator, token, instance_name=f"web-{number}") for number in range(8)),
        return_exceptions=True,
    )
    granted = [answer for answer in answers if isinstance(answer, agents_pb2.EnrolResponse)]
    assert len(granted) == 3
    assert len(await instances(coordinator)) == 3


async def test_a_bad_request_for_a_certificate_spends_no_token(coordinator: RunningCoordinator) -> None:
    token = await coordinator.join_token()
    code, fault = await refusal(enrol(coordinator, token, certificate_signing_request=b"nonsense"))
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidCertificateSigningRequest")
    await enrol(coordinator, token)


async def test_facts_that_no_host_has_are_refused(coordinator: RunningCoordinator) -> None:
    facts = agents_pb2.Facts(addresses=["10.0.0.1"] * 5_000)
    code, fault = await refusal(enrol(coordinator, await coordinator.join_token(), facts=facts))
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidFacts")


async def test_trying_tokens_is_slowed_down(tmp_path: Path) -> None:
    settings = {"access.failures_per_minute": "3"}
    async with running_coordinator(tmp_path / "data", settings) as coordinator:
        good = await coordinator.join_token()
        for _ in range(3):
            code, _ = await refusal(enrol(coordinator, good[:-1] + "0"))
            assert code is grpc.StatusCode.UNAUTHENTICATED
        code, fault = await refusal(enrol(coordinator, good))
        assert (code, fault.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TooManyFailures")


async def renewed(agent: EnrolledAgent) -> agents_pb2.RenewCertificateResponse:
    request = agents_pb2.RenewCertificateRequest(certificate_signing_request=make_request().request)
    async with agent.channel() as channel:
        return await agents_stub(channel).RenewCertificate(request, timeout=10)


async def test_an_agent_renews_its_certificate_by_itself(coordinator: RunningCoordinator) -> None:
    agent = await coordinator.enrol("web-1")
    made = make_request()
    request = agents_pb2.RenewCertificateRequest(certificate_signing_request=made.request)
    async with agent.channel() as channel:
        answer = await agents_stub(channel).RenewCertificate(request, timeout=10)
    newer = EnrolledAgent(
        instance_id=agent.instance_id,
        name=agent.name,
        key=made.key,
        chain=answer.certificate_chain,
        address=agent.address,
        ca=answer.ca_certificates,
    )
    # The new one is good, and the old one still is until it expires.
    await renewed(newer)
    await renewed(agent)
    old, new = (x509.load_pem_x509_certificate(one.chain) for one in (agent, newer))
    assert old.subject == new.subject
    assert old.serial_number != new.serial_number


@pytest.mark.req("CP-091", "PF-273")
async def test_a_deregistered_instance_loses_its_identity_at_once(coordinator: RunningCoordinator) -> None:
    agent = await coordinator.enrol("web-1")
    async with coordinator.channel() as channel:
        request = inventory_pb2.DeregisterInstanceRequest(instance="web-1")
        await inventory_stub(channel).DeregisterInstance(request, metadata=coordinator.admin)
    code, fault = await refusal(renewed(agent))
    assert (code, fault.reason) == (grpc.StatusCode.UNAUTHENTICATED, "InstanceDeregistered")
    assert "enrol it again" in fault.message


async def test_an_identity_outlives_a_restart_of_the_coordinator(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    async with running_coordinator(data_dir) as first:
        agent = await first.enrol("web-1")
        token = first.admin_token
    async with running_coordinator(data_dir, {"listen.agents": agent.address}) as second:
        assert (second.ca, second.admin_token) == (agent.ca, token)
        await renewed(agent)
