from __future__ import annotations

import asyncio

import pytest

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.model import (
    AutoRollback,
    DeploymentId,
    HealthyHostsType,
    MinimumHealthyHosts,
    RollbackEvent,
)
from ferryman_coordinator.core.tags import Selection, TagFilter, TagFilterType
from ferryman_coordinator.errors import Conflict, Invalid, LimitExceeded, NotFound
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.queries import deployments
from ferryman_coordinator.store.store import Store
from tests.support.desk import Desk

WEB = Selection(tag_filters=(TagFilter.of("role", "web"),))
ON_FAILURE = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))


@pytest.fixture
async def web(desk: Desk) -> Desk:
    await desk.applications.create("web")
    return desk


@pytest.mark.req("CP-005", "CP-037", "CP-048", "CP-120")
async def test_a_group_is_read_back_as_it_was_written(web: Desk) -> None:
    sets = Selection(
        tag_set=(
            (TagFilter.of("Environment", "Beta"), TagFilter.of("Environment", "Staging")),
            (TagFilter.of("Region"), TagFilter.of(value="North*", type=TagFilterType.VALUE_ONLY)),
        )
    )
    for name, selection in (("filters", WEB), ("sets", sets), ("nothing", Selection())):
        saved = await web.groups.create("web", name, selection=selection, auto_rollback=ON_FAILURE)
        found = await web.groups.get("web", name)
        assert found == saved.group
        assert found.selection == selection
        assert found.auto_rollback == ON_FAILURE
        assert found.config_name == "CodeDeployDefault.OneAtATime"


@pytest.mark.req("CP-121")
@pytest.mark.parametrize("platform", ["Lambda", "ECS"])
async def test_other_platforms_have_their_own_default_configuration(desk: Desk, platform: str) -> None:
    await desk.applications.create("fn", platform)
    saved = await desk.groups.create("fn", "live")
    assert saved.group.config_name == f"CodeDeployDefault.{platform}AllAtOnce"


@pytest.mark.req("CP-159", "CP-033")
async def test_what_does_not_exist_is_named(web: Desk) -> None:
    with pytest.raises(NotFound) as refused:
        await web.groups.create("nothing", "production")
    assert refused.value.reason == "ApplicationDoesNotExistException"
    with pytest.raises(NotFound, match="'Fast' does not exist; `ferryman config list`") as refused:
        await web.groups.create("web", "production", config_name="Fast")
    assert refused.value.reason == "DeploymentConfigDoesNotExistException"
    with pytest.raises(NotFound, match="'web' has no deployment group 'production'") as refused:
        await web.groups.get("web", "production")
    assert refused.value.reason == "DeploymentGroupDoesNotExistException"
    with pytest.raises(Invalid) as wrong:
        await web.groups.create("web", "")
    assert wrong.value.reason == "DeploymentGroupNameRequiredException"
    with pytest.raises(Invalid) as wrong:
        await web.groups.create("web", "a b")
    assert wrong.value.reason == "InvalidDeploymentGroupNameException"


@pytest.mark.req("CP-006", "CP-159")
async def test_names_are_unique_in_their_application_only(web: Desk) -> None:
    first = await web.groups.create("web", "production")
    await web.applications.create("api")
    other = await web.groups.create("api", "production")
    assert first.group.group_id != other.group.group_id
    with pytest.raises(Conflict) as refused:
        await web.groups.create("web", "production")
    assert refused.value.reason == "DeploymentGroupAlreadyExistsException"


@pytest.mark.req("CP-159")
async def test_the_quota_holds_against_callers_at_the_same_moment(web: Desk) -> None:
    calls = (web.groups.create("web", f"group-{number}") for number in range(5))
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, LimitExceeded)]
    assert {one.reason for one in refused} == {"DeploymentGroupLimitExceededException"}
    assert len(refused) == 2
    with pytest.raises(Conflict):
        await web.groups.create("web", (await web.groups.list("web", PageRequest())).items[0].name)


@pytest.mark.req("CP-160")
async def test_a_configuration_of_another_platform_is_refused(web: Desk) -> None:
    with pytest.raises(Invalid, match="is for Lambda, but application 'web' is on Server") as refused:
        await web.groups.create("web", "production", config_name="CodeDeployDefault.LambdaAllAtOnce")
    assert refused.value.reason == "InvalidDeploymentConfigNameException"


