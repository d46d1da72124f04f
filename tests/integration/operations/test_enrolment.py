from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ferryman_coordinator.core.inventory import Facts, Instance, InstanceKind, LifecycleState
from ferryman_coordinator.core.model import DeploymentId, InstanceId, TargetStatus
from ferryman_coordinator.core.provider_identity import ProviderProof
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Conflict, Denied, Invalid, LimitExceeded, Refused, Unauthenticated
from ferryman_coordinator.operations.newcomers import EnrolOrder
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.inventory_records import instance_row
from ferryman_coordinator.store.records import target_row
from tests.support.coordinator_records import target_record
from tests.support.desk import Desk


async def order(desk: Desk, **options: object) -> EnrolOrder:
    """An order with a token that is good for several; what concerns the token goes to it."""
    rights: dict[str, object] = {
        key: options.pop(key) for key in ("allowed_tags", "allowed_names") if key in options
    }
    if rights:
        rights["tags"] = options.pop("tags", ())
    text, _ = await desk.tokens.create(uses=5, **rights)  # type: ignore[arg-type]
    return replace(EnrolOrder(join_token=text, facts=Facts(host_name="host-1.example.org")), **options)  # type: ignore[arg-type]


async def identity_refusal(desk: Desk, serial: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        await desk.enrolment.identify(serial)
    return refused.value.reason


async def instances(desk: Desk) -> list[str]:
    return [one.name for one in (await desk.instances.list(PageRequest())).items]


@pytest.mark.req("CP-075", "CP-079")
async def test_an_instance_enrols(desk: Desk) -> None:
    wanted = await order(desk, instance_name="web-1", tags=[Tag("role", "web")], zone="eu-1a")
    instance = await desk.enrolment.enrol(wanted, desk.certify)
    assert re.fullmatch(r"mi-[0-9a-f]{17}", instance.instance_id)
    assert re.fullmatch(r"arn:aws:codedeploy:eu-1:123456789012:instance/web-1_[0-9A-Za-z]{10}", instance.arn)
    assert (instance.name, instance.tags, instance.zone) == ("web-1", (Tag("role", "web"),), "eu-1a")
    assert (instance.kind, instance.registered_at) == (InstanceKind.ON_PREMISES, desk.clock.now())
    known = await desk.instances.get("web-1")
    assert known.instance == instance
    assert known.health == ()
    assert await desk.instances.get(instance.instance_id) == known
    assert await desk.enrolment.identify("1") == instance.instance_id


async def test_a_name_comes_from_the_order_the_token_or_the_host(desk: Desk) -> None:
    text, _ = await desk.tokens.create(instance_name="db-1", tags=[Tag("role", "db")])
    preset = EnrolOrder(join_token=text, facts=Facts(host_name="host-1"), tags=[Tag("disk", "ssd")])
    with pytest.raises(Denied, match="is for an instance called 'db-1', not 'web-1'") as refused:
        await desk.enrolment.enrol(replace(preset, instance_name="web-1"), desk.certify)
    assert refused.value.reason == "JoinTokenNameMismatch"
    named = await desk.enrolment.enrol(preset, desk.certify)
    assert (named.name, set(named.tags)) == ("db-1", {Tag("disk", "ssd"), Tag("role", "db")})
    assert (await desk.enrolment.enrol(await order(desk), desk.certify)).name == "host-1.example.org"


@pytest.mark.req("CP-070")
async def test_a_registered_name_is_taken_until_it_is_freed(desk: Desk) -> None:
    first = await desk.instance("web-1")
    with pytest.raises(Conflict, match="`ferryman instance deregister web-1`") as refused:
        await desk.instance("web-1")
    assert refused.value.reason == "InstanceNameAlreadyRegisteredException"
    await desk.instances.deregister("web-1")
    second = await desk.instance("web-1")
    assert second.instance_id != first.instance_id
    assert second.arn != first.arn


@pytest.mark.req("CP-070")
async def test_of_many_with_one_name_at_the_same_moment_one_gets_it(desk: Desk) -> None:
    wanted = await order(desk, instance_name="web-1")
    results = await asyncio.gather(
        *(desk.enrolment.enrol(wanted, desk.certify) for _ in range(5)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, Conflict)]
    assert len(refused) == 4
    # Those who did not get in have used nothing up.
    (token,) = (await desk.tokens.list(PageRequest())).items
    assert token.used == 1


async def test_one_use_lets_one_in(desk: Desk) -> None:
    text, _ = await desk.tokens.create()
    orders = [EnrolOrder(join_token=text, instance_name=f"web-{number}") for number in range(6)]
    results = await asyncio.gather(
        *(desk.enrolment.enrol(one, desk.certify) for one in orders), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, Unauthenticated)]
    assert [one.reason for one in refused] == ["JoinTokenUsedUp"] * 5
    assert len(await instances(desk)) == 1


