"""Alarms that are addresses: their status, or a value in their JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ferryman_coordinator.alarms.probes import ProbeSource
from ferryman_coordinator.alarms.source import Answer, Seen, Unread
from ferryman_coordinator.config.alarm_sources import AlarmSourceKind, AlarmSourceSettings, Probe
from ferryman_coordinator.config.values import Duration
from ferryman_coordinator.core.model import AlarmState
from tests.support.alarm_server import AlarmServer, closed_port, serving

OK, ALARM, NO_DATA = AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA


@pytest.fixture
async def server() -> AsyncIterator[AlarmServer]:
    async with serving() as started:
        yield started


async def ask(*, timeout: Duration = Duration(5_000), **probe: Any) -> Answer:
    settings = AlarmSourceSettings(
        kind=AlarmSourceKind.HTTP, probes={"shop": Probe(**probe)}, timeout=timeout
    )
    return (await ProbeSource("web", settings).read({"shop", "other"}))["shop"]


@pytest.mark.req("CP-364", "CP-365")
@pytest.mark.parametrize(
    "answered, wanted, state", [(200, 200, OK), (503, 200, ALARM), (302, 302, OK), (200, 204, ALARM)]
)
async def test_the_status_says_it(server: AlarmServer, answered: int, wanted: int, state: AlarmState) -> None:
    server.says("/health", b"down for maintenance", answered)
    answer = await ask(url=f"{server.base}/health", status=wanted)
    assert isinstance(answer, Seen)
    assert answer.state is state
    assert f"answers {answered}" in answer.detail


@pytest.mark.req("CP-364", "CP-365")
@pytest.mark.parametrize(
    "probe, state",
    [
        ({"field": "state", "ok": ("up",)}, OK),
        ({"field": "state", "ok": ("UP",)}, ALARM),
        ({"field": "state", "alarm": ("up",)}, ALARM),
        ({"field": "state", "alarm": ("down",)}, OK),
        ({"field": "state", "ok": ("idle",), "alarm": ("down",)}, NO_DATA),
        ({"field": "checks.1.load", "above": 0.8}, ALARM),
        ({"field": "checks.1.load", "above": 0.9}, OK),
        ({"field": "checks.0.load", "below": 0.2}, ALARM),
        ({"field": "checks.0.load", "below": 0.05, "above": 0.5}, OK),
        ({"field": "leader", "ok": ("true",)}, OK),
    ],
)
async def test_a_value_says_it(server: AlarmServer, probe: dict[str, Any], state: AlarmState) -> None:
    server.says("/state", {"state": "up", "leader": True, "checks": [{"load": "0.1"}, {"load": 0.85}]})
    answer = await ask(url=f"{server.base}/state", **probe)
    assert isinstance(answer, Seen)
    assert answer.state is state


@pytest.mark.req("CP-363")
@pytest.mark.parametrize(
    "body, field, reason",
    [
        (b"<html>", "state", "no JSON"),
        (b'{"a": 1}', "state", "has no state"),
        (b'{"a": {"b": 1}}', "a.b.c", "has no a.b.c"),
        (b'{"a": [1]}', "a.7", "has no a.7"),
        (b'{"a": [1]}', "a.x", "has no a.x"),
        (b'{"a": "much"}', "a", "no number"),
        (b'{"a": true}', "a", "no number"),
        (b'{"a": null}', "a", "no number"),
        (b'{"a": "NaN"}', "a", "no number"),
        (b"[" * 50_000, "a", "no JSON"),
        (b'{"a": 1e999}', "a", "no JSON"),
    ],
)
async def test_answers_without_the_value_are_unread(
    server: AlarmServer, body: bytes, field: str, reason: str
) -> None:
    server.says("/state", body)
    answer = await ask(url=f"{server.base}/state", field=field, above=1.0)
    assert isinstance(answer, Unread)
    assert reason in answer.reason


async def test_one_that_does_not_answer_leaves_the_others_alone(server: AlarmServer) -> None:
    server.says("/fine", b"")
    server.hangs("/slow")
    server.pours("/huge", 1 << 20)
    probes = {name: Probe(url=f"{server.base}/{name}") for name in ("fine", "slow", "huge")}
    probes["gone"] = Probe(url=f"http://127.0.0.1:{closed_port()}/")
    settings = AlarmSourceSettings(kind=AlarmSourceKind.HTTP, probes=probes, timeout=Duration(500))
    answers = await ProbeSource("web", settings).read(set(probes))
    assert isinstance(answers["fine"], Seen)
    reasons = {name: answer.reason for name, answer in answers.items() if isinstance(answer, Unread)}
    assert "no answer within 500ms" in reasons["slow"]
    assert "more than 262144 bytes" in reasons["huge"]
    assert "cannot ask" in reasons["gone"]


async def test_a_redirection_to_elsewhere_is_an_alarm_that_names_it(server: AlarmServer) -> None:
    server.leads("/health", "https://login.example.org/?next=health")
    answer = await ask(url=f"{server.base}/health")
    assert isinstance(answer, Seen)
    assert answer.state is ALARM
    assert "leads to https://login.example.org" in answer.detail
