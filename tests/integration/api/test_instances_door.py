"""Registration, join tokens with rights, and views of instances, over the wire."""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ferryman.v1 import agents_pb2, inventory_pb2, tokens_pb2, types_pb2
from ferryman.v1 import instances_pb2 as pb
from tests.support.certificates import self_signed
from tests.support.coordinator import (
    EnrolledAgent,
    RunningCoordinator,
    agents_stub,
    instances_stub,
    inventory_stub,
    make_request,
    refusal,
    running_coordinator,
    tokens_stub,
)
from tests.support.wire_agent import connected

USER = "arn:aws:iam::123456789012:user/web-1"
SESSION = "arn:aws:sts::123456789012:assumed-role/web/web-1"
STATUS = inventory_pb2.RegistrationStatus


class Door:
    """The administrator's calls."""

    def __init__(self, coordinator: RunningCoordinator) -> None:
        self.coordinator = coordinator

    async def register(self, name: str, **fields: object) -> inventory_pb2.Instance:
        async with self.coordinator.channel() as channel:
            request = pb.RegisterInstanceRequest(instance_name=name, **fields)  # type: ignore[arg-type]
            answer = await instances_stub(channel).RegisterInstance(request, metadata=self.coordinator.admin)
        return answer.instance

    async def get(self, name: str) -> inventory_pb2.Instance:
        async with self.coordinator.channel() as channel:
            request = inventory_pb2.GetInstanceRequest(instance=name)
            answer = await inventory_stub(channel).GetInstance(request, metadata=self.coordinator.admin)
        return answer.instance

    async def tag(self, names: list[str], add: dict[str, str]) -> list[inventory_pb2.Instance]:
        async with self.coordinator.channel() as channel:
            request = pb.TagInstancesRequest(
                instances=names, add=[types_pb2.Tag(key=key, value=value) for key, value in add.items()]
            )
            answer = await instances_stub(channel).TagInstances(request, metadata=self.coordinator.admin)
        return list(answer.instances)

    async def several(self, names: list[str]) -> list[inventory_pb2.Instance]:
        async with self.coordinator.channel() as channel:
            request = pb.BatchGetInstancesRequest(instances=names)
            answer = await instances_stub(channel).BatchGetInstances(request, metadata=self.coordinator.admin)
        return list(answer.instances)

    async def enrol(self, token: str, **fields: object) -> EnrolledAgent:
        made = make_request()
        async with self.coordinator.channel() as channel:
            request = agents_pb2.EnrolRequest(
                join_token=token,
                certificate_signing_request=made.request,
                **fields,  # type: ignore[arg-type]
            )
            answer = await agents_stub(channel).Enrol(request)
        return EnrolledAgent(
            instance_id=answer.instance_id,
            name=answer.instance_name,
            key=made.key,
            chain=answer.certificate_chain,
            address=f"{self.coordinator.ready.agents.host}:{answer.agents_port}",
            ca=answer.ca_certificates,
        )


@pytest.fixture
def door(coordinator: RunningCoordinator) -> Door:
    return Door(coordinator)


@pytest.mark.req("CP-063", "CP-064", "CP-068", "CP-073", "CP-074", "CP-079", "CP-113")
async def test_from_the_registration_to_the_stream(door: Door) -> None:
    registered = await door.register("web-1", iam_user_arn=USER)
    assert (registered.name, registered.iam_user_arn) == ("web-1", USER)
    assert registered.registered_at > 0
    assert not registered.HasField("enrolled_at")
    (tagged,) = await door.tag(["web-1"], {"role": "web"})
    assert [(tag.key, tag.value) for tag in tagged.tags] == [("role", "web")]
    token = await door.coordinator.join_token(instance_name="web-1")
    # All that the machine needs is a way out to these two ports.
    enrolled = await door.enrol(token)
    assert enrolled.instance_id == registered.instance_id
    async with connected(enrolled) as agent:
        await agent.hello(facts=agents_pb2.Facts(host_name="h1"))
        shown = await door.get("web-1")
    assert (shown.is_connected, shown.arn, shown.facts.host_name) == (True, registered.arn, "h1")
    assert shown.enrolled_at >= shown.registered_at
    assert shown.lifecycle_state == "InService"