@pytest.mark.req("AG-084")
async def test_a_name_with_a_colon_is_refused_with_what_is_allowed(desk: Desk) -> None:
    with pytest.raises(Invalid) as refused:
        await desk.enrolment.enrol(await order(desk, instance_name="web:1"), desk.certify)
    assert "':' is not among letters, digits and . _ + = , @ -" in str(refused.value)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"instance_name": "i-0123"}, "InvalidInstanceNameException"),
        ({"instance_name": "aa:bb:cc"}, "InvalidInstanceNameException"),
        ({"facts": Facts()}, "InstanceNameRequiredException"),
        ({"tags": [Tag("", "x")]}, "InvalidTagException"),
        ({"tags": [Tag("k", "x\r")]}, "InvalidTagException"),
        ({"tags": [Tag("k", "x" * 257)]}, "InvalidTagException"),
        ({"tags": [Tag("k" * 129, "x")]}, "InvalidTagException"),
        ({"tags": [Tag("k", str(number)) for number in range(11)]}, "TagLimitExceededException"),
        ({"zone": "z\n"}, "InvalidInputException"),
        ({"zone": "z" * 101}, "InvalidInputException"),
        ({"join_token": "nothing"}, "JoinTokenMalformed"),
    ],
)
@pytest.mark.req("CP-085", "CP-086", "CP-034", "CP-035")
async def test_a_wrong_order_uses_nothing_up(desk: Desk, options: dict[str, object], reason: str) -> None:
    with pytest.raises((Invalid, LimitExceeded, Unauthenticated)) as refused:
        await desk.enrolment.enrol(await order(desk, **options), desk.certify)
    assert refused.value.reason == reason
    assert await instances(desk) == []
    assert [token.used for token in (await desk.tokens.list(PageRequest())).items] == [0]


async def test_what_cannot_be_certified_is_not_registered(desk: Desk) -> None:
    def refuse(_instance_id: InstanceId) -> object:
        raise Invalid("InvalidCertificateRequest", "the signing request is not signed by its own key")

    with pytest.raises(Invalid, match="signing request"):
        await desk.enrolment.enrol(await order(desk), refuse)  # type: ignore[arg-type]
    assert await instances(desk) == []
    assert [token.used for token in (await desk.tokens.list(PageRequest())).items] == [0]


async def test_a_certificate_is_known_until_it_expires(desk: Desk) -> None:
    instance = await desk.instance("web-1")
    assert await identity_refusal(desk, "ffff") == "CertificateUnknown"
    desk.clock.advance(3_599_999)
    assert await desk.enrolment.identify("1") == instance.instance_id
    renewed = await desk.enrolment.renew(instance.instance_id, desk.certify)
    assert (await desk.instances.get("web-1")).instance.certificate_expires_at == renewed.expires_at
    desk.clock.advance(1)
    assert await identity_refusal(desk, "1") == "CertificateExpired"
    assert await desk.enrolment.identify(renewed.serial) == instance.instance_id


async def test_renewals_are_counted(desk: Desk) -> None:
    """Each costs a signature and a row that is kept for weeks."""
    instance, other = await desk.instance("web-1"), await desk.instance("web-2")
    for _ in range(29):
        await desk.enrolment.renew(instance.instance_id, desk.certify)
    with pytest.raises(LimitExceeded, match="30 certificates within an hour") as caught:
        await desk.enrolment.renew(instance.instance_id, desk.certify)
    assert caught.value.reason == "TooManyRenewals"
    await desk.enrolment.renew(other.instance_id, desk.certify)
    desk.clock.advance(3_600_000)
    await desk.enrolment.renew(instance.instance_id, desk.certify)


