"""Instances that come, go, flap, are deregistered, or have something open that nobody waits for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_coordinator.core.model import (
    CommandId,
    DeploymentStatus,
    InstanceId,
    LifecycleErrorCode,
    TargetStatus,
)
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.links.orders import CancelOrder, PrefetchOrder, SegmentOrder
from tests.support.crashing_store import HoldingStore, held
from tests.support.engine_world import open_world
from tests.support.fake_agent import Gate

NO_PREFETCH = EngineSettings(prefetch_concurrency=0)


@pytest.mark.req("CP-057")
async def test_an_instance_gets_its_command_when_it_connects(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2, settings=NO_PREFETCH) as world:
        world.disconnect("mi-1")
        deployment_id = await world.deploy()
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.SUCCEEDED) == 1)
        assert world.agents["mi-1"].orders == []
        world.connect("mi-1")
        ended = await world.finished(deployment_id)
        assert ended.overview == {TargetStatus.SUCCEEDED: 2}


@pytest.mark.req("CP-426")
async def test_a_reconnecting_agent_is_told_again_and_knows_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, settings=NO_PREFETCH) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        agent = world.agents["mi-0"]
        await agent.stands_at("ApplicationStop")
        for again in range(2, 5):
            world.connect("mi-0")
            await agent.until(lambda again=again: len(agent.orders) == again)  # type: ignore[misc]
        assert {order.command_id for order in agent.orders if isinstance(order, SegmentOrder)} == {
            f"{deployment_id}/mi-0/1/0"
        }
        gate.open()
        await world.finished(deployment_id)
        assert len(agent.ran) == 7


@pytest.mark.req("T51", "CP-276", "CP-246")
async def test_an_instance_that_never_comes_fails_by_its_start_timer(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2, settings=NO_PREFETCH) as world:
        world.disconnect("mi-1")
        deployment_id = await world.deploy()
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.SUCCEEDED) == 1)
        await world.sleepers()
        world.clock.advance(world.settings.timers.event_start_ms)
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.SUCCEEDED
        assert ended.overview == {TargetStatus.SUCCEEDED: 1, TargetStatus.FAILED: 1}
        first = (await world.targets(deployment_id))["mi-1"].events[0]
        assert first.diagnostics is not None
        assert first.diagnostics.error_code is LifecycleErrorCode.UNKNOWN_ERROR
        assert "agent" in first.diagnostics.message


@pytest.mark.req("CP-262", "AG-144", "AG-S14", "K2")
async def test_a_silent_instance_fails_after_the_grace_and_not_after_an_hour(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, settings=NO_PREFETCH) as world:
        world.play(Gate())
        deployment_id = await world.deploy()
        agent = world.agents["mi-0"]
        await agent.stands_at("ApplicationStop")
        await world.sleepers()
        # No heartbeat: the link is given up, then the grace runs.
        world.clock.advance(world.links.settings.silent_after_ms)
        await world.noted_silent(deployment_id, "mi-0")
        world.clock.advance(world.settings.timers.reboot_grace_ms)
        ended = await world.finished(deployment_id)
        assert ended.record.error is not None
        assert ended.record.error.code == "AGENT_ISSUE"


async def test_an_agent_that_was_given_up_is_told_to_leave_when_it_comes_back(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2, settings=NO_PREFETCH) as world:
        gate = Gate("Install")
        world.play(gate)
        deployment_id = await world.deploy()
        lost = world.agents["mi-0"]
        await lost.stands_at("Install")
        world.disconnect("mi-0")
        await world.noted_silent(deployment_id, "mi-0")
        await world.sleepers()
        world.clock.advance(world.settings.timers.reboot_grace_ms)
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.FAILED) == 1)
        # While the deployment still runs …
        world.connect("mi-0")
        await lost.until(lambda: any(isinstance(order, CancelOrder) for order in lost.orders))
        gate.open()
        await world.finished(deployment_id)
        await lost.until(lambda: lost.is_done)
        assert lost.ran[-1][1] == "Install"


async def test_what_an_agent_has_open_of_an_ended_deployment_is_cancelled(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, settings=NO_PREFETCH) as world:
        gate = Gate("Install")
        world.play(gate)
        deployment_id = await world.deploy()
        lost = world.agents["mi-0"]
        await lost.stands_at("Install")
        world.disconnect("mi-0")
        await world.noted_silent(deployment_id, "mi-0")
        await world.sleepers()
        world.clock.advance(world.settings.timers.reboot_grace_ms)
        await world.finished(deployment_id)
        # … or when it is over, or when another coordinator has taken over since.
        await world.stop()
        await world.start()
        world.connect("mi-0")
        await lost.until(lambda: any(isinstance(order, CancelOrder) for order in lost.orders))
        gate.open()
        await lost.until(lambda: lost.is_done)
        assert [event for _, event in lost.ran][-1] == "Install"


async def test_agents_that_are_faster_than_the_recovery_are_told_all_the_same(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2, settings=NO_PREFETCH) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop", 2)
        ended, live = world.agents["mi-0"], world.agents["mi-1"]
        await world.engine.instance_gone(ended.instance_id, "was terminated", may_finish=False)
        await world.stop()
        await world.start(early=["mi-0", "mi-1"])
        await ended.until(lambda: any(isinstance(order, CancelOrder) for order in ended.orders))
        await live.until(lambda: len(live.orders) == 2)
        # An agent reports at once, and again when it is not heard.
        world.connect()
        gate.open()
        assert (await world.finished(deployment_id)).overview == {
            TargetStatus.SUCCEEDED: 1,
            TargetStatus.FAILED: 1,
        }


async def test_an_open_command_that_was_never_given_is_cancelled(tmp_path: Path) -> None:
    """A command of a live deployment that its target is not at: an agent restored from an old backup."""
    async with open_world(tmp_path, 1, settings=NO_PREFETCH) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        agent = world.agents["mi-0"]
        await agent.stands_at("ApplicationStop")
        stray = CommandId(f"{deployment_id}/mi-0/9/0")
        world.links.attach(InstanceId("mi-0"), world.clock.now(), [stray])
        link = world.links.get(InstanceId("mi-0"))
        assert link is not None
        orders = await link.next_orders()
        assert [order.command_id for order in orders if isinstance(order, CancelOrder)] == [stray]
        world.connect("mi-0")
        gate.open()
        await world.finished(deployment_id)


async def test_a_flapping_instance_costs_one_round_not_thousands(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, store=HoldingStore, settings=NO_PREFETCH) as world:
        store = held(world.store)
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop")
        store.hold()
        world.disconnect("mi-0")
        await store.arrived.wait()
        before = world.engine.statistics.events
        for _ in range(5_000):
            link = world.links.attach(InstanceId("mi-0"), world.clock.now())
            world.links.detach(link, world.clock.now())
        world.connect("mi-0")
        gate.open()
        store.release()
        await world.finished(deployment_id)
        # 5,000 times there and back, and then 16 reports or so.
        assert world.engine.statistics.events - before < 40


async def test_only_deployments_concerned_hear_of_an_instance(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2, settings=NO_PREFETCH) as world:
        gate = Gate()
        world.play(gate, "mi-0")
        deployment_id = await world.deploy()
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.SUCCEEDED) == 1)
        await world.agents["mi-0"].stands_at("ApplicationStop")
        await world.agents["mi-1"].until(lambda: world.agents["mi-1"].is_done)
        await world.agents["mi-1"].until(lambda: not world.agents["mi-1"].has_reports)
        before = world.engine.statistics.events
        for _ in range(10):
            world.disconnect("mi-1")
            world.connect("mi-1")
            await world.sleepers()
        assert world.engine.statistics.events == before
        gate.open()
        await world.finished(deployment_id)


@pytest.mark.req("CP-306", "T55", "K3")
async def test_an_instance_that_is_terminated_fails_at_once(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2, settings=NO_PREFETCH) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.agents["mi-0"].until(lambda: bool(world.agents["mi-0"].ran))
        await world.engine.instance_gone(InstanceId("mi-0"), "was terminated", may_finish=False)
        view = (await world.targets(deployment_id))["mi-0"]
        assert view.record.status is TargetStatus.FAILED
        assert world.links.get(InstanceId("mi-0")) is None
        gate.open()
        ended = await world.finished(deployment_id)
        assert ended.record.counted == 2
        assert ended.overview == {TargetStatus.SUCCEEDED: 1, TargetStatus.FAILED: 1}


@pytest.mark.req("CP-095")
async def test_what_runs_on_a_deregistered_instance_goes_on_and_then_its_stream_ends(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2, settings=NO_PREFETCH) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy("OneAtATime")
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.IN_PROGRESS) == 1)
        targets = await world.targets(deployment_id)
        by_ordinal = sorted(targets, key=lambda name: targets[name].record.ordinal)
        busy, waiting = (InstanceId(name) for name in by_ordinal)
        await world.engine.instance_gone(busy, "was deregistered")
        await world.engine.instance_gone(waiting, "was deregistered")
        assert world.links.get(busy) is not None
        assert world.links.get(waiting) is None
        gate.open()
        ended = await world.finished(deployment_id)
        assert ended.overview == {TargetStatus.SUCCEEDED: 1, TargetStatus.FAILED: 1}
        assert world.links.get(busy) is None


async def test_waiting_targets_fetch_the_bundle_a_bounded_number_at_a_time(tmp_path: Path) -> None:
    settings = EngineSettings(prefetch_concurrency=2)
    async with open_world(tmp_path, 6, settings=settings) as world:
        for agent in world.agents.values():
            agent.answers_prefetches = False
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy("OneAtATime")
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.IN_PROGRESS) == 1)
        targets = await world.targets(deployment_id)
        names = sorted(targets, key=lambda name: targets[name].record.ordinal)

        async def asked(last: str) -> list[str]:
            await world.agents[last].until(lambda: bool(world.agents[last].prefetched))
            return [name for name in names if world.agents[name].prefetched]

        # Not the one whose turn it is; the next ones in the order of start.
        assert await asked(names[2]) == names[1:3]
        world.engine.prefetched(deployment_id, names[1])
        assert await asked(names[3]) == names[1:4]
        # One that goes silent gives up its place, and is asked again when it is back and there is one.
        world.disconnect(names[2])
        assert await asked(names[4]) == names[1:5]
        gate.open()
        world.connect(names[2])
        ended = await world.finished(deployment_id)
        assert ended.overview == {TargetStatus.SUCCEEDED: 6}
        (order,) = {id(agent.prefetched[0].deployment) for agent in world.agents.values() if agent.prefetched}
        assert order


async def test_absent_targets_fetch_when_they_connect(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy("OneAtATime")
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.IN_PROGRESS) == 1)
        targets = await world.targets(deployment_id)
        (waiting,) = (name for name in targets if targets[name].record.status is TargetStatus.PENDING)
        await world.agents[waiting].until(lambda: len(world.agents[waiting].prefetched) == 1)
        assert isinstance(world.agents[waiting].orders[0], PrefetchOrder)
        gate.open()
        await world.finished(deployment_id)


async def test_a_heartbeat_of_a_fleet_asks_nothing_of_its_deployments(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3, settings=NO_PREFETCH) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        for agent in world.agents.values():
            await agent.stands_at("ApplicationStop")
        before = world.engine.statistics.events
        for _ in range(4):
            world.clock.advance(world.links.settings.heartbeat_interval_ms)
            for agent in world.agents.values():
                link = world.links.get(agent.instance_id)
                assert link is not None
                world.links.heard(link, world.clock.now())
            await world.sleepers()
        assert world.engine.statistics.events == before
        gate.open()
        await world.finished(deployment_id)
