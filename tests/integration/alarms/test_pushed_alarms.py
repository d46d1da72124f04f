"""What Alertmanagers and others post, over real HTTP into the real store."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.requests import Request
from starlette.responses import Response

from ferryman_coordinator.alarms.opening import open_sources
from ferryman_coordinator.alarms.pushed import MOST_ALARMS
from ferryman_coordinator.alarms.source import AlarmSource, Answer, Seen, Unread
from ferryman_coordinator.config import Address
from ferryman_coordinator.config.alarm_sources import (
    AlarmSourceKind,
    AlarmSourceSettings,
    InsufficientData,
)
from ferryman_coordinator.core.model import AlarmState, Instant
from ferryman_coordinator.errors import Unreachable
from ferryman_coordinator.http.alarms import AlarmDoor
from ferryman_coordinator.http.app import make_app
from ferryman_coordinator.http.server import HttpServer
from ferryman_coordinator.identity.failures import FailureLimiter
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import alarms as queries
from ferryman_coordinator.store.store import Store
from tests.support.clock import START, ManualClock

OK, ALARM = AlarmState.OK, AlarmState.ALARM
TOKEN, OTHER = "amgr-0123456789", "hook-9876543210"
NEVER = "0001-01-01T00:00:00Z"
MINUTE = 60_000


@dataclass
class Door:
    base: str
    client: aiohttp.ClientSession
    clock: ManualClock
    store: Store
    sources: Mapping[str, AlarmSource]
    home: Path
    pushed: list[tuple[str, list[str]]] = field(default_factory=list)

    async def post(self, path: str, body: Any, token: str = TOKEN, **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        given = {"data": io.BytesIO(body)} if isinstance(body, bytes) else {"json": body}
        async with self.client.post(f"{self.base}/alarms/{path}", headers=headers, **given, **more) as answer:
            return answer.status, await answer.json()

    async def read(self, source: str, *alarms: str) -> Mapping[str, Answer]:
        return await self.sources[source].read(alarms)

    async def state(self, source: str, alarm: str) -> Answer | None:
        return (await self.read(source, alarm)).get(alarm)


def settings(home: Path) -> Mapping[str, AlarmSourceSettings]:
    for name, token in (("alertmanager", TOKEN), ("hooks", OTHER)):
        (home / f"{name}.token").write_text(f"{token}\n")
    return {
        "alertmanager": AlarmSourceSettings(
            kind=AlarmSourceKind.ALERTMANAGER,
            token_file=str(home / "alertmanager.token"),
            alerts=("Burning", "Calm"),
        ),
        "alive": AlarmSourceSettings(
            kind=AlarmSourceKind.ALERTMANAGER,
            token_file=str(home / "alertmanager.token"),
            alerts=("Burning",),
            watchdog="Watchdog",
        ),
        "hooks": AlarmSourceSettings(
            kind=AlarmSourceKind.WEBHOOK,
            token_file=str(home / "hooks.token"),
            insufficient_data=InsufficientData.ALARM,
        ),
    }


async def no_bundle(_request: Request) -> Response:
    raise AssertionError("nobody asks for one")


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    clock = ManualClock()
    store = await Store.open(f"sqlite+aiosqlite:///{tmp_path}/ferryman.db")
    sources, posted = open_sources(settings(tmp_path), store, clock)
    async with aiohttp.ClientSession() as client:
        it = Door("", client, clock, store, {one.name: one for one in sources}, tmp_path)

        def pushed(source: str, alarms: Collection[str]) -> None:
            it.pushed.append((source, sorted(alarms)))

        alarms = AlarmDoor(posted, pushed, FailureLimiter(20), clock)
        app = make_app(no_bundle, {}, lambda: (b"", "text/plain"), alarms.routes)
        server = HttpServer(app, tmp_path / "none.pem", tmp_path / "none.key")
        address = server.listen(Address("127.0.0.1", 0))
        it.base = f"http://{address}"
        running = asyncio.create_task(server.run())
        try:
            yield it
        finally:
            server.stop()
            await running
            await store.close()


def alert(
    name: str,
    status: str = "firing",
    *,
    starts: str = "2023-11-14T22:00:00Z",
    ends: str = NEVER,
    **labels: str,
) -> Mapping[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, **labels},
        "annotations": {"summary": "the shop burns"},
        "startsAt": starts,
        "endsAt": ends,
        "generatorURL": "http://prom:9090/graph",
        "fingerprint": "0123456789abcdef",
    }


def notification(*alerts: Mapping[str, Any]) -> Mapping[str, Any]:
    """As an Alertmanager posts it, version 4."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="Burning"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "ferryman",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    }


