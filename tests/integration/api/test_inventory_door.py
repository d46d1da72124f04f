"""Inventory, tokens and deployments over the wire: what goes in comes out again, and refusals keep their names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest

from ferryman.v1 import (
    agents_pb2,
    deployments_pb2,
    deployments_pb2_grpc,
    inventory_pb2_grpc,
    tokens_pb2,
    types_pb2,
)
from ferryman.v1 import inventory_pb2 as pb
from tests.support.coordinator import (
    RunningCoordinator,
    deployments_stub,
    inventory_stub,
    refusal,
    tokens_stub,
)
from tests.support.wire_agent import connected

LOCATION = types_pb2.RevisionLocation(
    url=types_pb2.UrlLocation(
        url="https://example.org/web-1.zip", bundle_type=types_pb2.BUNDLE_TYPE_ZIP, sha256="ab" * 32
    )
)


@dataclass
class Desk:
    """The administrator's stubs."""

    coordinator: RunningCoordinator
    inventory: inventory_pb2_grpc.InventoryServiceAsyncStub
    deployments: deployments_pb2_grpc.DeploymentServiceAsyncStub
    channel: grpc.aio.Channel

    async def __call__(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self.coordinator.admin)


@pytest.fixture
async def desk(coordinator: RunningCoordinator) -> AsyncIterator[Desk]:
    async with coordinator.channel() as channel:
        made = Desk(coordinator, inventory_stub(channel), deployments_stub(channel), channel)
        await made(made.inventory.CreateApplication, pb.CreateApplicationRequest(name="shop"))
        yield made


async def test_applications(desk: Desk) -> None:
    listed = await desk(desk.inventory.ListApplications, pb.ListApplicationsRequest())
    (shop,) = listed.applications
    assert shop.compute_platform == types_pb2.COMPUTE_PLATFORM_SERVER
    request = pb.UpdateApplicationRequest(name="shop", new_name="store")
    renamed = await desk(desk.inventory.UpdateApplication, request)
    assert (renamed.application.name, renamed.application.application_id) == ("store", shop.application_id)
    found = await desk(desk.inventory.GetApplication, pb.GetApplicationRequest(name="store"))
    assert found.application == renamed.application
    await desk(desk.inventory.DeleteApplication, pb.DeleteApplicationRequest(name="store"))
    code, fault = await refusal(desk(desk.inventory.GetApplication, pb.GetApplicationRequest(name="store")))
    assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "ApplicationDoesNotExistException")


async def test_a_platform_can_be_named(desk: Desk) -> None:
    request = pb.CreateApplicationRequest(name="fn", compute_platform=types_pb2.COMPUTE_PLATFORM_LAMBDA)
    await desk(desk.inventory.CreateApplication, request)
    found = await desk(desk.inventory.GetApplication, pb.GetApplicationRequest(name="fn"))
    assert found.application.compute_platform == types_pb2.COMPUTE_PLATFORM_LAMBDA


async def make_group(desk: Desk, **fields: Any) -> pb.CreateDeploymentGroupResponse:
    role = pb.TagFilter(key="role", value="web")
    given: dict[str, Any] = {
        "application_name": "shop",
        "name": "web",
        "selection": pb.Selection(tag_filters=[role]),
    } | fields
    answer: pb.CreateDeploymentGroupResponse = await desk(
        desk.inventory.CreateDeploymentGroup, pb.CreateDeploymentGroupRequest(**given)
    )
    return answer


async def get_group(desk: Desk) -> pb.DeploymentGroup:
    request = pb.GetDeploymentGroupRequest(application_name="shop", name="web")
    answer: pb.GetDeploymentGroupResponse = await desk(desk.inventory.GetDeploymentGroup, request)
    return answer.deployment_group


