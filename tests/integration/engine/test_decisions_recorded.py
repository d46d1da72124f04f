"""What the engine tells its witness, once it is stored: what it decided by itself, and why (CP-448)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_coordinator.core.model import AutoRollback, DeploymentStatus, RollbackEvent
from tests.support.coordinator_records import bundle
from tests.support.engine_world import open_world
from tests.support.fake_agent import Gate, broken_revision

ON_FAILURE = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))


@pytest.mark.req("CP-448")
async def test_a_failure_and_its_rollback_are_told_in_their_order(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1, auto_rollback=ON_FAILURE) as world:
        await world.finished(await world.deploy(revision=bundle("a")))
        assert world.decisions == []
        world.play(broken_revision(bundle("b")))
        failed = await world.finished(await world.deploy(revision=bundle("b")))
        assert failed.rollback_deployment_id is not None
        await world.finished(failed.rollback_deployment_id)
        ended, rolled_back = world.decisions
    assert (ended.event, ended.deployment_id, ended.creator) == (
        "FailDeployment",
        failed.deployment_id,
        "user",
    )
    assert failed.record.error is not None
    assert ended.details == {"errorCode": failed.record.error.code}
    # What is explained to people at the end begins with it.
    assert failed.record.error.message.startswith(ended.cause)
    assert (rolled_back.event, rolled_back.creator) == ("CreateRollbackDeployment", "codeDeployRollback")
    assert rolled_back.details == {"rollbackDeploymentId": failed.rollback_deployment_id}


@pytest.mark.req("CP-448")
async def test_a_timer_that_expires_and_a_coordinator_that_goes_on_are_told(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        world.play(Gate("Install"))
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "Install")
        await world.stop()
        await world.start()
        world.connect()
        timers = world.settings.timers
        world.clock.advance(timers.event_run_ms + timers.report_grace_ms)
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.FAILED
        told = {decision.event: decision for decision in world.decisions}
    assert list(told) == ["ResumeDeployment", "LifecycleEventTimerExpired", "FailDeployment"]
    assert "the deployment was InProgress" in told["ResumeDeployment"].cause
    assert told["LifecycleEventTimerExpired"].details["lifecycleEvent"] == "Install"
    assert "did not end within" in told["LifecycleEventTimerExpired"].cause


@pytest.mark.req("CP-448")
async def test_what_a_person_stops_is_no_decision_of_the_coordinator(tmp_path: Path) -> None:
    async with open_world(tmp_path, 1) as world:
        gate = Gate("Install")
        world.play(gate)
        deployment_id = await world.deploy()
        await world.busy(deployment_id, "Install")
        await world.engine.stop(deployment_id, "ann")
        gate.open()
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.STOPPED
        assert world.decisions == []
