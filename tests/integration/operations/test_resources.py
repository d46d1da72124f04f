"""Tags of applications and groups themselves, links to GitHub, batch reads, and the search over everything."""

from __future__ import annotations

import asyncio

import pytest

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.model import BundleType, S3Location
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Invalid, LimitExceeded, NotFound, Refused
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.resources import Resources
from ferryman_coordinator.operations.search import Search
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.queries.search import Kind
from ferryman_coordinator.store.store import Store
from tests.support.coordinator_records import bundle
from tests.support.desk import Desk

ACCOUNT = Account(account_id="123456789012", region="eu-1")
PREFIX = "arn:aws:codedeploy:eu-1:123456789012:"
WEB, LIVE = PREFIX + "application:web", PREFIX + "deploymentgroup:web/live"


@pytest.fixture
async def web(desk: Desk) -> Desk:
    await desk.applications.create("web", tags=[Tag("team", "shop")])
    await desk.groups.create("web", "live", tags=[Tag("team", "shop")])
    return desk


@pytest.fixture
def resources(web: Desk) -> Resources:
    return Resources(web.store, web.limits, ACCOUNT, web.applications, web.groups)


async def held(resources: Resources, arn: str) -> list[Tag]:
    return [*(await resources.tags(arn, PageRequest())).items]


@pytest.mark.req("CP-146", "CP-172", "CP-022", "CP-144", "A27")
@pytest.mark.parametrize("arn", [WEB, LIVE])
async def test_tags_of_a_resource_come_and_go(resources: Resources, arn: str) -> None:
    assert await held(resources, arn) == [Tag("team", "shop")]
    await resources.tag(arn, [Tag("cost", "7"), Tag("team", "web"), Tag("empty", "")])
    assert await held(resources, arn) == [Tag("cost", "7"), Tag("empty", ""), Tag("team", "web")]
    await resources.untag(arn, ["cost", "never"])
    await resources.untag(arn, ["cost"])
    assert await held(resources, arn) == [Tag("empty", ""), Tag("team", "web")]


@pytest.mark.req("CP-146", "CP-149", "CP-176")
async def test_tags_stay_when_a_resource_is_renamed_or_changed(web: Desk, resources: Resources) -> None:
    await web.groups.update("web", "live", new_name="prod", config_name="CodeDeployDefault.AllAtOnce")
    await web.applications.rename("web", "shop")
    renamed = LIVE.replace("web/live", "shop/prod")
    assert await held(resources, renamed) == [Tag("team", "shop")]
    with pytest.raises(NotFound):
        await held(resources, LIVE)


@pytest.mark.req("CP-458", "CP-459")
async def test_tags_of_a_resource_are_read_in_pages(resources: Resources) -> None:
    await resources.tag(WEB, [Tag(key, "1") for key in "abc"])
    page = await resources.tags(WEB, PageRequest(size=2))
    assert [tag.key for tag in page.items] == ["a", "b"]
    await resources.tag(WEB, [Tag("aa", "1")])
    rest = await resources.tags(WEB, PageRequest(token=page.next_token))
    assert [tag.key for tag in rest.items] == ["c", "team"]
    with pytest.raises(Invalid) as refused:
        await resources.tags(LIVE, PageRequest(token=page.next_token))
    assert refused.value.reason == "InvalidNextTokenException"


@pytest.mark.req("CP-022", "CP-023", "CP-146")
@pytest.mark.parametrize(
    "arn, reason",
    [
        ("", "ResourceArnRequiredException"),
        ("web", "InvalidArnException"),
        (PREFIX + "application/web", "InvalidArnException"),
        (PREFIX + "deploymentgroup/web/live", "InvalidArnException"),
        (PREFIX + "deploymentgroup:web:live", "InvalidArnException"),
        (PREFIX + "deploymentgroup:web", "InvalidArnException"),
        (PREFIX + "deploymentgroup:web/", "InvalidArnException"),
        (PREFIX + "user:ann", "InvalidArnException"),
        (PREFIX + "application:" + "a" * 1_011, "InvalidArnException"),
        (WEB.replace("eu-1", "us-1"), "InvalidArnException"),
        (WEB.replace("123456789012", "000000000000"), "InvalidArnException"),
        (WEB.replace("codedeploy", "s3"), "InvalidArnException"),
        (PREFIX + "deploymentconfig:Slow", "ArnNotSupportedException"),
        (PREFIX + "instance/web-1_abcdefghij", "ArnNotSupportedException"),
        (PREFIX + "application:we b", "InvalidApplicationNameException"),
        (PREFIX + "application:web/live", "InvalidApplicationNameException"),
        (PREFIX + "application:shop", "ApplicationDoesNotExistException"),
        (PREFIX + "deploymentgroup:web/beta", "DeploymentGroupDoesNotExistException"),
    ],
)
async def test_other_arns_are_refused(resources: Resources, arn: str, reason: str) -> None:
    for call in (
        resources.tag(arn, [Tag("a", "1")]),
        resources.untag(arn, ["a"]),
        resources.tags(arn, PageRequest()),
    ):
        with pytest.raises(Refused) as refused:
            await call
        assert refused.value.reason == reason