async def test_certificates_of_long_ago_are_forgotten(desk: Desk) -> None:
    instance = await desk.instance("web-1")
    desk.clock.advance(30 * 86_400_000)
    await desk.enrolment.renew(instance.instance_id, desk.certify)
    assert await identity_refusal(desk, "1") == "CertificateExpired"
    desk.clock.advance(3_600_001)
    await desk.enrolment.renew(instance.instance_id, desk.certify)
    assert await identity_refusal(desk, "1") == "CertificateUnknown"


async def test_a_revoked_certificate_lets_nobody_in(desk: Desk) -> None:
    await desk.instance("web-1")
    batch = Batch()
    batch.update(tables.certificates, {"serial": "1"}, {"revoked_at": desk.clock.now()})
    await desk.store.write(batch)
    assert await identity_refusal(desk, "1") == "CertificateRevoked"


@pytest.mark.req("CP-091", "CP-095")
async def test_a_deregistered_instance_is_known_until_its_target_has_ended(desk: Desk) -> None:
    instance = await desk.instance("web-1")
    await desk.applications.create("web")
    await desk.groups.create("web", "production")
    await desk.deployment("d-000000001", "web", "production")

    async def target_is(status: TargetStatus) -> None:
        batch = Batch()
        record = target_record(1, status, instance_id=instance.instance_id)
        batch.put(tables.targets, target_row(DeploymentId("d-000000001"), record))
        await desk.store.write(batch)

    await target_is(TargetStatus.IN_PROGRESS)
    await desk.instances.deregister("web-1")
    assert desk.engine.gone == [(instance.instance_id, "was deregistered", True)]
    assert await desk.enrolment.identify("1") == instance.instance_id
    await target_is(TargetStatus.SUCCEEDED)
    assert await identity_refusal(desk, "1") == "InstanceDeregistered"


async def test_facts_are_kept_and_bounded(desk: Desk) -> None:
    instance = await desk.instance("web-1")
    told = Facts(host_name="h" * 10_000, os="Debian", addresses=("192.0.2.1",) * 1000, memory_bytes=2**40)
    desk.clock.advance(5)
    await desk.enrolment.describe(instance.instance_id, told)
    kept = (await desk.instances.get("web-1")).instance
    assert (len(kept.facts.host_name), len(kept.facts.addresses)) == (256, 64)
    assert (kept.facts.os, kept.facts.memory_bytes) == ("Debian", 2**40)
    assert kept.last_seen_at == desk.clock.now()


async def test_no_refusal_leaves_a_certificate_behind(desk: Desk) -> None:
    await desk.instance("web-1")
    with pytest.raises(Refused):
        await desk.instance("web-1")
    async with desk.store.reading() as connection:
        rows = (await connection.execute(sa.select(tables.certificates))).all()
    assert len(rows) == 1


async def test_a_holder_chooses_only_what_his_token_allows(desk: Desk) -> None:
    narrow = await order(
        desk, allowed_tags=[Tag("role", "web*")], allowed_names=["web-*"], tags=[Tag("owner", "ops")]
    )
    wishes: list[tuple[dict[str, object], str, str]] = [
        ({"instance_name": "db-1"}, "JoinTokenNameNotAllowed", "'db-1', only web-\\*"),
        ({}, "JoinTokenNameNotAllowed", "'host-1.example.org'"),
        (
            {"instance_name": "web-1", "tags": [Tag("role", "db")]},
            "JoinTokenTagNotAllowed",
            "role=db: .* role=web",
        ),
        ({"instance_name": "web-1", "tags": [Tag("stage", "web")]}, "JoinTokenTagNotAllowed", "stage=web"),
        ({"provider_instance_id": "i-0abc"}, "JoinTokenNameNotAllowed", "'i-0abc'"),
    ]
    for wish, reason, text in wishes:
        with pytest.raises(Denied, match=text) as refused:
            await desk.enrolment.enrol(replace(narrow, **wish), desk.certify)  # type: ignore[arg-type]
        assert refused.value.reason == reason
    assert [token.used for token in (await desk.tokens.list(PageRequest())).items] == [0]
    good = replace(narrow, instance_name="web-1", tags=[Tag("role", "web-eu"), Tag("owner", "ops")])
    enrolled = await desk.enrolment.enrol(good, desk.certify)
    assert set(enrolled.tags) == {Tag("role", "web-eu"), Tag("owner", "ops")}


