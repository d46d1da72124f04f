"""Instances from their registration to their end, with the real commands on both sides."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import COMMANDS, AgentProcess, Fleet, write_bundle

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("i"), agents=1)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


def run(fleet: Fleet, *arguments: str, code: int = 0) -> str:
    done = fleet.cli(*arguments)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def shown(fleet: Fleet, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fleet.cli("instance", "show", name, "--json").stdout)
    return found


@pytest.mark.req(
    "CP-063", "CP-073", "CP-079", "CP-083", "CP-094", "CP-102", "CP-106", "CP-107", "CP-112", "CP-113"
)
def test_an_instance_s_whole_life(fleet: Fleet, tmp_path: Path) -> None:
    host_file = tmp_path / "machine" / "ferryman.onpremises.yml"
    agent = AgentProcess(host_file.parent, "web-7")
    told = run(fleet, "instance", "register", "web-7", "--tag", "role=web", "--file", str(host_file))
    assert "instance web-7 registered (mi-" in told
    assert "ferryman-agent enroll" in told
    assert host_file.stat().st_mode & 0o777 == 0o600
    before = shown(fleet, "web-7")
    assert (before["enrolledAt"], before["isConnected"], before["tags"]) == (
        None,
        False,
        [{"key": "role", "value": "web"}],
    )
    assert "not enrolled" in run(fleet, "instance", "list", "--tag", "role=web")
    enroll = [str(COMMANDS / "ferryman-agent"), "enroll", "--config", str(agent.config)]
    done = subprocess.run(enroll, env=agent.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    try:
        agent.start()
        fleet.wait_connected(2)
        fleet.create_group("web", tag="role=web")
        write_bundle(tmp_path / "bundle", {}, {"file": "x"})
        deploy = ("deploy", "-a", "app", "-g", "web", "--source", str(tmp_path / "bundle"), "--json")
        run(fleet, *deploy, "--config", "CodeDeployDefault.AllAtOnce")
        group = run(fleet, "group", "show", "web", "-a", "app")
        for label in ("Last attempted", "Last successful"):
            assert re.search(rf"{label}: +d-[A-Z0-9]{{9}}  Succeeded  20\d\d-\d\d-\d\dT\d\d:", group)
        after = shown(fleet, "web-7")
        assert after["instanceId"] == before["instanceId"]
        recent: dict[str, str]
        (recent,) = after["recentDeployments"]
        assert (recent["status"], recent["deploymentStatus"]) == ("Succeeded", "Succeeded")
        assert (recent["applicationName"], recent["deploymentGroupName"]) == ("app", "web")
        assert recent["deploymentId"] in run(fleet, "instance", "history", "web-7")
        told = run(fleet, "instance", "show", "web-7")
        assert recent["deploymentId"] in told.split("ENDED HERE")[1]
        assert "Enrolled:" in told
        told = run(fleet, "instance", "deregister", "web-7", "--yes")
        assert "instance web-7 deregistered" in told
        assert "ferryman-agent stop" in told
        gone = shown(fleet, "web-7")
        assert gone["deregisteredAt"]
        assert gone["tags"] == []
        # The machine, its agent and its files are left alone.
        assert agent.process is not None
        assert agent.process.poll() is None
        assert host_file.exists()
        assert (agent.home / "state" / "identity.json").exists()
        assert "was deregistered before" in run(fleet, "instance", "deregister", "web-7", "--yes")
        assert "web-7" not in run(fleet, "instance", "list")
        assert "web-7" in run(fleet, "instance", "list", "--deregistered")
        assert "web-7" in run(fleet, "instance", "list", "--all")
    finally:
        agent.stop()


@pytest.mark.req("CP-103", "CP-068")
def test_with_an_arn_there_is_no_host_file(fleet: Fleet, tmp_path: Path) -> None:
    arn = "arn:aws:iam::123456789012:user/web-8"
    register = ("instance", "register", "web-8", "--iam-user-arn", arn, "--json")
    made = json.loads(run(fleet, *register))
    assert (made["instance"]["iamUserArn"], made["file"]) == (arn, "")
    assert list(tmp_path.iterdir()) == []
    assert not Path("ferryman.onpremises.yml").exists()
    agent = AgentProcess(tmp_path / "machine", "web-8")
    done = agent.enroll(fleet.coordinator.ready["grpc"], made["token"])
    assert done.returncode == 0, done.stderr
    assert shown(fleet, "web-8")["instanceId"] == made["instance"]["instanceId"]
    assert arn in run(fleet, "instance", "show", "web-8")
    both = ("instance", "register", "web-9", "--iam-user-arn", arn, "--file", str(tmp_path / "f"))
    assert "leave --file out" in run(fleet, *both, code=2)


@pytest.mark.req("CP-107")
def test_what_fails_half_way_tells_what_is_left_to_do(fleet: Fleet, tmp_path: Path) -> None:
    place = tmp_path / "host.yml"
    register = ("instance", "register", "half", "--file", str(place))
    told = run(fleet, *register, "--tag", "empty=", code=2)
    assert "its value is empty" in told
    assert "left to do by hand:" in told
    assert "ferryman instance tag half --add empty=" in told
    assert "ferryman token create --join --instance-name half" in told
    assert not place.exists()
    # A step that was the first leaves nothing to do.
    again = run(fleet, *register, code=5)
    assert "is registered already" in again
    assert "left to do" not in again
    place.write_text("mine")
    assert "is there already" in run(fleet, "instance", "register", "other", "--file", str(place), code=2)
    assert place.read_text() == "mine"
    assert "not registered" in run(fleet, "instance", "show", "other", code=5)
    run(fleet, "instance", "register", "other", "--file", str(place), "--overwrite")
    assert place.stat().st_mode & 0o777 == 0o600
    nowhere = ("instance", "register", "more", "--file", str(tmp_path / "no" / "where"))
    assert "cannot write" in run(fleet, *nowhere, code=2)
    assert "not registered" in run(fleet, "instance", "deregister", "more", "--yes", code=5)


@pytest.mark.req("CP-087")
def test_many_are_tagged_at_once_or_none(fleet: Fleet) -> None:
    for name in ("m1", "m2"):
        run(fleet, "instance", "register", name, "--iam-user-arn", f"arn:aws:iam::123456789012:user/{name}")
    told = run(fleet, "instance", "tag", "m1", "m2", "--add", "role=db", "--add", "stage=beta")
    assert told == "m1: role=db, stage=beta\nm2: role=db, stage=beta\n"
    assert "'m3' is not registered" in run(
        fleet, "instance", "tag", "m1", "m3", "--remove", "role=db", code=5
    )
    assert shown(fleet, "m1")["tags"] == [
        {"key": "role", "value": "db"},
        {"key": "stage", "value": "beta"},
    ]


def test_a_token_holds_its_machine_to_what_it_allows(fleet: Fleet, tmp_path: Path) -> None:
    create = ("token", "create", "--join", "--uses", "3", "--allow-tag", "role=web*", "--allow-name", "n-*")
    token = json.loads(run(fleet, *create, "--json"))["token"]
    address = fleet.coordinator.ready["grpc"]
    for name, tag, text in (
        ("other", "role=web", "does not allow the name 'other', only n-*"),
        ("n-1", "role=db", "does not allow the tag role=db: it allows role=web*"),
    ):
        refused = AgentProcess(tmp_path / f"{name}-{tag}", name).enroll(address, token, "--tag", tag)
        assert (refused.returncode, text in refused.stderr) == (1, True)
    assert AgentProcess(tmp_path / "n-1", "n-1").enroll(address, token, "--tag", "role=web-1").returncode == 0
    listed = run(fleet, "token", "list")
    assert "n-*; role=web*" in listed
    assert "any name; any tag" in listed
    wrong = ("token", "create", "--join", "--preset-tags", "--allow-tag", "a=b")
    assert "leave --allow-tag out" in run(fleet, *wrong, code=2)


@pytest.mark.req("CP-065")
def test_a_cloud_instance_is_deployed_to_like_any_other(fleet: Fleet, tmp_path: Path) -> None:
    token = json.loads(run(fleet, "token", "create", "--join", "--json"))["token"]
    agent = AgentProcess(tmp_path / "cloud", "cloud")
    command = [str(COMMANDS / "ferryman-agent"), "enroll", "--coordinator", fleet.coordinator.ready["grpc"]]
    command += ["--token", token, "--kind", "cloud", "--instance-id", "i-0abc123", "--tag", "kind=cloud"]
    done = subprocess.run(
        [*command, "--config", str(agent.config)], env=agent.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Enrolled as i-0abc123 (i-0abc123)" in done.stdout
    try:
        agent.start()
        fleet.wait_connected(2)
        found = shown(fleet, "i-0abc123")
        assert (found["kind"], found["lifecycleState"]) == ("cloud", "InService")
        fleet.create_group("cloud", tag="kind=cloud")
        write_bundle(tmp_path / "bundle", {}, {"cloud-file": "x"})
        deploy = ("deploy", "-a", "app", "-g", "cloud", "--source", str(tmp_path / "bundle"))
        assert "Succeeded: 1 succeeded" in run(fleet, *deploy, "--config", "CodeDeployDefault.AllAtOnce")
        assert (agent.install_root / "srv" / "app" / "cloud-file").read_text() == "x"
    finally:
        agent.stop()
