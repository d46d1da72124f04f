"""Watching: everything once and in order, from any point on, over restarts, with little memory for many."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from ferryman_coordinator.core.lifecycle import event_names, in_place_path
from ferryman_coordinator.core.model import (
    DeploymentId,
    DeploymentStatus,
    EventStatus,
    InstanceId,
    TargetStatus,
)
from ferryman_coordinator.engine.feed import Feed, FeedSettings
from ferryman_coordinator.engine.logs import LogLine
from ferryman_coordinator.engine.updates import (
    DeploymentUpdate,
    EventUpdate,
    ScriptUpdate,
    Snapshot,
    TargetUpdate,
    TargetView,
    Update,
    is_final,
)
from ferryman_coordinator.errors import NotFound
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from tests.support.crashing_store import HoldingStore, held
from tests.support.engine_world import World, open_world
from tests.support.fake_agent import PATIENCE_SECONDS, Gate, failing


async def watch(feed: Feed, deployment_id: DeploymentId, after: int = 0) -> list[Update]:
    """All of a watch, to its end."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [update async for update in feed.watch(deployment_id, after)]


Picture = tuple[DeploymentStatus, dict[str, TargetStatus], dict[tuple[str, str], EventStatus]]


def picture(updates: Sequence[Update]) -> Picture:
    """What a watcher knows in the end."""
    status = DeploymentStatus.CREATED
    targets: dict[str, TargetStatus] = {}
    events: dict[tuple[str, str], EventStatus] = {}
    for update in updates:
        match update:
            case Snapshot(deployment=deployment, targets=views):
                status = deployment.record.status
                targets, events = parts(views)
            case DeploymentUpdate(deployment=deployment):
                status = deployment.record.status
            case TargetUpdate(target=target):
                targets[target.instance_id] = target.status
                if target.status in (TargetStatus.PENDING, TargetStatus.SKIPPED):
                    fate = EventStatus(target.status)
                    events |= {(target.instance_id, name): fate for name in event_names(in_place_path())}
            case EventUpdate(instance_id=instance_id, event=event):
                events[instance_id, event.name] = event.status
    return status, targets, events


def parts(views: Iterable[TargetView]) -> tuple[dict[str, TargetStatus], dict[tuple[str, str], EventStatus]]:
    views = list(views)
    return (
        {view.record.instance_id: view.record.status for view in views},
        {(view.record.instance_id, event.name): event.status for view in views for event in view.events},
    )


async def truth(world: World, deployment_id: DeploymentId) -> Picture:
    """The same, as it is stored."""
    views = (await world.targets(deployment_id)).values()
    return ((await world.deployment(deployment_id)).record.status, *parts(views))


async def test_a_watch_from_the_beginning_sees_all_of_it_in_order(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3) as world:
        world.play(failing("mi-1", at="AfterInstall"))
        deployment_id = await world.deploy("HalfAtATime")
        updates = await watch(world.engine.feed, deployment_id)
        assert isinstance(updates[0], Snapshot)
        sequences = [update.sequence for update in updates]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert [is_final(update) for update in updates] == [False] * (len(updates) - 1) + [True]
        assert picture(updates) == await truth(world, deployment_id)
        last = updates[-1]
        assert isinstance(last, DeploymentUpdate)
        assert last.deployment == await world.deployment(deployment_id)


async def test_the_counts_of_a_start_are_those_after_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3, store=HoldingStore) as world:
        held(world.store).hold(after=1)
        deployment_id = await world.deploy("OneAtATime")
        watcher = asyncio.create_task(watch(world.engine.feed, deployment_id))
        await world.watched(deployment_id, 1)
        held(world.store).release()
        started = next(update for update in await watcher if isinstance(update, DeploymentUpdate))
        assert started.deployment.record.status is DeploymentStatus.IN_PROGRESS
        assert started.deployment.overview == {TargetStatus.IN_PROGRESS: 1, TargetStatus.PENDING: 2}


