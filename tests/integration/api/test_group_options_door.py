"""Options of groups, tags, batches, pages and the search over the wire, and by the commands that people type."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ferryman.v1 import inventory_pb2 as pb
from ferryman.v1 import inventory_pb2_grpc, resources_pb2_grpc, types_pb2
from ferryman.v1 import resources_pb2 as rpb
from tests.support.coordinator import (
    RunningCoordinator,
    inventory_stub,
    running_coordinator,
)

URL = types_pb2.RevisionLocation(
    url=types_pb2.UrlLocation(
        url="https://example.org/web-1.zip", bundle_type=types_pb2.BUNDLE_TYPE_ZIP, sha256="ab" * 32
    )
)
ROLE = pb.Selection(
    tag_filters=[pb.TagFilter(type=pb.TAG_FILTER_TYPE_KEY_AND_VALUE, key="role", value="web")]
)
EVERYTHING = pb.GroupOptions(
    service_role_arn="arn:aws:iam::123456789012:role/CodeDeploy",
    style=pb.DeploymentStyle(
        type=pb.DEPLOYMENT_TYPE_BLUE_GREEN, option=pb.DEPLOYMENT_OPTION_WITH_TRAFFIC_CONTROL
    ),
    load_balancers=pb.LoadBalancers(classic=["elb"], target_groups=["tg"]),
    blue_green=pb.BlueGreen(
        green_provisioning=pb.GREEN_PROVISIONING_COPY_AUTO_SCALING_GROUP,
        ready_action=pb.READY_ACTION_STOP_DEPLOYMENT,
        ready_wait_minutes=5,
        blue_termination=pb.BLUE_TERMINATION_TERMINATE,
        termination_wait_minutes=60,
    ),
    cloud_selection=ROLE,
    on_premises_selection=ROLE,
    auto_scaling_groups=pb.AutoScalingGroups(names=["web-asg"]),
    termination_hook=True,
    alarms=pb.AlarmConfiguration(enabled=True, ignore_poll_alarm_failure=True, alarms=["cpu"]),
    triggers=pb.Triggers(
        triggers=[
            pb.Trigger(
                name="oncall",
                target_arn="arn:aws:sns:eu-1:123456789012:deploys",
                events=["DeploymentFailure", "InstanceFailure"],
            )
        ]
    ),
    outdated_instances=pb.OUTDATED_INSTANCES_STRATEGY_IGNORE,
    catch_up_on_premises=True,
    queue=pb.QUEUE_MODE_NEWEST,
    require_all=True,
    single_as_one_at_a_time=True,
    agent_updates=pb.AGENT_UPDATES_SCHEDULED,
)


@dataclass
class Desk:
    """The administrator's stubs."""

    coordinator: RunningCoordinator
    inventory: inventory_pb2_grpc.InventoryServiceAsyncStub
    resources: resources_pb2_grpc.ResourceServiceAsyncStub

    async def __call__(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self.coordinator.admin)

    async def update(self, **options: Any) -> pb.DeploymentGroup:
        request = pb.UpdateDeploymentGroupRequest(
            application_name="shop", name="web", options=pb.GroupOptions(**options)
        )
        answer: pb.UpdateDeploymentGroupResponse = await self(self.inventory.UpdateDeploymentGroup, request)
        return answer.deployment_group


@pytest.fixture
async def coordinator(tmp_path: Path) -> AsyncIterator[RunningCoordinator]:
    settings = {"account.id": "123456789012", "account.region": "eu-1"}
    async with running_coordinator(tmp_path / "data", settings) as running:
        yield running


@pytest.fixture
async def desk(coordinator: RunningCoordinator) -> AsyncIterator[Desk]:
    async with coordinator.channel() as channel:
        resources: resources_pb2_grpc.ResourceServiceAsyncStub = resources_pb2_grpc.ResourceServiceStub(
            channel
        )
        made = Desk(coordinator, inventory_stub(channel), resources)
        await made(made.inventory.CreateApplication, pb.CreateApplicationRequest(name="shop"))
        yield made


async def make_group(desk: Desk, **fields: Any) -> pb.DeploymentGroup:
    request = pb.CreateDeploymentGroupRequest(application_name="shop", name="web", **fields)
    await desk(desk.inventory.CreateDeploymentGroup, request)
    wanted = pb.GetDeploymentGroupRequest(application_name="shop", name="web")
    answer: pb.GetDeploymentGroupResponse = await desk(desk.inventory.GetDeploymentGroup, wanted)
    return answer.deployment_group


