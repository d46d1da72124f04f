"""Alarms over the wire: what is posted to the HTTP port is what gRPC tells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import yaml

from ferryman.v1 import alarms_pb2 as pb
from ferryman.v1 import alarms_pb2_grpc, deployments_pb2, inventory_pb2, types_pb2
from tests.support.alarm_server import closed_port
from tests.support.coordinator import (
    RunningCoordinator,
    deployments_stub,
    inventory_stub,
    refusal,
    running_coordinator,
)

TOKEN = "hook-token-0123456789"


class Desk:
    def __init__(self, coordinator: RunningCoordinator, channel: grpc.aio.Channel) -> None:
        self.coordinator = coordinator
        self.channel = channel
        self.alarms: alarms_pb2_grpc.AlarmServiceAsyncStub = alarms_pb2_grpc.AlarmServiceStub(channel)

    def __call__(self, method: Any, request: Any) -> Awaitable[Any]:
        answer: Awaitable[Any] = method(request, metadata=self.coordinator.admin)
        return answer

    async def post(self, path: str, body: object, token: str = TOKEN) -> int:
        url = f"{self.coordinator.ready.http_url}/alarms/{path}"
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=body, headers=headers) as answer,
        ):
            return answer.status


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    (tmp_path / "token").write_text(TOKEN)
    sources = {
        "hooks": {"kind": "webhook", "token_file": str(tmp_path / "token")},
        "amgr": {"kind": "alertmanager", "token_file": str(tmp_path / "token"), "alerts": ["Burning", "cpu"]},
        "prom": {"kind": "prometheus", "url": f"http://127.0.0.1:{closed_port()}"},
    }
    settings = {"alarms.sources": yaml.safe_dump(sources, sort_keys=False), "alarms.poll_interval": "1s"}
    async with running_coordinator(tmp_path / "data", settings) as running, running.channel() as channel:
        yield Desk(running, channel)


@pytest.mark.req("CP-364", "CP-365", "CP-357")
async def test_what_is_posted_is_listed_under_the_name_that_a_group_has_to_give(desk: Desk) -> None:
    for name in ("cpu", "amgr/odd"):
        assert await desk.post(f"hooks/{name}", {"state": "ALARM", "reason": "too hot"}) == 200
    listed = await desk(desk.alarms.ListAlarms, pb.ListAlarmsRequest())
    states = {one.alarm.name: one.alarm.state for one in listed.alarms}
    assert states == {
        "cpu": pb.ALARM_STATE_ALARM,
        # Would be looked for at the Alertmanager without its source's name.
        "hooks/amgr/odd": pb.ALARM_STATE_ALARM,
        "Burning": pb.ALARM_STATE_OK,
        # The plain name is that of the first source.
        "amgr/cpu": pb.ALARM_STATE_OK,
    }
    assert [(one.name, bool(one.error)) for one in listed.sources] == [
        ("hooks", False),
        ("amgr", False),
        ("prom", True),
    ]
    assert not any(one.is_watched for one in listed.alarms)
    for name, state in states.items():
        tested = await desk(desk.alarms.TestAlarm, pb.TestAlarmRequest(name=name))
        assert tested.alarm.state == state
        assert tested.would_stop == (state == pb.ALARM_STATE_ALARM)


@pytest.mark.req("CP-358")
async def test_one_that_is_unknown_would_stop(desk: Desk) -> None:
    tested = await desk(desk.alarms.TestAlarm, pb.TestAlarmRequest(name="hooks/CPU"))
    assert tested.would_stop
    assert tested.alarm.state == pb.ALARM_STATE_UNREADABLE
    assert tested.alarm.source == "hooks (posts to /alarms/hooks)"
    assert "no alarm of that name" in tested.alarm.detail


@pytest.mark.parametrize("name", ["", "x" * 256])
async def test_what_can_be_no_name_is_refused(desk: Desk, name: str) -> None:
    code, fault = await refusal(desk(desk.alarms.TestAlarm, pb.TestAlarmRequest(name=name)))
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidAlarmConfigException")


async def test_posts_without_the_token_are_refused(desk: Desk) -> None:
    assert await desk.post("hooks/disk", {"state": "OK"}, "wrong") == 401
    listed = await desk(desk.alarms.ListAlarms, pb.ListAlarmsRequest())
    assert "disk" not in {one.alarm.name for one in listed.alarms}


async def test_whoever_guesses_does_not_shut_out_a_source_behind_the_same_address(desk: Desk) -> None:
    assert await desk.post("hooks/cpu", {"state": "OK"}) == 200
    answers = [await desk.post("hooks/cpu", {"state": "OK"}, f"wrong-{number}") for number in range(130)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert await desk.post("hooks/cpu", {"state": "ALARM"}) == 200
    # It is another source's token as well, which was not shown yet.
    assert await desk.post("amgr", {"alerts": []}) == 429


@pytest.mark.req("CP-354", "CP-356", "CP-361")
async def test_a_deployment_shows_what_it_watches(desk: Desk) -> None:
    inventory, deployments = inventory_stub(desk.channel), deployments_stub(desk.channel)
    assert await desk.post("hooks/cpu", {"state": "OK"}) == 200
    await desk.coordinator.enrol("web-1", a="b")
    await desk(inventory.CreateApplication, inventory_pb2.CreateApplicationRequest(name="web"))
    group = inventory_pb2.CreateDeploymentGroupRequest(
        application_name="web",
        name="all",
        selection=inventory_pb2.Selection(tag_filters=[inventory_pb2.TagFilter(key="a", value="b")]),
        options=inventory_pb2.GroupOptions(
            alarms=inventory_pb2.AlarmConfiguration(enabled=True, alarms=["cpu", "nobody"])
        ),
    )
    await desk(inventory.CreateDeploymentGroup, group)
    revision = types_pb2.RevisionLocation(
        url=types_pb2.UrlLocation(url="https://example.org/a.zip", bundle_type=types_pb2.BUNDLE_TYPE_ZIP)
    )
    options = deployments_pb2.DeploymentOptions(
        application_name="web", deployment_group_name="all", revision=revision
    )
    created = await desk(
        deployments.CreateDeployment, deployments_pb2.CreateDeploymentRequest(options=options)
    )
    watching = deployments_pb2.WatchDeploymentRequest(deployment_id=created.deployment_id)
    async for _ in deployments.WatchDeployment(watching, metadata=desk.coordinator.admin):
        pass
    request = deployments_pb2.GetDeploymentRequest(deployment_id=created.deployment_id)
    shown = (await desk(deployments.GetDeployment, request)).deployment
    assert shown.error.code == "ALARM_ACTIVE"
    assert "alarm nobody cannot be read" in shown.error.message
    assert [(one.name, one.state) for one in shown.watched_alarms] == [
        ("cpu", pb.ALARM_STATE_OK),
        ("nobody", pb.ALARM_STATE_UNREADABLE),
    ]


async def test_metrics_count_what_is_watched_and_sources_that_fail(desk: Desk) -> None:
    await desk(desk.alarms.ListAlarms, pb.ListAlarmsRequest())
    await desk(desk.alarms.TestAlarm, pb.TestAlarmRequest(name="prom/x"))
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{desk.coordinator.ready.http_url}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    assert "ferryman_alarms_watched 0.0" in lines
    assert "ferryman_alarm_sources_failing 1.0" in lines
