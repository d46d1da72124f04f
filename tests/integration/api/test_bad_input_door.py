"""Every error of CodeDeploy's model that the Server platform can raise, over the wire; nothing is left of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
import grpc
import grpc.aio
import pytest
import pytest_asyncio

from ferryman.v1 import deployments_pb2 as dpb
from ferryman.v1 import instances_pb2 as ipb
from ferryman.v1 import (
    instances_pb2_grpc,
    resources_pb2_grpc,
    tokens_pb2,
    types_pb2,
)
from ferryman.v1 import inventory_pb2 as pb
from ferryman.v1 import resources_pb2 as rpb
from tests.support.coordinator import (
    RunningCoordinator,
    deployments_stub,
    inventory_stub,
    refusal,
    running_coordinator,
    tokens_stub,
)

URL = types_pb2.RevisionLocation(
    url=types_pb2.UrlLocation(
        url="https://example.org/web-1.zip", bundle_type=types_pb2.BUNDLE_TYPE_ZIP, sha256="ab" * 32
    )
)
PRIVATE = types_pb2.RevisionLocation(
    github=types_pb2.GitHubLocation(repository="acme/web", commit_id="ab" * 20, token_name="gone")
)
USER, SESSION = "arn:aws:iam::123456789012:user/ann", "arn:aws:sts::123456789012:assumed-role/r/h2"
ARN = "arn:aws:codedeploy:local:000000000000:"
TOPIC = "arn:aws:sns:eu-1:123456789012:deploys"
ROLE = pb.TagFilter(key="role", value="web")
UNKNOWN: Any = 99
"""Number of no word of any enumeration."""

SETTINGS = {
    "limits.applications": "3",
    "limits.groups_per_application": "3",
    "limits.custom_configurations": "2",
    "limits.tags_per_instance": "2",
}
# What a call may leave: its record in the audit log, and when its token was last used.
LEFT = ("audit", "users", "roles", "grants", "access_", "settings")


@dataclass
class Scene:
    """The administrator's stubs, and the ids of what was made."""

    coordinator: RunningCoordinator
    channel: grpc.aio.Channel
    database: Path
    running: str = ""
    over: str = ""
    queued: str = ""
    inventory: Any = field(init=False)
    deployments: Any = field(init=False)
    resources: Any = field(init=False)
    instances: Any = field(init=False)
    tokens: Any = field(init=False)

    def __post_init__(self) -> None:
        self.inventory = inventory_stub(self.channel)
        self.deployments = deployments_stub(self.channel)
        self.resources = resources_pb2_grpc.ResourceServiceStub(self.channel)
        self.instances = instances_pb2_grpc.InstanceServiceStub(self.channel)
        self.tokens = tokens_stub(self.channel)

    async def call(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self.coordinator.admin)

    async def deploy(self, group: str, application: str = "shop") -> str:
        options = dpb.DeploymentOptions(
            application_name=application, deployment_group_name=group, revision=URL
        )
        made = await self.call(
            self.deployments.CreateDeployment, dpb.CreateDeploymentRequest(options=options)
        )
        return str(made.deployment_id)

    async def until(self, deployment_id: str, *statuses: types_pb2.DeploymentStatus.ValueType) -> None:
        request = dpb.GetDeploymentRequest(deployment_id=deployment_id)
        async with asyncio.timeout(20):
            while True:
                found = await self.call(self.deployments.GetDeployment, request)
                if found.deployment.status in statuses:
                    return

    def stored(self) -> Mapping[str, list[Any]]:
        """Every row of every table that a refused call must leave alone."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {
                name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
                for (name,) in tables
                if not name.startswith(LEFT)
            }

    def refusals(self) -> Counter[str]:
        """How many records of refused calls the audit log has, by what they were refused with."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            bodies = connection.execute("SELECT body FROM audit_records").fetchall()
        return Counter(json.loads(body).get("errorCode", "") for (body,) in bodies)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    data = tmp_path_factory.mktemp("bad-input") / "data"
    async with running_coordinator(data, SETTINGS) as coordinator, coordinator.channel() as channel:
        made = Scene(coordinator, channel, data / "ferryman.db")
        await furnish(made)
        yield made