async def test_a_watch_goes_on_after_any_sequence(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        deployment_id = await world.deploy("OneAtATime")
        await world.finished(deployment_id)
        feed = Feed(world.store)
        whole = await watch(feed, deployment_id, 1)
        last = whole[-1].sequence
        assert [update.sequence for update in whole] == list(range(2, last + 1))
        for after in range(1, last):
            assert await watch(feed, deployment_id, after) == whole[after - 1 :]
        assert await watch(feed, deployment_id, last) == []
        (snapshot,) = await watch(feed, deployment_id)
        assert isinstance(snapshot, Snapshot)
        assert snapshot.sequence == last
        assert picture([snapshot]) == await truth(world, deployment_id)


async def test_a_watch_is_resumed_over_a_restart(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        gate = Gate("Install")
        world.play(gate)
        deployment_id = await world.deploy()
        seen: list[Update] = []
        async with aclosing(world.engine.feed.watch(deployment_id)) as updates:
            async for update in updates:
                seen.append(update)
                if isinstance(update, EventUpdate) and update.event.name == "Install":
                    break
        await world.busy(deployment_id, "Install")
        await world.stop()
        await world.start()
        world.connect()
        following = asyncio.create_task(watch(world.engine.feed, deployment_id, seen[-1].sequence))
        await world.sleepers()
        gate.open()
        seen += await following
        sequences = [update.sequence for update in seen]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert picture(seen) == await truth(world, deployment_id)


async def test_a_slow_watcher_gets_a_snapshot_instead_of_what_it_missed(tmp_path: Path) -> None:
    async with open_world(tmp_path, 4) as world:
        world.engine.feed._settings = FeedSettings(ring=8, page=4, snapshot_after=16)
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop", 4)
        slow = world.engine.feed.watch(deployment_id)
        seen = [await anext(slow)]
        gate.open()
        await world.finished(deployment_id)
        seen += [update async for update in slow]
        snapshots = [update for update in seen if isinstance(update, Snapshot)]
        assert len(snapshots) == 2
        assert len(seen) < 20
        assert picture(seen) == await truth(world, deployment_id)


async def test_a_watcher_that_is_a_little_behind_reads_what_is_stored(tmp_path: Path) -> None:
    async with open_world(tmp_path, 4) as world:
        world.engine.feed._settings = FeedSettings(ring=8, page=4, snapshot_after=1_000)
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop", 4)
        slow = world.engine.feed.watch(deployment_id)
        seen = [await anext(slow)]
        gate.open()
        await world.finished(deployment_id)
        seen += [update async for update in slow]
        sequences = [update.sequence for update in seen]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert len([update for update in seen if isinstance(update, Snapshot)]) == 1
        assert picture(seen) == await truth(world, deployment_id)


async def test_changes_that_are_not_kept_any_more_are_made_up_for_by_a_snapshot(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        deployment_id = await world.deploy()
        await world.finished(deployment_id)
        batch = Batch()
        batch.delete(tables.changes, {"deployment_id": deployment_id}, where=[tables.changes.c.sequence < 10])
        await world.store.write(batch)
        (snapshot,) = await watch(Feed(world.store), deployment_id, 3)
        assert isinstance(snapshot, Snapshot)
        assert picture([snapshot]) == await truth(world, deployment_id)


async def test_many_watchers_share_the_work(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop", 3)
        watchers = [asyncio.create_task(watch(world.engine.feed, deployment_id)) for _ in range(50)]
        await world.watched(deployment_id, 50)
        gate.open()
        everything = await asyncio.gather(*watchers)
        # One snapshot was read, and each update was made once.
        assert len({id(updates[0]) for updates in everything}) == 1
        assert len({id(updates[-1]) for updates in everything}) == 1
        assert picture(everything[0]) == await truth(world, deployment_id)
        assert world.engine.feed._channels == {}


async def test_scripts_that_start_are_told_and_not_counted(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        gate = Gate("AfterInstall")
        world.play(gate)
        deployment_id = await world.deploy()
        watcher = asyncio.create_task(watch(world.engine.feed, deployment_id))
        (agent,) = await world.busy(deployment_id, "AfterInstall")
        command_id = agent.ran[-1][0]
        world.engine.script_started(command_id, agent.instance_id, "AfterInstall", "scripts/migrate.sh")
        gate.open()
        seen = await watcher
        (told,) = (update for update in seen if isinstance(update, ScriptUpdate))
        assert (told.instance_id, told.script_name) == ("mi-0", "scripts/migrate.sh")
        stored = [update.sequence for update in seen if not isinstance(update, ScriptUpdate)]
        assert stored == list(range(stored[0], stored[0] + len(stored)))
        place = seen.index(told)
        assert seen[place - 1].sequence == told.sequence


async def test_an_unknown_deployment_cannot_be_watched(tmp_path: Path) -> None:
    async with open_world(tmp_path, 0) as world:
        with pytest.raises(NotFound) as refused:
            await watch(world.engine.feed, DeploymentId("d-000000000"))
        assert refused.value.reason == "DeploymentDoesNotExistException"
        assert world.engine.feed._channels == {}


async def test_live_output_reaches_those_who_follow_until_the_end(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        gate = Gate("AfterInstall")
        world.play(gate)
        deployment_id = await world.deploy()
        agents = await world.busy(deployment_id, "AfterInstall", 2)

        async def follow(instance_id: InstanceId | None) -> list[str]:
            return [line.text async for line in world.engine.logs.follow(deployment_id, instance_id)]

        everything = asyncio.create_task(follow(None))
        one = asyncio.create_task(follow(InstanceId("mi-1")))
        await world.sleepers()
        for agent in agents:
            line = LogLine(
                instance_id=agent.instance_id,
                lifecycle_event="AfterInstall",
                script_name="scripts/migrate.sh",
                at=world.clock.now(),
                is_stderr=False,
                text=f"hello from {agent.instance_id}",
            )
            world.engine.log_lines(deployment_id, [line])
        gate.open()
        assert sorted(await everything) == ["hello from mi-0", "hello from mi-1"]
        assert await one == ["hello from mi-1"]
        assert await follow(None) == []