async def test_deployment_groups(desk: Desk) -> None:
    rollback = pb.AutoRollback(enabled=True, events=[types_pb2.ROLLBACK_EVENT_DEPLOYMENT_FAILURE])
    made = await make_group(desk, auto_rollback=rollback)
    assert made.warnings
    group = await get_group(desk)
    assert group.deployment_group_id == made.deployment_group_id
    assert group.deployment_config_name == "CodeDeployDefault.OneAtATime"
    assert group.auto_rollback == rollback
    (role,) = group.selection.tag_filters
    assert (role.type, role.key, role.value) == (pb.TAG_FILTER_TYPE_KEY_AND_VALUE, "role", "web")
    assert not group.HasField("target_revision")
    assert not group.HasField("last_successful_deployment")


async def test_an_update_changes_only_what_is_present(desk: Desk) -> None:
    await make_group(desk)
    before = await get_group(desk)
    request = pb.UpdateDeploymentGroupRequest(
        application_name="shop", name="web", deployment_config_name="CodeDeployDefault.AllAtOnce"
    )
    updated = (await desk(desk.inventory.UpdateDeploymentGroup, request)).deployment_group
    assert updated.deployment_config_name == "CodeDeployDefault.AllAtOnce"
    assert updated.selection == before.selection
    sets = pb.TagSet(groups=[pb.TagGroup(filters=[pb.TagFilter(key="a", value="*")])])
    request = pb.UpdateDeploymentGroupRequest(
        application_name="shop", name="web", selection=pb.Selection(tag_set=sets)
    )
    updated = (await desk(desk.inventory.UpdateDeploymentGroup, request)).deployment_group
    assert list(updated.selection.tag_filters) == []
    assert updated.selection.tag_set.groups[0].filters[0].value == "*"
    request = pb.UpdateDeploymentGroupRequest(application_name="shop", name="web", selection=pb.Selection())
    updated = (await desk(desk.inventory.UpdateDeploymentGroup, request)).deployment_group
    assert not updated.selection.HasField("tag_set")


async def test_groups_are_listed_and_deleted(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        await make_group(desk, name=name)
    first = await desk(
        desk.inventory.ListDeploymentGroups, pb.ListDeploymentGroupsRequest(page=types_pb2.Page(size=2))
    )
    rest = await desk(
        desk.inventory.ListDeploymentGroups,
        pb.ListDeploymentGroupsRequest(page=types_pb2.Page(size=2, token=first.next_page_token)),
    )
    names = [group.name for group in (*first.deployment_groups, *rest.deployment_groups)]
    assert names == ["a", "b", "c"]
    assert rest.next_page_token == ""
    request = pb.DeleteDeploymentGroupRequest(application_name="shop", name="b")
    await desk(desk.inventory.DeleteDeploymentGroup, request)
    listed = await desk(
        desk.inventory.ListDeploymentGroups, pb.ListDeploymentGroupsRequest(application_name="shop")
    )
    assert [group.name for group in listed.deployment_groups] == ["a", "c"]


@pytest.mark.parametrize(
    "method, request_, field",
    [
        (
            "RegisterRevision",
            pb.RegisterRevisionRequest(application_name="shop", location=LOCATION, description="a\0b"),
            "description",
        ),
        ("GetInstance", pb.GetInstanceRequest(instance="\0"), "instance"),
        ("GetRevision", pb.GetRevisionRequest(application_name="shop", revision="a\0"), "revision"),
        (
            "ListInstances",
            pb.ListInstancesRequest(tag_filters=[pb.TagFilter(key="k"), pb.TagFilter(key="\0")]),
            "key",
        ),
    ],
)
async def test_a_nul_that_no_database_has_to_keep_is_refused_by_field(
    desk: Desk, method: str, request_: Any, field: str
) -> None:
    code, fault = await refusal(desk(getattr(desk.inventory, method), request_))
    assert (code, fault.message) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{field} holds a NUL character: leave it out",
    )


@pytest.mark.req("CP-458")
async def test_a_page_token_that_was_made_up_is_refused(desk: Desk) -> None:
    request = pb.ListApplicationsRequest(page=types_pb2.Page(token="made-up"))
    code, fault = await refusal(desk(desk.inventory.ListApplications, request))
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidNextTokenException")