async def furnish(scene: Scene) -> None:
    """Three applications, three groups, two configurations, a deployment that waits and one that is over."""
    inventory = scene.inventory
    for name, platform in (
        ("shop", types_pb2.COMPUTE_PLATFORM_SERVER),
        ("fn", types_pb2.COMPUTE_PLATFORM_LAMBDA),
        ("third", types_pb2.COMPUTE_PLATFORM_SERVER),
    ):
        request = pb.CreateApplicationRequest(name=name, compute_platform=platform)
        await scene.call(inventory.CreateApplication, request)
    for config in (minimal("Slow"), minimal("Zonal", zonal=pb.ZonalConfig())):
        await scene.call(inventory.CreateDeploymentConfig, config)
    for name, selector, options in (
        ("web", ROLE, pb.GroupOptions()),
        ("idle", pb.TagFilter(key="role", value="nobody"), pb.GroupOptions()),
        ("swap", ROLE, BLUE_GREEN),
    ):
        await scene.call(
            inventory.CreateDeploymentGroup,
            pb.CreateDeploymentGroupRequest(
                application_name="shop",
                name=name,
                deployment_config_name="Slow",
                selection=pb.Selection(tag_filters=[selector]),
                options=options,
            ),
        )
    await scene.call(
        inventory.CreateDeploymentGroup, pb.CreateDeploymentGroupRequest(application_name="fn", name="live")
    )
    queueing = pb.CreateDeploymentGroupRequest(
        application_name="third",
        name="queue",
        selection=pb.Selection(tag_filters=[ROLE]),
        options=pb.GroupOptions(queue=pb.QUEUE_MODE_FIFO),
    )
    await scene.call(inventory.CreateDeploymentGroup, queueing)
    await scene.coordinator.enrol("web-1", role="web")
    for known in (
        ipb.RegisterInstanceRequest(instance_name="h1", iam_user_arn=USER),
        ipb.RegisterInstanceRequest(instance_name="h2", iam_session_arn=SESSION),
    ):
        await scene.call(scene.instances.RegisterInstance, known)
    scene.running, scene.over = await scene.deploy("web"), await scene.deploy("idle")
    await scene.until(await scene.deploy("queue", "third"), types_pb2.DEPLOYMENT_STATUS_IN_PROGRESS)
    scene.queued = await scene.deploy("queue", "third")
    await scene.until(scene.queued, types_pb2.DEPLOYMENT_STATUS_QUEUED)
    await scene.until(scene.running, types_pb2.DEPLOYMENT_STATUS_IN_PROGRESS)
    await scene.until(scene.over, types_pb2.DEPLOYMENT_STATUS_FAILED)


def minimal(name: str = "Third", **fields: Any) -> pb.CreateDeploymentConfigRequest:
    one = pb.MinimumHealthyHosts(type=pb.MINIMUM_HEALTHY_HOSTS_TYPE_HOST_COUNT, value=0)
    given: dict[str, Any] = {"name": name, "minimum_healthy_hosts": one} | fields
    return pb.CreateDeploymentConfigRequest(**given)


BLUE_GREEN = pb.GroupOptions(
    style=pb.DeploymentStyle(
        type=pb.DEPLOYMENT_TYPE_BLUE_GREEN, option=pb.DEPLOYMENT_OPTION_WITH_TRAFFIC_CONTROL
    ),
    load_balancers=pb.LoadBalancers(target_groups=["tg"]),
)

Call = Callable[[Scene], tuple[Any, Any]]
"""Of a scene -> a method of a stub, and its request."""


def app(name: str) -> Call:
    return lambda scene: (scene.inventory.CreateApplication, pb.CreateApplicationRequest(name=name))


def get_app(name: str) -> Call:
    return lambda scene: (scene.inventory.GetApplication, pb.GetApplicationRequest(name=name))


def get_group(name: str, application: str = "shop") -> Call:
    request = pb.GetDeploymentGroupRequest(application_name=application, name=name)
    return lambda scene: (scene.inventory.GetDeploymentGroup, request)


def new_group(name: str = "new", **fields: Any) -> Call:
    """In `third`, where there is room."""
    given: dict[str, Any] = {"application_name": "third", "name": name} | fields
    return lambda scene: (scene.inventory.CreateDeploymentGroup, pb.CreateDeploymentGroupRequest(**given))


def optioned(**fields: Any) -> Call:
    return new_group(options=pb.GroupOptions(**fields))