async def test_a_token_may_allow_no_tag_at_all(desk: Desk) -> None:
    fixed = await order(desk, allowed_tags=[], tags=[Tag("role", "web")])
    with pytest.raises(Denied, match="none of its own"):
        await desk.enrolment.enrol(replace(fixed, tags=[Tag("role", "db")]), desk.certify)
    assert (await desk.enrolment.enrol(fixed, desk.certify)).tags == (Tag("role", "web"),)


class TestCloud:
    """Instances whose id is their provider's (D17)."""

    @pytest.mark.req("CP-065", "CP-249")
    async def test_a_token_lets_one_in_under_its_provider_s_id(self, desk: Desk) -> None:
        wanted = await order(desk, provider_instance_id="i-0abc123", tags=[Tag("role", "web")])
        instance = await desk.enrolment.enrol(wanted, desk.certify)
        assert (instance.instance_id, instance.name, instance.kind) == (
            "i-0abc123",
            "i-0abc123",
            InstanceKind.CLOUD,
        )
        assert instance.arn == "arn:aws:ec2:eu-1:123456789012:instance/i-0abc123"
        assert instance.tags == (Tag("role", "web"),)
        assert await desk.enrolment.identify("1") == "i-0abc123"
        named = await desk.enrolment.enrol(
            await order(desk, provider_instance_id="i-0abc124", instance_name="web-7"), desk.certify
        )
        assert (named.instance_id, named.name) == ("i-0abc124", "web-7")
        for text in ("i-0abc124", "web-7"):
            assert (await desk.instances.get(text)).instance == named

    @pytest.mark.parametrize("wrong", ["0abc", "i-", "i-ABC", "i-a/b", "i-" + "a" * 63, "i-a\n", "mi-0123"])
    async def test_what_is_no_provider_s_id_is_refused(self, desk: Desk, wrong: str) -> None:
        with pytest.raises(Invalid, match="is no id of a cloud instance"):
            await desk.enrolment.enrol(await order(desk, provider_instance_id=wrong), desk.certify)

    async def test_its_provider_s_word_stands_in_for_a_token(self, desk: Desk) -> None:
        proof = ProviderProof(provider="aws", document=b"i-0abc", signature=b"")
        plain = EnrolOrder(proof=proof, facts=Facts(host_name="ip-10-0-0-1"))
        wishes: list[tuple[dict[str, object], str]] = [
            ({"tags": [Tag("role", "web")]}, "JoinTokenRequired"),
            ({"instance_name": "web-1"}, "JoinTokenRequired"),
            ({"provider_instance_id": "i-0abd"}, "ProviderIdMismatch"),
        ]
        for wish, reason in wishes:
            with pytest.raises(Denied) as refused:
                await desk.enrolment.enrol(replace(plain, **wish), desk.certify)  # type: ignore[arg-type]
            assert refused.value.reason == reason
        instance = await desk.enrolment.enrol(replace(plain, provider_instance_id="i-0abc"), desk.certify)
        assert (instance.instance_id, instance.kind, instance.tags) == ("i-0abc", InstanceKind.CLOUD, ())
        assert (instance.arn, instance.zone) == ("arn:aws:ec2:r:a:instance/i-0abc", "r-1a")
        other = replace(plain, proof=replace(proof, provider="gcp"))
        with pytest.raises(Unauthenticated, match="of 'gcp' are not believed here") as stranger:
            await desk.enrolment.enrol(other, desk.certify)
        assert stranger.value.reason == "ProviderNotTrusted"

    async def test_a_document_and_a_token_together_give_tags_to_who_is_proven(self, desk: Desk) -> None:
        proof = ProviderProof(provider="aws", document=b"i-0abc", signature=b"")
        wanted = await order(desk, proof=proof, tags=[Tag("role", "web")], instance_name="web-1")
        instance = await desk.enrolment.enrol(wanted, desk.certify)
        assert (instance.instance_id, instance.name, instance.tags) == (
            "i-0abc",
            "web-1",
            (Tag("role", "web"),),
        )
        assert [token.used for token in (await desk.tokens.list(PageRequest())).items] == [1]

    async def test_without_token_and_without_document_nobody_is_let_in(self, desk: Desk) -> None:
        with pytest.raises(Unauthenticated) as refused:
            await desk.enrolment.enrol(EnrolOrder(provider_instance_id="i-0abc"), desk.certify)
        assert refused.value.reason == "JoinTokenMalformed"

    async def test_an_id_enrols_once_unless_an_operator_allows_it(self, desk: Desk) -> None:
        proven = EnrolOrder(proof=ProviderProof(provider="aws", document=b"i-0abc", signature=b""))
        first = await desk.enrolment.enrol(proven, desk.certify)
        with pytest.raises(Conflict) as taken:
            await desk.enrolment.enrol(proven, desk.certify)
        assert taken.value.reason == "InstanceNameAlreadyRegisteredException"
        await desk.instances.tag("i-0abc", add=[Tag("role", "web")])
        desk.clock.advance(1000)
        await desk.instances.deregister("i-0abc")
        # A copy of its document is worth nothing any more, nor is a token for whoever comes.
        for again in (proven, await order(desk, provider_instance_id="i-0abc")):
            with pytest.raises(Conflict, match="--instance-name i-0abc") as known:
                await desk.enrolment.enrol(again, desk.certify)
            assert known.value.reason == "InstanceIdKnown"
        text, _ = await desk.tokens.create(instance_name="i-0abc")
        desk.clock.advance(1000)
        second = await desk.enrolment.enrol(replace(proven, join_token=text), desk.certify)
        assert (second.instance_id, second.tags, second.is_registered) == (first.instance_id, (), True)
        assert second.registered_at == desk.clock.now()
        assert [one.name for one in (await desk.instances.list(PageRequest())).items] == ["i-0abc"]
        assert await identity_refusal(desk, "1") == "CertificateRevoked"
        assert await desk.enrolment.identify("2") == "i-0abc"

    async def test_of_many_at_the_same_moment_one_gets_the_id(self, desk: Desk) -> None:
        proven = EnrolOrder(proof=ProviderProof(provider="aws", document=b"i-0abc", signature=b""))
        results = await asyncio.gather(
            *(desk.enrolment.enrol(proven, desk.certify) for _ in range(4)), return_exceptions=True
        )
        assert [type(one) for one in results].count(Conflict) == 3

    async def test_a_cloud_instance_takes_no_name_that_was_registered_for_a_machine_on_premises(
        self, desk: Desk
    ) -> None:
        await desk.registration.register("web-1", by_certificate=True)
        text, _ = await desk.tokens.create(instance_name="web-1")
        with pytest.raises(Conflict, match="registered as OnPremises"):
            await desk.enrolment.enrol(
                EnrolOrder(join_token=text, provider_instance_id="i-0abc"), desk.certify
            )