@pytest.mark.parametrize(
    "fields,code,reason",
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "IamArnRequiredException"),
        (
            {"iam_user_arn": USER, "iam_session_arn": SESSION},
            grpc.StatusCode.INVALID_ARGUMENT,
            "MultipleIamArnsProvidedException",
        ),
        ({"iam_user_arn": SESSION}, grpc.StatusCode.INVALID_ARGUMENT, "InvalidIamUserArnException"),
        ({"iam_session_arn": USER}, grpc.StatusCode.INVALID_ARGUMENT, "InvalidIamSessionArnException"),
        (
            {"iam_user_arn": USER + "-taken"},
            grpc.StatusCode.ALREADY_EXISTS,
            "IamUserArnAlreadyRegisteredException",
        ),
        (
            {"iam_session_arn": SESSION + "-taken"},
            grpc.StatusCode.ALREADY_EXISTS,
            "IamSessionArnAlreadyRegisteredException",
        ),
    ],
)
@pytest.mark.req("CP-034", "CP-069", "CP-071", "CP-072", "T22", "T23")
async def test_each_wrong_registration_is_refused_for_its_own_reason(
    door: Door, fields: dict[str, object], code: grpc.StatusCode, reason: str
) -> None:
    await door.register("user", iam_user_arn=USER + "-taken")
    await door.register("session", iam_session_arn=SESSION + "-taken")
    refused, fault = await refusal(door.register("web-1", **fields))
    assert (refused, fault.reason) == (code, reason)
    assert [one.name for one in await door.several(["web-1", "user", "session"])] == ["user", "session"]


@pytest.mark.req("CP-070", "CP-033", "T21", "T23")
async def test_wrong_and_taken_names_are_refused(door: Door) -> None:
    await door.register("h1", by_certificate=True)
    for name, reason in (
        ("", "InstanceNameRequiredException"),
        ("AA:BB", "InvalidInstanceNameException"),
        ("i-123", "InvalidInstanceNameException"),
        ("x" * 101, "InvalidInstanceNameException"),
        ("h1", "InstanceNameAlreadyRegisteredException"),
    ):
        _, fault = await refusal(door.register(name, by_certificate=True))
        assert fault.reason == reason