@pytest.mark.req("CP-172", "CP-035", "CP-144")
@pytest.mark.parametrize(
    "tags",
    [
        [Tag("", "value")],
        [Tag("k" * 129, "v")],
        [Tag("k", "v" * 257)],
        [Tag("k\r", "v")],
        [Tag("k", "v\x1b[31m")],
        [Tag("k", "a"), Tag("k", "b")],
        [Tag(f"k{number}", "v") for number in range(51)],
        [Tag(f"k{number}", "v") for number in range(10_000)],
    ],
)
async def test_tags_that_cannot_be_are_refused_everywhere(
    web: Desk, resources: Resources, tags: list[Tag]
) -> None:
    for call in (
        web.applications.create("new", tags=tags),
        web.groups.create("web", "new", tags=tags),
        resources.tag(WEB, tags),
        resources.tag(LIVE, tags),
    ):
        with pytest.raises(Invalid) as refused:
            await call
        assert refused.value.reason == "InvalidTagsToAddException"
    assert await held(resources, WEB) == [Tag("team", "shop")]
    with pytest.raises(NotFound):
        await web.applications.get("new")
    assert (await web.groups.several("web", ["live", "new"])).message == "no such deployment group: 'new'"


@pytest.mark.req("CP-146")
async def test_no_tag_at_all_is_a_mistake(resources: Resources) -> None:
    for call in (resources.tag(WEB, []), resources.untag(WEB, [])):
        with pytest.raises(Invalid) as refused:
            await call
        assert refused.value.reason == "TagRequiredException"


async def test_tags_set_at_the_same_moment_are_all_kept(resources: Resources) -> None:
    await asyncio.gather(*(resources.tag(WEB, [Tag(f"k{number}", "v")]) for number in range(8)))
    assert len(await held(resources, WEB)) == 9
    with pytest.raises(Invalid, match="a resource holds at most 50"):
        await resources.tag(WEB, [Tag(f"more{number}", "v") for number in range(42)])


@pytest.mark.req("CP-147", "CP-156")
async def test_an_application_is_linked_with_a_token_by_name(web: Desk) -> None:
    assert (await web.applications.get("web")).github_account_name == ""
    assert (await web.applications.link("web", "acme")).github_account_name == "acme"
    assert (await web.applications.get("web")).github_account_name == "acme"
    assert (await web.applications.rename("web", "shop")).github_account_name == "acme"
    assert (await web.applications.link("shop", "")).github_account_name == ""
    with pytest.raises(Invalid) as refused:
        await web.applications.link("shop", "no such name")
    assert refused.value.reason == "InvalidGitHubAccountTokenNameException"
    with pytest.raises(NotFound):
        await web.applications.link("web", "acme")


@pytest.mark.req("CP-463", "CP-464", "CP-147")
async def test_applications_are_read_in_batches_all_or_none(web: Desk) -> None:
    await web.applications.create("api")
    found = await web.applications.several(["web", "api", "web"])
    assert [one.name for one in found] == ["web", "api"]
    assert found[0] == await web.applications.get("web")
    for names, reason in (
        (["web", "ghost"], "ApplicationDoesNotExistException"),
        ([], "ApplicationNameRequiredException"),
        (["web", "a b"], "InvalidApplicationNameException"),
        ([f"app-{number}" for number in range(101)], "BatchLimitExceededException"),
    ):
        with pytest.raises(Refused) as refused:
            await web.applications.several(names)
        assert refused.value.reason == reason


