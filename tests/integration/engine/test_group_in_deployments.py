"""What a group's options mean for its deployments: who is deployed to, what is overridden, what cannot start yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.core.group_options import (
    AlarmConfiguration,
    BlueGreen,
    DeploymentOption,
    DeploymentStyle,
    DeploymentType,
    GroupOptions,
    InstanceLabel,
    LoadBalancers,
)
from ferryman_coordinator.core.inventory import InstanceKind, LifecycleState
from ferryman_coordinator.core.model import DeploymentStatus, GitHubLocation, TargetStatus
from ferryman_coordinator.core.tags import NO_SELECTION, Selection, Tag, TagFilter
from ferryman_coordinator.errors import Invalid, LimitExceeded, NotFound, Refused
from ferryman_coordinator.operations.deployment_styles import TargetInstances
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import PageRequest
from tests.support.coordinator_records import bundle
from tests.support.deployment_desk import OPTIONS, DeploymentDesk
from tests.support.engine_world import World, open_world
from tests.support.fake_agent import Gate

SITE = Selection(tag_filters=(TagFilter.of("site", "berlin"),))
CONTROLLED = DeploymentStyle(option=DeploymentOption.WITH_TRAFFIC_CONTROL)
SWAPPED = DeploymentStyle(type=DeploymentType.BLUE_GREEN, option=DeploymentOption.WITH_TRAFFIC_CONTROL)
BALANCED = LoadBalancers(target_groups=("web-tg",))
IN_STAGE = TargetInstances(selection=Selection(tag_filters=(TagFilter.of("stage", "production"),)))


def saying(**values: Any) -> Callable[[GroupOptions], GroupOptions]:
    return lambda options: replace(options, **values)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeploymentDesk]:
    async with open_world(tmp_path, 4) as world:
        yield DeploymentDesk(world)


async def become(world: World, name: str, **values: Any) -> None:
    batch = Batch()
    batch.update(tables.instances, {"instance_id": name}, values)
    await world.store.write(batch)


@pytest.mark.req("T18", "CP-050", "CP-051", "CP-058")
async def test_all_selectors_together_make_one_list_without_repetitions(desk: DeploymentDesk) -> None:
    world = desk.world
    for name in world.agents:
        await world.tag(name, Tag("site", "berlin"))
    asg = {"auto_scaling_group": "web-asg"}
    await become(world, "mi-1", kind=InstanceKind.CLOUD.value, **asg)
    await become(world, "mi-2", **asg, lifecycle_state=LifecycleState.LAUNCHING.value)
    await become(world, "mi-3", kind=InstanceKind.CLOUD.value)
    await world.tag("mi-3", Tag("site", "paris"))
    await desk.groups.update(
        "web",
        "production",
        selection=NO_SELECTION,
        options=saying(
            cloud_selection=SITE, on_premises_selection=SITE, auto_scaling_groups=("web-asg", "other")
        ),
    )
    targets = await desk.deployments.targets(await desk.done(), PageRequest())
    assert {one.record.instance_id for one in targets.items} == {"mi-0", "mi-1"}
    planned = await desk.deployments.plan(OPTIONS)
    assert {one.member.instance_id for one in planned.plan.targets} == {"mi-0", "mi-1"}


@pytest.mark.req("CP-214")
async def test_alarms_of_one_deployment_take_the_place_of_the_group_s(desk: DeploymentDesk) -> None:
    of_group = AlarmConfiguration(alarms=("cpu",))
    await desk.groups.update("web", "production", options=saying(alarms=of_group, require_all=True))
    own = AlarmConfiguration(ignore_poll_alarm_failure=True, alarms=("latency",))
    first = await desk.deployments.get(await desk.done(override_alarms=own))
    assert first.spec.options == GroupOptions(alarms=own, require_all=True)
    assert first.spec.overrides_alarms
    second = await desk.deployments.get(await desk.done())
    assert second.spec.options.alarms == of_group
    assert not second.spec.overrides_alarms
    assert (await desk.groups.get("web", "production")).options.alarms == of_group


@pytest.mark.req("CP-179", "CP-224")
async def test_a_deployment_keeps_the_group_as_it_was_when_it_was_created(desk: DeploymentDesk) -> None:
    gate = Gate()
    desk.world.play(gate)
    deployment_id = await desk.create()
    before = (await desk.deployments.get(deployment_id)).spec
    await desk.groups.update(
        "web",
        "production",
        selection=SITE,
        options=saying(auto_scaling_groups=("web-asg",), require_all=True),
    )
    gate.open()
    await desk.ended(deployment_id)
    ended = await desk.deployments.get(deployment_id)
    assert ended.spec == before
    assert ended.overview == {TargetStatus.SUCCEEDED: 4}
    assert ended.record.status is DeploymentStatus.SUCCEEDED


@pytest.mark.parametrize(
    "change, reason, said",
    [
        (
            saying(style=CONTROLLED, load_balancers=BALANCED),
            "InvalidLoadBalancerInfoException",
            "load balancer",
        ),
        (
            saying(style=SWAPPED, load_balancers=BALANCED, blue_green=BlueGreen()),
            "UnsupportedActionForDeploymentTypeException",
            "in place only",
        ),
    ],
)
async def test_what_this_version_keeps_but_cannot_do_is_refused_before_anything_is_touched(
    desk: DeploymentDesk, change: Callable[[GroupOptions], GroupOptions], reason: str, said: str
) -> None:
    await desk.groups.update("web", "production", options=change)
    for operation in (desk.deployments.create, desk.deployments.plan):
        with pytest.raises(Invalid, match=said) as refused:
            await operation(OPTIONS)
        assert refused.value.reason == reason
    assert (await desk.deployments.list(PageRequest())).items == ()
    assert all(agent.orders == [] for agent in desk.world.agents.values())


@pytest.mark.req("CP-016", "T20", "CP-015")
async def test_on_premises_instances_can_be_kept_out_of_blue_green(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        desk = DeploymentDesk(world, on_premises_in_place_only=True)
        await become(world, "mi-0", kind=InstanceKind.CLOUD.value)
        await desk.groups.update("web", "production", options=saying(style=SWAPPED, load_balancers=BALANCED))
        with pytest.raises(Invalid, match="instance 'web-1' .* is on premises") as refused:
            await desk.deployments.create(OPTIONS)
        assert refused.value.reason == "InvalidTargetInstancesException"
        assert all(agent.orders == [] for agent in world.agents.values())


@pytest.mark.req("CP-066")
async def test_on_premises_instances_can_be_kept_from_behind_load_balancers(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        await DeploymentDesk(world).groups.update(
            "web", "production", options=saying(style=CONTROLLED, load_balancers=BALANCED)
        )
        for setting, reason in (
            (True, "InvalidTargetInstancesException"),
            (False, "InvalidLoadBalancerInfoException"),
        ):
            with pytest.raises(Invalid) as refused:
                await DeploymentDesk(world, on_premises_in_place_only=setting).create()
            assert refused.value.reason == reason
            assert (
                "'web-0' of deployment group 'production' is on premises" in str(refused.value)
            ) is setting


@pytest.mark.req("CP-061", "CP-062")
async def test_target_instances_are_for_blue_green_and_must_match_somebody(desk: DeploymentDesk) -> None:
    with pytest.raises(Invalid, match="deployed to in place") as refused:
        await desk.create(target_instances=IN_STAGE)
    assert refused.value.reason == "InvalidTargetInstancesException"
    await desk.groups.update("web", "production", options=saying(style=SWAPPED, load_balancers=BALANCED))
    filters = tuple(TagFilter.of("number", str(number)) for number in range(9))
    for wanted, said in (
        (TargetInstances(), "are empty"),
        (TargetInstances(selection=SITE), "no registered instance"),
        (TargetInstances(auto_scaling_groups=("web-asg",)), "no registered instance"),
        (TargetInstances(selection=Selection(tag_set=(filters, filters))), "18 tags .* at most 10"),
        (TargetInstances(selection=Selection(tag_filters=(TagFilter.of(),))), "has no value"),
    ):
        with pytest.raises(Invalid, match=said) as refused:
            await desk.create(target_instances=wanted)
        assert refused.value.reason == "InvalidTargetInstancesException"
    with pytest.raises(Invalid) as unbuilt:
        await desk.create(target_instances=IN_STAGE)
    assert unbuilt.value.reason == "UnsupportedActionForDeploymentTypeException"


@pytest.mark.req("CP-457")
async def test_fleets_of_a_deployment_in_place_have_no_labels(desk: DeploymentDesk) -> None:
    deployment_id = await desk.done()
    for label in InstanceLabel:
        with pytest.raises(Invalid, match=f"none of its instances is {label}") as refused:
            await desk.deployments.targets(deployment_id, PageRequest(), labels=[label])
        assert refused.value.reason == "InvalidDeploymentInstanceTypeException"


@pytest.mark.req("CP-422")
async def test_a_plan_shows_how_far_it_is_from_each_limit(desk: DeploymentDesk) -> None:
    planned = await desk.deployments.plan(OPTIONS)
    assert [(one.setting, one.used, one.limit) for one in planned.quotas] == [
        ("limits.instances_per_deployment", 4, 1_000),
        ("limits.instances_in_running_deployments", 4, 1_000),
        ("limits.concurrent_deployments", 1, 1_300),
    ]


@pytest.mark.req("CP-463", "CP-464")
async def test_deployments_are_read_in_batches(desk: DeploymentDesk) -> None:
    first, second = await desk.done(), await desk.done(revision=bundle("b"))
    found = await desk.deployments.several([second, "d-000000000", first, second])
    assert [one.deployment_id for one in found] == [second, first]
    assert found == (await desk.deployments.get(second), await desk.deployments.get(first))
    assert len(await desk.deployments.several([first] * 30)) == 1
    with pytest.raises(LimitExceeded, match="26 deployments .* at most 25") as refused:
        await desk.deployments.several([f"d-{number:09}" for number in range(26)])
    assert refused.value.reason == "BatchLimitExceededException"
    for wrong, reason in (
        ([], "DeploymentIdRequiredException"),
        (["d-1"], "InvalidDeploymentIdException"),
    ):
        with pytest.raises(Invalid) as invalid:
            await desk.deployments.several(wrong)
        assert invalid.value.reason == reason


@pytest.mark.req("CP-463", "CP-464", "CP-462")
async def test_targets_are_read_in_batches(desk: DeploymentDesk) -> None:
    deployment_id = await desk.done()
    found = await desk.deployments.several_targets(deployment_id, ["web-2", "mi-0", "web-9", "mi-9"])
    assert [one.record.instance_id for one in found.items] == ["mi-2", "mi-0"]
    assert found.message == "no such target: 'web-9', 'mi-9'"
    assert found.items[0] == await desk.deployments.target(deployment_id, "mi-2")
    for instances, wanted, reason in (
        (
            [f"mi-{number}" for number in range(26)],
            deployment_id,
            "DeploymentTargetListSizeExceededException",
        ),
        ([], deployment_id, "DeploymentTargetIdRequiredException"),
        (["mi-0", ""], deployment_id, "DeploymentTargetIdRequiredException"),
        (["mi-\n"], deployment_id, "InvalidDeploymentTargetIdException"),
        (["mi-0"], "d-000000000", "DeploymentDoesNotExistException"),
        (["mi-0"], "", "DeploymentIdRequiredException"),
    ):
        with pytest.raises(Refused) as refused:
            await desk.deployments.several_targets(wanted, instances)
        assert refused.value.reason == reason


@pytest.mark.req("T4", "CP-149", "CP-148")
async def test_an_application_is_renamed_while_it_is_deployed(desk: DeploymentDesk) -> None:
    gate = Gate()
    desk.world.play(gate)
    deployment_id = await desk.create()
    before = await desk.applications.get("web")
    renamed = await desk.applications.rename("web", "shop")
    assert renamed == replace(before, name="shop")
    assert (await desk.deployments.get(deployment_id)).application_name == "shop"
    gate.open()
    await desk.ended(deployment_id)
    ended = await desk.deployments.get(deployment_id)
    assert (ended.record.status, ended.application_name) == (DeploymentStatus.SUCCEEDED, "shop")
    assert ended.application_id == before.application_id
    with pytest.raises(NotFound):
        await desk.applications.get("web")
    # The next one goes on under the new name.
    assert await desk.done(application_name="shop")


@pytest.mark.req("CP-156")
async def test_commits_are_fetched_with_the_token_that_their_application_is_linked_with(
    desk: DeploymentDesk,
) -> None:
    commit = GitHubLocation(repository="acme/web", commit_id="ab" * 20)
    assert (await desk.deployments.plan(replace(OPTIONS, revision=commit))).revision == commit
    await desk.applications.link("web", "acme")
    linked = replace(commit, token_name="acme")
    assert (await desk.deployments.plan(replace(OPTIONS, revision=commit))).revision == linked
    # One that names its own is left as it is.
    own = replace(commit, token_name="mine")
    assert (await desk.deployments.plan(replace(OPTIONS, revision=own))).revision == own
    ended = await desk.deployments.get(await desk.done(revision=commit))
    assert ended.spec.revision == linked


@pytest.mark.req("CP-174", "CP-169")
async def test_an_autoscaling_group_that_is_listed_again_brings_its_members_back(
    desk: DeploymentDesk,
) -> None:
    for name in desk.world.agents:
        await become(desk.world, name, auto_scaling_group="web-asg")

    async def members() -> int:
        return len((await desk.deployments.plan(OPTIONS)).plan.targets)

    for listed, count in ((("web-asg", "nobody-s"), 4), ((), 0), (("web-asg",), 4)):
        await desk.groups.update(
            "web", "production", selection=NO_SELECTION, options=saying(auto_scaling_groups=listed)
        )
        assert await members() == count
