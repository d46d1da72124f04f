"""An outside autoscaler with the real commands: it launches an instance during a rollout, and ends it later."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import AgentProcess, Fleet

pytestmark = pytest.mark.timeout(180)

SCALER = "web-fleet"
NEW = "i-0abc123"


@pytest.fixture
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("s"), agents=1)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


def run(fleet: Fleet, *arguments: str, code: int = 0) -> str:
    done = fleet.cli(*arguments)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + done.stderr


def answer(fleet: Fleet, *arguments: str) -> dict[str, Any]:
    done = fleet.cli("autoscaling", *arguments, "--json")
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def deployment(fleet: Fleet, deployment_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(run(fleet, "deployment", "show", deployment_id, "--json"))
    inner: dict[str, Any] = shown.get("deployment", shown)
    return inner


@pytest.mark.req("T70", "T73", "CP-397", "CP-399", "CP-400", "CP-406", "CP-407", "CP-410", "PF-135")
def test_an_instance_is_launched_during_a_rollout_caught_up_and_ended(fleet: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "go"
    run(
        fleet,
        *("group", "update", "all", "--application", "app"),
        *("--autoscaling-group", SCALER, "--termination-hook"),
    )
    hooks = answer(fleet, "check", SCALER)["hooks"]
    assert hooks[0]["launchHook"].startswith("CodeDeploy-managed-automatic-launch-deployment-hook-all-")
    first = fleet.push()
    assert fleet.wait(fleet.deploy(first)).deployment.deployment_id
    waits = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    second = fleet.push({"BeforeInstall": waits})
    rollout = fleet.deploy(second)
    said = answer(fleet, "launching", SCALER, NEW, "--token", "t-1")
    assert said["result"] is None
    agent = AgentProcess(fleet.home / "late", "late")
    fleet.agents.append(agent)
    token = json.loads(run(fleet, "token", "create", "--join", "--json"))["token"]
    enrolled = agent.enroll(fleet.coordinator.ready["grpc"], token, "--instance-id", NEW)
    assert enrolled.returncode == 0, enrolled.stderr
    agent.start()
    told = run(fleet, "autoscaling", "watch", SCALER, "t-1", "--timeout", "60")
    assert "CONTINUE" in told
    (launched,) = {deployment for deployment, _ in agent.story()}
    shown = deployment(fleet, launched)
    assert shown["creator"] == "autoscaling"
    gate.touch()
    fleet.wait(rollout)
    root = deployment(fleet, rollout)
    (follow_on,) = root["autoUpdateDeploymentIds"]
    fleet.wait(follow_on)
    assert {deployment for deployment, _ in agent.story()} == {launched, follow_on}
    assert follow_on not in {deployment for deployment, _ in fleet.agents[0].story()}
    before = len(agent.story())
    ended = run(fleet, "autoscaling", "terminating", SCALER, NEW, "--wait", "--timeout", "60")
    assert "CONTINUE" in ended
    assert [event for _, event in agent.story()[before:]] == ["ApplicationStop"]
    run(fleet, "autoscaling", "terminated", SCALER, NEW)
    listed = json.loads(run(fleet, "autoscaling", "list", "--json"))
    assert [(one["instanceId"], one["result"]) for one in listed] == [(NEW, "CONTINUE")] * 2
    assert NEW not in run(fleet, "instance", "list")


@pytest.mark.req("T72", "CP-403", "CP-402")
def test_launches_that_fail_again_and_again_are_shown_and_can_be_let_pass(fleet: Fleet) -> None:
    run(fleet, "group", "update", "all", "--application", "app", "--autoscaling-group", SCALER)
    bad = fleet.home / "bad"
    revision = fleet.push({"ValidateService": f"[ ! -e {bad} ]"})
    fleet.wait(fleet.deploy(revision))
    bad.touch()
    for number in range(3):
        name = f"i-0bad{number}"
        agent = AgentProcess(fleet.home / name, name)
        fleet.agents.append(agent)
        token = json.loads(run(fleet, "token", "create", "--join", "--json"))["token"]
        launching = threading.Thread(
            target=run,
            args=(fleet, "autoscaling", "launching", SCALER, name, "--wait", "--timeout", "60"),
            kwargs={"code": 1},
        )
        launching.start()
        done = agent.enroll(fleet.coordinator.ready["grpc"], token, "--instance-id", name)
        assert done.returncode == 0, done.stderr
        agent.start()
        launching.join()
    told = run(fleet, "autoscaling", "check", SCALER, code=1)
    assert "3 launches in a row failed at app/all" in told
    assert "ferryman autoscaling pass all -a app" in told
    assert "LaunchLoopDetected" in run(fleet, "audit", "list", "--json")
    run(fleet, "autoscaling", "pass", "all", "-a", "app")
    passed = answer(fleet, "launching", SCALER, "i-0next", "--wait")
    assert (passed["result"], passed["steps"][0]["status"]) == ("CONTINUE", "Skipped")