@pytest.mark.parametrize(
    "selection, reason",
    [
        (
            Selection(tag_filters=WEB.tag_filters, tag_set=(WEB.tag_filters,)),
            "InvalidEC2TagCombinationException",
        ),
        (Selection(tag_set=(WEB.tag_filters,) * 4), "TagSetListLimitExceededException"),
        (Selection(tag_filters=WEB.tag_filters * 11), "InvalidEC2TagException"),
        (Selection(tag_filters=(TagFilter.of(),)), "InvalidEC2TagException"),
        (Selection(tag_filters=(TagFilter.of("k" * 129),)), "InvalidTagException"),
    ],
)
@pytest.mark.req("CP-045", "CP-046", "CP-047")
async def test_a_selection_that_cannot_be_is_refused(web: Desk, selection: Selection, reason: str) -> None:
    with pytest.raises((Invalid, LimitExceeded)) as refused:
        await web.groups.create("web", "production", selection=selection)
    assert refused.value.reason == reason
    with pytest.raises((Invalid, LimitExceeded)):
        await web.groups.matching(selection, PageRequest())
    await web.groups.create("web", "production")
    with pytest.raises((Invalid, LimitExceeded)):
        await web.groups.update("web", "production", selection=selection)
    assert (await web.groups.get("web", "production")).selection.is_empty


@pytest.mark.req("AG-Q12")
async def test_names_and_tags_may_be_as_long_as_codedeploy_s(web: Desk) -> None:
    await web.groups.create("web", "g" * 100)
    with pytest.raises(Invalid, match="101 characters, at most 100"):
        await web.groups.create("web", "g" * 101)
    await web.instance("one", ("k" * 128, "v" * 256))
    for key, value, said in (("k" * 129, "v", "128"), ("k", "v" * 257, "256")):
        with pytest.raises(Invalid, match=said):
            await web.instance("two", (key, value))


@pytest.mark.req("CP-421")
async def test_quotas_of_selections_and_names_are_settings(store: Store) -> None:
    small = Limits(
        tag_groups_per_set=1,
        filters_per_tag_group=1,
        tag_key_length=4,
        tag_value_length=3,
        name_length=5,
        tags_per_instance=1,
    )
    desk = Desk(store, limits=small)
    await desk.applications.create("web")
    one = TagFilter.of("role", "web")
    await desk.groups.create("web", "good", selection=Selection(tag_set=((one,),)))
    for selection in (
        Selection(tag_set=((one,), (one,))),
        Selection(tag_filters=(one, one)),
        Selection(tag_filters=(TagFilter.of("roles", "web"),)),
        Selection(tag_filters=(TagFilter.of("role", "webs"),)),
    ):
        with pytest.raises((Invalid, LimitExceeded), match="at most"):
            await desk.groups.matching(selection, PageRequest())
    with pytest.raises(Invalid, match="6 characters, at most 5"):
        await desk.groups.create("web", "sixsix")
    with pytest.raises(LimitExceeded, match="2 tags, at most 1"):
        await desk.instance("web-1", ("role", "web"), ("role", "api"))


@pytest.mark.req("CP-188")
async def test_rollback_without_an_event_is_refused(web: Desk) -> None:
    with pytest.raises(Invalid, match="DEPLOYMENT_FAILURE") as refused:
        await web.groups.create("web", "production", auto_rollback=AutoRollback(enabled=True))
    assert refused.value.reason == "InvalidAutoRollbackConfigException"


@pytest.mark.req("CP-190", "CP-171")
async def test_owners_are_warned_of_what_will_not_work(web: Desk) -> None:
    saved = await web.groups.create("web", "empty")
    assert [text for text in saved.warnings if "selects no instance" in text]

    alarm = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_STOP_ON_ALARM}))
    saved = await web.groups.create("web", "alarm", selection=WEB, auto_rollback=alarm)
    assert len(saved.warnings) == 2
    assert "no registered instance matches" in saved.warnings[0]
    assert "DEPLOYMENT_STOP_ON_ALARM never happens" in saved.warnings[1]

    await web.instance("web-1", ("role", "web"))
    half = "CodeDeployDefault.HalfAtATime"
    saved = await web.groups.create("web", "half", selection=WEB, config_name=half)
    assert saved.warnings[0].startswith(f"configuration {half}: ")
    assert "all 1 of 1 instances" in saved.warnings[0]
    await web.instance("web-2", ("role", "web"))
    assert (await web.groups.update("web", "half", new_name="half")).warnings == ()


@pytest.mark.req("CP-007", "CP-176")
async def test_a_rename_keeps_the_id_and_recreation_does_not(web: Desk) -> None:
    created = (await web.groups.create("web", "production", selection=WEB)).group
    renamed = (await web.groups.update("web", "production", new_name="live")).group
    assert (renamed.group_id, renamed.name) == (created.group_id, "live")
    await web.groups.create("web", "other")
    with pytest.raises(Conflict) as refused:
        await web.groups.update("web", "other", new_name="live")
    assert refused.value.reason == "DeploymentGroupAlreadyExistsException"
    await web.groups.delete("web", "live")
    assert (await web.groups.create("web", "live")).group.group_id != created.group_id