async def test_deployment_configurations(desk: Desk) -> None:
    zonal = pb.ZonalConfig(
        first_zone_monitor_duration_seconds=60,
        minimum_healthy_hosts_per_zone=pb.MinimumHealthyHosts(
            type=pb.MINIMUM_HEALTHY_HOSTS_TYPE_FLEET_PERCENT, value=50
        ),
    )
    minimum = pb.MinimumHealthyHosts(type=pb.MINIMUM_HEALTHY_HOSTS_TYPE_HOST_COUNT, value=3)
    request = pb.CreateDeploymentConfigRequest(name="three", minimum_healthy_hosts=minimum, zonal=zonal)
    made = await desk(desk.inventory.CreateDeploymentConfig, request)
    found = await desk(desk.inventory.GetDeploymentConfig, pb.GetDeploymentConfigRequest(name="three"))
    config = found.deployment_config
    assert (config.deployment_config_id, config.minimum_healthy_hosts) == (made.deployment_config_id, minimum)
    assert config.zonal == zonal
    assert not config.zonal.HasField("monitor_duration_seconds")
    assert not config.is_predefined
    listed = await desk(desk.inventory.ListDeploymentConfigs, pb.ListDeploymentConfigsRequest())
    by_name = {one.name: one for one in listed.deployment_configs}
    once = by_name["CodeDeployDefault.OneAtATime"]
    assert once.is_predefined
    assert once.minimum_healthy_hosts.type == pb.MINIMUM_HEALTHY_HOSTS_TYPE_MOST_CONCURRENCY
    shift = by_name["CodeDeployDefault.LambdaCanary10Percent5Minutes"].traffic_routing
    assert (shift.type, shift.percentage) == (pb.TRAFFIC_ROUTING_TYPE_TIME_BASED_CANARY, 10)
    await desk(desk.inventory.DeleteDeploymentConfig, pb.DeleteDeploymentConfigRequest(name="three"))
    assert "three" not in {
        one.name
        for one in (
            await desk(desk.inventory.ListDeploymentConfigs, pb.ListDeploymentConfigsRequest())
        ).deployment_configs
    }


@pytest.mark.parametrize(
    "minimum",
    [
        pb.MinimumHealthyHosts(type=pb.MINIMUM_HEALTHY_HOSTS_TYPE_HOST_COUNT, value=-1),
        pb.MinimumHealthyHosts(type=pb.MINIMUM_HEALTHY_HOSTS_TYPE_FLEET_PERCENT, value=100),
        pb.MinimumHealthyHosts(value=1),
    ],
)
async def test_a_wrong_minimum_keeps_its_name(desk: Desk, minimum: pb.MinimumHealthyHosts) -> None:
    request = pb.CreateDeploymentConfigRequest(name="x", minimum_healthy_hosts=minimum)
    code, fault = await refusal(desk(desk.inventory.CreateDeploymentConfig, request))
    assert (code, fault.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "InvalidMinimumHealthyHostValueException",
    )


async def test_revisions(desk: Desk) -> None:
    request = pb.RegisterRevisionRequest(application_name="shop", location=LOCATION, description="first")
    made = (await desk(desk.inventory.RegisterRevision, request)).revision
    assert (made.location, made.description, made.label) == (
        LOCATION,
        "first",
        "https://example.org/web-1.zip",
    )
    assert not made.HasField("first_used_at")
    by_digest = pb.GetRevisionRequest(application_name="shop", revision="abababab")
    assert (await desk(desk.inventory.GetRevision, by_digest)).revision == made
    listed = await desk(
        desk.inventory.ListRevisions,
        pb.ListRevisionsRequest(
            application_name="shop", sort_by=pb.REVISION_SORT_FIRST_USED_TIME, descending=True
        ),
    )
    assert list(listed.revisions) == [made]
    nothing = pb.RegisterRevisionRequest(application_name="shop")
    code, fault = await refusal(desk(desk.inventory.RegisterRevision, nothing))
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "RevisionRequiredException")


