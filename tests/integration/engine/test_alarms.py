"""Alarms end a deployment before it begins, while it runs and while it bakes (CP section 17)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.alarms.source import Answer
from ferryman_coordinator.core.alarms import ALARM_ACTIVE
from ferryman_coordinator.core.group_options import AlarmConfiguration, GroupOptions
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import (
    AlarmState,
    AutoRollback,
    Creator,
    DeploymentId,
    DeploymentStatus,
    HealthyHostsType,
    MinimumHealthyHosts,
    RollbackEvent,
    TargetStatus,
    ZonalConfig,
)
from ferryman_coordinator.links.orders import CancelOrder
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.records import to_json
from tests.integration.engine.test_recovery import live_on
from tests.support.alarm_sources import FakeSource
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, fresh_world, open_world
from tests.support.fake_agent import Gate

OK, ALARM = AlarmState.OK, AlarmState.ALARM
POLL = 10_000
ON_ALARM = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_STOP_ON_ALARM}))
THREE_QUARTERS = MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=75)


def watching(*names: str, **changes: Any) -> GroupOptions:
    return GroupOptions(alarms=AlarmConfiguration(**{"enabled": True, "alarms": names, **changes}))


async def polled(world: World, source: FakeSource) -> None:
    """The next poll, and what follows from it."""
    asked = len(source.asked)
    await world.sleepers()
    world.clock.advance(POLL)
    await source.until_asked(asked + 1)
    await world.sleepers()


async def ended(world: World, deployment_id: DeploymentId) -> Deployment:
    """Its end, with as many polls as that takes."""
    ending = asyncio.create_task(world.finished(deployment_id))
    while not ending.done():
        await world.sleepers()
        world.clock.advance(POLL)
    return await ending


@pytest.mark.req("CP-356", "CP-355", "CP-354", "T64", "PF-200")
async def test_an_active_alarm_lets_no_target_begin(tmp_path: Path) -> None:
    source = FakeSource(cpu=ALARM)
    options: dict[str, Any] = {"options": watching("cpu"), "auto_rollback": ON_ALARM}
    async with open_world(tmp_path, 3, sources=[source], **options) as world:
        it = await world.finished(await world.deploy())
        assert it.record.status is DeploymentStatus.STOPPED
        assert it.record.error is not None
        assert it.record.error.code == ALARM_ACTIVE
        assert "Alarm cpu is in state ALARM since 2023-11-14T22:13:20Z, says fake" in it.record.error.message
        assert it.record.started_at is None
        assert it.overview == {}
        assert world.ran == []
        assert [(one.name, one.state) for one in it.record.alarms] == [("cpu", ALARM)]
        assert it.rollback_deployment_id is None


@pytest.mark.req("CP-361", "CP-360", "T64")
async def test_an_override_lets_a_good_revision_out_while_the_alarm_fires(tmp_path: Path) -> None:
    source = FakeSource(cpu=ALARM)
    async with open_world(tmp_path, 2, sources=[source], options=watching("cpu", enabled=False)) as world:
        it = await world.finished(await world.deploy())
        assert it.record.status is DeploymentStatus.SUCCEEDED
        assert source.asked == []


@pytest.mark.req("CP-354", "CP-356")
async def test_nothing_begins_before_the_first_reading(tmp_path: Path) -> None:
    source = FakeSource(cpu=OK)
    source.hold()
    async with open_world(tmp_path, 2, sources=[source], options=watching("cpu")) as world:
        deployment_id = await world.deploy()
        await source.until_asked(1)
        await world.sleepers()
        assert (await world.deployment(deployment_id)).record.status is DeploymentStatus.CREATED
        source.release()
        it = await world.finished(deployment_id)
        assert it.record.status is DeploymentStatus.SUCCEEDED
        assert [one.state for one in it.record.alarms] == [OK]


@pytest.mark.req("CP-327")
async def test_a_stop_does_not_wait_for_a_source(tmp_path: Path) -> None:
    source = FakeSource(cpu=OK)
    source.hold()
    async with open_world(tmp_path, 2, sources=[source], options=watching("cpu")) as world:
        deployment_id = await world.deploy()
        await source.until_asked(1)
        answer = await world.engine.stop(deployment_id, "ada")
        assert answer.is_stopped
        assert (await world.finished(deployment_id)).overview == {}


@pytest.mark.req("CP-355", "CP-366", "CP-334", "CP-344", "PF-200", "PF-201", "A21")
async def test_an_alarm_during_the_rollout_stops_it_and_rolls_back(tmp_path: Path) -> None:
    source = FakeSource(cpu=OK)
    options: dict[str, Any] = {"options": watching("cpu"), "auto_rollback": ON_ALARM}
    async with open_world(tmp_path, 4, sources=[source], **options) as world:
        good = await world.deploy(revision=bundle("a"))
        await world.finished(good)
        gate = Gate("Install")
        world.play(gate)
        deployment_id = await world.deploy("OneAtATime", revision=bundle("b"))
        (busy,) = await world.busy(deployment_id, "Install")
        source.say("cpu", ALARM)
        await polled(world, source)
        await busy.until(lambda: any(isinstance(order, CancelOrder) for order in busy.orders))
        gate.open()
        it = await world.finished(deployment_id)
        assert it.record.status is DeploymentStatus.STOPPED
        assert it.record.error is not None
        assert it.record.error.code == ALARM_ACTIVE
        assert it.overview == {TargetStatus.FAILED: 1, TargetStatus.SKIPPED: 3}
        # The alarm is still active, and the rollback goes out all the same, and says what it saw.
        assert it.rollback_deployment_id is not None
        back = await world.finished(it.rollback_deployment_id)
        assert back.spec.creator is Creator.ROLLBACK
        assert back.record.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("CP-359", "CP-363", "CP-358", "T65", "TS-73")
@pytest.mark.parametrize("ignores", [False, True])
async def test_a_source_that_is_down_stops_after_three_polls_or_is_ignored(
    tmp_path: Path, ignores: bool
) -> None:
    source = FakeSource(cpu=OK)
    options = watching("cpu", ignore_poll_alarm_failure=ignores)
    async with open_world(tmp_path, 1, sources=[source], options=options) as world:
        gate = Gate("Install")
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "Install")
        source.down = "http://prom:9090 refuses the connection"
        for _ in range(2):
            await polled(world, source)
        assert (await world.deployment(deployment_id)).record.ending is None
        await polled(world, source)
        gate.open()
        it = await world.finished(deployment_id)
        if ignores:
            assert it.record.status is DeploymentStatus.SUCCEEDED
            assert "refuses the connection" in it.record.messages[0]
        else:
            assert it.record.status is DeploymentStatus.STOPPED
            assert it.record.error is not None
            assert "refuses the connection" in it.record.error.message


@pytest.mark.req("CP-358", "CP-357")
@pytest.mark.parametrize("name", ["CPU", "cpu "])
async def test_a_name_that_no_source_knows_stops_before_the_first_target(tmp_path: Path, name: str) -> None:
    source = FakeSource(cpu=OK)
    async with open_world(tmp_path, 1, sources=[source], options=watching(name)) as world:
        it = await ended(world, await world.deploy())
        assert it.record.status is DeploymentStatus.STOPPED
        assert it.record.error is not None
        assert f"alarm {name} cannot be read" in it.record.error.message
        assert "no alarm of that name" in it.record.error.message
        assert world.ran == []
        assert len(source.asked) >= 3


@pytest.mark.req("CP-358")
async def test_without_any_source_alarms_cannot_be_read(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, options=watching("cpu")) as world:
        it = await ended(world, await world.deploy())
        assert it.record.error is not None
        assert "no source of alarms is configured" in it.record.error.message


@pytest.mark.req("CP-294", "T49", "CP-354")
async def test_an_alarm_in_the_bake_ends_the_deployment(tmp_path: Path) -> None:
    source = FakeSource(cpu=OK)
    zonal = ZonalConfig(first_zone_monitor_seconds=600, monitor_seconds=60, minimum_per_zone=THREE_QUARTERS)
    options: dict[str, Any] = {"zones": ("a", "b", "c"), "options": watching("cpu")}
    async with open_world(tmp_path, 12, sources=[source], **options) as world:
        deployment_id = await world.deploy("HalfAtATime", zonal=zonal)
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.SUCCEEDED) == 4)
        await polled(world, source)
        assert (await world.deployment(deployment_id)).record.status is DeploymentStatus.BAKING
        source.say("cpu", ALARM)
        await polled(world, source)
        it = await world.finished(deployment_id)
        assert it.record.status is DeploymentStatus.STOPPED
        assert it.record.error is not None
        assert it.record.error.code == ALARM_ACTIVE
        assert it.overview == {TargetStatus.SUCCEEDED: 4, TargetStatus.SKIPPED: 8}
        assert world.clock.now() - it.record.created_at < 60_000


@pytest.mark.req("CP-430", "CP-354")
async def test_a_restart_reads_the_alarms_before_it_starts_new_targets(tmp_path: Path) -> None:
    source = FakeSource(cpu=OK)
    async with open_world(tmp_path, 3, sources=[source], options=watching("cpu")) as world:
        gate = Gate("Install")
        world.play(gate)
        deployment_id = await world.deploy("OneAtATime")
        (busy,) = await world.busy(deployment_id, "Install")
        await world.stop()
        source.hold()
        await world.start()
        world.connect()
        gate.open()
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.SUCCEEDED) == 1)
        await world.sleepers()
        assert {command.partition("/")[2].partition("/")[0] for command, _ in world.ran} == {busy.instance_id}
        source.say("cpu", ALARM)
        source.release()
        it = await world.finished(deployment_id)
        assert it.record.status is DeploymentStatus.STOPPED
        assert it.overview == {TargetStatus.SUCCEEDED: 1, TargetStatus.SKIPPED: 2}
        assert max(Counter(world.ran).values()) == 1


@pytest.mark.req("CP-363")
async def test_nothing_is_asked_while_nobody_watches(tmp_path: Path) -> None:
    source = FakeSource(cpu=OK)
    async with fresh_world(tmp_path, sources=[source]) as world:
        await world.start()
        await world.populate(1, options=watching("cpu"))
        world.connect()
        await world.finished(await world.deploy())
        asked = len(source.asked)
        assert asked == 1
        assert world.engine.alarms.watched() == set()
        for _ in range(5):
            await world.sleepers()
            world.clock.advance(POLL)
        await world.sleepers()
        assert len(source.asked) == asked


class _Nervous(FakeSource):
    """Is in ALARM as soon as anything ran anywhere."""

    world: World | None = None

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        assert self.world is not None
        self.say("cpu", ALARM if self.world.ran else OK)
        return await super().read(alarms)


@pytest.mark.req("CP-430", "CP-355", "CP-343", "CP-344")
@pytest.mark.parametrize("at, is_after", [(2, True), (3, False)])
async def test_a_coordinator_that_dies_again_and_again_stops_at_the_alarm_all_the_same(
    tmp_path: Path, at: int, is_after: bool
) -> None:
    async with fresh_world(tmp_path, sources=[source := _Nervous()]) as world:
        source.world = world
        await world.start()
        await world.populate(3, auto_rollback=ON_ALARM)
        world.connect()
        await world.finished(await world.deploy(revision=bundle("a")))
        for agent in world.agents.values():
            agent.ran.clear()
        world.disconnect()
        batch = Batch()
        batch.update(tables.deployment_groups, {"group_id": "group-1"}, {"options": to_json(watching("cpu"))})
        await world.store.write(batch)
        deployment_id = await world.deploy("OneAtATime", revision=bundle("b"))
        await world.stop()
        await live_on(world, at, is_after=is_after)
        await world.start()
        it = await world.deployment(deployment_id)
        assert it.record.status is DeploymentStatus.STOPPED
        assert it.record.error is not None
        assert it.record.error.code == ALARM_ACTIVE
        assert it.rollback_deployment_id is not None
        back = await world.deployment(it.rollback_deployment_id)
        assert back.record.status is DeploymentStatus.SUCCEEDED
        assert max(Counter(world.ran).values()) == 1