@pytest.mark.req("CP-463", "CP-464")
async def test_groups_are_read_in_batches_and_those_missing_named(web: Desk) -> None:
    await web.groups.create("web", "beta")
    found = await web.groups.several("web", ["live", "ghost", "beta"])
    assert [one.name for one in found.items] == ["live", "beta"]
    assert found.message == "no such deployment group: 'ghost'"
    assert (await web.groups.several("web", ["live"])).message == ""
    many = [f"g{number}" for number in range(100)]
    assert "and 90 more" in (await web.groups.several("web", many)).message
    for application, names, reason in (
        ("ghost", ["live"], "ApplicationDoesNotExistException"),
        ("web", [], "DeploymentGroupNameRequiredException"),
        ("web", ["a b"], "InvalidDeploymentGroupNameException"),
        ("web", [*many, "more"], "BatchLimitExceededException"),
    ):
        with pytest.raises(Refused) as refused:
            await web.groups.several(application, names)
        assert refused.value.reason == reason


@pytest.mark.req("CP-463", "CP-464", "CP-202")
async def test_revisions_are_read_in_batches_exactly_as_registered(web: Desk) -> None:
    pinned = S3Location(bucket="acme", object_key="web.zip", e_tag="abc", bundle_type=BundleType.ZIP)
    loose = S3Location(bucket="acme", object_key="web.zip", bundle_type=BundleType.ZIP)
    await web.revisions.register("web", pinned, "one")
    await web.revisions.register("web", bundle("a"), "two")
    found = await web.revisions.several("web", [bundle("a"), loose, pinned, bundle("a")])
    assert [one.description for one in found.items] == ["two", "one"]
    assert found.message == f"no such revision: '{loose.key}'"
    for locations, reason in (
        ([], "RevisionRequiredException"),
        ([None], "RevisionRequiredException"),
        ([bundle("a")] * 26, "BatchLimitExceededException"),
    ):
        with pytest.raises(Refused) as refused:
            await web.revisions.several("web", locations)
        assert refused.value.reason == reason


@pytest.mark.req("CP-465", "A12", "CP-421")
async def test_how_much_a_batch_holds_is_a_setting(store: Store) -> None:
    limits = Limits(applications_per_batch=1, groups_per_batch=1, revisions_per_batch=100)
    desk = Desk(store, limits=limits)
    await desk.applications.create("web")
    for call in (desk.applications.several(["web", "api"]), desk.groups.several("web", ["a", "b"])):
        with pytest.raises(LimitExceeded, match="at most 1 are allowed .* limits"):
            await call
    many = [bundle(format(number, "x")) for number in range(16)] * 6
    assert (await desk.revisions.several("web", many)).items == ()


@pytest.mark.req("CP-115")
async def test_the_search_finds_names_of_every_kind_in_whatever_case(web: Desk) -> None:
    search = Search(web.store, ACCOUNT)
    await web.applications.create("Frontend")
    await web.groups.create("Frontend", "WEB-live")
    await web.instance("Web-1")
    await web.instance("db-1")
    await web.revisions.register("web", bundle("a"), "the WEB of today")
    await web.deployment("d-WEB000001", "web", "live")
    found = await search.find("weB")
    assert [(one.kind, one.name, one.application_name, one.group_name) for one in found] == [
        (Kind.APPLICATION, "web", "", ""),
        (Kind.GROUP, "WEB-live", "Frontend", ""),
        (Kind.INSTANCE, "Web-1", "", ""),
        (Kind.REVISION, bundle("a").key, "web", ""),
        (Kind.DEPLOYMENT, "d-WEB000001", "web", "live"),
    ]
    assert [one.arn for one in found[:2]] == [WEB, PREFIX + "deploymentgroup:Frontend/WEB-live"]
    assert [one.name for one in await search.find("halfatatime")] == ["CodeDeployDefault.HalfAtATime"]
    assert await search.find("no such thing") == []


async def test_the_search_finds_no_more_of_a_kind_than_asked(web: Desk) -> None:
    search = Search(web.store, ACCOUNT)
    await web.groups.create("web", "live-2")
    assert [one.name for one in await search.find("live")] == ["live", "live-2"]
    assert [one.name for one in await search.find("live", 1)] == ["live"]
    assert len(await search.find("codedeploydefault", 3)) == 3


@pytest.mark.parametrize("text", ["", "   ", "a\x00", "a" * 257])
async def test_a_search_for_nothing_or_noise_is_refused(web: Desk, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        await Search(web.store, ACCOUNT).find(text)
    assert refused.value.reason == "InvalidInputException"
    with pytest.raises(Invalid):
        await Search(web.store, ACCOUNT).find("web", 101)


async def test_wildcards_of_the_database_mean_themselves_in_a_search(web: Desk) -> None:
    search = Search(web.store, ACCOUNT)
    await web.groups.create("web", "a_b")
    await web.groups.create("web", "acb")
    assert [one.name for one in await search.find("a_b")] == ["a_b"]
    assert await search.find("%") == []
