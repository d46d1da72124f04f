"""A coordinator that dies, at any moment, and the one that goes on: the same end, and nothing runs twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from ferryman_coordinator.core.model import (
    AutoRollback,
    DeploymentId,
    DeploymentStatus,
    EventStatus,
    LifecycleErrorCode,
    RollbackEvent,
    TargetStatus,
)
from tests.support.coordinator_records import bundle
from tests.support.crashing_store import CrashingStore
from tests.support.engine_world import World, fresh_world, open_world
from tests.support.fake_agent import Gate, Script, broken_revision, failing, succeed

ON_FAILURE = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))
MINUTE = 60_000


async def live_on(world: World, at: int, *, is_after: bool) -> int:
    """Start coordinator after coordinator; each dies at its commit number `at`. Returns how many it took."""
    lives = 0
    while True:
        lives += 1
        store = await CrashingStore.open(world.url)
        store.die(at, is_after=is_after)
        await world.start(store)
        world.connect()
        resting = asyncio.create_task(world.at_rest())
        crash = asyncio.create_task(world.crashed())
        await asyncio.wait((resting, crash), return_when=asyncio.FIRST_COMPLETED)
        is_done = resting.done()
        for waiting in (resting, crash):
            waiting.cancel()
        await asyncio.gather(resting, crash, return_exceptions=True)
        await world.stop()
        if is_done:
            return lives


async def results(
    world: World, deployment_id: DeploymentId
) -> Mapping[str, tuple[TargetStatus, list[EventStatus]]]:
    """What came of each target and its lifecycle events."""
    targets = await world.targets(deployment_id)
    return {
        name: (view.record.status, [event.status for event in view.events]) for name, view in targets.items()
    }


@pytest.mark.req("CP-430", "CP-426", "CP-423", "T79")
@pytest.mark.parametrize("at, is_after", [(1, True), (2, False), (3, True)])
@pytest.mark.parametrize("script", [succeed, failing("mi-1", at="AfterInstall")], ids=["good", "failing"])
async def test_a_coordinator_that_dies_at_every_commit_comes_to_the_same_end(
    tmp_path: Path, at: int, is_after: bool, script: Script
) -> None:
    (tmp_path / "undisturbed").mkdir()
    async with open_world(tmp_path / "undisturbed", 3) as calm:
        calm.play(script)
        deployment_id = await calm.deploy("HalfAtATime")
        undisturbed = await calm.finished(deployment_id)
        expected = await results(calm, deployment_id)

    async with fresh_world(tmp_path) as world:
        await world.start()
        await world.populate(3)
        world.play(script)
        # Nobody is connected, so everything is still to come.
        assert await world.deploy("HalfAtATime") == deployment_id
        await world.stop()
        lives = await live_on(world, at, is_after=is_after)
        await world.start()
        ended = await world.deployment(deployment_id)
        assert lives > 5
        assert ended.record.status is undisturbed.record.status
        assert await results(world, deployment_id) == expected
        assert max(Counter(world.ran).values()) == 1


@pytest.mark.req("CP-343", "CP-430", "CP-338")
async def test_a_rollback_survives_every_death(tmp_path: Path) -> None:
    async with fresh_world(tmp_path) as world:
        await world.start()
        await world.populate(2, auto_rollback=ON_FAILURE)
        world.connect()
        good = await world.deploy(revision=bundle("a"))
        await world.finished(good)
        world.disconnect()

        world.play(broken_revision(bundle("b")))
        broken_id = await world.deploy(revision=bundle("b"))
        await world.stop()
        await live_on(world, 1, is_after=True)
        await world.start()
        broken = await world.deployment(broken_id)
        assert broken.record.status is DeploymentStatus.FAILED
        assert broken.rollback_deployment_id is not None
        rollback = await world.deployment(broken.rollback_deployment_id)
        assert rollback.record.status is DeploymentStatus.SUCCEEDED
        assert broken.record.rollback_message == "The rollback succeeded."
        assert max(Counter(world.ran).values()) == 1


@pytest.mark.req("CP-263")
async def test_a_restart_neither_resets_nor_loses_an_events_deadline(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        world.play(Gate("Install"))
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "Install")
        timers = world.settings.timers
        limit = timers.event_run_ms + timers.report_grace_ms
        world.clock.advance(limit - MINUTE)
        await world.stop()
        world.clock.advance(MINUTE // 2)
        await world.start()
        world.connect()
        before = await world.targets(deployment_id)
        assert before["mi-0"].record.status is TargetStatus.IN_PROGRESS
        world.clock.advance(MINUTE // 2)
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.FAILED
        (failed,) = (
            event
            for event in (await world.targets(deployment_id))["mi-0"].events
            if event.status is EventStatus.FAILED
        )
        assert failed.name == "Install"
        assert failed.diagnostics is not None
        assert failed.diagnostics.error_code is LifecycleErrorCode.SCRIPT_TIMED_OUT


@pytest.mark.req("CP-263", "CP-260")
async def test_what_fell_due_while_nobody_was_there_is_done_at_once(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        world.disconnect()
        deployment_id = await world.deploy()
        await world.until(deployment_id, lambda counts: TargetStatus.IN_PROGRESS in counts)
        await world.stop()
        world.clock.advance(world.settings.timers.event_start_ms + MINUTE)
        await world.start()
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.FAILED
        assert ended.record.error is not None
        assert ended.record.error.code == "AGENT_ISSUE"


@pytest.mark.req("CP-262")
async def test_an_instance_that_does_not_come_back_after_a_restart_fails_early(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        world.play(Gate())
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop")
        await world.stop()
        await world.start()
        await world.sleepers()
        world.clock.advance(world.links.settings.silent_after_ms)
        await world.noted_silent(deployment_id, "mi-0")
        world.clock.advance(world.settings.timers.reboot_grace_ms)
        ended = await world.finished(deployment_id)
        assert ended.record.error is not None
        assert ended.record.error.code == "AGENT_ISSUE"


async def test_reports_that_arrive_before_everything_is_loaded_are_not_lost(tmp_path: Path) -> None:
    """An agent that is faster than the database: its command ended while the coordinator was down."""
    async with open_world(tmp_path, 1) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop")
        await world.stop()
        gate.open()
        await world.agents["mi-0"].until(lambda: world.agents["mi-0"].is_done)
        await world.start()
        # In the same turn of the loop in which the engine said that it is ready.
        world.connect()
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.SUCCEEDED
        assert max(Counter(world.ran).values()) == 1
