"""Instances that are registered by name before their machine comes, and the machine that comes."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from ferryman_coordinator.core.inventory import Facts, InstanceKind
from ferryman_coordinator.core.tags import Selection, Tag, TagFilter
from ferryman_coordinator.errors import Conflict, Invalid, LimitExceeded, NotFound, Refused, Unauthenticated
from ferryman_coordinator.operations.enrolment import SESSION_MS
from ferryman_coordinator.operations.newcomers import EnrolOrder
from ferryman_coordinator.store.cursors import PageRequest
from tests.support.desk import Desk

USER = "arn:aws:iam::123456789012:user/CodeDeploy/web-1"
SESSION = "arn:aws:sts::123456789012:assumed-role/CodeDeploy/web-1"


async def reason(desk: Desk, name: str, **options: object) -> str:
    with pytest.raises(Refused) as refused:
        await desk.registration.register(name, **options)  # type: ignore[arg-type]
    return refused.value.reason


async def order(desk: Desk, **token: object) -> EnrolOrder:
    text, _ = await desk.tokens.create(**token)  # type: ignore[arg-type]
    return EnrolOrder(join_token=text, facts=Facts(host_name="host-1"))


async def listed(desk: Desk, status: str = "") -> list[str]:
    return [one.name for one in (await desk.instances.list(PageRequest(), status=status)).items]


@pytest.mark.req("CP-068", "CP-073", "CP-074", "CP-075")
async def test_a_name_is_registered_from_anywhere(desk: Desk) -> None:
    registered = await desk.registration.register("web-1", iam_user_arn=USER)
    assert re.fullmatch(r"mi-[0-9a-f]{17}", registered.instance_id)
    assert re.fullmatch(
        r"arn:aws:codedeploy:eu-1:123456789012:instance/web-1_[0-9A-Za-z]{10}", registered.arn
    )
    assert (registered.name, registered.iam_user_arn, registered.iam_session_arn) == ("web-1", USER, "")
    assert (registered.tags, registered.registered_at) == ((), desk.clock.now())
    assert (registered.kind, registered.enrolled_at) == (InstanceKind.ON_PREMISES, None)
    assert (await desk.instances.get("web-1")).instance == registered
    by_session = await desk.registration.register("web-2", iam_session_arn=SESSION)
    assert (by_session.iam_user_arn, by_session.iam_session_arn) == ("", SESSION)


@pytest.mark.req("T21")
@pytest.mark.parametrize("name", ["AA:BB", "i-123", "mi-" + "0" * 17, "x" * 101, "web 1", "web\r", "wéb"])
async def test_a_wrong_name_is_refused(desk: Desk, name: str) -> None:
    assert await reason(desk, name, iam_user_arn=USER) == "InvalidInstanceNameException"
    assert await reason(desk, "", iam_user_arn=USER) == "InstanceNameRequiredException"
    assert await listed(desk) == []


@pytest.mark.req("CP-068", "CP-069", "T22")
async def test_exactly_one_identity_is_given(desk: Desk) -> None:
    assert await reason(desk, "web-1") == "IamArnRequiredException"
    both = {"iam_user_arn": USER, "iam_session_arn": SESSION}
    assert await reason(desk, "web-1", **both) == "MultipleIamArnsProvidedException"
    for one in both:
        more = {one: both[one], "by_certificate": True}
        assert await reason(desk, "web-1", **more) == "MultipleIamArnsProvidedException"
    assert await listed(desk) == []
    known = await desk.registration.register("web-1", by_certificate=True)
    assert (known.iam_user_arn, known.iam_session_arn) == ("", "")


@pytest.mark.parametrize(
    "arn",
    [
        SESSION, "web-1", "arn:aws:iam::12345678901:user/x", "arn:aws:iam::123456789012:role/x", f"{USER}\n",
        "arn:aws:iam::123456789012:user/", "arn:aws:iam::123456789012:user/a b", "arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:user/x",
    ],
)  # fmt: skip
async def test_what_is_no_user_is_refused(desk: Desk, arn: str) -> None:
    assert await reason(desk, "web-1", iam_user_arn=arn) == "InvalidIamUserArnException"


@pytest.mark.parametrize(
    "arn",
    [
        USER, "x", "arn:aws:sts::123456789012:assumed-role/CodeDeploy", f"{SESSION}/more",
        "arn:aws:iam::123456789012:assumed-role/CodeDeploy/web-1", "arn:aws:sts::123456789012:assumed-role//web-1",
    ],
)  # fmt: skip
async def test_what_is_no_session_is_refused(desk: Desk, arn: str) -> None:
    assert await reason(desk, "web-1", iam_session_arn=arn) == "InvalidIamSessionArnException"


@pytest.mark.req("CP-070", "CP-071", "CP-072", "T23", "A23")
async def test_names_users_and_sessions_are_taken_once(desk: Desk) -> None:
    await desk.registration.register("h1", iam_user_arn=USER)
    assert await reason(desk, "h2", iam_user_arn=USER) == "IamUserArnAlreadyRegisteredException"
    for again in ({"iam_user_arn": f"{USER}x"}, {"iam_user_arn": USER}, {"by_certificate": True}):
        assert await reason(desk, "h1", **again) in (
            "InstanceNameAlreadyRegisteredException",
            "IamUserArnAlreadyRegisteredException",
        )
    assert await reason(desk, "h1", by_certificate=True) == "InstanceNameAlreadyRegisteredException"
    await desk.registration.register("h3", iam_session_arn=SESSION)
    assert await reason(desk, "h4", iam_session_arn=SESSION) == "IamSessionArnAlreadyRegisteredException"
    # One role may be shared, with a session name for each.
    await desk.registration.register("h4", iam_session_arn=SESSION + "2")
    assert await listed(desk) == ["h1", "h3", "h4"]
    # What was deregistered takes nothing.
    for name in ("h1", "h3"):
        await desk.instances.deregister(name)
    await desk.registration.register("h5", iam_user_arn=USER)
    await desk.registration.register("h6", iam_session_arn=SESSION)


@pytest.mark.req("CP-070", "CP-071")
async def test_of_many_at_the_same_moment_one_is_registered(desk: Desk) -> None:
    results = await asyncio.gather(
        *(desk.registration.register(f"h{number}", iam_user_arn=USER) for number in range(4)),
        *(desk.registration.register("h", by_certificate=True) for _ in range(4)),
        return_exceptions=True,
    )
    assert [isinstance(one, Conflict) for one in results].count(True) == 6
    assert len(await listed(desk)) == 2


@pytest.mark.req("CP-074", "CP-075", "CP-091", "CP-093", "CP-096", "CP-097", "T24", "A24")
async def test_a_name_that_is_registered_anew_is_somebody_else(desk: Desk) -> None:
    first = await desk.registration.register("h1", iam_user_arn=USER)
    await desk.instances.tag("h1", add=[Tag("role", "web")])
    await desk.instances.deregister("h1")
    assert (await listed(desk, "Registered"), await listed(desk, "Deregistered")) == ([], ["h1"])
    assert (await desk.instances.get("h1")).instance.tags == (Tag("role", "web"),)
    second = await desk.registration.register("h1", iam_user_arn=USER)
    assert second.arn != first.arn
    assert second.instance_id != first.instance_id
    assert second.tags == ()


@pytest.mark.req("CP-085", "CP-086", "T25")
async def test_ten_tags_are_enough(desk: Desk) -> None:
    await desk.registration.register("h1", by_certificate=True)
    await desk.instances.tag("h1", add=[Tag(f"k{number}", "v") for number in range(10)])
    for add, wanted in (
        (Tag("more", "v"), "TagLimitExceededException"),
        (Tag("k1", ""), "InvalidTagException"),
        (Tag("", "v"), "InvalidTagException"),
    ):
        with pytest.raises((Invalid, LimitExceeded)) as refused:
            await desk.instances.tag("h1", add=[add])
        assert refused.value.reason == wanted


class TestItsMachine:
    @pytest.mark.req("CP-073", "CP-079")
    async def test_enrols_into_the_registration_with_a_token_that_was_made_for_it(self, desk: Desk) -> None:
        registered = await desk.registration.register("web-1", iam_user_arn=USER)
        await desk.instances.tag("web-1", add=[Tag("role", "web")])
        desk.clock.advance(60_000)
        wanted = await order(desk, instance_name="web-1", tags=[Tag("rack", "7")])
        enrolled = await desk.enrolment.enrol(replace(wanted, zone="eu-1a"), desk.certify)
        assert (enrolled.instance_id, enrolled.arn) == (registered.instance_id, registered.arn)
        assert (enrolled.iam_user_arn, enrolled.zone) == (USER, "eu-1a")
        assert enrolled.tags == (Tag("role", "web"), Tag("rack", "7"))
        assert (enrolled.registered_at, enrolled.enrolled_at) == (registered.registered_at, desk.clock.now())
        assert enrolled.facts.host_name == "host-1"
        assert (await desk.instances.get("web-1")).instance == enrolled
        assert await desk.enrolment.identify("1") == registered.instance_id

    @pytest.mark.req("CP-079")
    async def test_nobody_else_takes_its_place(self, desk: Desk) -> None:
        await desk.registration.register("host-1", by_certificate=True)
        for token in ({}, {"uses": 5}, {"replaces_identity": True, "instance_name": "web-2"}):
            wanted = replace(await order(desk, **token), instance_name="host-1")
            with pytest.raises(Refused) as refused:
                await desk.enrolment.enrol(wanted, desk.certify)
            assert refused.value.reason in ("InstanceNameAlreadyRegisteredException", "JoinTokenNameMismatch")
        with pytest.raises(Conflict, match="waits for its own machine: .*--instance-name host-1"):
            await desk.enrolment.enrol(await order(desk), desk.certify)
        assert (await desk.instances.get("host-1")).instance.enrolled_at is None
        assert [token.used for token in (await desk.tokens.list(PageRequest())).items] == [0] * 4

    async def test_comes_once(self, desk: Desk) -> None:
        await desk.registration.register("web-1", by_certificate=True)
        orders = [await order(desk, instance_name="web-1") for _ in range(4)]
        results = await asyncio.gather(
            *(desk.enrolment.enrol(one, desk.certify) for one in orders), return_exceptions=True
        )
        refused = [one for one in results if isinstance(one, Conflict)]
        assert len(refused) == 3
        assert {one.reason for one in refused} <= {
            "InstanceChangedMeanwhile",
            "InstanceNameAlreadyRegisteredException",
        }
        with pytest.raises(Conflict, match="--replace-identity"):
            await desk.enrolment.enrol(await order(desk, instance_name="web-1"), desk.certify)

    @pytest.mark.req("CP-077", "CP-079")
    async def test_gets_its_place_back_when_an_operator_says_so(self, desk: Desk) -> None:
        first = await desk.instance("web-1", ("role", "web"))
        again = await order(desk, instance_name="web-1", replaces_identity=True)
        second = await desk.enrolment.enrol(again, desk.certify)
        assert (second.instance_id, second.tags) == (first.instance_id, (Tag("role", "web"),))
        assert await desk.enrolment.identify("2") == first.instance_id
        with pytest.raises(Unauthenticated) as refused:
            await desk.enrolment.identify("1")
        assert refused.value.reason == "CertificateRevoked"

    async def test_brings_tags_as_far_as_there_is_room(self, desk: Desk) -> None:
        await desk.registration.register("web-1", by_certificate=True)
        await desk.instances.tag("web-1", add=[Tag(f"k{number}", "v") for number in range(9)])
        wanted = await order(desk, instance_name="web-1")
        with pytest.raises(LimitExceeded) as refused:
            await desk.enrolment.enrol(replace(wanted, tags=[Tag("a", "1"), Tag("b", "2")]), desk.certify)
        assert refused.value.reason == "TagLimitExceededException"
        await desk.enrolment.enrol(replace(wanted, tags=[Tag("a", "1")]), desk.certify)

    @pytest.mark.req("CP-076")
    async def test_of_a_session_has_certificates_for_an_hour_at_most(self, desk: Desk) -> None:
        desk.lifetime_ms = 7 * 86_400_000
        await desk.registration.register("s", iam_session_arn=SESSION)
        await desk.registration.register("u", iam_user_arn=USER)
        session = await desk.enrolment.enrol(await order(desk, instance_name="s"), desk.certify)
        user = await desk.enrolment.enrol(await order(desk, instance_name="u"), desk.certify)
        assert session.certificate_expires_at == desk.clock.now() + SESSION_MS
        assert user.certificate_expires_at == desk.clock.now() + desk.lifetime_ms
        desk.clock.advance(1000)
        renewed = await desk.enrolment.renew(session.instance_id, desk.certify)
        assert renewed.expires_at == desk.clock.now() + SESSION_MS
        desk.clock.advance(SESSION_MS)
        with pytest.raises(Unauthenticated) as refused:
            await desk.enrolment.identify(renewed.serial)
        assert refused.value.reason == "CertificateExpired"


@pytest.mark.req("CP-065")
async def test_what_is_registered_and_tagged_is_selected_whether_its_machine_came_or_not(desk: Desk) -> None:
    tagged = Selection(tag_filters=(TagFilter.of("role", "web"),))
    await desk.registration.register("web-1", by_certificate=True)
    assert (await desk.groups.matching(tagged, PageRequest())).total == 0
    await desk.instances.tag("web-1", add=[Tag("role", "web")])
    assert (await desk.groups.matching(tagged, PageRequest())).total == 1
    await desk.instances.deregister("web-1")
    assert (await desk.groups.matching(tagged, PageRequest())).total == 0


class TestManyAtOnce:
    @pytest.mark.req("CP-087", "CP-088", "CP-089", "CP-090")
    async def test_all_get_all_tags(self, desk: Desk) -> None:
        ids = [
            (await desk.registration.register(f"h{number}", by_certificate=True)).instance_id
            for number in range(3)
        ]
        await desk.instances.tag("h1", add=[Tag("role", "db")])
        tagged = await desk.instances.tag_several(
            ["h0", "h1", ids[2], "h2"], add=[Tag("role", "web"), Tag("stage", "beta"), Tag("role", "web")]
        )
        assert [(one.name, one.tags) for one in tagged] == [
            ("h0", (Tag("role", "web"), Tag("stage", "beta"))),
            ("h1", (Tag("role", "db"), Tag("role", "web"), Tag("stage", "beta"))),
            ("h2", (Tag("role", "web"), Tag("stage", "beta"))),
        ]
        bare = await desk.instances.tag_several(
            ["h0", "h1", "h2"], remove=[Tag("role", "web"), Tag("stage", "beta"), Tag("never", "there")]
        )
        assert [one.tags for one in bare] == [(), (Tag("role", "db"),), ()]
        assert all(one.is_registered for one in bare)

    @pytest.mark.req("CP-087", "CP-034")
    async def test_or_none_gets_any(self, desk: Desk) -> None:
        for number in range(3):
            await desk.registration.register(f"h{number}", by_certificate=True)
        await desk.instances.tag("h1", add=[Tag(f"k{number}", "v") for number in range(10)])
        await desk.registration.register("gone", by_certificate=True)
        await desk.instances.deregister("gone")
        cases: list[tuple[list[str], list[Tag], str, str]] = [
            (["h0", "h9"], [Tag("a", "b")], "InstanceNotRegisteredException", "'h9' is not registered"),
            (["h0", "gone", "x"], [Tag("a", "b")], "InstanceNotRegisteredException", "'gone', 'x' are not"),
            (["h0", "h1"], [Tag("a", "b")], "TagLimitExceededException", "'h1' would hold 11 tags"),
            (["h0"], [], "TagRequiredException", "no tag is given"),
            (["h0", "h2"], [Tag("a", "b"), Tag("a", "")], "InvalidTagException", "its value is empty"),
            ([], [Tag("a", "b")], "InstanceNameRequiredException", "missing"),
            (["h0", ""], [Tag("a", "b")], "InstanceNameRequiredException", "missing"),
            ([f"h{n}" for n in range(101)], [Tag("a", "b")], "InstanceLimitExceededException", "at most 100"),
        ]
        for instances, add, wanted, text in cases:
            with pytest.raises((Invalid, LimitExceeded, NotFound)) as refused:
                await desk.instances.tag_several(instances, add=add)
            assert refused.value.reason == wanted
            assert text in refused.value.message
        for name in ("h0", "h2"):
            assert (await desk.instances.get(name)).instance.tags == ()

    async def test_changes_at_the_same_moment_lose_nothing(self, desk: Desk) -> None:
        names = [f"h{number}" for number in range(4)]
        for name in names:
            await desk.registration.register(name, by_certificate=True)
        await asyncio.gather(
            *(desk.instances.tag_several(names, add=[Tag("n", str(number))]) for number in range(6))
        )
        for name in names:
            assert len((await desk.instances.get(name)).instance.tags) == 6

    @pytest.mark.req("CP-100")
    async def test_known_ones_are_read_and_unknown_ones_left_out(self, desk: Desk) -> None:
        ids = [
            (await desk.registration.register(f"h{number:03}", by_certificate=True)).instance_id
            for number in range(98)
        ]
        await desk.instances.deregister("h001")
        wanted = ["h002", "ghost", "h001", ids[2], *(f"h{number:03}" for number in range(3, 98))]
        found = await desk.instances.several(wanted)
        assert [one.instance.name for one in found][:3] == ["h002", "h001", "h003"]
        assert len(found) == 97
        assert len(await desk.instances.several([*wanted, "g2"])) == 97
        with pytest.raises(LimitExceeded) as refused:
            await desk.instances.several([f"h{number}" for number in range(101)])
        assert refused.value.reason == "BatchLimitExceededException"
        with pytest.raises(Invalid) as missing:
            await desk.instances.several([])
        assert missing.value.reason == "InstanceNameRequiredException"