@pytest.mark.req("CP-185", "CP-022", "CP-021", "CP-147")
async def test_a_group_is_read_with_all_that_it_has(desk: Desk) -> None:
    group = await make_group(
        desk, options=EVERYTHING, resource_tags=[types_pb2.Tag(key="team", value="shop")]
    )
    assert group.options == EVERYTHING
    assert group.compute_platform == types_pb2.COMPUTE_PLATFORM_SERVER
    assert group.arn == "arn:aws:codedeploy:eu-1:123456789012:deploymentgroup:shop/web"
    assert [tag.key for tag in group.resource_tags] == ["team"]
    assert [one.name for one in group.auto_scaling_groups] == ["web-asg"]
    listed = await desk(desk.inventory.ListDeploymentGroups, pb.ListDeploymentGroupsRequest())
    assert list(listed.deployment_groups) == [group]
    found = await desk(desk.inventory.GetApplication, pb.GetApplicationRequest(name="shop"))
    assert found.application.arn == "arn:aws:codedeploy:eu-1:123456789012:application:shop"
    assert not found.application.linked_to_github


@pytest.mark.req("CP-173", "CP-180")
async def test_an_update_of_one_option_leaves_all_others(desk: Desk) -> None:
    before = await make_group(desk, options=EVERYTHING)
    assert await desk.update() == before
    for field in pb.GroupOptions.DESCRIPTOR.fields:
        assert await desk.update(**{field.name: getattr(EVERYTHING, field.name)}) == before, field.name


@pytest.mark.req("CP-174", "CP-187")
async def test_what_is_present_and_empty_is_cleared(desk: Desk) -> None:
    await make_group(desk, options=EVERYTHING)
    cleared = await desk.update(
        service_role_arn="",
        style=pb.DeploymentStyle(
            type=pb.DEPLOYMENT_TYPE_IN_PLACE, option=pb.DEPLOYMENT_OPTION_WITHOUT_TRAFFIC_CONTROL
        ),
        blue_green=pb.BlueGreen(),
        load_balancers=pb.LoadBalancers(),
        cloud_selection=pb.Selection(),
        on_premises_selection=pb.Selection(),
        auto_scaling_groups=pb.AutoScalingGroups(),
        triggers=pb.Triggers(),
        alarms=pb.AlarmConfiguration(),
        termination_hook=False,
        catch_up_on_premises=False,
        require_all=False,
        single_as_one_at_a_time=False,
    )
    options = cleared.options
    assert not options.HasField("blue_green")
    assert options.service_role_arn == ""
    assert not options.auto_scaling_groups.names
    assert not options.triggers.triggers
    assert not options.cloud_selection.tag_filters
    assert options.alarms == pb.AlarmConfiguration(alarms=["cpu"])
    for name in ("termination_hook", "catch_up_on_premises", "require_all", "single_as_one_at_a_time"):
        assert getattr(options, name) is False
    # What was not named is as it was.
    assert (options.queue, options.agent_updates) == (EVERYTHING.queue, EVERYTHING.agent_updates)


@pytest.mark.req("CP-060", "CP-050")
async def test_members_can_be_seen_before_and_after_a_group_is_saved(desk: Desk) -> None:
    await desk.coordinator.enrol("here", site="berlin")
    await desk.coordinator.enrol("there", site="paris")
    berlin = pb.Selection(tag_filters=[pb.TagFilter(key="site", value="berlin")])
    for request in (
        pb.ListMatchingInstancesRequest(options=pb.GroupOptions(on_premises_selection=berlin)),
        pb.ListMatchingInstancesRequest(selection=berlin),
    ):
        found = await desk(desk.inventory.ListMatchingInstances, request)
        assert ([one.name for one in found.instances], found.total) == (["here"], 1)
    cloud = pb.ListMatchingInstancesRequest(options=pb.GroupOptions(cloud_selection=berlin))
    assert (await desk(desk.inventory.ListMatchingInstances, cloud)).total == 0
    await make_group(desk, options=pb.GroupOptions(on_premises_selection=berlin))
    saved = pb.ListMatchingInstancesRequest(application_name="shop", deployment_group_name="web")
    found = await desk(desk.inventory.ListMatchingInstances, saved)
    assert [one.name for one in found.instances] == ["here"]
    assert found.instances[0].arn.startswith("arn:aws:codedeploy:eu-1:123456789012:instance/here_")


