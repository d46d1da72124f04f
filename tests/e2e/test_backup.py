"""A backup taken while agents work, and what a coordinator restored from it makes of what they did since."""

from __future__ import annotations

import subprocess

import pytest

from ferryman.v1 import tokens_pb2, types_pb2
from tests.support.fleet import COMMANDS, AgentProcess, Fleet

pytestmark = pytest.mark.timeout(240)

SUCCEEDED = types_pb2.DEPLOYMENT_STATUS_SUCCEEDED
FAILED = types_pb2.DEPLOYMENT_STATUS_FAILED
WAITS = 'while [ ! -e "${FERRYMAN_INSTALL_ROOT%/}/go" ]; do sleep 0.05; done'


def run(fleet: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(COMMANDS / "ferryman-coordinator"), *arguments]
    command += ["--data-dir", str(fleet.coordinator.data_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def begin_slow(fleet: Fleet) -> str:
    """A deployment that is in the middle of a hook on every agent."""
    deployment_id = fleet.deploy(fleet.push({"ApplicationStart": WAITS}))
    wanted = {(agent.name, "ApplicationStart") for agent in fleet.agents}
    fleet.wait_until(lambda: wanted <= fleet.hook_runs(deployment_id).keys(), "the hooks to wait")
    return deployment_id


def let_go(fleet: Fleet) -> None:
    for agent in fleet.agents:
        (agent.install_root / "go").touch()


@pytest.mark.req("CP-430")
def test_what_agents_did_after_the_backup_is_not_done_again(pair: Fleet) -> None:
    backups = pair.home / "backups"
    assert pair.run(pair.push()).deployment.status == SUCCEEDED
    under_way = begin_slow(pair)
    taken = run(pair, "backup", str(backups))
    assert taken.returncode == 0, taken.stderr
    assert "2 bundles (2 copied)" in taken.stdout
    # The world goes on: the deployment ends, another one comes, and another machine.
    let_go(pair)
    assert pair.wait(under_way).deployment.status == SUCCEEDED
    after = pair.run(pair.push()).deployment
    assert after.status == SUCCEEDED
    late = AgentProcess(pair.home / "late", "late")
    request = tokens_pb2.CreateJoinTokenRequest(uses=1, ttl_seconds=3600)
    token = pair.ask(lambda client: client.call(client.tokens.CreateJoinToken, request)).token
    assert late.enroll(pair.coordinator.ready["grpc"], token, "--tag", "fleet=all").returncode == 0
    pair.agents.append(late)
    late.start()
    pair.wait_connected(3)

    running = run(pair, "restore", str(backups), "--force")
    assert running.returncode == 1
    assert "is in use by process" in running.stderr
    pair.coordinator.stop()
    refused = run(pair, "restore", str(backups))
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr
    restored = run(pair, "restore", str(backups), "--force")
    assert restored.returncode == 0, restored.stderr
    assert "1 deployments that were under way then are ended as Failed" in restored.stdout
    assert "--replace-identity" in restored.stdout
    pair.coordinator.start()

    # Those that it knows are back by themselves, and what was under way is ended and never sent again.
    pair.wait_connected(2)
    deployment = pair.wait(under_way).deployment
    assert deployment.status == FAILED
    assert deployment.error.code == "INTERNAL_ERROR"
    assert "was restored from a backup of" in deployment.error.message
    assert set(pair.hook_runs(under_way).values()) == {1}
    # The one that came later must enroll again, and may have its name.
    shown = pair.cli("deployment", "show", after.deployment_id)
    assert shown.returncode == 5
    pair.wait_until(
        lambda: "CertificateUnknown" in pair.coordinator.log.read_text(), "the late agent to be refused"
    )
    late.stop()
    again = pair.ask(lambda client: client.call(client.tokens.CreateJoinToken, request)).token
    enrolled = late.enroll(pair.coordinator.ready["grpc"], again, "--tag", "fleet=all", "--force")
    assert enrolled.returncode == 0, enrolled.stderr
    late.start()
    pair.wait_connected(3)
    # And all three take what comes next.
    last = pair.run(pair.push())
    assert last.deployment.status == SUCCEEDED
    assert last.deployment.overview.succeeded == 3
    assert set(pair.hook_runs(under_way).values()) == {1}
    verified = pair.cli("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_with_resume_what_was_under_way_goes_on_and_no_hook_runs_twice(pair: Fleet) -> None:
    backup = pair.home / "ferryman.tar.gz"
    under_way = begin_slow(pair)
    assert run(pair, "backup", str(backup)).returncode == 0
    # The machine is lost, and nothing has happened since.
    pair.coordinator.kill()
    restored = run(pair, "restore", str(backup), "--force", "--resume")
    assert restored.returncode == 0, restored.stderr
    assert "go on when it starts" in restored.stdout
    pair.coordinator.start()
    let_go(pair)
    assert pair.wait(under_way).deployment.status == SUCCEEDED
    assert set(pair.hook_runs(under_way).values()) == {1}
