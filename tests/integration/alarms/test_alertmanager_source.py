"""An Alertmanager that is asked for its active alerts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from ferryman_coordinator.alarms.alertmanager import AskedAlertmanagerSource
from ferryman_coordinator.alarms.source import Seen
from ferryman_coordinator.config.alarm_sources import AlarmSourceKind, AlarmSourceSettings
from ferryman_coordinator.core.model import AlarmState, Instant
from ferryman_coordinator.errors import Unreachable
from tests.support.alarm_server import AlarmServer, serving

ALERTS = "/api/v2/alerts"


@pytest.fixture
async def server() -> AsyncIterator[AlarmServer]:
    async with serving() as started:
        yield started


def source(server: AlarmServer, **changes: Any) -> AskedAlertmanagerSource:
    values: dict[str, Any] = {"alerts": ("Burning", "Calm"), **changes}
    settings = AlarmSourceSettings(kind=AlarmSourceKind.ALERTMANAGER, url=server.base, **values)
    return AskedAlertmanagerSource("amgr", settings)


def alert(name: str, starts: str = "2023-11-14T22:00:00.000Z", summary: str = "") -> Mapping[str, Any]:
    """As its API tells it."""
    return {
        "annotations": {"summary": summary} if summary else {},
        "endsAt": "2023-11-14T22:20:00.000Z",
        "fingerprint": "0123456789abcdef",
        "receivers": [{"name": "oncall"}],
        "startsAt": starts,
        "status": {"inhibitedBy": [], "silencedBy": [], "state": "active"},
        "updatedAt": "2023-11-14T22:13:00.000Z",
        "generatorURL": "http://prom:9090/graph",
        "labels": {"alertname": name, "instance": "a"},
    }


@pytest.mark.req("CP-364", "CP-365", "CP-357", "PF-204")
async def test_what_is_active_and_not_silenced_is_an_alarm(server: AlarmServer) -> None:
    one = alert("Burning", summary="the shop burns")
    server.says(ALERTS, [one, alert("Burning", "2023-11-14T21:00:00Z"), alert("Other")])
    assert await source(server).read({"Burning", "Calm", "burning", "Other"}) == {
        "Burning": Seen(
            state=AlarmState.ALARM,
            since=Instant(1_699_995_600_000),
            detail="the shop burns (and 1 more alerts)",
        ),
        "Calm": Seen(state=AlarmState.OK),
    }
    assert server.seen[0].query == {"active": "true", "silenced": "false", "inhibited": "false"}
    assert await source(server).names() == ["Burning", "Calm"]
    assert not source(server).may_know("Other")


@pytest.mark.req("CP-363")
async def test_its_sign_of_life_must_be_there(server: AlarmServer) -> None:
    it = source(server, watchdog="Watchdog")
    server.says(ALERTS, [])
    with pytest.raises(Unreachable, match="alert Watchdog, is not active"):
        await it.read({"Calm"})
    server.says(ALERTS, [alert("Watchdog")])
    assert await it.read({"Calm"}) == {"Calm": Seen(state=AlarmState.OK)}


@pytest.mark.parametrize(
    "body, status",
    [(b"[]", 500), (b"{}", 200), (b"[{}]", 200), (b"<html>", 200), (b"", 200), (b"[" * 50_000, 200)],
)
async def test_an_answer_that_is_none(server: AlarmServer, body: bytes, status: int) -> None:
    server.says(ALERTS, body, status)
    with pytest.raises(Unreachable, match="that is no list of alerts"):
        await source(server).read({"Calm"})