@pytest.mark.req("CP-364", "CP-365")
async def test_an_alert_is_an_alarm_while_any_of_its_series_fires(door: Door) -> None:
    assert await door.state("alertmanager", "Burning") == Seen(state=OK)
    one, other = alert("Burning", instance="a"), alert("Burning", instance="b", starts="2023-11-14T21:00:00Z")
    status, answer = await door.post("alertmanager", notification(one, other))
    assert (status, answer) == (200, {"alarms": ["Burning"]})
    assert door.pushed == [("alertmanager", ["Burning"])]
    assert await door.state("alertmanager", "Burning") == Seen(
        state=ALARM, since=Instant(START - 73 * MINUTE - 20_000), detail="the shop burns (and 1 more series)"
    )
    await door.post("alertmanager", notification({**other, "status": "resolved"}))
    assert isinstance(seen := await door.state("alertmanager", "Burning"), Seen)
    assert seen.state is ALARM
    await door.post("alertmanager", notification({**one, "status": "resolved"}))
    assert await door.state("alertmanager", "Burning") == Seen(state=OK)


async def test_the_same_post_twice_is_one(door: Door) -> None:
    for _ in range(2):
        await door.post("alertmanager", notification(alert("Burning")))
    await door.post("alertmanager", notification(alert("Burning", "resolved")))
    assert await door.state("alertmanager", "Burning") == Seen(state=OK)


@pytest.mark.req("CP-357", "CP-358")
async def test_alerts_that_the_settings_do_not_name_do_not_count(door: Door) -> None:
    _, answer = await door.post("alertmanager", notification(alert("burning"), alert("Other")))
    assert answer == {"alarms": []}
    assert await door.read("alertmanager", "Burning", "burning", "Other") == {"Burning": Seen(state=OK)}
    assert not door.sources["alertmanager"].may_know("burning")


@pytest.mark.req("CP-364")
async def test_an_alert_ends_at_its_end(door: Door) -> None:
    ends = "2023-11-14T22:18:20+00:00"
    await door.post("alertmanager", notification(alert("Burning", ends=ends)))
    assert isinstance(seen := await door.state("alertmanager", "Burning"), Seen)
    assert seen.state is ALARM
    door.clock.advance(5 * MINUTE)
    assert await door.state("alertmanager", "Burning") == Seen(state=OK)


@pytest.mark.req("CP-363")
async def test_an_alert_that_is_not_repeated_becomes_unreadable(door: Door) -> None:
    await door.post("alertmanager", notification(alert("Burning")))
    door.clock.advance(12 * 60 * MINUTE)
    assert isinstance(await door.state("alertmanager", "Burning"), Seen)
    door.clock.advance(1)
    assert isinstance(lost := await door.state("alertmanager", "Burning"), Unread)
    assert "2023-11-14T22:13:20Z, and neither repeated nor resolved" in lost.reason