def changed(**fields: Any) -> Call:
    """The same mistake in an update of a group that is there."""
    request = pb.UpdateDeploymentGroupRequest(
        application_name="shop", name="idle", options=pb.GroupOptions(**fields)
    )
    return lambda scene: (scene.inventory.UpdateDeploymentGroup, request)


def selecting(**fields: Any) -> Call:
    return new_group(selection=pb.Selection(**fields))


def config(**fields: Any) -> Call:
    return lambda scene: (scene.inventory.CreateDeploymentConfig, minimal(**fields))


def get_config(name: str) -> Call:
    return lambda scene: (scene.inventory.GetDeploymentConfig, pb.GetDeploymentConfigRequest(name=name))


def drop_config(name: str) -> Call:
    request = pb.DeleteDeploymentConfigRequest(name=name)
    return lambda scene: (scene.inventory.DeleteDeploymentConfig, request)


def register(location: types_pb2.RevisionLocation | None, **fields: Any) -> Call:
    given: dict[str, Any] = {"application_name": "shop", "location": location} | fields
    return lambda scene: (scene.inventory.RegisterRevision, pb.RegisterRevisionRequest(**given))


def revisions(**fields: Any) -> Call:
    request = pb.ListRevisionsRequest(application_name="shop", **fields)
    return lambda scene: (scene.inventory.ListRevisions, request)


def deploy(**fields: Any) -> Call:
    given: dict[str, Any] = {
        "application_name": "shop",
        "deployment_group_name": "idle",
        "revision": URL,
    } | fields
    request = dpb.CreateDeploymentRequest(options=dpb.DeploymentOptions(**given))
    return lambda scene: (scene.deployments.CreateDeployment, request)


def deployment(deployment_id: str) -> Call:
    request = dpb.GetDeploymentRequest(deployment_id=deployment_id)
    return lambda scene: (scene.deployments.GetDeployment, request)


def deployments(**fields: Any) -> Call:
    return lambda scene: (scene.deployments.ListDeployments, dpb.ListDeploymentsRequest(**fields))


def target(instance: str) -> Call:
    return lambda scene: (
        scene.deployments.GetDeploymentTarget,
        dpb.GetDeploymentTargetRequest(deployment_id=scene.running, instance=instance),
    )


def targets(**fields: Any) -> Call:
    return lambda scene: (
        scene.deployments.ListDeploymentTargets,
        dpb.ListDeploymentTargetsRequest(deployment_id=scene.running, **fields),
    )


def tagged(arn: str, *tags: types_pb2.Tag) -> Call:
    request = rpb.TagResourceRequest(resource_arn=arn, tags=tags)
    return lambda scene: (scene.resources.TagResource, request)


def host(**fields: Any) -> Call:
    return lambda scene: (scene.instances.RegisterInstance, ipb.RegisterInstanceRequest(**fields))


def host_tags(*names: str, **fields: Any) -> Call:
    request = ipb.TagInstancesRequest(instances=names, **fields)
    return lambda scene: (scene.instances.TagInstances, request)


def tag(key: str, value: str = "v") -> types_pb2.Tag:
    return types_pb2.Tag(key=key, value=value)


def routing(percentage: int, minutes: int) -> pb.TrafficRouting:
    kind = pb.TRAFFIC_ROUTING_TYPE_TIME_BASED_CANARY
    return pb.TrafficRouting(type=kind, percentage=percentage, interval_minutes=minutes)


def trigger(name: str = "t", arn: str = TOPIC, *events: str) -> pb.Triggers:
    return pb.Triggers(triggers=[pb.Trigger(name=name, target_arn=arn, events=events)])


def healthy(kind: Any, value: int) -> pb.MinimumHealthyHosts:
    return pb.MinimumHealthyHosts(type=kind, value=value)


PERCENT = pb.MINIMUM_HEALTHY_HOSTS_TYPE_FLEET_PERCENT
ALARMED = pb.AlarmConfiguration(enabled=True)
ELEVEN = [f"n{number}" for number in range(11)]
BOTH = pb.Selection(tag_filters=[ROLE], tag_set=pb.TagSet(groups=[pb.TagGroup(filters=[ROLE])]))
LONG_TAGS = [tag(f"k{number}") for number in range(10_000)]
IN_PLACE_BLUE_GREEN = pb.BlueGreen(ready_wait_minutes=1)

