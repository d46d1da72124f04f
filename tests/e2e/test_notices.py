"""Messages and events with real processes: what operators type, what a receiver gets, and a kill in between."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

import pytest

from ferryman_coordinator.core.model import DeploymentStatus
from tests.support.fleet import COMMANDS, Fleet

pytestmark = pytest.mark.timeout(180)

TOPIC = "arn:aws:sns:eu-central-1:123456789012:ops"


class Receiver:
    """Takes messages in a thread of its own."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.headers["Ferryman-Event-Type"], json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on the terminal."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def types(self) -> list[str]:
        return [kind for kind, _ in self.got]

    def stop(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Fleet]:
    sinks = {"ops": {"kind": "webhook", "arn": TOPIC, "url": receiver.url}}
    fleet = Fleet(tmp_path_factory.mktemp("n"), agents=2, config={"sinks": sinks})
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


def shown(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.req("T67", "CP-370", "CP-375", "CP-387", "CP-430")
def test_a_trigger_from_the_command_line_to_its_messages_over_a_kill(pair: Fleet, receiver: Receiver) -> None:
    group = ("-a", "app", "-g", "all")
    put = pair.cli(
        "trigger", "put", "ops", *group, "--target", TOPIC,
        "--on", "DeploymentStart", "--on", "DeploymentFailure", "--on", "InstanceFailure",
    )  # fmt: skip
    assert put.returncode == 0, put.stderr
    assert "test message" not in put.stderr
    assert receiver.types() == ["Test"]
    assert shown(pair.cli("trigger", "list", *group, "--json"))[0]["events"] == [
        "DeploymentStart",
        "DeploymentFailure",
        "InstanceFailure",
    ]
    follower = subprocess.Popen(
        [COMMANDS / "ferryman", "events", "--follow", "--json", "-a", "app", "--after", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "FERRYMAN_COORDINATOR": pair.coordinator.profile.coordinator,
            "FERRYMAN_CA": pair.coordinator.profile.ca_file,
            "FERRYMAN_TOKEN": pair.coordinator.profile.token(),
        },
    )
    try:
        revision = pair.push({"ApplicationStart": "exit 3"})
        deployment_id = pair.deploy(revision)
        pair.wait_until(lambda: "DeploymentStart" in receiver.types(), "the message of its start")
        pair.coordinator.kill()
        pair.coordinator.start()
        assert pair.wait(deployment_id).deployment.status
        pair.wait_until(lambda: "DeploymentFailure" in receiver.types(), "the message of its failure")
        assert follower.stdout is not None
        followed = [json.loads(follower.stdout.readline()) for _ in range(6)]
    finally:
        follower.kill()
        follower.wait()
        if follower.stdout is not None:
            follower.stdout.close()
    # Nothing is lost between the two coordinators, and nothing came twice.
    assert [one["state"] for one in followed].count("START") == 3
    assert [one["state"] for one in followed].count("FAILURE") == 3
    assert followed[-1]["kind"] == "DEPLOYMENT"
    assert followed == lines(pair.cli("events", "--after", "0", "--json", "--deployment", deployment_id))
    failure = dict(receiver.got)["DeploymentFailure"]
    assert failure["deploymentId"] == deployment_id
    assert failure["status"] == DeploymentStatus.FAILED
    assert failure["deploymentOverview"]["Failed"] == "2"
    instance = dict(receiver.got)["InstanceFailure"]
    statuses = {one["LifecycleEvent"]: one["LifecycleEventStatus"] for one in instance["lifecycleEvents"]}
    assert statuses["ApplicationStart"] == "Failed"
    assert statuses["Install"] == "Succeeded"
    table = pair.cli("events", "--last", "3")
    assert f"deployment FAILURE  {deployment_id} app/all HEALTH_CONSTRAINTS" in table.stdout
    assert pair.cli("trigger", "remove", "ops", *group).returncode == 0
    assert pair.cli("trigger", "remove", "ops", *group).returncode == 5


@pytest.mark.req("CP-388", "CP-389", "CP-384")
def test_a_rule_from_the_command_line_and_what_is_put_aside(pair: Fleet, receiver: Receiver) -> None:
    made = pair.cli(
        "rule", "create", "starts", "-a", "app", "--event", "deployment-started", "--target", "ops",
        "--target", "nowhere", "--detail", "basic",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "no sink stands for nowhere" in made.stderr
    assert "arn:aws:codestar-notifications:" in made.stdout
    assert "starts  app          ENABLED  deployment-started  ops, nowhere" in pair.cli("rule", "list").stdout
    deployment_id = pair.deploy(pair.push())
    pair.wait(deployment_id)
    pair.wait_until(
        lambda: "codedeploy-application-deployment-started" in receiver.types(), "the rule's message"
    )
    dead = shown(pair.cli("trigger", "dead", "--json"))
    (mine,) = [one for one in dead if one["deploymentId"] == deployment_id]
    assert mine["target"] == "nowhere"
    assert mine["deliveryId"] in pair.cli("trigger", "dead", "--target", "nowhere").stdout
    replayed = pair.cli("trigger", "replay", mine["deliveryId"])
    assert "1 message(s) will be sent again" in replayed.stdout
    assert pair.cli("trigger", "replay").returncode == 2
    assert pair.cli("trigger", "replay", "no-such").returncode == 5
    assert pair.cli("rule", "update", "starts", "--disable").returncode == 0
    assert "DISABLED" in pair.cli("rule", "show", "starts").stdout
    assert pair.cli("rule", "delete", "starts").returncode == 0
    assert pair.cli("rule", "show", "starts").returncode == 5
    assert pair.cli("trigger", "test", "ops").returncode == 0
    missing = pair.cli("trigger", "test", "nowhere")
    assert missing.returncode == 1
    assert "no sink stands for nowhere" in missing.stderr
    assert pair.cli("events", "--state", "NO").returncode == 2
    with urlopen(f"{pair.coordinator.ready['http']}/metrics") as answer:
        metrics = answer.read().decode()
    assert "ferryman_notices_waiting" in metrics
    assert "ferryman_notices_delivered_total" in metrics