@pytest.mark.req("CP-463", "CP-147", "CP-115", "CP-146")
async def test_batches_tags_links_and_the_search(desk: Desk) -> None:
    group = await make_group(desk)
    linked = await desk(
        desk.inventory.LinkApplication,
        pb.LinkApplicationRequest(name="shop", github_account_name="acme"),
    )
    assert linked.application.linked_to_github
    assert linked.application.github_account_name == "acme"
    applications = await desk(
        desk.inventory.BatchGetApplications, pb.BatchGetApplicationsRequest(names=["shop"])
    )
    assert list(applications.applications) == [linked.application]
    groups = await desk(
        desk.inventory.BatchGetDeploymentGroups,
        pb.BatchGetDeploymentGroupsRequest(application_name="shop", names=["web", "ghost"]),
    )
    assert list(groups.deployment_groups) == [group]
    assert groups.error_message == "no such deployment group: 'ghost'"
    await desk(
        desk.inventory.RegisterRevision, pb.RegisterRevisionRequest(application_name="shop", location=URL)
    )
    revisions = await desk(
        desk.inventory.BatchGetRevisions,
        pb.BatchGetRevisionsRequest(application_name="shop", locations=[URL]),
    )
    assert [one.location for one in revisions.revisions] == [URL]
    tags = [types_pb2.Tag(key="team", value="shop")]
    await desk(desk.resources.TagResource, rpb.TagResourceRequest(resource_arn=group.arn, tags=tags))
    listed = await desk(
        desk.resources.ListTagsForResource, rpb.ListTagsForResourceRequest(resource_arn=group.arn)
    )
    assert list(listed.tags) == tags
    await desk(
        desk.resources.UntagResource, rpb.UntagResourceRequest(resource_arn=group.arn, tag_keys=["team"])
    )
    found = await desk(desk.resources.Search, rpb.SearchRequest(text="WEB"))
    assert [(one.kind, one.name, one.application_name) for one in found.results] == [
        ("deployment-group", "web", "shop"),
        ("revision", "url:https://example.org/web-1.zip#" + "ab" * 32, "shop"),
    ]


@pytest.mark.req("CP-458", "CP-459")
async def test_a_list_of_250_is_read_in_pages_that_miss_and_repeat_nothing(desk: Desk) -> None:
    names = {f"app-{number:03}" for number in range(250)}
    for name in sorted(names):
        await desk(desk.inventory.CreateApplication, pb.CreateApplicationRequest(name=name))
    seen: list[str] = []
    sizes = []
    page = types_pb2.Page()
    while True:
        answer = await desk(desk.inventory.ListApplications, pb.ListApplicationsRequest(page=page))
        seen += [one.name for one in answer.applications]
        sizes.append(len(answer.applications))
        if not answer.next_page_token:
            break
        page = types_pb2.Page(token=answer.next_page_token)
        # Comes and goes before the place where the next page begins.
        late = pb.CreateApplicationRequest(name=f"app-000-{len(sizes)}")
        await desk(desk.inventory.CreateApplication, late)
        await desk(desk.inventory.DeleteApplication, pb.DeleteApplicationRequest(name=seen[0]))
    assert sizes == [100, 100, 51]
    assert seen == sorted(names | {"shop"})
    shown = json.loads(await ferryman(desk.coordinator, "application", "list", "--json"))
    assert len(shown) == 252


async def ferryman(
    coordinator: RunningCoordinator, *arguments: str, typed: str = "", exit_code: int = 0
) -> str:
    """What the command prints, both streams together, when that is typed."""
    ca = Path(coordinator.ready.data_dir) / "ca.pem"
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "ferryman"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ
        | {
            "FERRYMAN_COORDINATOR": str(coordinator.ready.grpc),
            "FERRYMAN_CA": str(ca),
            "FERRYMAN_TOKEN": coordinator.admin_token,
        },
    )
    printed, _ = await process.communicate(typed.encode())
    assert process.returncode == exit_code, printed.decode()
    return printed.decode()


