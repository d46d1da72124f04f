"""From a creation to its end: what is stored, what agents are told, what the group remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.core.model import (
    BundleType,
    Creator,
    DeploymentStatus,
    Diagnostics,
    EventStatus,
    FileExistsBehavior,
    InstanceHealth,
    InstanceId,
    RevisionHealth,
    TargetStatus,
    UrlLocation,
)
from ferryman_coordinator.core.tags import Selection, Tag, TagFilter
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.links.orders import ForgetOrder, SegmentOrder
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import groups, instances, revisions
from ferryman_coordinator.store.records import to_json
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, open_world
from tests.support.fake_agent import SUCCESS, Gate, failed, failing

GOOD, NEW = bundle("a"), bundle("b")


async def health(world: World) -> dict[str, tuple[InstanceHealth, RevisionHealth]]:
    async with world.store.reading() as connection:
        members = await groups.members(connection, await world.group())
    return {one.instance_id: (one.instance_health, one.revision_health) for one in members}


@pytest.mark.req("CP-010", "CP-301", "CP-274")
async def test_a_deployment_runs_to_its_end(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3) as world:
        deployment_id = await world.deploy("OneAtATime")
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.SUCCEEDED
        assert ended.overview == {TargetStatus.SUCCEEDED: 3}
        assert ended.record.counted == 3
        for view in (await world.targets(deployment_id)).values():
            assert [event.status for event in view.events] == [EventStatus.SUCCEEDED] * 7
        assert len(world.ran) == 21
        # One command an instance: the agent does the rest by itself (D3).
        commands = [
            order
            for agent in world.agents.values()
            for order in agent.orders
            if isinstance(order, SegmentOrder)
        ]
        assert len(commands) == 3


@pytest.mark.req("CP-025", "CP-026", "CP-027", "CP-028", "CP-223", "CP-233", "A13", "A13")
async def test_the_groups_pointers_follow_its_deployments(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        gate = Gate()
        world.play(gate)
        first = await world.deploy()
        group = await world.group()
        assert group.last_attempted is not None
        assert group.last_attempted.deployment_id == first
        assert (group.last_successful, group.target_revision) == (None, None)
        await world.until(first, lambda counts: TargetStatus.IN_PROGRESS in counts)
        group = await world.group()
        assert group.last_attempted is not None
        assert group.last_attempted.status is DeploymentStatus.IN_PROGRESS
        world.clock.advance(1_000)
        gate.open()
        ended = await world.finished(first)
        group = await world.group()
        assert group.last_successful is not None
        assert group.last_successful.deployment_id == first
        assert group.last_successful.ended_at == ended.record.completed_at
        assert group.target_revision == GOOD
        assert ended.record.started_at is not None
        assert ended.record.completed_at is not None
        assert ended.record.created_at <= ended.record.started_at < ended.record.completed_at

        world.play(failing("mi-0"))
        second = await world.deploy(revision=NEW)
        assert (await world.finished(second)).record.status is DeploymentStatus.FAILED
        group = await world.group()
        assert group.last_attempted is not None
        assert group.last_attempted.deployment_id == second
        assert group.last_attempted.status is DeploymentStatus.FAILED
        assert group.last_successful is not None
        assert group.last_successful.deployment_id == first
        assert group.target_revision == GOOD


@pytest.mark.req("CP-030")
async def test_the_previous_revision_is_the_last_successful_one_at_creation(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        first = await world.deploy(revision=GOOD, file_exists_behavior=FileExistsBehavior.RETAIN)
        assert (await world.finished(first)).spec.last_good is None
        world.play(failing("mi-0"))
        await world.finished(await world.deploy(revision=NEW))
        third = await world.finished(await world.deploy(revision=bundle("c")))
        assert third.spec.last_good is not None
        assert third.spec.last_good.deployment_id == first
        assert third.spec.last_good.revision == GOOD
        assert third.spec.last_good.file_exists_behavior is FileExistsBehavior.RETAIN


@pytest.mark.req("CP-310", "CP-315", "CP-316", "CP-312", "CP-311")
async def test_a_success_leaves_its_instances_healthy_and_current(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        unhealthy = (InstanceHealth.UNHEALTHY, RevisionHealth.UNKNOWN)
        assert await health(world) == {"mi-0": unhealthy, "mi-1": unhealthy}
        await world.finished(await world.deploy(revision=GOOD))
        healthy = (InstanceHealth.HEALTHY, RevisionHealth.CURRENT)
        assert await health(world) == {"mi-0": healthy, "mi-1": healthy}


@pytest.mark.req("CP-313", "CP-314", "CP-317", "CP-319")
async def test_a_failure_leaves_each_instance_the_health_of_its_own_outcome(tmp_path: Path) -> None:
    async with open_world(tmp_path, 4) as world:
        await world.finished(await world.deploy(revision=GOOD))
        order = await world.order("OneAtATime", revision=NEW)
        world.play(failing("mi-0", "mi-1", "mi-2", "mi-3"))
        # The first to start succeeds, the second fails, the others are never touched.
        started: list[str] = []

        async def second_fails(order: SegmentOrder, event: str) -> Diagnostics:
            instance = order.command_id.split("/")[1]
            if instance not in started:
                started.append(instance)
            return failed() if event == "ValidateService" and len(started) == 2 else SUCCESS

        world.play(second_fails)
        deployment = await world.finished(await world.engine.create(order))
        assert deployment.record.status is DeploymentStatus.FAILED
        assert deployment.overview == {
            TargetStatus.SUCCEEDED: 1,
            TargetStatus.FAILED: 1,
            TargetStatus.SKIPPED: 2,
        }
        known = await health(world)
        assert known[started[0]] == (InstanceHealth.HEALTHY, RevisionHealth.OLD)
        assert known[started[1]] == (InstanceHealth.UNHEALTHY, RevisionHealth.UNKNOWN)
        for untouched in set(known) - set(started):
            assert known[untouched] == (InstanceHealth.HEALTHY, RevisionHealth.CURRENT)


@pytest.mark.req("CP-194", "CP-203")
async def test_a_deployment_registers_its_revision_and_notes_its_use(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        first = await world.deploy(revision=NEW)
        created = (await world.finished(first)).record.created_at
        world.clock.advance(5_000)
        await world.finished(await world.deploy(revision=NEW))
        async with world.store.reading() as connection:
            known = await revisions.get(connection, (await world.group()).application_id, NEW.key)
        assert known is not None
        assert first in known.description
        assert (known.registered_at, known.first_used_at, known.last_used_at) == (
            created,
            created,
            created + 5_000,
        )


@pytest.mark.req("CP-218", "CP-008")
async def test_an_order_says_all_that_the_agent_needs(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        first = await world.deploy(revision=GOOD)
        await world.finished(first)
        options: dict[str, Any] = {
            "ignore_application_stop_failures": True,
            "file_exists_behavior": FileExistsBehavior.OVERWRITE,
            "adopt": True,
        }
        second = await world.deploy(revision=NEW, **options)
        await world.finished(second)
        one, other = (
            next(
                order
                for order in agent.orders
                if isinstance(order, SegmentOrder) and order.deployment.deployment_id == second
            )
            for agent in world.agents.values()
        )
        assert one.deployment is other.deployment
        assert one.command_id in (f"{second}/mi-0/1/0", f"{second}/mi-1/1/0")
        assert one.lifecycle_events[0] == "ApplicationStop"
        assert len(one.lifecycle_events) == 7
        assert one.event_timeout_seconds == 3600
        assert one.ignorable_failures == {"ApplicationStop"}
        description = one.deployment
        assert description.deployment_group_id == "group-1"
        assert description.deployment_group_name == "production"
        assert description.application_name == "web"
        assert description.deployment_creator is Creator.USER
        assert description.file_exists_behavior is FileExistsBehavior.OVERWRITE
        assert description.adopt
        assert description.revision == NEW
        assert description.download.url.startswith(f"/bundles/{NEW.sha256}?expires=")
        assert description.last_successful_deployment_id == first
        assert description.most_recent_deployment_id == first


async def test_a_url_revision_is_fetched_from_where_it_is(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        location = UrlLocation(url="https://example.org/web.zip", bundle_type=BundleType.ZIP)
        await world.finished(await world.deploy(revision=location))
        (order,) = (one for one in world.agents["mi-0"].orders if isinstance(one, SegmentOrder))
        assert order.deployment.download.url == location.url
        assert world.urls.signed == 0


async def test_addresses_are_signed_anew_before_they_get_old(tmp_path: Path) -> None:
    settings = EngineSettings(description_lifetime_ms=60_000, prefetch_concurrency=0)
    async with open_world(tmp_path, 2, settings=settings) as world:
        world.disconnect("mi-0", "mi-1")
        deployment_id = await world.deploy()
        await world.until(deployment_id, lambda counts: TargetStatus.IN_PROGRESS in counts)
        world.connect("mi-0")
        await world.until(deployment_id, lambda counts: TargetStatus.SUCCEEDED in counts)
        world.clock.advance(60_000)
        world.connect("mi-1")
        await world.finished(deployment_id)
        urls = {
            order.deployment.download.url
            for agent in world.agents.values()
            for order in agent.orders
            if isinstance(order, SegmentOrder)
        }
        assert len(urls) == 2


@pytest.mark.req("AG-230")
async def test_addresses_and_headers_of_before_a_change_are_not_sent_again(tmp_path: Path) -> None:
    """A key or token that was replaced or withdrawn: whoever connects next gets what holds now, the others nothing."""
    settings = EngineSettings(prefetch_concurrency=0)
    async with open_world(tmp_path, 3, settings=settings) as world:
        world.disconnect("mi-0", "mi-1", "mi-2")
        world.urls.headers = {"Authorization": "token old"}
        deployment_id = await world.deploy()
        await world.until(deployment_id, lambda counts: TargetStatus.IN_PROGRESS in counts)
        world.connect("mi-0")
        await world.until(deployment_id, lambda counts: TargetStatus.SUCCEEDED in counts)
        world.connect("mi-1")
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.SUCCEEDED) == 2)
        world.urls.headers = {"Authorization": "token new"}
        world.urls.generation += 1
        world.connect("mi-2")
        await world.finished(deployment_id)
        orders = {name: agent.orders[0] for name, agent in world.agents.items()}
        descriptions = {
            name: order.deployment for name, order in orders.items() if isinstance(order, SegmentOrder)
        }
        assert descriptions["mi-0"] is descriptions["mi-1"], "mapped and signed once for all"
        assert descriptions["mi-1"].download.headers == {"Authorization": "token old"}
        assert descriptions["mi-2"].download.headers == {"Authorization": "token new"}
        assert "token" not in repr(orders)


async def test_instances_are_told_to_forget_a_deployment_that_is_over(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        deployment_id = await world.deploy()
        await world.finished(deployment_id)
        for agent in world.agents.values():
            await agent.until(lambda agent=agent: bool(agent.forgotten))  # type: ignore[misc]
            assert agent.forgotten == [ForgetOrder(deployment_id=deployment_id)]


@pytest.mark.req("CP-052", "CP-053", "CP-054", "K15")
async def test_members_are_frozen_at_the_start_and_fresh_for_the_next(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        await world.tag("mi-1", Tag("stage", "beta"))
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.until(deployment_id, lambda counts: TargetStatus.IN_PROGRESS in counts)
        await world.tag("mi-1", Tag("stage", "production"))
        gate.open()
        assert set((await world.finished(deployment_id)).overview.values()) == {1}
        assert set(await world.targets(deployment_id)) == {"mi-0"}
        following = await world.deploy()
        await world.finished(following)
        assert set(await world.targets(following)) == {"mi-0", "mi-1"}


@pytest.mark.req("CP-320")
async def test_what_is_known_of_an_instance_that_left_is_kept_and_does_not_count(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3) as world:
        world.play(failing("mi-2"))
        first = await world.deploy()
        await world.finished(first)
        await world.tag("mi-2", Tag("stage", "beta"))
        # Of three, of which one is unhealthy, another share would have to stay healthy.
        second = await world.finished(await world.deploy("HalfAtATime"))
        assert (second.record.counted, second.record.minimum) == (2, 1)
        assert set(await world.targets(second.deployment_id)) == {"mi-0", "mi-1"}
        async with world.store.reading() as connection:
            (kept,) = await instances.health_of(connection, InstanceId("mi-2"))
        assert (kept.last_deployment_id, kept.instance_health) == (first, InstanceHealth.UNHEALTHY)
        # When it comes back, it is what it was.
        await world.tag("mi-2", Tag("stage", "production"))
        assert (await health(world))["mi-2"] == (InstanceHealth.UNHEALTHY, RevisionHealth.UNKNOWN)


@pytest.mark.req("CP-179", "CP-224", "CP-212", "CP-213")
async def test_a_running_deployment_works_on_its_snapshot(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy("OneAtATime")
        await world.until(deployment_id, lambda counts: TargetStatus.IN_PROGRESS in counts)
        batch = Batch()
        changed = {
            "config_name": "CodeDeployDefault.AllAtOnce",
            "selection": to_json(Selection(tag_filters=(TagFilter.of("stage", "beta"),))),
        }
        batch.update(tables.deployment_groups, {"group_id": "group-1"}, changed)
        await world.store.write(batch)
        gate.open()
        ended = await world.finished(deployment_id)
        assert (ended.spec.config_name, ended.record.concurrency) == ("CodeDeployDefault.OneAtATime", 1)
        assert ended.overview == {TargetStatus.SUCCEEDED: 3}


@pytest.mark.req("CP-219", "CP-302", "T75")
async def test_an_outdated_only_deployment_goes_to_those_that_need_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, 10) as world:
        await world.finished(await world.deploy(revision=GOOD))
        batch = Batch()
        batch.update(
            tables.installations, {"group_id": "group-1", "instance_id": "mi-4"}, {"revision_key": NEW.key}
        )
        await world.store.write(batch)
        order = await world.order(revision=GOOD, update_outdated_instances_only=True)
        order = replace(order, minimum=replace(order.minimum, value=8))
        deployment_id = await world.engine.create(order)
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.SUCCEEDED
        assert ended.record.counted == 10
        assert set(await world.targets(deployment_id)) == {InstanceId("mi-4")}


@pytest.mark.req("CP-220", "T76", "A38")
async def test_an_outdated_only_deployment_with_nothing_to_do_succeeds(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3) as world:
        first = await world.deploy(revision=GOOD)
        await world.finished(first)
        second = await world.deploy(revision=GOOD, update_outdated_instances_only=True)
        ended = await world.finished(second)
        assert ended.record.status is DeploymentStatus.SUCCEEDED
        assert ended.overview == {}
        assert ended.record.messages
        group = await world.group()
        assert group.last_successful is not None
        assert group.last_successful.deployment_id == second


@pytest.mark.req("CP-348")
async def test_an_earlier_revision_is_deployed_like_any_other(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        await world.finished(await world.deploy(revision=GOOD))
        await world.finished(await world.deploy(revision=NEW))
        back = await world.finished(await world.deploy(revision=GOOD))
        assert back.record.status is DeploymentStatus.SUCCEEDED
        assert back.spec.creator is Creator.USER
        assert back.rollback_triggering_deployment_id is None
        assert (await world.group()).target_revision == GOOD


@pytest.mark.req("CP-215", "CP-216", "T57")
@pytest.mark.parametrize("is_ignored", [False, True])
async def test_a_failing_stop_of_the_old_revision_can_be_ignored(tmp_path: Path, is_ignored: bool) -> None:
    async with open_world(tmp_path, 1) as world:
        world.play(failing(at="ApplicationStop"))
        deployment_id = await world.deploy(ignore_application_stop_failures=is_ignored)
        ended = await world.finished(deployment_id)
        stop, *others = (await world.targets(deployment_id))["mi-0"].events
        assert stop.status is EventStatus.FAILED
        if is_ignored:
            assert ended.record.status is DeploymentStatus.SUCCEEDED
            assert {event.status for event in others} == {EventStatus.SUCCEEDED}
        else:
            assert ended.record.status is DeploymentStatus.FAILED
            assert {event.status for event in others} == {EventStatus.SKIPPED}
