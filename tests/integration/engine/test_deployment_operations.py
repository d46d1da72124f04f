"""Deployments as control operations: what is refused, in which order and by which name; plans; lists; targets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferryman.v1 import inventory_pb2
from ferryman_coordinator.api.mapping.deployments import deployment_to, target_to
from ferryman_coordinator.api.mapping.values import minimum_to, zonal_to
from ferryman_coordinator.core.group_options import AlarmConfiguration
from ferryman_coordinator.core.inventory import Application, ComputePlatform, InstanceKind
from ferryman_coordinator.core.model import (
    ApplicationId,
    AutoRollback,
    BundleType,
    Creator,
    DeploymentId,
    DeploymentStatus,
    FileExistsBehavior,
    HealthyHostsType,
    InstanceId,
    MinimumHealthyHosts,
    RollbackEvent,
    TargetStatus,
    UrlLocation,
    ZonalConfig,
)
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.engine.logs import LogLine
from ferryman_coordinator.errors import Conflict, Invalid, LimitExceeded, NotFound, Refused
from ferryman_coordinator.links.orders import SegmentOrder
from ferryman_coordinator.operations.deployment_styles import TargetInstances
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.inventory_records import application_row
from tests.support.clock import START
from tests.support.coordinator_records import bundle
from tests.support.crashing_store import HoldingStore, held
from tests.support.deployment_desk import MISSING, OPTIONS
from tests.support.deployment_desk import DeploymentDesk as Desk
from tests.support.engine_world import open_world
from tests.support.fake_agent import Gate, broken_revision, failing


def hosts(count: int) -> MinimumHealthyHosts:
    return MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=count)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_world(tmp_path, 3) as world:
        yield Desk(world)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("ApplicationNameRequiredException", {"application_name": ""}),
    ("InvalidApplicationNameException", {"application_name": "we b"}),
    ("ApplicationDoesNotExistException", {"application_name": "shop"}),
    ("DeploymentGroupNameRequiredException", {"group_name": ""}),
    ("DeploymentGroupDoesNotExistException", {"group_name": "staging"}),
    ("DeploymentConfigDoesNotExistException", {"config_name": "Brisk"}),
    ("InvalidDeploymentConfigNameException", {"config_name": "CodeDeployDefault.ECSAllAtOnce"}),
    ("RevisionRequiredException", {"revision": None}),
    ("InvalidRevisionException", {"revision": replace(bundle("a"), sha256="abc")}),
    ("InvalidRevisionException", {"revision": UrlLocation(url="ftp://x/y", bundle_type=BundleType.ZIP)}),
    ("DescriptionTooLongException", {"description": "x" * 257}),
    ("InvalidTargetInstancesException", {"target_instances": TargetInstances()}),
    ("InvalidAutoRollbackConfigException", {"auto_rollback": AutoRollback(enabled=True)}),
    ("InvalidAlarmConfigException", {"override_alarms": AlarmConfiguration(enabled=True)}),
    (
        "AlarmsLimitExceededException",
        {"override_alarms": AlarmConfiguration(alarms=tuple("abcdefghijk"))},
    ),
    ("InvalidFileExistsBehaviorException", {"file_exists_behavior": "SHRUG"}),
]


@pytest.mark.req("CP-210", "CP-211", "CP-217", "CP-222", "CP-033", "CP-034")
@pytest.mark.parametrize("reason, wrong", WRONG)
async def test_a_mistake_is_refused_by_name_and_leaves_no_trace(
    desk: Desk, reason: str, wrong: dict[str, Any]
) -> None:
    for operation in (desk.deployments.create, desk.deployments.plan):
        with pytest.raises(Refused) as refused:
            await operation(replace(OPTIONS, **wrong))
        assert refused.value.reason == reason
    assert (await desk.deployments.list(PageRequest())).items == ()
    assert (await desk.world.group()).last_attempted is None


@pytest.mark.req("CP-227")
async def test_of_several_mistakes_the_first_in_the_agreed_order_is_reported(desk: Desk) -> None:
    # One mistake for each step of the order; later ones must not hide earlier ones.
    steps = [WRONG[number] for number in (2, 4, 5, 7, 10, 11, 12, 13, 15)]
    for first in range(len(steps)):
        wrong: dict[str, Any] = {}
        for _, changes in steps[first:]:
            wrong |= changes
        with pytest.raises(Refused) as refused:
            await desk.deployments.create(replace(OPTIONS, **wrong))
        assert refused.value.reason == steps[first][0]


@pytest.mark.req("CP-227", "AG-Q11")
async def test_room_in_the_group_is_looked_for_last(desk: Desk) -> None:
    desk.world.play(Gate())
    await desk.create()
    with pytest.raises(Invalid) as refused:
        await desk.create(file_exists_behavior="SHRUG")
    assert refused.value.reason == "InvalidFileExistsBehaviorException"
    for operation in (desk.deployments.create, desk.deployments.plan):
        with pytest.raises(LimitExceeded) as occupied:
            await operation(OPTIONS)
        assert occupied.value.reason == "DeploymentLimitExceededException"


@pytest.mark.req("CP-221")
async def test_other_platforms_are_not_deployed_to(desk: Desk) -> None:
    application = Application(
        application_id=ApplicationId("app-2"),
        name="function",
        compute_platform=ComputePlatform.LAMBDA,
        created_at=START,
    )
    batch = Batch()
    batch.insert(tables.applications, application_row(application))
    await desk.world.store.write(batch)
    for flags, reason in (
        ({}, "InvalidComputePlatformException"),
        (
            {"update_outdated_instances_only": True},
            "InvalidUpdateOutdatedInstancesOnlyValueException",
        ),
        (
            {"ignore_application_stop_failures": True},
            "InvalidIgnoreApplicationStopFailuresValueException",
        ),
    ):
        with pytest.raises(Invalid, match="Lambda") as refused:
            await desk.create(application_name="function", **flags)
        assert refused.value.reason == reason


@pytest.mark.req("CP-120", "CP-212", "CP-213")
async def test_the_group_says_what_the_deployment_leaves_out(desk: Desk) -> None:
    await desk.done()
    of_group = await desk.deployments.get(await desk.done(config_name=""))
    assert of_group.spec.config_name == "CodeDeployDefault.OneAtATime"
    assert of_group.spec.auto_rollback == AutoRollback()
    rollback = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))
    own = await desk.deployments.get(await desk.done(auto_rollback=rollback, file_exists_behavior="RETAIN"))
    assert own.spec.config_name == "CodeDeployDefault.AllAtOnce"
    assert own.spec.auto_rollback == rollback
    assert own.spec.file_exists_behavior is FileExistsBehavior.RETAIN


async def test_what_looks_like_a_mistake_is_warned_of(desk: Desk) -> None:
    created = await desk.deployments.create(replace(OPTIONS, revision=bundle("3")))
    assert created.warnings == ("line 3: unknown key",)
    await desk.ended(created.deployment_id)
    url = UrlLocation(url="https://example.org/web.zip", bundle_type=BundleType.ZIP)
    created = await desk.deployments.create(replace(OPTIONS, revision=url))
    assert any("no digest" in warning for warning in created.warnings)


async def test_the_archive_must_be_there_for_a_deployment_but_not_for_a_plan(desk: Desk) -> None:
    missing = replace(OPTIONS, revision=MISSING)
    with pytest.raises(Invalid, match="not in the coordinator's store"):
        await desk.deployments.create(missing)
    assert (await desk.deployments.list(PageRequest())).items == ()
    assert len((await desk.deployments.plan(missing)).plan.targets) == 3
    # What is wrong with the request itself is said first.
    with pytest.raises(Invalid) as refused:
        await desk.deployments.create(replace(missing, description="x" * 257))
    assert refused.value.reason == "DescriptionTooLongException"


@pytest.mark.req("CP-230")
async def test_a_request_key_stands_for_one_creation(desk: Desk) -> None:
    first = await desk.deployments.create(OPTIONS, "build-7")
    again = await desk.deployments.create(OPTIONS, "build-7")
    assert again.deployment_id == first.deployment_id
    with pytest.raises(Conflict) as misused:
        await desk.deployments.create(replace(OPTIONS, revision=bundle("b")), "build-7")
    assert misused.value.details == {"deployment_id": first.deployment_id}
    with pytest.raises(Invalid, match="request key"):
        await desk.deployments.create(OPTIONS, "x" * 257)


@pytest.mark.req("CP-422")
async def test_a_plan_says_what_would_happen_and_changes_nothing(desk: Desk) -> None:
    world = desk.world
    world.disconnect("mi-2")
    planned = await desk.deployments.plan(replace(OPTIONS, config_name="CodeDeployDefault.OneAtATime"))
    assert [target.wave for target in planned.plan.targets] == [1, 2, 3]
    assert {target.member.instance_id for target in planned.plan.targets} == {"mi-0", "mi-1", "mi-2"}
    assert (planned.plan.counted, planned.plan.minimum, planned.plan.concurrency) == (3, 2, 1)
    assert planned.config_name == "CodeDeployDefault.OneAtATime"
    assert planned.revision == bundle("a")
    assert planned.connected == {"mi-0", "mi-1"}
    assert planned.plan.error is None
    assert (await desk.deployments.list(PageRequest())).items == ()
    assert all(agent.orders == [] for agent in world.agents.values())


async def test_a_plan_names_the_error_that_the_deployment_would_end_with(desk: Desk) -> None:
    for name in desk.world.agents:
        await desk.world.tag(name, Tag("stage", "beta"))
    planned = await desk.deployments.plan(OPTIONS)
    assert planned.plan.error is not None
    assert planned.plan.error.code == "NO_INSTANCES"
    ended = await desk.deployments.get(await desk.done())
    assert ended.record.error == planned.plan.error


async def test_a_plan_for_what_is_outdated_leaves_the_others_out(desk: Desk) -> None:
    await desk.done()
    planned = await desk.deployments.plan(replace(OPTIONS, update_outdated_instances_only=True))
    assert planned.plan.targets == ()
    assert planned.plan.counted == 3
    other = replace(OPTIONS, revision=bundle("b"), update_outdated_instances_only=True)
    assert len((await desk.deployments.plan(other)).plan.targets) == 3


@pytest.mark.req("CP-458", "CP-459", "CP-460", "CP-461")
async def test_lists_are_newest_first_filtered_and_paged(desk: Desk) -> None:
    world = desk.world
    made: list[str] = []
    for number in range(5):
        world.clock.advance(1_000)
        world.play(failing() if number == 2 else Gate(at="never"))
        made.append(await desk.done())
    listed: list[str] = []
    token = ""
    while True:
        page = await desk.deployments.list(PageRequest(size=2, token=token))
        listed += [one.deployment_id for one in page.items]
        token = page.next_token
        if not token:
            break
    assert listed == made[::-1]
    failed = await desk.deployments.list(PageRequest(), statuses=[DeploymentStatus.FAILED])
    assert [one.deployment_id for one in failed.items] == [made[2]]
    early = await desk.deployments.list(
        PageRequest(), created_until=(await desk.deployments.get(made[1])).record.created_at
    )
    assert [one.deployment_id for one in early.items] == [made[1], made[0]]
    of_group = await desk.deployments.list(PageRequest(), application_name="web", group_name="production")
    assert len(of_group.items) == 5
    for reason, wrong in (
        ("DeploymentGroupNameRequiredException", {"application_name": "web"}),
        ("ApplicationNameRequiredException", {"group_name": "production"}),
        ("InvalidTimeRangeException", {"created_from": START + 2, "created_until": START + 1}),
    ):
        with pytest.raises(Refused) as refused:
            await desk.deployments.list(PageRequest(), **wrong)
        assert refused.value.reason == reason
    with pytest.raises(Invalid) as forged:
        await desk.deployments.list(PageRequest(token="bm90IG91cnM"))
    assert forged.value.reason == "InvalidNextTokenException"


@pytest.mark.req("CP-462", "CP-248")
async def test_targets_are_read_in_the_order_of_start(desk: Desk) -> None:
    desk.world.play(failing("mi-1"))
    deployment_id = await desk.done()
    first = await desk.deployments.targets(deployment_id, PageRequest(size=2))
    rest = await desk.deployments.targets(deployment_id, PageRequest(size=2, token=first.next_token))
    targets = [*first.items, *rest.items]
    assert [target.record.ordinal for target in targets] == [0, 1, 2]
    assert all(len(target.events) == 7 for target in targets)
    failed = await desk.deployments.targets(deployment_id, PageRequest(), [TargetStatus.FAILED])
    assert [target.record.instance_id for target in failed.items] == ["mi-1"]
    assert await desk.deployments.target(deployment_id, "web-1") == failed.items[0]
    assert await desk.deployments.target(deployment_id, "mi-1") == failed.items[0]
    for reason, instance in (
        ("DeploymentTargetDoesNotExistException", "web-9"),
        ("DeploymentTargetIdRequiredException", ""),
    ):
        with pytest.raises(Refused) as refused:
            await desk.deployments.target(deployment_id, instance)
        assert refused.value.reason == reason


@pytest.mark.req("CP-249")
async def test_a_target_shows_the_arn_of_its_instance(desk: Desk) -> None:
    cloud = "i-0123456789abcdef0"
    batch = Batch()
    moved = {"instance_id": cloud, "kind": InstanceKind.CLOUD.value, "arn": ""}
    batch.update(tables.instances, {"instance_id": "mi-2"}, moved)
    await desk.world.store.write(batch)
    deployment_id = await desk.create()
    await desk.world.until(
        (await desk.deployments.get(deployment_id)).deployment_id,
        lambda counts: counts.get(TargetStatus.SUCCEEDED) == 2,
    )
    found = await desk.deployments.targets(deployment_id, PageRequest())
    arns = {
        target.record.instance_id: target_to(DeploymentId(deployment_id), target).target_arn
        for target in found.items
    }
    assert arns == {
        "mi-0": "arn:aws:codedeploy:eu-1:123456789012:instance/web-0",
        "mi-1": "arn:aws:codedeploy:eu-1:123456789012:instance/web-1",
        cloud: f"arn:aws:ec2:eu-1:123456789012:instance/{cloud}",
    }
    assert (await desk.deployments.target(deployment_id, "web-0")).arn == arns[InstanceId("mi-0")]


@pytest.mark.req("CP-132")
async def test_nothing_changes_the_speed_of_a_running_deployment(desk: Desk) -> None:
    gentle = await desk.configurations.create("Gentle", minimum=hosts(2))
    gate = Gate()
    desk.world.play(gate)
    deployment_id = await desk.create(config_name="Gentle")
    for attempt, reason in (
        (desk.configurations.create("Gentle", minimum=hosts(0)), "DeploymentConfigAlreadyExistsException"),
        (desk.configurations.delete("Gentle"), "DeploymentConfigInUseException"),
    ):
        with pytest.raises(Conflict) as refused:
            await attempt
        assert refused.value.reason == reason
    # Nor is there any other call about configurations.
    service = inventory_pb2.DESCRIPTOR.services_by_name["InventoryService"]
    calls = {method.name for method in service.methods if "Config" in method.name}
    verbs = ("Create", "Get", "List", "Delete")
    assert {name.partition("Deployment")[0] for name in calls} == set(verbs)
    assert len(calls) == len(verbs)
    assert await desk.configurations.get("Gentle") == gentle
    gate.open()
    await desk.ended(deployment_id)
    ended = await desk.deployments.get(deployment_id)
    assert (ended.record.minimum, ended.record.concurrency) == (2, 1)


@pytest.mark.req("CP-135")
async def test_a_finished_deployment_shows_the_configuration_that_it_had(tmp_path: Path) -> None:
    async with open_world(tmp_path, 4, zones=("a", "b")) as world:
        desk = Desk(world)
        zonal = ZonalConfig(first_zone_monitor_seconds=0, monitor_seconds=0, minimum_per_zone=hosts(1))
        await desk.configurations.create("Brisk", minimum=hosts(2), zonal=zonal)
        deployment_id = await desk.done(config_name="Brisk")
        await desk.configurations.delete("Brisk")
        # A namesake with other values is another configuration.
        await desk.configurations.create("Brisk", minimum=hosts(3))
        listed = (await desk.deployments.list(PageRequest())).items
        for found in (await desk.deployments.get(deployment_id), *listed):
            shown = deployment_to(found)
            assert shown.deployment_config_name == "Brisk"
            assert shown.minimum_healthy_hosts == minimum_to(hosts(2))
            assert shown.zonal == zonal_to(zonal)


@pytest.mark.req("CP-348")
async def test_any_earlier_revision_can_be_deployed_again(desk: Desk) -> None:
    for digit in "abc":
        await desk.done(revision=bundle(digit))
    back = await desk.deployments.get(await desk.done(revision=bundle("a")))
    assert back.record.status is DeploymentStatus.SUCCEEDED
    assert (back.spec.creator, back.spec.revision) == (Creator.USER, bundle("a"))
    assert back.rollback_triggering_deployment_id is None
    assert (await desk.world.group()).target_revision == bundle("a")
    for agent in desk.world.agents.values():
        deployed = [order.deployment.revision for order in agent.orders if isinstance(order, SegmentOrder)]
        assert deployed == [bundle(digit) for digit in "abca"]


@pytest.mark.req("CP-244", "CP-339")
async def test_who_made_a_deployment_is_said_in_the_originals_words(desk: Desk) -> None:
    rollback = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))
    await desk.done()
    desk.world.play(broken_revision(bundle("b")))
    await desk.done(revision=bundle("b"), auto_rollback=rollback)
    await desk.world.at_rest()
    listed = (await desk.deployments.list(PageRequest())).items
    assert sorted(deployment_to(one).creator for one in listed) == ["codeDeployRollback", "user", "user"]
    # Those that this version does not make are left out, and no others are added.
    assert {creator.value for creator in Creator} <= {
        *("user", "autoscaling", "autoscalingTermination", "codeDeployRollback"),
        *("CodeDeployAutoUpdate", "CloudFormation", "CloudFormationRollback", "CodeDeploy"),
    }


@pytest.mark.parametrize(
    "reason, deployment_id",
    [
        ("DeploymentIdRequiredException", ""),
        ("InvalidDeploymentIdException", "d-123"),
        ("InvalidDeploymentIdException", "D-000000000"),
        ("DeploymentDoesNotExistException", "d-000000000"),
    ],
)
async def test_a_deployment_id_is_checked_everywhere(desk: Desk, reason: str, deployment_id: str) -> None:
    async def watch() -> None:
        async with aclosing(desk.deployments.watch(deployment_id)) as updates:
            await anext(updates)

    async def follow() -> None:
        async with aclosing(desk.deployments.follow_logs(deployment_id)) as lines:
            await anext(lines)

    asks = (
        desk.deployments.get(deployment_id),
        desk.deployments.stop(deployment_id, "ada"),
        desk.deployments.targets(deployment_id, PageRequest()),
        desk.deployments.target(deployment_id, "mi-0"),
        watch(),
        follow(),
    )
    for answer in await asyncio.gather(*asks, return_exceptions=True):
        assert isinstance(answer, Refused)
        assert answer.reason == reason


@pytest.mark.req("CP-462", "CP-223")
async def test_a_deployment_that_has_not_started_has_no_targets_to_ask_for(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, store=HoldingStore) as world:
        desk = Desk(world)
        held(world.store).hold(after=1)
        deployment_id = await desk.create()
        assert (await desk.deployments.get(deployment_id)).record.status is DeploymentStatus.CREATED
        for asked in (
            desk.deployments.targets(deployment_id, PageRequest()),
            desk.deployments.target(deployment_id, "mi-0"),
        ):
            with pytest.raises(Conflict) as refused:
                await asked
            assert refused.value.reason == "DeploymentNotStartedException"
        held(world.store).release()
        await desk.ended(deployment_id)
        assert len((await desk.deployments.targets(deployment_id, PageRequest())).items) == 1


async def test_live_lines_come_with_the_name_of_their_instance(desk: Desk) -> None:
    world = desk.world
    gate = Gate()
    world.play(gate)
    deployment_id = await desk.create()
    (found,) = (await desk.deployments.list(PageRequest())).items
    await world.busy(found.deployment_id, "ApplicationStop", 3)

    async def follow(instance: str) -> list[tuple[str, str]]:
        async with aclosing(desk.deployments.follow_logs(deployment_id, instance)) as lines:
            return [(line.text, name) async for line, name in lines]

    everything, one = asyncio.create_task(follow("")), asyncio.create_task(follow("web-2"))
    while len(world.engine.logs._followers.get(found.deployment_id, ())) < 2:
        await world.deployment(found.deployment_id)
    for agent in world.agents.values():
        line = LogLine(
            instance_id=agent.instance_id,
            lifecycle_event="ApplicationStop",
            script_name="stop.sh",
            at=START,
            is_stderr=False,
            text="bye",
        )
        world.engine.log_lines(found.deployment_id, [line])
    gate.open()
    assert sorted(await everything) == [("bye", "web-0"), ("bye", "web-1"), ("bye", "web-2")]
    assert await one == [("bye", "web-2")]
    with pytest.raises(NotFound):
        await follow("web-9")