@pytest.mark.req("CP-363")
async def test_without_its_sign_of_life_nothing_of_an_alertmanager_is_believed(door: Door) -> None:
    with pytest.raises(Unreachable, match="alert Watchdog, never came"):
        await door.read("alive", "Burning")
    await door.post("alive", notification(alert("Watchdog")))
    assert await door.state("alive", "Burning") == Seen(state=OK)
    door.clock.advance(15 * MINUTE)
    assert await door.state("alive", "Burning") == Seen(state=OK)
    door.clock.advance(1)
    with pytest.raises(Unreachable, match="alert Watchdog, came last at 2023-11-14T22:13:20Z"):
        await door.read("alive", "Burning")
    await door.post("alive", notification(alert("Watchdog")))
    assert await door.state("alive", "Burning") == Seen(state=OK)


@pytest.mark.req("CP-364", "CP-365", "CP-358")
async def test_anybody_with_the_token_posts_states_by_name(door: Door) -> None:
    assert await door.read("hooks", "db/replica lag") == {}
    posted = {"state": "ALARM", "reason": "30 s\nbehind", "expires_in": "10m"}
    status, answer = await door.post("hooks/db/replica lag", posted, OTHER)
    assert (status, answer) == (200, {"alarm": "db/replica lag", "state": "ALARM"})
    assert door.pushed == [("hooks", ["db/replica lag"])]
    assert await door.state("hooks", "db/replica lag") == Seen(state=ALARM, detail="30 s behind")
    await door.post("hooks/db/replica lag", {"state": "OK"}, OTHER)
    assert await door.state("hooks", "db/replica lag") == Seen(state=OK)
    assert await door.sources["hooks"].names() == ["db/replica lag"]


@pytest.mark.req("CP-363")
async def test_a_posted_state_that_expires_is_unreadable(door: Door) -> None:
    await door.post("hooks/cpu", {"state": "OK", "expires_in": "10m"}, OTHER)
    door.clock.advance(10 * MINUTE)
    assert isinstance(lost := await door.state("hooks", "cpu"), Unread)
    assert (
        "its last state, OK, came at 2023-11-14T22:13:20Z and was good until 2023-11-14T22:23:20Z"
        in lost.reason
    )


@pytest.mark.req("PF-206")
async def test_insufficient_data_means_what_the_source_says(door: Door) -> None:
    await door.post("hooks/cpu", {"state": "INSUFFICIENT_DATA"}, OTHER)
    assert isinstance(seen := await door.state("hooks", "cpu"), Seen)
    assert seen.state is ALARM
    assert "insufficient data" in seen.detail


async def test_a_posted_alarm_can_be_forgotten(door: Door) -> None:
    await door.post("hooks/cpu", {"state": "OK"}, OTHER)
    for _ in range(2):
        headers = {"Authorization": f"Bearer {OTHER}"}
        async with door.client.delete(f"{door.base}/alarms/hooks/cpu", headers=headers) as answer:
            assert answer.status == 204
    assert await door.read("hooks", "cpu") == {}


async def test_one_source_keeps_not_more_than_a_thousand(door: Door) -> None:
    batch = Batch()
    for number in range(MOST_ALARMS):
        state = queries.PushedState(name=f"a{number:04}", state=OK, since=None, received_at=START)
        queries.keep(batch, "hooks", state)
    await door.store.write(batch)
    status, answer = await door.post("hooks/one-more", {"state": "OK"}, OTHER)
    assert (status, answer["reason"]) == (429, "AlarmsLimitExceededException")
    assert (await door.post("hooks/a0007", {"state": "ALARM"}, OTHER))[0] == 200


@pytest.mark.parametrize(
    "path, token",
    [
        ("alertmanager", ""),
        ("alertmanager", "wrong"),
        ("alertmanager", OTHER),
        ("hooks/cpu", TOKEN),
        ("nowhere", TOKEN),
        ("nowhere/cpu", OTHER),
    ],
)
async def test_without_the_sources_token_nothing_is_taken_or_told(door: Door, path: str, token: str) -> None:
    body = notification(alert("Burning")) if "/" not in path else {"state": "ALARM"}
    status, answer = await door.post(path, body, token)
    assert (status, answer["reason"]) == (401, "TokenInvalid")
    assert "nowhere" not in answer["message"]
    assert door.pushed == []


