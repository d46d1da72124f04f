"""Instances that come and go: over coordinators that die, in several groups at once, and who is called back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from ferryman_coordinator.core.group_options import Trigger, TriggerEventType
from ferryman_coordinator.core.inventory import DeploymentGroup, LifecycleState
from ferryman_coordinator.core.model import Creator, GroupId, Instant, TargetStatus
from ferryman_coordinator.core.scaling import ActionResult, LifecycleAction, StepStatus
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.inventory_records import group_row
from ferryman_coordinator.store.queries import deployments
from ferryman_coordinator.store.queries import scaling as queries
from ferryman_coordinator.store.records import succeeded_values, to_json
from tests.support.autoscaler import FLEET, HOOK, SCALED, scaled_world
from tests.support.coordinator_records import bundle
from tests.support.crashing_store import CrashingStore, Died
from tests.support.engine_world import World
from tests.support.fake_agent import Gate, failing


async def open_actions(world: World) -> list[LifecycleAction]:
    async with world.store.reading() as connection:
        return list(await queries.open_actions(connection))


async def deliveries(world: World) -> list[tuple[str, str, dict[str, object]]]:
    """Target, type and body of every message, in their order."""
    table = tables.deliveries.c
    query = sa.select(table.target, table.event_type, table.body).order_by(table.created_at, table.event_type)
    async with world.store.reading() as connection:
        rows = (await connection.execute(query)).all()
    return [(row.target, row.event_type, json.loads(row.body)) for row in rows]


async def second_group(world: World, pattern: DeploymentGroup, **changed: object) -> DeploymentGroup:
    """A group of the same application that has the same autoscaling group, and the same last success."""
    hook = replace(HOOK, launch=f"{HOOK.launch}-second", installed_at=Instant(HOOK.installed_at + 1))
    made = replace(pattern, group_id=GroupId("group-2"), name="second", hooks=(hook,), **changed)  # type: ignore[arg-type] # named by each test
    assert pattern.last_successful is not None
    assert pattern.target_revision is not None
    batch = Batch()
    batch.insert(tables.deployment_groups, group_row(made))
    batch.update(
        tables.deployment_groups,
        {"group_id": made.group_id},
        succeeded_values(pattern.last_successful.deployment_id, pattern.target_revision),
    )
    await world.store.write(batch)
    return made


@pytest.mark.req("CP-402", "A26")
async def test_groups_that_share_an_autoscaling_group_deploy_one_after_another(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        await second_group(world, await world.group())
        action = await scaler.launch("i-new")
        assert "belongs to 2 deployment groups (web/production, web/second)" in action.messages[0]
        answer = await scaler.answer(action)
        assert answer.result is ActionResult.CONTINUE
        first, second = [
            await world.deployment(step.deployment_id)
            for step in answer.steps
            if step.deployment_id is not None
        ]
        assert [first.group_name, second.group_name] == ["production", "second"]
        ran = [command.partition("/")[0] for command, _ in world.agents["i-new"].ran]
        assert ran == [first.deployment_id] * 7 + [second.deployment_id] * 7


@pytest.mark.req("CP-402", "CP-400")
async def test_one_group_that_fails_abandons_the_launch_for_all(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        await second_group(world, await world.group())
        action = await scaler.launch("i-new", connects=False)
        scaler.boot("i-new")
        world.play(failing(), "i-new")
        answer = await scaler.answer(action)
        assert answer.result is ActionResult.ABANDON
        assert [step.status for step in answer.steps] == [StepStatus.FAILED, StepStatus.SKIPPED]


@pytest.mark.req("CP-402")
async def test_notices_of_two_hooks_for_one_instance_are_done_one_after_another(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        second = await second_group(world, await world.group())
        one = await scaler.launch("i-new", token="t-1", hook=HOOK.launch, connects=False)
        world.clock.advance(1)
        two = await scaler.launch("i-new", token="t-2", hook=second.hooks[0].launch)
        answers = [await scaler.answer(action) for action in (one, two)]
        assert [answer.result for answer in answers] == [ActionResult.CONTINUE] * 2
        ids = [answer.steps[0].deployment_id for answer in answers]
        ran = [command.partition("/")[0] for command, _ in world.agents["i-new"].ran]
        assert ran == [ids[0]] * 7 + [ids[1]] * 7


@pytest.mark.req("CP-398", "CP-181")
async def test_a_group_that_is_gone_has_nothing_to_deploy(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        gate = Gate()
        await second_group(world, await world.group())
        action = await scaler.launch("i-new", connects=False)
        scaler.boot("i-new")
        world.play(gate, "i-new")
        await world.agents["i-new"].stands_at("ApplicationStop")
        batch = Batch()
        batch.delete(tables.deployment_groups, {"group_id": "group-2"})
        await world.store.write(batch)
        gate.open()
        answer = await scaler.answer(action)
        assert answer.result is ActionResult.CONTINUE
        assert (answer.steps[1].status, answer.steps[1].message) == (
            StepStatus.SKIPPED,
            "the deployment group is gone",
        )


@pytest.mark.req("CP-430", "CP-399", "CP-263")
@pytest.mark.parametrize("at, is_after", [(1, True), (2, False), (3, True)])
@pytest.mark.parametrize("fails", [False, True], ids=["good", "failing"])
async def test_a_coordinator_that_dies_at_every_commit_comes_to_the_same_answer(
    tmp_path: Path, at: int, is_after: bool, fails: bool
) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        action = await scaler.launch("i-new", connects=False)
        scaler.boot("i-new")
        if fails:
            world.play(failing(), "i-new")
        await world.stop()
        lives = 0
        while True:
            lives += 1
            store = await CrashingStore.open(world.url)
            store.die(at, is_after=is_after)
            await world.start(store)
            world.connect()
            answering = asyncio.create_task(scaler.answer(action))
            crash = asyncio.create_task(world.crashed())
            await asyncio.wait((answering, crash), return_when=asyncio.FIRST_COMPLETED)
            is_done = answering.done() and answering.exception() is None
            for waiting in (answering, crash):
                waiting.cancel()
            await asyncio.gather(answering, crash, return_exceptions=True)
            await world.stop()
            if is_done:
                break
        assert lives > 1
        await world.start()
        found = await scaler.lifecycle.get(*action.key)
        assert found.result is (ActionResult.ABANDON if fails else ActionResult.CONTINUE)
        async with world.store.reading() as connection:
            every = await deployments.before(connection, deployments.DeploymentFilter(), (), 100)
        launched = [one for one in every if one.spec.creator is Creator.AUTO_SCALING]
        assert len(launched) == 1
        ran = world.agents["i-new"].ran
        assert len(ran) == len(set(ran)) == 7
        assert (await world.group()).hooks[0].abandons == int(fails)
        assert await open_actions(world) == []


@pytest.mark.req("CP-409", "CP-430")
async def test_a_notice_that_was_only_stored_ends_what_runs_after_the_restart(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        await scaler.answer(await scaler.launch("i-new"))
        gate = Gate("BeforeInstall")
        world.play(gate, "i-new")
        fleet_id = await world.deploy(revision=bundle("b"))
        await world.agents["i-new"].stands_at("BeforeInstall")
        await world.stop()
        store = await CrashingStore.open(world.url)
        await world.start(store)
        # The coordinator dies right after it has stored that the instance ends.
        store.die(1, is_after=True)
        with pytest.raises(Died):
            await scaler.end("i-new")
        await world.stop()
        await world.start()
        world.connect()
        await world.until(fleet_id, lambda counts: counts.get(TargetStatus.FAILED) == 1)
        gate.open()
        target = (await world.targets(fleet_id))["i-new"]
        assert target.record.status is TargetStatus.FAILED
        (action,) = await open_actions(world)
        assert (await scaler.answer(action)).result is ActionResult.CONTINUE
        assert (await scaler.instance("i-new")).lifecycle_state is LifecycleState.TERMINATING


@pytest.mark.req("PF-135", "PF-110", "PF-112")
async def test_who_gave_a_callback_is_told_of_heartbeats_and_of_the_answer(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        woken: list[None] = []
        world.engine.scaling.ledger.wake = lambda: woken.append(None)
        action = await scaler.launch("i-new", token="t-1", callback="scaler", connects=False)
        async for seen in scaler.seen(action):
            if seen.heartbeats == 1:
                break
            if seen.steps[0].status is StepStatus.RUNNING:
                await world.sleepers()
                world.clock.advance(5 * 60_000)
        scaler.boot("i-new")
        await scaler.answer(action)
        told = await deliveries(world)
        assert [(target, kind) for target, kind, _ in told] == [
            ("scaler", "autoscaling.complete"),
            ("scaler", "autoscaling.heartbeat"),
        ]
        body = told[0][2]
        assert body["LifecycleActionToken"] == "t-1"
        assert body["LifecycleActionResult"] == "CONTINUE"
        assert body["EC2InstanceId"] == "i-new"
        assert body["AutoScalingGroupName"] == FLEET
        assert body["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_LAUNCHING"
        assert len(woken) == 2


@pytest.mark.req("CP-403", "T72")
async def test_who_waits_for_failed_deployments_of_the_group_hears_of_a_loop_once(tmp_path: Path) -> None:
    trigger = Trigger(
        name="ops",
        target_arn="arn:aws:sns:eu-1:123456789012:ops",
        events=(TriggerEventType.DEPLOYMENT_FAILURE,),
    )
    async with scaled_world(tmp_path, options=replace(SCALED, triggers=(trigger,))) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        for number in range(4):
            action = await scaler.launch(f"i-{number}", connects=False)
            scaler.boot(f"i-{number}")
            world.play(failing(at="AfterInstall"), f"i-{number}")
            await scaler.answer(action)
        loops = [body for _, kind, body in await deliveries(world) if kind == "autoscaling.launchLoop"]
        assert len(loops) == 1
        assert "AfterInstall" in str(loops[0]["message"])
        assert loops[0]["deploymentGroupName"] == "production"


@pytest.mark.req("CP-403")
async def test_a_hook_that_was_changed_meanwhile_is_counted_on_what_it_is_now(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        action = await scaler.launch("i-new", connects=False)
        scaler.boot("i-new")
        gate = Gate("ValidateService", then=failing())
        world.play(gate, "i-new")
        await world.agents["i-new"].stands_at("ValidateService")
        renamed = replace(HOOK, launch="new-name")
        batch = Batch()
        batch.update(
            tables.deployment_groups, {"group_id": "group-1"}, {"auto_scaling_hooks": to_json((renamed,))}
        )
        await world.store.write(batch)
        gate.open()
        assert (await scaler.answer(action)).result is ActionResult.ABANDON
        assert (await world.group()).hooks == (replace(renamed, abandons=1),)