@pytest.mark.req("CP-087", "CP-100")
async def test_tags_and_reads_of_many(door: Door) -> None:
    for name in ("h1", "h2"):
        await door.register(name, by_certificate=True)
    code, fault = await refusal(door.tag(["h1", "h3"], {"a": "b"}))
    assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "InstanceNotRegisteredException")
    code, fault = await refusal(door.tag(["h1"], {}))
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TagRequiredException")
    code, fault = await refusal(door.tag([f"h{n}" for n in range(101)], {"a": "b"}))
    assert (code, fault.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "InstanceLimitExceededException",
    )
    assert [len(one.tags) for one in await door.several(["h1", "h2", "h3"])] == [0, 0]
    assert [len(one.tags) for one in await door.tag(["h1", "h2"], {"a": "b", "c": "d"})] == [2, 2]
    code, fault = await refusal(door.several([f"h{n}" for n in range(101)]))
    assert (code, fault.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BatchLimitExceededException")


async def test_ten_thousand_tags_are_refused_like_eleven(door: Door) -> None:
    await door.register("h1", by_certificate=True)
    many = {f"key-{number}": "v" for number in range(10_000)}
    code, fault = await refusal(door.tag(["h1"], many))
    assert (code, fault.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TagLimitExceededException")
    assert len(fault.message) < 1000
    tags = [{"key": key, "value": value} for key, value in many.items()]
    rule = tokens_pb2.TagRule(patterns=[types_pb2.Tag(key=f"key-{n}*", value="*x*x*x*") for n in range(50)])
    token = await door.coordinator.join_token(allowed_tags=rule)
    for count, reason in ((10_000, "RequestTooLarge"), (200, "TagLimitExceededException")):
        _, fault = await refusal(door.enrol(token, instance_name="h2", tags=tags[:count]))
        assert fault.reason == reason
    for name in ("web\r", "web\0", "\u202eweb", "w\ud7ff"):
        _, fault = await refusal(door.register(name, by_certificate=True))
        # What no text of ours may hold is refused before anybody asks what it is.
        assert fault.reason == ("InvalidInputException" if "\0" in name else "InvalidInstanceNameException")
        assert fault.message.isprintable()


async def test_a_token_says_what_its_holder_may_choose(door: Door) -> None:
    rule = tokens_pb2.TagRule(patterns=[types_pb2.Tag(key="role", value="web*")])
    token = await door.coordinator.join_token(
        uses=5, allowed_tags=rule, allowed_names=["web-*"], tags=[{"key": "owner", "value": "ops"}]
    )
    for fields, reason in (
        ({"instance_name": "db-1"}, "JoinTokenNameNotAllowed"),
        ({"instance_name": "web-1", "tags": [{"key": "role", "value": "db"}]}, "JoinTokenTagNotAllowed"),
    ):
        code, fault = await refusal(door.enrol(token, **fields))
        assert (code, fault.reason) == (grpc.StatusCode.PERMISSION_DENIED, reason)
    await door.enrol(token, instance_name="web-1", tags=[{"key": "role", "value": "web-eu"}])
    assert {(tag.key, tag.value) for tag in (await door.get("web-1")).tags} == {
        ("owner", "ops"),
        ("role", "web-eu"),
    }
    preset = await door.coordinator.join_token(uses=5, allowed_tags=tokens_pb2.TagRule())
    code, fault = await refusal(
        door.enrol(preset, instance_name="web-2", tags=[{"key": "role", "value": "web"}])
    )
    assert fault.reason == "JoinTokenTagNotAllowed"
    async with door.coordinator.channel() as channel:
        listed = await tokens_stub(channel).ListJoinTokens(
            tokens_pb2.ListJoinTokensRequest(), metadata=door.coordinator.admin
        )
    assert sorted((len(one.allowed_tags), list(one.allowed_names)) for one in listed.join_tokens) == [
        (0, ["*"]),
        (1, ["web-*"]),
    ]


async def test_a_coordinator_can_leave_tags_to_its_tokens(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data", {"enrolment.token_tags": "preset"}) as coordinator:
        door = Door(coordinator)
        tags = [{"key": "role", "value": "web"}]
        _, fault = await refusal(door.enrol(await coordinator.join_token(), instance_name="a", tags=tags))
        assert fault.reason == "JoinTokenTagNotAllowed"
        await door.enrol(await coordinator.join_token(tags=tags), instance_name="a", tags=tags)


@pytest.mark.req("CP-078")
async def test_whoever_takes_an_identity_over_ends_the_other_stream(door: Door) -> None:
    first = await door.coordinator.enrol("web-1")
    async with connected(first) as old:
        await old.hello()
        token = await door.coordinator.join_token(instance_name="web-1", replaces_identity=True)
        second = await door.enrol(token)
        assert second.instance_id == first.instance_id
        with pytest.raises(grpc.aio.AioRpcError, match="given to another machine"):
            await old.ended()
    async with connected(first) as late:
        await late.say(hello=agents_pb2.Hello(protocol_version=1))
        code, fault = await refusal(late.ended())
        assert (code, fault.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CertificateRevoked")
        assert (await door.get("web-1")).identity_trouble.reason == "CertificateRevoked"
    async with connected(second) as new:
        await new.hello()
        assert (await door.get("web-1")).is_connected


@pytest.mark.req("CP-078", "AG-083")
async def test_an_identity_that_two_machines_use_is_shown_with_the_instance(door: Door) -> None:
    enrolled = await door.coordinator.enrol("web-1")
    assert not (await door.get("web-1")).HasField("identity_trouble")
    first = agents_pb2.Facts(host_name="web-1", boot_id="a")
    copied = agents_pb2.Facts(host_name="clone", boot_id="b")
    async with connected(enrolled) as one, connected(enrolled) as two, connected(enrolled) as again:
        await one.hello(facts=first)
        await two.hello(facts=copied)
        await again.say(hello=agents_pb2.Hello(protocol_version=1, facts=first))
        await refusal(again.ended())
        trouble = (await door.get("web-1")).identity_trouble
    assert (trouble.reason, trouble.host_name) == ("IdentityInUse", "web-1")
    assert "'clone', is connected with the identity" in trouble.message
    assert trouble.at > 0
    token = await door.coordinator.join_token(instance_name="web-1", replaces_identity=True)
    await door.enrol(token)
    assert not (await door.get("web-1")).HasField("identity_trouble")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """What signs documents in the provider's place."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class TestCloud:
    ACCOUNT = "123456789012"

    def identity(self, key: rsa.RSAPrivateKey, instance_id: str) -> agents_pb2.ProviderIdentity:
        now = datetime.datetime.now(datetime.UTC)
        document = json.dumps(
            {
                "accountId": self.ACCOUNT,
                "instanceId": instance_id,
                "region": "eu-central-1",
                "availabilityZone": "eu-central-1a",
                "pendingTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ).encode()
        signature = base64.b64encode(key.sign(document, padding.PKCS1v15(), hashes.SHA256()))
        return agents_pb2.ProviderIdentity(provider="aws", document=document, signature=signature)

    @pytest.mark.req("CP-063", "CP-065", "CP-079")
    async def test_an_instance_enrols_with_what_its_provider_signed(
        self, tmp_path: Path, key: rsa.RSAPrivateKey
    ) -> None:
        (tmp_path / "aws.pem").write_bytes(self_signed(key))
        settings = {
            "aws_identity.certificates": str(tmp_path / "aws.pem"),
            "aws_identity.accounts": self.ACCOUNT,
        }
        async with running_coordinator(tmp_path / "data", settings) as coordinator:
            door = Door(coordinator)
            enrolled = await door.enrol(
                "", provider_identity=self.identity(key, "i-0abc"), provider_instance_id="i-0abc"
            )
            assert (enrolled.instance_id, enrolled.name) == ("i-0abc", "i-0abc")
            async with connected(enrolled) as agent:
                await agent.hello()
                shown = await door.get("i-0abc")
            assert (shown.is_connected, shown.kind) == (True, inventory_pb2.INSTANCE_KIND_CLOUD)
            assert shown.arn == f"arn:aws:ec2:eu-central-1:{self.ACCOUNT}:instance/i-0abc"
            assert shown.zone == "eu-central-1a"
            code, fault = await refusal(door.enrol("", provider_identity=self.identity(key, "i-0abc")))
            assert (code, fault.reason) == (
                grpc.StatusCode.ALREADY_EXISTS,
                "InstanceNameAlreadyRegisteredException",
            )
            forged = self.identity(rsa.generate_private_key(public_exponent=65537, key_size=2048), "i-0abd")
            code, fault = await refusal(door.enrol("", provider_identity=forged))
            assert (code, fault.reason) == (grpc.StatusCode.UNAUTHENTICATED, "IdentityDocumentInvalid")

    async def test_nobody_is_believed_unless_it_is_configured(
        self, door: Door, key: rsa.RSAPrivateKey
    ) -> None:
        code, fault = await refusal(door.enrol("", provider_identity=self.identity(key, "i-0abc")))
        assert (code, fault.reason) == (grpc.StatusCode.UNAUTHENTICATED, "ProviderNotTrusted")
        huge = agents_pb2.ProviderIdentity(provider="aws", document=b"x" * 20_000)
        code, fault = await refusal(door.enrol("", provider_identity=huge))
        assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidIdentityDocument")
