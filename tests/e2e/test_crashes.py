"""Processes that are killed at the worst moment: nothing is lost, nothing runs twice."""

from __future__ import annotations

import os
import random

import pytest

from ferryman.v1 import types_pb2
from tests.support.fleet import Fleet

pytestmark = pytest.mark.timeout(240)

SUCCEEDED = types_pb2.DEPLOYMENT_STATUS_SUCCEEDED


@pytest.mark.req("CP-426", "AG-133", "AG-137", "V2-002", "V2-008")
def test_agent_killed_inside_a_hook_reports_it_failed_and_ends_its_processes(pair: Fleet) -> None:
    victim = pair.agents[0]
    hook = 'echo $$ > "${FERRYMAN_INSTALL_ROOT%/}/hook.pid"; sleep 300'
    pid_file = victim.install_root / "hook.pid"
    pair.create_group("victim", tag=f"me={victim.name}")
    deployment_id = pair.deploy(pair.push({"BeforeInstall": hook}), group="victim")
    pair.wait_until(lambda: pid_file.exists() and pid_file.read_text().strip() != "", "the hook to run")
    hook_pid = int(pid_file.read_text())
    victim.kill()
    assert _is_alive(hook_pid)
    victim.start()
    progress = pair.wait(deployment_id)
    assert progress.deployment.status == types_pb2.DEPLOYMENT_STATUS_FAILED
    (target,) = progress.targets.values()
    event = target.failed_event
    assert event is not None
    assert event.name == "BeforeInstall"
    assert "restart" in event.diagnostics.message
    pair.wait_until(lambda: not _is_alive(hook_pid), "the hook's process to end")
    assert set(pair.hook_runs(deployment_id).values()) == {1}


@pytest.mark.req("CP-430", "CP-423", "CP-263", "T79")
def test_coordinator_killed_at_random_moments_ends_as_if_it_never_was(pair: Fleet) -> None:
    seed = int(os.environ.get("FERRYMAN_TEST_SEED", "0")) or random.randrange(1 << 30)
    print(f"FERRYMAN_TEST_SEED={seed}")
    moments = random.Random(seed)
    slow = dict.fromkeys(
        ("BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"), "sleep 0.2"
    )
    assert pair.run(pair.push()).deployment.status == SUCCEEDED
    deployment_id = pair.deploy(pair.push(slow), config="CodeDeployDefault.OneAtATime")
    seen = 0
    for _ in range(5):
        seen = pair.see(deployment_id, moments.randint(1, 5), after=seen)
        pair.coordinator.kill()
        pair.coordinator.start()
    progress = pair.wait(deployment_id)
    assert progress.deployment.status == SUCCEEDED
    assert progress.deployment.overview.succeeded == 2
    runs = pair.hook_runs(deployment_id)
    assert len(runs) == 2 * 5
    assert set(runs.values()) == {1}


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
