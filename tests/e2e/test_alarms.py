"""Alarms over the whole of it: settings, what is posted, the command line, a rollout that stops and rolls back."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from ferryman.v1 import deployments_pb2, inventory_pb2, types_pb2
from ferryman_client.client import Client
from tests.support.fleet import Fleet

SUCCEEDED = types_pb2.DEPLOYMENT_STATUS_SUCCEEDED
STOPPED = types_pb2.DEPLOYMENT_STATUS_STOPPED
TOKEN = "hook-token-0123456789"
# Long enough for a push to arrive, and ended by a stop after this event.
SLOW = "sleep 3"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A group of two with the alarms `shop` and `db`, which are pushed, and roll back."""
    home = tmp_path_factory.mktemp("f")
    token_file = home / "hooks.token"
    token_file.write_text(TOKEN)
    sources = {
        "hooks": {"kind": "webhook", "token_file": str(token_file)},
        # Nobody listens there.
        "prom": {
            "kind": "prometheus",
            "url": "http://127.0.0.1:1",
            "queries": {"hot": "t > 80"},
            "rules": False,
        },
    }
    fleet = Fleet(home, agents=2, config={"alarms": {"poll_interval": "1s", "sources": sources}})
    try:
        fleet.start()
        request = inventory_pb2.UpdateDeploymentGroupRequest(
            application_name="app",
            name="all",
            auto_rollback=inventory_pb2.AutoRollback(
                enabled=True, events=[types_pb2.ROLLBACK_EVENT_DEPLOYMENT_STOP_ON_ALARM]
            ),
            options=inventory_pb2.GroupOptions(
                alarms=inventory_pb2.AlarmConfiguration(enabled=True, alarms=["shop", "hooks/db"])
            ),
        )
        fleet.ask(lambda client: client.call(client.inventory.UpdateDeploymentGroup, request))
        post(fleet, "db", "OK")
        yield fleet
    finally:
        fleet.stop()


def post(fleet: Fleet, alarm: str, state: str, reason: str = "") -> None:
    body = json.dumps({"state": state, "reason": reason}).encode()
    request = urllib.request.Request(
        f"{fleet.coordinator.ready['http']}/alarms/hooks/{alarm}",
        data=body,
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def get(fleet: Fleet, deployment_id: str) -> deployments_pb2.Deployment:
    request = deployments_pb2.GetDeploymentRequest(deployment_id=deployment_id)

    async def ask(client: Client) -> deployments_pb2.Deployment:
        return (await client.call(client.deployments.GetDeployment, request)).deployment

    return fleet.ask(ask)


def listed(fleet: Fleet) -> dict[str, Any]:
    shown = json.loads(fleet.cli("alarm", "list", "--json").stdout)
    return {one["alarm"]["name"]: one for one in shown["alarms"]}


@pytest.mark.req("CP-354", "CP-355", "CP-356", "CP-361", "CP-364", "CP-334", "CP-344", "T64")
def test_alarms_stop_a_rollout_and_an_override_lets_one_through(watched: Fleet) -> None:
    fleet = watched
    post(fleet, "shop", "OK")
    good = fleet.push()
    assert fleet.run(good).deployment.status == SUCCEEDED

    # During the rollout: a push is heard at once, the running event ends, and the good revision comes back.
    slow = fleet.push(hooks={"BeforeInstall": SLOW})
    deployment_id = fleet.deploy(slow, config="CodeDeployDefault.OneAtATime")
    fleet.wait_until(lambda: sum(fleet.hook_runs(deployment_id).values()) >= 2, "BeforeInstall to run")
    post(fleet, "shop", "ALARM", "checkout is slow")
    ended = fleet.wait(deployment_id).deployment
    assert ended.status == STOPPED
    assert ended.error.code == "ALARM_ACTIVE"
    assert "Alarm shop is in state ALARM since" in ended.error.message
    assert "says hooks (posts to /alarms/hooks): checkout is slow." in ended.error.message
    assert {agent for agent, _ in fleet.hook_runs(deployment_id)} != {"agent-0", "agent-1"}
    back = fleet.wait(ended.rollback.rollback_deployment_id).deployment
    assert back.status == SUCCEEDED
    assert back.revision == good

    # Before the rollout: nothing is touched, and nothing is rolled back.
    refused = fleet.cli("deploy", "-a", "app", "-g", "all", "-r", slow.bundle.sha256)
    assert refused.returncode == 3
    assert "ALARM_ACTIVE" in refused.stdout + refused.stderr
    tested = fleet.cli("alarm", "test", "shop")
    assert tested.returncode == 1
    assert "checkout is slow" in tested.stdout

    # A revision that is known to be good goes out all the same.
    passed = fleet.cli("deploy", "-a", "app", "-g", "all", "-r", good.bundle.sha256, "--no-alarms", "--json")
    assert passed.returncode == 0, passed.stderr
    it = fleet.wait(json.loads(passed.stdout)["deploymentId"]).deployment
    assert it.status == SUCCEEDED
    assert not it.watched_alarms
    assert list(it.options.alarms.alarms) == ["shop", "hooks/db"]


@pytest.mark.req("CP-357", "CP-358", "CP-359")
def test_what_the_command_line_shows(watched: Fleet) -> None:
    fleet = watched
    post(fleet, "shop", "OK", "all is well")
    found = listed(fleet)
    assert set(found) == {"shop", "db", "hot"}
    assert found["shop"]["alarm"]["state"] == "OK"
    assert found["hot"]["alarm"]["state"] == "UNREADABLE"
    assert "cannot ask http://127.0.0.1:1" in found["hot"]["alarm"]["detail"]
    shown = fleet.cli("alarm", "list").stdout
    assert "all is well" in shown
    assert fleet.cli("alarm", "test", "shop").returncode == 0
    unknown = fleet.cli("alarm", "test", "Shop")
    assert unknown.returncode == 1
    assert "no alarm of that name" in unknown.stdout

    # The override names its own, and says so afterwards.
    revision = fleet.push()
    created = fleet.cli(
        *("deploy", "-a", "app", "-g", "all", "-r", revision.bundle.sha256, "--no-wait", "--json"),
        *("--alarm", "shop", "--alarm", "nobody", "--ignore-alarm-failures"),
    )
    assert created.returncode == 0, created.stderr
    deployment_id = json.loads(created.stdout)["deploymentId"]
    ended = fleet.wait(deployment_id).deployment
    assert ended.status == SUCCEEDED
    assert any("alarm nobody cannot be read" in message for message in ended.status_messages)
    page = fleet.cli("deployment", "show", deployment_id).stdout
    assert "shop  OK since" in page
    assert "nobody  UNREADABLE since" in page
    assert get(fleet, deployment_id).options.alarms.ignore_poll_alarm_failure