async def test_instances(desk: Desk) -> None:
    enrolled = await desk.coordinator.enrol("web-1", role="web")
    await desk.coordinator.enrol("db-1", role="db")
    matching = await desk(
        desk.inventory.ListMatchingInstances,
        pb.ListMatchingInstancesRequest(
            selection=pb.Selection(tag_filters=[pb.TagFilter(key="role", value="w*")])
        ),
    )
    assert (matching.total, [one.name for one in matching.instances]) == (1, ["web-1"])
    by_id = await desk(desk.inventory.GetInstance, pb.GetInstanceRequest(instance=enrolled.instance_id))
    assert (by_id.instance.name, by_id.instance.kind) == ("web-1", pb.INSTANCE_KIND_ON_PREMISES)
    tagged = await desk(
        desk.inventory.TagInstance,
        pb.TagInstanceRequest(
            instance="web-1",
            add=[types_pb2.Tag(key="rack", value="7")],
            remove=[types_pb2.Tag(key="role", value="web")],
        ),
    )
    assert [(tag.key, tag.value) for tag in tagged.instance.tags] == [("rack", "7")]
    await desk(desk.inventory.DeregisterInstance, pb.DeregisterInstanceRequest(instance="db-1"))
    for status, names in (
        (pb.REGISTRATION_STATUS_REGISTERED, ["web-1"]),
        (pb.REGISTRATION_STATUS_DEREGISTERED, ["db-1"]),
        (pb.REGISTRATION_STATUS_UNSPECIFIED, ["db-1", "web-1"]),
    ):
        listed = await desk(desk.inventory.ListInstances, pb.ListInstancesRequest(registration_status=status))
        assert [one.name for one in listed.instances] == names
    strange = pb.ListInstancesRequest.FromString(b"\x08\x63")
    code, fault = await refusal(desk(desk.inventory.ListInstances, strange))
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidRegistrationStatusException")


async def test_join_tokens(desk: Desk) -> None:
    tokens = tokens_stub(desk.channel)
    made = await desk(tokens.CreateJoinToken, tokens_pb2.CreateJoinTokenRequest(uses=5, ttl_seconds=60))
    assert made.token.startswith("ferryman-join-1-")
    assert (made.join_token.uses, made.join_token.uses_left) == (5, 5)
    listed = await desk(tokens.ListJoinTokens, tokens_pb2.ListJoinTokensRequest())
    assert list(listed.join_tokens) == [made.join_token]
    assert made.token.rpartition("-")[2] not in str(listed)
    unlimited = await desk(tokens.CreateJoinToken, tokens_pb2.CreateJoinTokenRequest(unlimited_uses=True))
    assert unlimited.join_token.uses == 0


# Deployments ---------------------------------------------------------------------------------------------------------


def options(**fields: Any) -> deployments_pb2.DeploymentOptions:
    given: dict[str, Any] = {
        "application_name": "shop",
        "deployment_group_name": "web",
        "revision": LOCATION,
    } | fields
    return deployments_pb2.DeploymentOptions(**given)


async def test_a_plan_says_who_when_and_why_and_starts_nothing(desk: Desk) -> None:
    await make_group(desk)
    for number in range(3):
        await desk.coordinator.enrol(f"web-{number}", role="web")
    planned = await desk(
        desk.deployments.PlanDeployment, deployments_pb2.PlanDeploymentRequest(options=options())
    )
    assert [target.wave for target in planned.targets] == [1, 2, 3]
    assert {target.instance_name for target in planned.targets} == {"web-0", "web-1", "web-2"}
    assert (planned.counted_instances, planned.minimum_healthy, planned.concurrency) == (3, 2, 1)
    assert planned.reason
    assert planned.targets[0].revision_health == types_pb2.REVISION_HEALTH_UNKNOWN
    assert not planned.targets[0].is_connected
    listed = await desk(desk.deployments.ListDeployments, deployments_pb2.ListDeploymentsRequest())
    assert list(listed.deployments) == []