CASES: tuple[tuple[str, Call], ...] = (
    # Names (CP section 2): missing, too long, of another alphabet, with control characters.
    ("ApplicationNameRequiredException", app("")),
    ("InvalidApplicationNameException", app("a b")),
    ("InvalidApplicationNameException", app("a" * 101)),
    ("InvalidApplicationNameException", app("a\r")),
    ("InvalidApplicationNameException", app("a\x07")),
    ("InvalidInputException", app("a\x00")),
    ("InvalidApplicationNameException", get_app("ä")),
    ("DeploymentGroupNameRequiredException", new_group("")),
    ("InvalidDeploymentGroupNameException", new_group("a" * 101)),
    ("InvalidDeploymentGroupNameException", new_group("a/b")),
    ("InvalidDeploymentGroupNameException", new_group("a\n")),
    ("DeploymentConfigNameRequiredException", config(name="")),
    ("InvalidDeploymentConfigNameException", config(name="a" * 101)),
    ("InvalidDeploymentConfigNameException", config(name="CodeDeployDefault.Mine")),
    ("InvalidDeploymentConfigNameException", config(name="a\tb")),
    ("InstanceNameRequiredException", host(iam_user_arn=USER)),
    ("InvalidInstanceNameException", host(instance_name="AA:BB", iam_user_arn=USER)),
    ("InvalidInstanceNameException", host(instance_name="i-123", iam_user_arn=USER)),
    ("InvalidInstanceNameException", host(instance_name="a" * 101, iam_user_arn=USER)),
    ("InvalidInstanceNameException", host(instance_name="a\x1b", iam_user_arn=USER)),
    ("InvalidIamUserArnException", host(instance_name="h3", iam_user_arn="arn:aws:iam::1:user/x")),
    ("InvalidIamSessionArnException", host(instance_name="h3", iam_session_arn="arn:aws:sts::1:x")),
    ("IamArnRequiredException", host(instance_name="h3")),
    (
        "MultipleIamArnsProvidedException",
        host(instance_name="h3", iam_user_arn=USER, iam_session_arn=SESSION),
    ),
    ("InstanceNameAlreadyRegisteredException", host(instance_name="h1", iam_user_arn=USER + "2")),
    ("IamUserArnAlreadyRegisteredException", host(instance_name="h3", iam_user_arn=USER)),
    ("IamSessionArnAlreadyRegisteredException", host(instance_name="h3", iam_session_arn=SESSION)),
    ("DescriptionTooLongException", register(URL, description="x" * 257)),
    ("DescriptionTooLongException", deploy(description="x" * 257)),
    ("DeploymentIdRequiredException", deployment("")),
    ("InvalidDeploymentIdException", deployment("d-1")),
    ("InvalidDeploymentIdException", deployment("D-000000000")),
    ("DeploymentDoesNotExistException", deployment("d-000000000")),
    # Tags of instances and of resources.
    ("InvalidTagException", host_tags("web-1", add=[tag("")])),
    ("InvalidTagException", host_tags("web-1", add=[tag("k", "")])),
    ("InvalidTagException", host_tags("web-1", add=[tag("k" * 129)])),
    ("InvalidTagException", host_tags("web-1", add=[tag("k", "v" * 257)])),
    ("InvalidTagException", host_tags("web-1", add=[tag("k", "v\r")])),
    ("TagLimitExceededException", host_tags("web-1", add=[tag("a"), tag("b")])),
    ("TagLimitExceededException", host_tags("web-1", add=LONG_TAGS)),
    ("TagRequiredException", host_tags("web-1")),
    ("InstanceNotRegisteredException", host_tags("nobody", add=[tag("k")])),
    ("InstanceLimitExceededException", host_tags(*(f"h{n}" for n in range(101)), add=[tag("k")])),
    ("ResourceArnRequiredException", tagged("", tag("k"))),
    ("InvalidArnException", tagged("web", tag("k"))),
    ("InvalidArnException", tagged(ARN + "application/shop", tag("k"))),
    ("InvalidArnException", tagged("a" * 1_012, tag("k"))),
    ("ArnNotSupportedException", tagged(ARN + "deploymentconfig:Slow", tag("k"))),
    ("TagRequiredException", tagged(ARN + "application:shop")),
    ("InvalidTagsToAddException", tagged(ARN + "application:shop", tag(""))),
    ("InvalidTagsToAddException", tagged(ARN + "application:shop", *LONG_TAGS)),
    ("InvalidTagsToAddException", new_group(resource_tags=[tag("k"), tag("k")])),
    ("InvalidTagsToAddException", new_group(resource_tags=LONG_TAGS)),
    # Selections.
    ("InvalidEC2TagCombinationException", new_group(selection=BOTH)),
    ("InvalidEC2TagCombinationException", optioned(cloud_selection=BOTH)),
    ("InvalidOnPremisesTagCombinationException", optioned(on_premises_selection=BOTH)),
    ("InvalidEC2TagException", selecting(tag_filters=[ROLE] * 11)),
    ("InvalidEC2TagException", selecting(tag_filters=[ROLE] * 10_000)),
    ("InvalidEC2TagException", selecting(tag_filters=[pb.TagFilter()])),
    ("InvalidTagException", selecting(tag_filters=[pb.TagFilter(key="a\x07")])),
    ("InvalidTagException", selecting(tag_filters=[pb.TagFilter(key="k" * 129)])),
    ("InvalidTagException", optioned(on_premises_selection=pb.Selection(tag_filters=[ROLE] * 11))),
    (
        "TagSetListLimitExceededException",
        selecting(tag_set=pb.TagSet(groups=[pb.TagGroup(filters=[ROLE])] * 4)),
    ),
    ("InvalidTagFilterException", selecting(tag_filters=[pb.TagFilter(type=UNKNOWN, key="a")])),
    (
        "InvalidRegistrationStatusException",
        lambda scene: (
            scene.inventory.ListInstances,
            pb.ListInstancesRequest(registration_status=UNKNOWN),
        ),
    ),
    # Applications.
    ("ApplicationAlreadyExistsException", app("shop")),
    ("ApplicationLimitExceededException", app("fourth")),
    ("ApplicationDoesNotExistException", get_app("ghost")),
    (
        "ApplicationAlreadyExistsException",
        lambda scene: (
            scene.inventory.UpdateApplication,
            pb.UpdateApplicationRequest(name="shop", new_name="fn"),
        ),
    ),
    (
        "InvalidComputePlatformException",
        lambda scene: (
            scene.inventory.CreateApplication,
            pb.CreateApplicationRequest(name="x", compute_platform=UNKNOWN),
        ),
    ),
    (
        "BatchLimitExceededException",
        lambda scene: (
            scene.inventory.BatchGetApplications,
            pb.BatchGetApplicationsRequest(names=[f"a{number}" for number in range(101)]),
        ),
    ),
    # Configurations.
    ("DeploymentConfigAlreadyExistsException", config(name="Slow")),
    ("DeploymentConfigAlreadyExistsException", config(name="CodeDeployDefault.AllAtOnce")),
    ("DeploymentConfigLimitExceededException", config(name="Third")),
    ("DeploymentConfigDoesNotExistException", get_config("Brisk")),
    ("DeploymentConfigInUseException", drop_config("Slow")),
    ("InvalidOperationException", drop_config("CodeDeployDefault.AllAtOnce")),
    ("InvalidMinimumHealthyHostValueException", config(minimum_healthy_hosts=healthy(PERCENT, 100))),
    ("InvalidMinimumHealthyHostValueException", config(minimum_healthy_hosts=healthy(PERCENT, -1))),
    (
        "InvalidMinimumHealthyHostValueException",
        config(minimum_healthy_hosts=healthy(pb.MINIMUM_HEALTHY_HOSTS_TYPE_MOST_CONCURRENCY, 1)),
    ),
    ("InvalidMinimumHealthyHostValueException", config(minimum_healthy_hosts=healthy(UNKNOWN, 1))),
    ("InvalidMinimumHealthyHostValueException", config(minimum_healthy_hosts=None)),
    ("InvalidTrafficRoutingConfigurationException", config(traffic_routing=routing(10, 5))),
    (
        "InvalidTrafficRoutingConfigurationException",
        config(
            compute_platform=types_pb2.COMPUTE_PLATFORM_LAMBDA,
            minimum_healthy_hosts=None,
            traffic_routing=routing(100, 5),
        ),
    ),
    (
        "InvalidTrafficRoutingConfigurationException",
        config(
            compute_platform=types_pb2.COMPUTE_PLATFORM_ECS,
            minimum_healthy_hosts=None,
            traffic_routing=routing(10, 2_881),
        ),
    ),
    (
        "InvalidZonalDeploymentConfigurationException",
        config(zonal=pb.ZonalConfig(monitor_duration_seconds=-1)),
    ),
    (
        "InvalidZonalDeploymentConfigurationException",
        new_group(deployment_config_name="Zonal", options=BLUE_GREEN),
    ),
    # Groups.
    ("DeploymentGroupAlreadyExistsException", new_group("web", application_name="shop")),
    ("DeploymentGroupLimitExceededException", new_group("fourth", application_name="shop")),
    ("DeploymentGroupDoesNotExistException", get_group("ghost")),
    (
        "InvalidDeploymentConfigNameException",
        new_group(deployment_config_name="CodeDeployDefault.ECSAllAtOnce"),
    ),
    (
        "InvalidAutoRollbackConfigException",
        new_group(auto_rollback=pb.AutoRollback(enabled=True)),
    ),
    ("InvalidAutoRollbackConfigException", new_group(auto_rollback=pb.AutoRollback(events=[UNKNOWN]))),
    ("InvalidRoleException", optioned(service_role_arn="CodeDeploy")),
    ("InvalidDeploymentStyleException", optioned(style=pb.DeploymentStyle(type=UNKNOWN))),
    (
        "InvalidDeploymentStyleException",
        optioned(style=pb.DeploymentStyle(type=pb.DEPLOYMENT_TYPE_BLUE_GREEN)),
    ),
    ("InvalidLoadBalancerInfoException", optioned(style=BLUE_GREEN.style)),
    ("InvalidLoadBalancerInfoException", optioned(load_balancers=pb.LoadBalancers(classic=ELEVEN))),
    ("InvalidBlueGreenDeploymentConfigurationException", optioned(blue_green=IN_PLACE_BLUE_GREEN)),
    (
        "InvalidBlueGreenDeploymentConfigurationException",
        optioned(
            style=BLUE_GREEN.style,
            load_balancers=BLUE_GREEN.load_balancers,
            blue_green=pb.BlueGreen(ready_wait_minutes=2_881),
        ),
    ),
    ("InvalidAutoScalingGroupException", optioned(auto_scaling_groups=pb.AutoScalingGroups(names=ELEVEN))),
    ("InvalidAutoScalingGroupException", changed(auto_scaling_groups=pb.AutoScalingGroups(names=["a", "a"]))),
    ("InvalidAlarmConfigException", changed(alarms=ALARMED)),
    ("AlarmsLimitExceededException", changed(alarms=pb.AlarmConfiguration(alarms=ELEVEN))),
    ("InvalidTriggerConfigException", changed(triggers=trigger())),
    ("InvalidTriggerConfigException", changed(triggers=trigger("t", TOPIC, "DeploymentWished"))),
    ("InvalidTriggerConfigException", changed(triggers=trigger("t", "http://x", "DeploymentStart"))),
    (
        "TriggerTargetsLimitExceededException",
        changed(
            triggers=pb.Triggers(
                triggers=[
                    pb.Trigger(name=name, target_arn=TOPIC, events=["DeploymentStart"]) for name in ELEVEN
                ]
            )
        ),
    ),
    ("InvalidInputException", changed(outdated_instances=UNKNOWN)),
    ("InvalidInputException", changed(queue=UNKNOWN)),
    # Revisions.
    ("RevisionRequiredException", register(None)),
    (
        "InvalidRevisionException",
        register(types_pb2.RevisionLocation(url=types_pb2.UrlLocation(url="ftp://x"))),
    ),
    (
        "InvalidRevisionException",
        register(
            types_pb2.RevisionLocation(
                github=types_pb2.GitHubLocation(repository="acme/web", commit_id="abc1234")
            )
        ),
    ),
    ("InvalidRevisionException", register(PRIVATE, application_name="fn")),
    (
        "RevisionDoesNotExistException",
        lambda scene: (
            scene.inventory.GetRevision,
            pb.GetRevisionRequest(application_name="shop", revision="s3://acme/web.zip"),
        ),
    ),
    ("BucketNameFilterRequiredException", revisions(s3_key_prefix="web/")),
    ("InvalidBucketNameFilterException", revisions(s3_bucket="no bucket")),
    ("InvalidKeyPrefixFilterException", revisions(s3_bucket="acme", s3_key_prefix="a\x07")),
    ("InvalidSortByException", revisions(sort_by=UNKNOWN)),
    ("InvalidDeployedStateFilterException", revisions(target=UNKNOWN)),
    # Deployments.
    ("ApplicationDoesNotExistException", deploy(application_name="ghost")),
    ("DeploymentGroupDoesNotExistException", deploy(deployment_group_name="ghost")),
    ("DeploymentConfigDoesNotExistException", deploy(deployment_config_name="Brisk")),
    ("RevisionRequiredException", deploy(revision=None)),
    ("InvalidFileExistsBehaviorException", deploy(file_exists_behavior=UNKNOWN)),
    ("InvalidTargetInstancesException", deploy(target_instances=dpb.TargetInstances())),
    ("InvalidAutoRollbackConfigException", deploy(auto_rollback=pb.AutoRollback(enabled=True))),
    ("InvalidAlarmConfigException", deploy(override_alarms=ALARMED)),
    ("AlarmsLimitExceededException", deploy(override_alarms=pb.AlarmConfiguration(alarms=ELEVEN))),
    ("InvalidGitHubAccountTokenException", deploy(revision=PRIVATE)),
    ("DeploymentLimitExceededException", deploy(deployment_group_name="web")),
    ("UnsupportedActionForDeploymentTypeException", deploy(deployment_group_name="swap")),
    (
        "InvalidUpdateOutdatedInstancesOnlyValueException",
        deploy(application_name="fn", deployment_group_name="live", update_outdated_instances_only=True),
    ),
    (
        "InvalidIgnoreApplicationStopFailuresValueException",
        deploy(application_name="fn", deployment_group_name="live", ignore_application_stop_failures=True),
    ),
    (
        "DeploymentAlreadyCompletedException",
        lambda scene: (
            scene.deployments.StopDeployment,
            dpb.StopDeploymentRequest(deployment_id=scene.over),
        ),
    ),
    (
        "InvalidDeploymentWaitTypeException",
        lambda scene: (
            scene.deployments.ContinueDeployment,
            dpb.ContinueDeploymentRequest(deployment_id=scene.running, wait_type=UNKNOWN),
        ),
    ),
    (
        "UnsupportedActionForDeploymentTypeException",
        lambda scene: (
            scene.deployments.SkipWaitTimeForInstanceTermination,
            dpb.SkipWaitTimeForInstanceTerminationRequest(deployment_id=scene.running),
        ),
    ),
    (
        "BatchLimitExceededException",
        lambda scene: (
            scene.deployments.BatchGetDeployments,
            dpb.BatchGetDeploymentsRequest(deployment_ids=[f"d-{number:09}" for number in range(26)]),
        ),
    ),
    ("InvalidTimeRangeException", deployments(created_from=2, created_until=1)),
    ("InvalidDeploymentStatusException", deployments(statuses=[UNKNOWN])),
    ("InvalidNextTokenException", deployments(page=types_pb2.Page(token="made up"))),
    ("DeploymentGroupNameRequiredException", deployments(application_name="shop")),
    ("DeploymentTargetIdRequiredException", target("")),
    ("InvalidDeploymentTargetIdException", target("a\x07")),
    ("DeploymentTargetDoesNotExistException", target("web-9")),
    (
        "DeploymentNotStartedException",
        lambda scene: (
            scene.deployments.ListDeploymentTargets,
            dpb.ListDeploymentTargetsRequest(deployment_id=scene.queued),
        ),
    ),
    ("InvalidInstanceStatusException", targets(statuses=[UNKNOWN])),
    ("InvalidDeploymentInstanceTypeException", targets(labels=[dpb.INSTANCE_LABEL_BLUE])),
    ("InvalidDeploymentInstanceTypeException", targets(labels=[UNKNOWN])),
    (
        "DeploymentTargetListSizeExceededException",
        lambda scene: (
            scene.deployments.BatchGetDeploymentTargets,
            dpb.BatchGetDeploymentTargetsRequest(
                deployment_id=scene.running, instances=[f"web-{number}" for number in range(26)]
            ),
        ),
    ),
    # Tokens for GitHub.
    (
        "GitHubAccountTokenNameRequiredException",
        lambda scene: (
            scene.tokens.RemoveGitHubToken,
            tokens_pb2.RemoveGitHubTokenRequest(),
        ),
    ),
    (
        "InvalidGitHubAccountTokenNameException",
        lambda scene: (
            scene.inventory.LinkApplication,
            pb.LinkApplicationRequest(name="shop", github_account_name="no name"),
        ),
    ),
)

