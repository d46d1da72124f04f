"""Instances that an autoscaler launches and ends: they are deployed to before it gets its answer, and only then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ferryman_coordinator.core.group_options import AlarmConfiguration, OutdatedInstancesStrategy
from ferryman_coordinator.core.inventory import LifecycleState
from ferryman_coordinator.core.model import (
    Creator,
    DeploymentStatus,
    EventStatus,
    TargetStatus,
    Timers,
)
from ferryman_coordinator.core.scaling import ActionResult, StepStatus, Transition
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.errors import Conflict, Invalid, NotFound
from ferryman_coordinator.operations.lifecycle import LifecycleNotice
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import groups as group_queries
from ferryman_coordinator.store.records import to_json
from tests.support.autoscaler import FLEET, HOOK, SCALED, scaled_world
from tests.support.coordinator_records import bundle
from tests.support.fake_agent import Gate, failing

MINUTE = 60_000


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ferryman.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.mark.req("CP-397", "CP-398", "CP-400", "CP-029", "PF-109", "PF-111", "PF-119")
async def test_a_launched_instance_gets_the_last_good_revision_and_goes_into_service(
    tmp_path: Path, url: str
) -> None:
    async with scaled_world(tmp_path, url) as scaler:
        world = scaler.world
        first = await world.finished(await world.deploy(revision=bundle("a")))
        action = await scaler.launch("i-new", token="t-1", zone="eu-1a")
        assert action.result is None
        assert (await scaler.instance("i-new")).lifecycle_state is LifecycleState.LAUNCHING
        answer = await scaler.answer(action)
        assert answer.result is ActionResult.CONTINUE
        (step,) = answer.steps
        assert (step.status, step.hook) == (StepStatus.SUCCEEDED, HOOK.launch)
        assert step.deployment_id is not None
        launched = await world.deployment(step.deployment_id)
        assert launched.spec.creator is Creator.AUTO_SCALING
        assert launched.spec.revision == bundle("a")
        assert launched.record.status is DeploymentStatus.SUCCEEDED
        assert list(await world.targets(step.deployment_id)) == ["i-new"]
        instance = await scaler.instance("i-new")
        assert (instance.lifecycle_state, instance.zone) == (LifecycleState.IN_SERVICE, "eu-1a")
        # What the group did last is what it did as a group (CP-026, CP-027).
        group = await world.group()
        assert group.last_attempted is not None
        assert group.last_successful is not None
        assert {group.last_attempted.deployment_id, group.last_successful.deployment_id} == {
            first.deployment_id
        }
        async with world.store.reading() as connection:
            members = await group_queries.members(connection, group)
        assert {one.instance_id: one.revision_health.value for one in members} == {
            "mi-0": "Current",
            "i-new": "Current",
        }


@pytest.mark.req("CP-398", "PF-113")
async def test_without_a_good_revision_a_launch_goes_on_with_nothing_deployed(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        answer = await scaler.answer(await scaler.launch("i-new"))
        assert answer.result is ActionResult.CONTINUE
        (step,) = answer.steps
        assert step.status is StepStatus.SKIPPED
        assert "no successful deployment yet" in step.message
        assert await scaler.world.created() == []
        assert (await scaler.instance("i-new")).lifecycle_state is LifecycleState.IN_SERVICE


@pytest.mark.req("T70", "CP-401", "CP-410", "CP-412", "A26", "A14")
async def test_a_launch_runs_beside_a_fleet_deployment_which_then_catches_it_up(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        gate = Gate()
        world.play(gate)
        fleet_id = await world.deploy(revision=bundle("b"))
        await world.busy(fleet_id, "ApplicationStop")
        answer = await scaler.answer(await scaler.launch("i-new"))
        assert answer.result is ActionResult.CONTINUE
        launched = await world.deployment(answer.steps[0].deployment_id or world.ids.deployment_id())
        assert launched.spec.revision == bundle("a")
        assert not (await world.deployment(fleet_id)).record.status.is_terminal
        gate.open()
        fleet = await world.finished(fleet_id)
        (follow_on,) = fleet.auto_update_ids
        done = await world.finished(follow_on)
        assert (done.spec.creator, done.spec.revision) == (Creator.AUTO_UPDATE, bundle("b"))
        assert list(await world.targets(follow_on)) == ["i-new"]


@pytest.mark.req("T71", "CP-411")
async def test_who_ignores_outdated_instances_leaves_the_launched_one_where_it_is(tmp_path: Path) -> None:
    options = replace(SCALED, outdated_instances=OutdatedInstancesStrategy.IGNORE)
    async with scaled_world(tmp_path, options=options) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        gate = Gate()
        world.play(gate)
        fleet_id = await world.deploy(revision=bundle("b"))
        await world.busy(fleet_id, "ApplicationStop")
        await scaler.answer(await scaler.launch("i-new"))
        gate.open()
        assert (await world.finished(fleet_id)).auto_update_ids == ()
        async with world.store.reading() as connection:
            members = await group_queries.members(connection, await world.group())
        assert {str(one.instance_id): one.revision_health.value for one in members}["i-new"] == "Old"


@pytest.mark.req("CP-410")
async def test_a_launch_that_ends_after_the_fleet_deployment_brings_the_newer_revision_too(
    tmp_path: Path,
) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        action = await scaler.launch("i-new", connects=False)
        agent = scaler.boot("i-new")
        gate = Gate()
        world.play(gate, "i-new")
        await agent.stands_at("ApplicationStop")
        await world.finished(await world.deploy(revision=bundle("b")))
        gate.open()
        answer = await scaler.answer(action)
        assert answer.result is ActionResult.CONTINUE
        last = answer.steps[0].deployment_id
        assert last is not None
        assert answer.steps[0].rounds == 2
        assert (await world.deployment(last)).spec.revision == bundle("b")


@pytest.mark.req("CP-400", "CP-304", "PF-111")
async def test_a_launch_that_fails_is_abandoned_whatever_the_groups_configuration_says(
    tmp_path: Path,
) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        good = await world.finished(await world.deploy(revision=bundle("a")))
        action = await scaler.launch("i-new", connects=False)
        scaler.boot("i-new")
        world.play(failing(), "i-new")
        answer = await scaler.answer(action)
        assert answer.result is ActionResult.ABANDON
        (step,) = answer.steps
        assert step.status is StepStatus.FAILED
        assert "ValidateService" in step.message
        assert step.deployment_id is not None
        failed = await world.deployment(step.deployment_id)
        assert (failed.record.status, failed.rollback_deployment_id) == (DeploymentStatus.FAILED, None)
        assert (await scaler.instance("i-new")).lifecycle_state is LifecycleState.TERMINATING
        group = await world.group()
        assert group.last_attempted is not None
        assert group.last_attempted.deployment_id == good.deployment_id
        assert group.hooks[0].abandons == 1


@pytest.mark.req("T72", "CP-403", "PF-129", "K9")
async def test_the_third_launch_that_fails_in_a_row_is_called_a_loop_and_there_is_a_way_out(
    tmp_path: Path, url: str
) -> None:
    async with scaled_world(tmp_path, url) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        for number in range(3):
            action = await scaler.launch(f"i-{number}", connects=False)
            scaler.boot(f"i-{number}")
            world.play(failing(), f"i-{number}")
            assert world.engine.scaling.ledger.loops_told == 0
            assert (await scaler.answer(action)).result is ActionResult.ABANDON
        (hook,) = (await world.group()).hooks
        assert (hook.abandons, hook.is_looping) == (3, True)
        assert world.engine.scaling.ledger.loops_told == 1
        # One that works ends the row.
        assert (await scaler.answer(await scaler.launch("i-good"))).result is ActionResult.CONTINUE
        assert (await world.group()).hooks[0].abandons == 0


@pytest.mark.req("CP-399", "CP-408", "CP-263", "PF-110")
async def test_a_heartbeat_is_sent_every_five_minutes_while_somebody_waits(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        action = await scaler.launch("i-new", connects=False)
        beats = []
        async for seen in scaler.seen(action):
            if seen.heartbeats not in beats:
                beats.append(seen.heartbeats)
            if seen.heartbeats == 3:
                break
            if seen.steps[0].status is StepStatus.RUNNING:
                await world.sleepers()
                world.clock.advance(5 * MINUTE)
        assert beats == [0, 1, 2, 3]
        scaler.boot("i-new")
        assert (await scaler.answer(action)).result is ActionResult.CONTINUE


@pytest.mark.req("CP-264", "A9")
async def test_a_machine_that_boots_has_an_hour_until_its_agent_is_heard_of(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        started = world.clock.now()
        action = await scaler.launch("i-slow", connects=False)
        async for seen in scaler.seen(action):
            if seen.steps[0].status is StepStatus.RUNNING:
                action = seen
                break
        deployment_id = action.steps[0].deployment_id
        assert deployment_id is not None
        await world.until(deployment_id, lambda counts: counts.get(TargetStatus.IN_PROGRESS) == 1)
        target = (await world.targets(deployment_id))["i-slow"].record
        assert target.deadline == started + Timers().first_contact_ms == started + 60 * MINUTE
        await world.sleepers()
        world.clock.advance(59 * MINUTE)
        await world.sleepers()
        scaler.boot("i-slow")
        assert (await scaler.answer(action)).result is ActionResult.CONTINUE


@pytest.mark.req("T73", "CP-406", "CP-407", "PF-116")
@pytest.mark.parametrize("fails", [False, True])
async def test_what_runs_on_an_instance_that_ends_is_stopped_first_and_it_ends_in_any_case(
    tmp_path: Path, url: str, fails: bool
) -> None:
    async with scaled_world(tmp_path, url) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        await scaler.answer(await scaler.launch("i-new"))
        agent = world.agents["i-new"]
        ran = len(agent.ran)
        if fails:
            world.play(failing(at="ApplicationStop"), "i-new")
        answer = await scaler.answer(await scaler.end("i-new"))
        assert answer.result is ActionResult.CONTINUE
        (step,) = answer.steps
        assert (step.status is StepStatus.FAILED) is fails
        assert step.deployment_id is not None
        ended = await world.deployment(step.deployment_id)
        assert ended.spec.creator is Creator.AUTO_SCALING_TERMINATION
        assert [event for _, event in agent.ran[ran:]] == ["ApplicationStop"]
        assert (await scaler.instance("i-new")).lifecycle_state is LifecycleState.TERMINATING
        async with world.store.reading() as connection:
            members = await group_queries.members(connection, await world.group())
        assert [one.instance_id for one in members] == ["mi-0"]


@pytest.mark.req("PF-118", "CP-406")
async def test_without_a_termination_hook_nothing_runs_on_an_instance_that_ends(tmp_path: Path) -> None:
    off = replace(HOOK, termination="")
    async with scaled_world(
        tmp_path, hooks=(off,), options=replace(SCALED, termination_hook=False)
    ) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        await scaler.answer(await scaler.launch("i-new"))
        action = await scaler.end("i-new")
        assert (action.result, action.steps) == (ActionResult.CONTINUE, ())
        assert len(await world.created()) == 2


@pytest.mark.req("CP-409", "PF-122", "CP-306", "K28")
async def test_scale_in_during_a_deployment_ends_its_event_fails_its_target_and_then_stops_what_runs(
    tmp_path: Path,
) -> None:
    async with scaled_world(tmp_path, count=2) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        await scaler.answer(await scaler.launch("i-new"))
        gate = Gate("BeforeInstall")
        world.play(gate, "i-new")
        fleet_id = await world.deploy(revision=bundle("b"))
        agent = world.agents["i-new"]
        await agent.stands_at("BeforeInstall")
        ran = len(agent.ran)
        action = await scaler.end("i-new")
        target = (await world.targets(fleet_id))["i-new"]
        assert target.record.status is TargetStatus.FAILED
        events = {event.name: event for event in target.events}
        running = events["BeforeInstall"]
        assert running.status is EventStatus.FAILED
        assert running.diagnostics is not None
        assert "was terminated by its group" in running.diagnostics.message
        assert events["Install"].status is EventStatus.SKIPPED
        gate.open()
        answer = await scaler.answer(action)
        assert answer.result is ActionResult.CONTINUE
        # Nothing of the fleet deployment began after the notice.
        began = agent.ran[ran:]
        assert [event for _, event in began] == ["ApplicationStop"]
        assert began[0][0].startswith(f"{answer.steps[0].deployment_id}/")


@pytest.mark.req("CP-409")
async def test_an_instance_that_ends_while_it_is_launched_is_abandoned_and_is_no_loop(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        launch = await scaler.launch("i-new", connects=False)
        scaler.boot("i-new")
        gate = Gate()
        world.play(gate, "i-new")
        await world.agents["i-new"].stands_at("ApplicationStop")
        end = await scaler.end("i-new")
        abandoned = await scaler.answer(launch)
        assert abandoned.result is ActionResult.ABANDON
        gate.open()
        assert (await scaler.answer(end)).result is ActionResult.CONTINUE
        assert (await world.group()).hooks[0].abandons == 0


@pytest.mark.req("CP-397", "PF-109")
async def test_notices_are_checked_and_may_come_twice(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        action = await scaler.launch("i-new", token="t-1", hook=HOOK.launch)
        again = await scaler.launch("i-new", token="t-1", hook=HOOK.launch)
        assert again.key == action.key
        await scaler.answer(action)
        assert len(await world.created()) == 2
        with pytest.raises(Conflict, match="t-1"):
            await scaler.launch("i-other", token="t-1", connects=False)
        with pytest.raises(NotFound, match="autoscaling check"):
            await scaler.launch("i-other", hook="somebody-elses", connects=False)
        with pytest.raises(NotFound, match="its provider issued"):
            await scaler.launch("who", connects=False)
        with pytest.raises(Invalid, match="no sink"):
            await scaler.launch("i-other", callback="nobody", connects=False)
        with pytest.raises(Invalid, match="printed"):
            await scaler.launch("i-other", token="a\nb", connects=False)
        notice = LifecycleNotice(auto_scaling_group="", instance="i-1", transition=Transition.LAUNCHING)
        with pytest.raises(Invalid, match="autoscaling group"):
            await scaler.lifecycle.notify(notice)


@pytest.mark.req("CP-066")
async def test_on_premises_instances_can_be_kept_out_of_autoscaling_groups(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        lifecycle = scaler.made(on_premises_in_place_only=True)
        for transition in Transition:
            notice = LifecycleNotice(auto_scaling_group=FLEET, instance="web-0", transition=transition)
            with pytest.raises(Conflict, match="'web-0' is on premises") as refused:
                await lifecycle.notify(notice)
            assert refused.value.reason == "OnPremisesInstanceException"
        with pytest.raises(Conflict, match="'web-0' is on premises"):
            await lifecycle.in_service(FLEET, "web-0")
        assert (await scaler.instance("mi-0")).auto_scaling_group == ""
        # Cloud instances, and by default all, take part.
        assert (await lifecycle.in_service(FLEET, "i-1")).auto_scaling_group == FLEET
        assert (await scaler.lifecycle.in_service(FLEET, "web-0")).auto_scaling_group == FLEET


@pytest.mark.req("CP-404")
async def test_who_is_in_service_already_is_not_deployed_to(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        await scaler.lifecycle.in_service(FLEET, "i-old")
        assert len(await world.created()) == 1
        async with world.store.reading() as connection:
            members = await group_queries.members(connection, await world.group())
        assert {one.instance_id for one in members} == {"mi-0", "i-old"}
        await scaler.lifecycle.terminated(FLEET, "i-old")
        await scaler.lifecycle.terminated(FLEET, "i-old")
        gone = await scaler.instance("i-old")
        assert (gone.is_registered, gone.lifecycle_state) == (False, LifecycleState.TERMINATED)
        with pytest.raises(Conflict, match="deregistered"):
            await scaler.launch("i-old", connects=False)


@pytest.mark.req("CP-403", "K9")
async def test_who_lets_launches_pass_deploys_nothing(tmp_path: Path) -> None:
    async with scaled_world(tmp_path, hooks=(replace(HOOK, passes=True),)) as scaler:
        await scaler.world.finished(await scaler.world.deploy(revision=bundle("a")))
        answer = await scaler.answer(await scaler.launch("i-new"))
        assert answer.result is ActionResult.CONTINUE
        assert answer.steps[0].status is StepStatus.SKIPPED
        assert len(await scaler.world.created()) == 1


@pytest.mark.req("CP-401", "PF-114", "CP-226")
async def test_a_launch_waits_while_as_many_deployments_run_as_may(tmp_path: Path) -> None:
    settings = EngineSettings(max_deployments=1)
    async with scaled_world(tmp_path, settings=settings) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        gate = Gate()
        world.play(gate, "mi-0")
        fleet_id = await world.deploy(revision=bundle("b"))
        await world.busy(fleet_id, "ApplicationStop")
        action = await scaler.launch("i-new")
        await world.sleepers()
        assert len(await world.created()) == 2
        gate.open()
        assert (await scaler.answer(action)).result is ActionResult.CONTINUE


@pytest.mark.req("CP-354")
async def test_an_active_alarm_does_not_keep_an_instance_from_going_into_service(tmp_path: Path) -> None:
    async with scaled_world(tmp_path) as scaler:
        world = scaler.world
        await world.finished(await world.deploy(revision=bundle("a")))
        alarms = AlarmConfiguration(enabled=True, alarms=("burning",))
        group = await world.group()
        options = replace(group.options, alarms=alarms)
        batch = Batch()
        batch.update(tables.deployment_groups, {"group_id": group.group_id}, {"options": to_json(options)})
        await world.store.write(batch)
        assert (await scaler.answer(await scaler.launch("i-new"))).result is ActionResult.CONTINUE