@pytest.mark.req("CP-173", "CP-174", "CP-175", "CP-180", "A33")
async def test_an_update_changes_only_what_is_given(web: Desk) -> None:
    half = "CodeDeployDefault.HalfAtATime"
    await web.groups.create("web", "production", selection=WEB, config_name=half, auto_rollback=ON_FAILURE)
    same = (await web.groups.update("web", "production")).group
    assert (same.selection, same.config_name, same.auto_rollback) == (WEB, half, ON_FAILURE)
    sets = Selection(tag_set=(WEB.tag_filters,))
    replaced = (await web.groups.update("web", "production", selection=sets)).group
    assert (replaced.selection, replaced.config_name) == (sets, half)
    cleared = (await web.groups.update("web", "production", selection=Selection())).group
    assert cleared.selection.is_empty
    assert cleared.auto_rollback == ON_FAILURE
    with pytest.raises(NotFound) as refused:
        await web.groups.update("web", "nothing", selection=sets)
    assert refused.value.reason == "DeploymentGroupDoesNotExistException"


@pytest.mark.req("CP-189")
async def test_switching_rollback_off_keeps_its_events(web: Desk) -> None:
    await web.groups.create("web", "production", auto_rollback=ON_FAILURE)
    off = (await web.groups.update("web", "production", auto_rollback=AutoRollback(enabled=False))).group
    assert off.auto_rollback == AutoRollback(enabled=False, events=ON_FAILURE.events)


@pytest.mark.req("CP-182", "CP-183", "A36", "CP-181")
async def test_deleting_ends_what_runs_and_keeps_history(web: Desk) -> None:
    await web.groups.create("web", "production")
    await web.deployment("d-000000001", "web", "production")
    await web.groups.delete("web", "production")
    await web.groups.delete("web", "production")
    await web.groups.delete("nothing", "production")
    assert web.engine.ended == [("d-000000001", "DEPLOYMENT_GROUP_MISSING")]
    async with web.store.reading() as connection:
        found = await deployments.get(connection, DeploymentId("d-000000001"))
    assert found is not None
    assert found.group_name == "production"
    with pytest.raises(Invalid):
        await web.groups.delete("web", "")


@pytest.mark.req("CP-458")
async def test_groups_are_listed_by_name_of_one_application_or_all(web: Desk) -> None:
    await web.applications.create("api")
    for application, name in (("web", "b"), ("web", "a"), ("api", "c")):
        await web.groups.create(application, name)
    shown = []
    request = PageRequest(size=1)
    while True:
        page = await web.groups.list("", request)
        shown += [(group.application_name, group.name) for group in page.items]
        if not page.next_token:
            break
        request = PageRequest(size=1, token=page.next_token)
    assert shown == [("api", "c"), ("web", "a"), ("web", "b")]
    assert [group.name for group in (await web.groups.list("web", PageRequest())).items] == ["a", "b"]
    with pytest.raises(Invalid, match="does not belong to this list"):
        await web.groups.list("web", request)
    with pytest.raises(NotFound):
        await web.groups.list("nothing", PageRequest())


@pytest.mark.req("CP-060", "CP-044", "CP-056")
async def test_a_selection_can_be_tried_before_it_is_saved(desk: Desk) -> None:
    for number in range(5):
        await desk.instance(f"web-{number}", ("role", "web"), ("number", str(number)))
    await desk.instance("db-1", ("role", "db"))
    await desk.instances.deregister("web-4")
    first = await desk.groups.matching(WEB, PageRequest(size=3))
    assert first.total == 4
    assert [one.name for one in first.page.items] == ["web-0", "web-1", "web-2"]
    second = await desk.groups.matching(WEB, PageRequest(size=3, token=first.page.next_token))
    assert [one.name for one in second.page.items] == ["web-3"]
    assert (await desk.groups.matching(Selection(), PageRequest())).total == 0


@pytest.mark.req("CP-050")
async def test_an_instance_that_fits_twice_is_one_member(desk: Desk) -> None:
    await desk.instance("both", ("role", "web"), ("tier", "front"))
    await desk.instance("one", ("tier", "front"))
    either = Selection(tag_filters=(TagFilter.of("role", "web"), TagFilter.of("tier", "front")))
    found = await desk.groups.matching(either, PageRequest())
    assert [one.name for one in found.page.items] == ["both", "one"]
    assert found.total == 2


async def test_a_configuration_deleted_meanwhile_is_not_taken(
    web: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    minimum = MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=1)
    config = await web.configurations.create("Slow", minimum=minimum)

    async def before_it_went(_name: str) -> object:
        return config

    await web.configurations.delete("Slow")
    monkeypatch.setattr(web.configurations, "get", before_it_went)
    with pytest.raises(NotFound) as refused:
        await web.groups.create("web", "production", config_name="Slow")
    assert refused.value.reason == "DeploymentConfigDoesNotExistException"
    with pytest.raises(NotFound):
        await web.groups.get("web", "production")