ELSEWHERE = {
    "RoleRequiredException": "only the CodeDeploy door demands a role (CP-018); test_group_options.py",
    "ThrottlingException": "calls are not throttled",
    "LifecycleHookLimitExceededException": "hooks of autoscaling groups are Ferryman's own and have no limit",
    "GitHubAccountTokenDoesNotExistException": "removing what is not there succeeds (A36)",
    "OperationNotSupportedException": "the model keeps it for operations on tokens, which are all supported",
    "ResourceValidationException": "the model keeps it for operations on tokens; other names say more",
    "IamUserArnRequiredException": "of an older model: IamArnRequiredException took its place (CP-069)",
    "InvalidExternalIdException": "no deployment has an external id",
    # Of shapes that the wire contract does not have: enumerations and messages leave no room for them.
    "InvalidSortOrderException": "ascending or descending is a boolean here; the CodeDeploy door has the text",
    "InvalidTargetFilterNameException": "filters have fields of their own here; the CodeDeploy door has their names",
    "InstanceIdRequiredException": "of the deprecated operations for instances; the CodeDeploy door has them",
    "InstanceDoesNotExistException": "of the deprecated operations for instances; the CodeDeploy door has them",
    "InvalidInstanceTypeException": "of the deprecated operations for instances; the CodeDeploy door has them",
    # Of other platforms, and of deployments that this version refuses to start.
    "DeploymentIsNotInReadyStateException": "of blue/green deployments; test_waits.py",
    "ECSServiceMappingLimitExceededException": "ECS",
    "InvalidECSServiceException": "ECS",
    "InvalidTargetGroupPairException": "ECS",
    "InvalidLifecycleEventHookExecutionIdException": "Lambda and ECS",
    "InvalidLifecycleEventHookExecutionStatusException": "Lambda and ECS",
    "LifecycleEventAlreadyCompletedException": "Lambda and ECS",
}