async def announced(desk: Desk, instance_id: str) -> None:
    """Its autoscaling group launches it, and its machine is still to come."""
    made = Instance(
        instance_id=InstanceId(instance_id),
        name=instance_id,
        kind=InstanceKind.CLOUD,
        arn=f"arn:aws:ec2:r:a:instance/{instance_id}",
        tags=(),
        zone="z-1",
        registered_at=desk.clock.now(),
        auto_scaling_group="fleet",
        lifecycle_state=LifecycleState.LAUNCHING,
    )
    batch = Batch()
    batch.insert(tables.instances, instance_row(made, None))
    await desk.store.write(batch)


@pytest.mark.req("CP-397", "A9")
async def test_a_machine_that_its_autoscaling_group_has_announced_takes_its_place(desk: Desk) -> None:
    await announced(desk, "i-0a1")
    wanted = await order(desk, provider_instance_id="i-0a1", instance_name="web", tags=[Tag("role", "web")])
    enrolled = await desk.enrolment.enrol(wanted, desk.certify)
    assert (enrolled.name, enrolled.auto_scaling_group) == ("i-0a1", "fleet")
    assert (enrolled.lifecycle_state, enrolled.tags) == (LifecycleState.LAUNCHING, (Tag("role", "web"),))
    # Its identity is taken now, and nobody else gets it.
    with pytest.raises(Conflict, match="registered already"):
        await desk.enrolment.enrol(await order(desk, provider_instance_id="i-0a1"), desk.certify)


@pytest.mark.req("CP-397")
async def test_only_a_token_that_allows_its_id_is_good_for_it(desk: Desk) -> None:
    await announced(desk, "i-0a1")
    wanted = await order(desk, provider_instance_id="i-0a1", allowed_names=("web-*",))
    with pytest.raises(Denied, match="does not allow"):
        await desk.enrolment.enrol(wanted, desk.certify)
