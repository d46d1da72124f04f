"""A new certificate authority under a fleet that works: who is there moves, who is away moves when it comes back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ferryman.v1 import tokens_pb2, types_pb2
from tests.support.fleet import COMMANDS, AgentProcess, Fleet

pytestmark = pytest.mark.timeout(300)

SUCCEEDED = types_pb2.DEPLOYMENT_STATUS_SUCCEEDED


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("f"), agents=3, config={"agents": {"drain_within": "1s"}})
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


def rotate(fleet: Fleet, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(COMMANDS / "ferryman-coordinator"), "rotate-ca", *options]
    command += ["--data-dir", str(fleet.coordinator.data_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def left(fleet: Fleet) -> str:
    """The line of the status that counts."""
    (line,) = [line for line in rotate(fleet, "--status").stdout.splitlines() if "are left" in line]
    return line


def trusted(agent: AgentProcess) -> list[str]:
    """Fingerprints of the CAs that the agent trusts."""
    (path,) = agent.home.rglob("identity.json")
    pems = json.loads(path.read_text())["ca_certificates"].encode()
    return [one.fingerprint(hashes.SHA256()).hex() for one in x509.load_pem_x509_certificates(pems)]


@pytest.mark.req("PF-274")
def test_every_agent_moves_and_none_is_lost(three: Fleet) -> None:
    fleet, away = three, three.agents[2]
    old = fleet.coordinator.ready["ca_fingerprint"].removeprefix("sha256:")
    profile = fleet.coordinator.profile
    assert rotate(fleet, "--finish").returncode == 1
    away.stop()
    fleet.wait_connected(2)

    begun = rotate(fleet)
    assert begun.returncode == 0, begun.stderr
    again = rotate(fleet)
    assert again.returncode == 1
    assert "is under way" in again.stderr
    fleet.wait_until(lambda: "2 agents have moved to the new CA, 1 are left" in left(fleet), "two to move")
    status = rotate(fleet, "--status")
    assert status.returncode == 1
    assert "  agent-2 (mi-" in status.stdout
    new = trusted(fleet.agents[0])[1]
    assert trusted(fleet.agents[0]) == trusted(fleet.agents[1]) == [old, new]
    assert trusted(away) == [old]
    # It would be locked out.
    refused = rotate(fleet, "--finish")
    assert refused.returncode == 1
    assert "1 agents know only the old CA" in refused.stderr

    # The coordinator is restarted in the middle; then the one that was away is back, and a new machine comes.
    fleet.coordinator.stop()
    fleet.coordinator.start()
    assert fleet.coordinator.ready["ca_fingerprint"] == f"sha256:{old}"
    fleet.wait_connected(2)
    away.start()
    fleet.wait_until(lambda: "3 agents have moved to the new CA, 0 are left" in left(fleet), "all to move")
    assert rotate(fleet, "--status").returncode == 0
    late = AgentProcess(fleet.home / "late", "late")
    enroll(fleet, late)
    late.start()
    fleet.wait_connected(4)
    assert trusted(late) == [old, new]
    assert fleet.run(fleet.push()).deployment.overview.succeeded == 4

    done = rotate(fleet, "--finish")
    assert done.returncode == 0, done.stderr
    fleet.wait_until(
        lambda: all(trusted(agent) == [new] for agent in fleet.agents), "all to trust the new one alone"
    )
    fleet.wait_connected(4)
    assert fleet.run(fleet.push()).deployment.overview.succeeded == 4
    # A restart changes nothing any more, and a profile with the file of before --finish goes on, as does a new token.
    fleet.coordinator.stop()
    fleet.coordinator.start()
    assert fleet.coordinator.ready["ca_fingerprint"] == f"sha256:{new}"
    assert profile.ca_file == fleet.coordinator.profile.ca_file
    fleet.wait_connected(4)
    last = AgentProcess(fleet.home / "last", "last")
    enroll(fleet, last)
    assert trusted(last) == [new]
    log = fleet.coordinator.log.read_text()
    assert "CertificateUnknown" not in log
    assert not any("Traceback" in line for line in log.splitlines())


def enroll(fleet: Fleet, agent: AgentProcess) -> None:
    request = tokens_pb2.CreateJoinTokenRequest(uses=1, ttl_seconds=3600)
    token = fleet.ask(lambda client: client.call(client.tokens.CreateJoinToken, request)).token
    done = agent.enroll(fleet.coordinator.ready["grpc"], token, "--tag", "fleet=all")
    assert done.returncode == 0, done.stderr
    if agent not in fleet.agents:
        fleet.agents.append(agent)