def test_every_error_of_the_model_has_a_case_or_a_reason_for_none() -> None:
    model = botocore.session.get_session().get_service_model("codedeploy")
    known = {
        error.name for name in model.operation_names for error in model.operation_model(name).error_shapes
    }
    shown = {reason for reason, _ in CASES}
    assert len(known) > 100
    assert not shown & set(ELSEWHERE)
    assert shown | set(ELSEWHERE) == known


@pytest.mark.req("CP-034", "CP-443", "CP-445")
@pytest.mark.asyncio(loop_scope="module")
async def test_each_mistake_leaves_one_record_in_the_audit_log(scene: Scene) -> None:
    # Comes before the tests that repeat these calls: their records may still be on their way.
    wanted = Counter(reason for reason, _ in CASES)
    before = scene.refusals()
    for _, call in CASES:
        method, request = call(scene)
        await refusal(scene.call(method, request))
    async with asyncio.timeout(20):
        # They are written behind the calls.
        while (scene.refusals() - before).total() < wanted.total():
            await scene.call(scene.inventory.GetApplication, pb.GetApplicationRequest(name="shop"))
    after = scene.refusals()
    assert {reason: after[reason] - before[reason] for reason in wanted} == wanted


@pytest.mark.req("CP-031", "CP-033", "CP-034", "CP-035", "T1", "T2", "T6", "T7", "T8", "T9")
@pytest.mark.req("T21", "T22", "T23", "T13", "T14", "T66", "T68")
@pytest.mark.parametrize(
    "reason, call", CASES, ids=[f"{number}-{reason}" for number, (reason, _) in enumerate(CASES)]
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_mistake_has_its_name_and_nothing_is_left_of_it(
    scene: Scene, reason: str, call: Call
) -> None:
    before = scene.stored()
    method, request = call(scene)
    code, fault = await refusal(scene.call(method, request))
    assert fault.reason == reason, fault.message
    assert fault.message
    assert "\x1b" not in fault.message
    assert code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
    assert scene.stored() == before