@pytest.mark.req("CP-173", "CP-174", "CP-185", "CP-060")
async def test_a_group_is_made_changed_and_shown_by_commands(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "group.yml"
    file.write_text(
        "tags: [role=web]\nrollbackOn: [failure]\nrequireAll: true\n"
        "triggers:\n- {name: oncall, target: 'arn:aws:sns:eu-1:123456789012:t', events: [DeploymentFailure]}\n"
    )
    shop = ("--application", "shop")
    made = await ferryman(
        desk.coordinator,
        *("group", "create", "live", *shop, "--from", str(file), "--alarm", "cpu", "--queue", "fifo"),
        *("--autoscaling-group", "web-asg", "--resource-tag", "team=shop"),
    )
    assert "deployment group live of shop created" in made
    shown = await ferryman(desk.coordinator, "group", "show", "live", *shop)
    for text in (
        "role=web",
        "web-asg",
        "cpu",
        "fifo",
        "oncall",
        "team=shop",
        "every instance has to succeed",
    ):
        assert text in shown
    await ferryman(
        desk.coordinator,
        *("group", "update", "live", *shop, "--clear", "triggers", "--no-alarms", "--no-require-all"),
    )
    group = json.loads(await ferryman(desk.coordinator, "group", "show", "live", *shop, "--json"))
    assert group["options"]["triggers"] == {"triggers": []}
    assert group["options"]["alarms"] == {
        "enabled": False,
        "ignorePollAlarmFailure": False,
        "alarms": ["cpu"],
    }
    assert (group["options"]["queue"], group["options"]["requireAll"]) == ("FIFO", False)
    assert group["options"]["autoScalingGroups"] == {"names": ["web-asg"]}
    refused = await ferryman(
        desk.coordinator, "group", "update", "live", *shop, "--style", "blue-green", exit_code=2
    )
    assert "BLUE_GREEN needs WITH_TRAFFIC_CONTROL" in refused
    several = await ferryman(desk.coordinator, "group", "show", "live", "ghost", *shop, exit_code=5)
    assert "live" in several
    assert "no such deployment group: 'ghost'" in several


@pytest.mark.req("CP-146", "CP-115", "CP-156", "CP-123")
async def test_resources_are_tagged_linked_and_found_by_commands(desk: Desk) -> None:
    here = desk.coordinator
    await make_group(desk)
    await ferryman(here, "tag", "add", "shop/web", "team=shop", "cost=7")
    await ferryman(here, "tag", "remove", "shop/web", "cost")
    assert json.loads(await ferryman(here, "tag", "list", "shop/web", "--json")) == [
        {"key": "team", "value": "shop"}
    ]
    arn = "arn:aws:codedeploy:eu-1:123456789012:application:shop"
    await ferryman(here, "tag", "add", arn, "a=b")
    shown = await ferryman(here, "application", "show", "shop")
    assert arn in shown
    assert "a=b" in shown
    assert "acme" in await ferryman(here, "application", "link", "shop", "acme")
    assert "acme" in await ferryman(here, "application", "show", "shop")
    assert "no such thing" in await ferryman(here, "search", "no such thing")
    found = json.loads(await ferryman(here, "search", "WEB", "--json"))
    assert [(one["kind"], one["name"], one["applicationName"]) for one in found] == [
        ("deployment-group", "web", "shop")
    ]
    await ferryman(
        here, "config", "create", "Canary", "--platform", "Lambda", "--canary", "10", "--every", "5"
    )
    assert "10% first, the rest after 5 min" in await ferryman(here, "config", "show", "Canary")
    assert "--min-healthy" in await ferryman(here, "config", "create", "None", exit_code=2)


@pytest.mark.req("CP-155")
async def test_who_deletes_types_what_it_is(desk: Desk) -> None:
    here = desk.coordinator
    await make_group(desk)
    group, application = ("group", "delete", "web", "-a", "shop"), ("application", "delete", "shop")
    assert "nothing was deleted" in await ferryman(here, *group, typed="delete\n", exit_code=2)
    assert "nothing was deleted" in await ferryman(here, *application, typed="shop\n", exit_code=2)
    assert "web" in await ferryman(here, "group", "list")
    await ferryman(here, *group, typed="web\n")
    assert "web" not in await ferryman(here, "group", "list")
    await ferryman(here, *application, typed="delete\n")
    assert "shop" not in await ferryman(here, "application", "list", "--json")


@pytest.mark.req("CP-177", "CP-181", "CP-182", "CP-154")
async def test_no_hook_is_ever_left_over(desk: Desk) -> None:
    await make_group(desk, options=pb.GroupOptions(auto_scaling_groups=pb.AutoScalingGroups(names=["asg"])))
    request = pb.UpdateDeploymentGroupRequest(
        application_name="shop",
        name="web",
        options=pb.GroupOptions(auto_scaling_groups=pb.AutoScalingGroups()),
    )
    changed = await desk(desk.inventory.UpdateDeploymentGroup, request)
    assert list(changed.hooks_not_cleaned_up) == []
    assert list(changed.deployment_group.auto_scaling_groups) == []
    removal = pb.DeleteDeploymentGroupRequest(application_name="shop", name="web")
    for _ in range(2):
        deleted = await desk(desk.inventory.DeleteDeploymentGroup, removal)
        assert list(deleted.hooks_not_cleaned_up) == []
    await desk(desk.inventory.DeleteApplication, pb.DeleteApplicationRequest(name="shop"))
