"""Faults stay where they are: a broken rollout, a confused agent, a database that is away, a deleted deployment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.messages import EventFinished, Outcome
from ferryman_coordinator.core.model import (
    AutoRollback,
    CommandId,
    DeploymentId,
    DeploymentStatus,
    EventStatus,
    RollbackEvent,
    TargetStatus,
)
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.errors import NotFound, StoreUnavailable
from ferryman_coordinator.links.orders import CancelOrder, ForgetOrder
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store
from tests.support.coordinator_records import bundle
from tests.support.crashing_store import HoldingStore, held
from tests.support.engine_world import open_world
from tests.support.fake_agent import PATIENCE_SECONDS, SUCCESS, Gate


def break_rollouts(monkeypatch: pytest.MonkeyPatch, error: Exception, of: DeploymentId) -> None:
    """A bug: everything that is asked of that rollout from now on fails, restarts included."""
    handle = Rollout.handle

    def broken(self: Rollout, event: Any, now: Any) -> Outcome:
        if self.spec.deployment_id == of:
            raise error
        return handle(self, event, now)

    monkeypatch.setattr(Rollout, "handle", broken)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(KeyError("zone-9"), id="bug"),
        pytest.param(
            InvariantBroken("tallies differ", ["mi-0: Pending", "mi-0: InProgress"]), id="invariant"
        ),
    ],
)
async def test_a_bug_in_one_deployment_ends_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with open_world(tmp_path, 3) as world:
        gate = Gate("Install")
        world.play(gate)
        deployment_id = await world.deploy("OneAtATime")
        (busy,) = await world.busy(deployment_id, "Install")
        break_rollouts(monkeypatch, error, deployment_id)
        world.disconnect(next(name for name in world.agents if name != busy.instance_id))
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.FAILED
        assert ended.record.error is not None
        assert ended.record.error.code == "INTERNAL_ERROR"
        assert type(error).__name__ in ended.record.error.message
        assert ended.overview == {TargetStatus.FAILED: 1, TargetStatus.SKIPPED: 2}
        events = {
            event.name: event for event in (await world.targets(deployment_id))[busy.instance_id].events
        }
        assert events["Install"].status is EventStatus.FAILED
        assert events["ApplicationStart"].status is EventStatus.SKIPPED
        # The agent that is at it is told to stop, and the group is free again.
        await busy.until(lambda: any(isinstance(order, CancelOrder) for order in busy.orders))
        gate.open()
        world.connect()
        assert (await world.finished(await world.deploy())).record.status is DeploymentStatus.SUCCEEDED
        assert world.engine.statistics.broken == 1


async def test_a_deployment_that_cannot_be_restored_does_not_stop_the_coordinator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollback = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))
    async with open_world(tmp_path, 1, auto_rollback=rollback) as world:
        await world.finished(await world.deploy(revision=bundle("a")))
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy(revision=bundle("b"))
        await world.busy(deployment_id, "ApplicationStop")
        await world.stop()

        def refuse(*_: object) -> Rollout:
            raise ValueError("a path needs a step")

        monkeypatch.setattr(Rollout, "restore", refuse)
        await world.start()
        gate.open()
        world.connect()
        ended = await world.finished(deployment_id)
        assert ended.record.error is not None
        assert ended.record.error.code == "INTERNAL_ERROR"
        assert ended.rollback_deployment_id is not None
        assert (
            await world.finished(ended.rollback_deployment_id)
        ).record.status is DeploymentStatus.SUCCEEDED


async def test_a_report_that_cannot_be_true_costs_its_target_nothing(tmp_path: Path) -> None:
    """One confused agent must not end a whole deployment, nor be asked for ever."""
    async with open_world(tmp_path, 2) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop", 2)
        agent = world.agents["mi-0"]
        for command, event in (
            (f"{deployment_id}/mi-0/7/0", "Install"),
            (f"{deployment_id}/mi-0/1/0", "Coffee"),
        ):
            agent.say(
                EventFinished(
                    instance_id=agent.instance_id,
                    command_id=CommandId(command),
                    lifecycle_event=event,
                    status=EventStatus.FAILED,
                    diagnostics=SUCCESS,
                )
            )
        await agent.until(lambda: not agent.has_reports)
        assert world.engine.statistics.contradictions == 2
        gate.open()
        ended = await world.finished(deployment_id)
        assert ended.overview == {TargetStatus.SUCCEEDED: 2}


async def test_nobody_reports_for_another_instance(tmp_path: Path) -> None:
    async with open_world(tmp_path, 2) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop", 2)
        liar = world.agents["mi-0"]
        liar.say(
            EventFinished(
                instance_id=liar.instance_id,
                command_id=CommandId(f"{deployment_id}/mi-1/1/0"),
                lifecycle_event="ApplicationStop",
                status=EventStatus.FAILED,
                diagnostics=SUCCESS,
            )
        )
        await liar.until(lambda: not liar.has_reports)
        gate.open()
        assert (await world.finished(deployment_id)).overview == {TargetStatus.SUCCEEDED: 2}


class OutageStore(Store):
    """Cannot be written while it is away; forgets to say that a commit went through when it goes away."""

    is_away = False
    loses_answer = False

    async def write(self, batch: Batch) -> None:
        if self.is_away:
            raise StoreUnavailable("no space left")
        await super().write(batch)
        if self.loses_answer:
            self.loses_answer = False
            self.is_away = True
            raise StoreUnavailable("the connection was lost")


@pytest.mark.parametrize("loses_answer", [False, True])
async def test_a_database_that_is_away_is_waited_for(tmp_path: Path, loses_answer: bool) -> None:
    async with open_world(tmp_path, 2, store=OutageStore) as world:
        store = world.store
        assert isinstance(store, OutageStore)
        gate = Gate("ValidateService")
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ValidateService", 2)
        store.is_away, store.loses_answer = not loses_answer, loses_answer
        gate.open()
        pause = world.settings.retry_ms[-1]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while world.engine.statistics.store_retries < 5:
                await asyncio.sleep(0)
                world.clock.advance(pause)
        assert any(agent.has_reports for agent in world.agents.values())
        store.is_away = False
        finishing = asyncio.create_task(world.finished(deployment_id))
        while not finishing.done():
            await asyncio.sleep(0)
            world.clock.advance(pause)
        assert (await finishing).overview == {TargetStatus.SUCCEEDED: 2}


async def test_a_deployment_whose_rows_are_gone_is_let_go_of(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        gate = Gate()
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "ApplicationStop")
        watcher = asyncio.create_task(world.finished(deployment_id))
        await world.sleepers()
        batch = Batch()
        batch.delete(tables.deployments, {"deployment_id": deployment_id})
        await world.store.write(batch)
        agent = world.agents["mi-0"]
        gate.open()
        await agent.until(lambda: any(isinstance(order, CancelOrder) for order in agent.orders))
        with pytest.raises(NotFound):
            await watcher
        await agent.until(lambda: agent.is_done and not agent.has_reports)
        assert (await world.finished(await world.deploy())).record.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("CP-423", "CP-426")
async def test_nothing_is_sent_or_acknowledged_before_it_is_stored(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, store=HoldingStore) as world:
        store, agent = held(world.store), world.agents["mi-0"]
        gate = Gate()
        world.play(gate)
        store.hold(after=1)
        deployment_id = await world.deploy()
        await store.arrived.wait()
        await world.sleepers()
        assert agent.orders == []
        store.release()
        await agent.stands_at("ApplicationStop")
        store.hold()
        gate.open()
        await store.arrived.wait()
        await world.sleepers()
        assert agent.is_done
        # The end of the event at the gate, twelve of the events after it, and the end of the segment.
        assert agent.reports_waiting == 14
        assert not any(isinstance(order, ForgetOrder) for order in agent.orders)
        store.release()
        await world.finished(deployment_id)
        await agent.until(lambda: not agent.has_reports)


async def test_a_shutdown_finishes_the_commit_in_flight_and_takes_nothing_in(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, store=HoldingStore) as world:
        store = held(world.store)
        gate = Gate("ValidateService")
        world.play(gate)
        deployment_id = await world.deploy()
        (agent,) = await world.busy(deployment_id, "ValidateService")
        store.hold()
        gate.open()
        await store.arrived.wait()
        stopping = asyncio.create_task(world.stop())
        await world.sleepers()
        assert not stopping.done()
        store.release()
        assert await stopping == []
        late = EventFinished(
            instance_id=agent.instance_id,
            command_id=CommandId(f"{deployment_id}/mi-0/1/0"),
            lifecycle_event="ValidateService",
            status=EventStatus.SUCCEEDED,
            diagnostics=SUCCESS,
        )
        with pytest.raises(StoreUnavailable):
            await world.engine.deliver(late)
        await world.start()
        assert (await world.deployment(deployment_id)).record.status is DeploymentStatus.SUCCEEDED