async def test_who_tries_tokens_is_slowed_down(door: Door) -> None:
    statuses = [(await door.post("alertmanager", {}, f"guess-{number}"))[0] for number in range(22)]
    assert statuses == [401] * 20 + [429] * 2


async def test_a_token_file_that_is_gone_lets_nobody_in(door: Door) -> None:
    (door.home / "hooks.token").unlink()
    assert (await door.post("hooks/cpu", {"state": "OK"}, OTHER))[0] == 401
    (door.home / "hooks.token").write_text("\n")
    assert (await door.post("hooks/cpu", {"state": "OK"}, ""))[0] == 401


@pytest.mark.parametrize(
    "path, body, reason",
    [
        ("alertmanager", b"{", "InvalidInputException"),
        ("alertmanager", b"\xff", "InvalidInputException"),
        ("alertmanager", {"alerts": [{"status": "firing"}]}, "InvalidInputException"),
        ("alertmanager", {}, "InvalidInputException"),
        ("alertmanager", b" " * (4 << 20) + b"{}", "InvalidInputException"),
        ("hooks/cpu", {"state": "alarm"}, "InvalidInputException"),
        ("hooks/cpu", {"state": "UNREADABLE"}, "InvalidInputException"),
        ("hooks/cpu", {"state": "OK", "expires_in": "soon"}, "InvalidInputException"),
        ("hooks/cpu", {"state": "OK", "expires_in": "99999999999999999d"}, "InvalidInputException"),
        ("hooks/cpu", b'{"state": "OK", "more": ' + b"[" * 50_000, "InvalidInputException"),
        ("alertmanager", b'{"alerts": ' + b"[" * 50_000, "InvalidInputException"),
        ("hooks/cpu", {"state": "OK", "expires": "10m"}, "InvalidInputException"),
        ("hooks/" + "x" * 256, {"state": "OK"}, "InvalidAlarmConfigException"),
        ("hooks/a%1Bb", {"state": "OK"}, "InvalidAlarmConfigException"),
    ],
)
async def test_what_makes_no_sense_is_refused(door: Door, path: str, body: Any, reason: str) -> None:
    status, answer = await door.post(path, body, OTHER if path.startswith("hooks") else TOKEN)
    assert (status, answer["reason"]) == (400, reason)
    assert door.pushed == []


async def test_each_kind_is_posted_to_in_its_own_way(door: Door) -> None:
    status, answer = await door.post("alertmanager/Burning", {"state": "OK"})
    assert (status, answer["reason"]) == (404, "NoSuchAlarmSource")
    assert "/alarms/alertmanager" in answer["message"]
    status, answer = await door.post("hooks", notification(), OTHER)
    assert (status, answer["reason"]) == (404, "NoSuchAlarmSource")


async def test_an_alert_with_ever_new_labels_does_not_fill_the_database(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferryman_coordinator.alarms.pushed.MOST_SERIES", 20)

    def alerts(name: str, first: int, count: int) -> Mapping[str, Any]:
        return {
            "alerts": [
                {"status": "firing", "labels": {"alertname": name, "pod": str(number)}, "endsAt": NEVER}
                for number in range(first, first + count)
            ]
        }

    assert (await door.post("alertmanager", alerts("Calm", 0, 1)))[0] == 200
    for turn in range(5):
        assert (await door.post("alertmanager", alerts("Burning", 30 * turn, 30)))[0] == 200
        door.clock.advance(MINUTE)
    async with door.store.reading() as connection:
        stored = await queries.pushed_series(connection, "alertmanager", 1_000)
    assert len(stored) <= 21
    # The newest are there, and another alert has not lost its place.
    for alarm in ("Burning", "Calm"):
        seen = await door.state("alertmanager", alarm)
        assert isinstance(seen, Seen)
        assert seen.state is ALARM