@pytest.mark.req("CP-225", "CP-230")
async def test_a_deployment_is_created_once_listed_and_stopped(desk: Desk) -> None:
    await make_group(desk)
    async with connected(await desk.coordinator.enrol("web-1", role="web")) as agent:
        await agent.hello()
        request = deployments_pb2.CreateDeploymentRequest(
            options=options(description="first"), request_key="k"
        )
        made = await desk(desk.deployments.CreateDeployment, request)
        again = await desk(desk.deployments.CreateDeployment, request)
        assert again.deployment_id == made.deployment_id
        other = deployments_pb2.CreateDeploymentRequest(options=options())
        code, fault = await refusal(desk(desk.deployments.CreateDeployment, other))
        assert (code, fault.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "DeploymentLimitExceededException",
        )
        assert fault.details["deployment_id"] == made.deployment_id
        segment = (await agent.hear("run_segment")).run_segment
        stop = deployments_pb2.StopDeploymentRequest(
            deployment_id=made.deployment_id, auto_rollback_enabled=False
        )
        answer = await desk(desk.deployments.StopDeployment, stop)
        assert not answer.is_stopped
        assert (await agent.hear("cancel")).cancel.command_id == segment.command_id
        skipped = agents_pb2.SegmentFinished(status=types_pb2.LIFECYCLE_EVENT_STATUS_SKIPPED)
        await agent.hear_ack(await agent.report(segment.command_id, segment_finished=skipped))
    final = await follow_to_the_end(desk, made.deployment_id)
    assert (final.status, final.stopped_by) == (types_pb2.DEPLOYMENT_STATUS_STOPPED, "admin")
    listed = await desk(
        desk.deployments.ListDeployments,
        deployments_pb2.ListDeploymentsRequest(
            application_name="shop",
            deployment_group_name="web",
            statuses=[types_pb2.DEPLOYMENT_STATUS_STOPPED],
            created_from=1,
        ),
    )
    (shown,) = listed.deployments
    assert (shown.deployment_id, shown.description, shown.creator) == (made.deployment_id, "first", "user")
    code, fault = await refusal(desk(desk.deployments.StopDeployment, stop))
    assert (code, fault.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "DeploymentAlreadyCompletedException",
    )
    by_list = await desk(
        desk.deployments.ListDeploymentTargets,
        deployments_pb2.ListDeploymentTargetsRequest(deployment_id=made.deployment_id),
    )
    by_name = await desk(
        desk.deployments.GetDeploymentTarget,
        deployments_pb2.GetDeploymentTargetRequest(deployment_id=made.deployment_id, instance="web-1"),
    )
    assert list(by_list.targets) == [by_name.target]
    assert len(by_name.target.lifecycle_events) == 7


async def follow_to_the_end(desk: Desk, deployment_id: str) -> deployments_pb2.Deployment:
    request = deployments_pb2.WatchDeploymentRequest(deployment_id=deployment_id)
    final = deployments_pb2.Deployment()
    async for change in desk.deployments.WatchDeployment(request, metadata=desk.coordinator.admin):
        if change.HasField("snapshot"):
            final = change.snapshot.deployment
        elif change.HasField("deployment"):
            final = change.deployment
    return final


@pytest.mark.parametrize(
    "deployment_id,reason",
    [
        ("", "DeploymentIdRequiredException"),
        ("nonsense", "InvalidDeploymentIdException"),
        ("d-AAAAAAAAA", "DeploymentDoesNotExistException"),
    ],
)
async def test_following_what_is_not_there_is_refused(desk: Desk, deployment_id: str, reason: str) -> None:
    request = deployments_pb2.WatchDeploymentRequest(deployment_id=deployment_id)
    watch = desk.deployments.WatchDeployment(request, metadata=desk.coordinator.admin)
    _, fault = await refusal(watch.read())
    assert fault.reason == reason
    request_logs = deployments_pb2.FollowLogsRequest(deployment_id=deployment_id)
    logs = desk.deployments.FollowLogs(request_logs, metadata=desk.coordinator.admin)
    _, fault = await refusal(logs.read())
    assert fault.reason == reason
