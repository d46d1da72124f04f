"""Alarms of a Prometheus, as its HTTP API tells them: rules, queries, and everything that can go wrong."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.alarms.prometheus import PrometheusSource
from ferryman_coordinator.alarms.source import Answer, Seen, Unread
from ferryman_coordinator.config.alarm_sources import AlarmSourceKind, AlarmSourceSettings
from ferryman_coordinator.config.values import Duration
from ferryman_coordinator.core.model import AlarmState, Instant
from ferryman_coordinator.errors import Unreachable
from tests.support.alarm_server import AlarmServer, closed_port, serving
from tests.support.small_ca import SmallCa

RULES, QUERY = "/api/v1/rules", "/api/v1/query"
SLOW = Duration(300)


@pytest.fixture
async def server() -> AsyncIterator[AlarmServer]:
    async with serving() as started:
        yield started


def source(server: AlarmServer | str, **changes: Any) -> PrometheusSource:
    url = server if isinstance(server, str) else server.base
    values: dict[str, Any] = {"kind": AlarmSourceKind.PROMETHEUS, "url": url, **changes}
    return PrometheusSource("prom", AlarmSourceSettings(**values))


def rules(*given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "status": "success",
        "data": {"groups": [{"name": "web", "file": "web.yml", "rules": list(given)}]},
    }


def rule(name: str, state: str, *alerts: Mapping[str, Any], **more: Any) -> Mapping[str, Any]:
    return {"name": name, "type": "alerting", "state": state, "health": "ok", "alerts": list(alerts), **more}


def alert(state: str, active_at: str, summary: str = "") -> Mapping[str, Any]:
    annotations = {"summary": summary} if summary else {}
    return {
        "state": state,
        "activeAt": active_at,
        "value": "9.1e-01",
        "labels": {},
        "annotations": annotations,
    }


def vector(*values: float) -> Mapping[str, Any]:
    result = [{"metric": {"job": "web"}, "value": [1_700_000_000.5, str(value)]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def state_of(answer: Answer) -> AlarmState:
    assert isinstance(answer, Seen)
    return answer.state


def reason_of(answer: Answer) -> str:
    assert isinstance(answer, Unread)
    return answer.reason


@pytest.mark.req("CP-364", "CP-365", "CP-357", "CP-358")
async def test_rules_are_alarms_by_their_exact_names(server: AlarmServer) -> None:
    server.says(
        RULES,
        rules(
            rule("Calm", "inactive"),
            rule("Soon", "pending", alert("pending", "2023-11-14T22:10:00Z")),
            rule(
                "Burning",
                "firing",
                alert("firing", "2023-11-14T22:13:20.123456789Z", "p99 is 2 s"),
                alert("firing", "2023-11-14T23:12:20.5+01:00", "p99 is 3 s"),
            ),
            rule("Fresh", "inactive", health="unknown"),
            rule("Broken", "inactive", health="err", lastError="many-to-many matching"),
        ),
    )
    answers = await source(server).read({"Calm", "Soon", "Burning", "Fresh", "Broken", "calm", "Nothing"})
    assert sorted(answers) == ["Broken", "Burning", "Calm", "Fresh", "Soon"]
    assert state_of(answers["Calm"]) is AlarmState.OK
    assert state_of(answers["Soon"]) is AlarmState.OK
    assert state_of(answers["Fresh"]) is AlarmState.INSUFFICIENT_DATA
    assert answers["Burning"] == Seen(
        state=AlarmState.ALARM,
        since=Instant(1_699_999_940_500),
        detail="p99 is 2 s",
    )
    assert "many-to-many" in reason_of(answers["Broken"])
    # All of them with one question.
    assert len(server.seen) == 1
    assert server.seen[0].query == {"type": "alert"}


async def test_the_worst_of_several_rules_of_one_name_counts(server: AlarmServer) -> None:
    server.says(RULES, rules(rule("X", "inactive"), rule("X", "inactive", health="err"), rule("X", "firing")))
    assert state_of((await source(server).read({"X"}))["X"]) is AlarmState.ALARM


@pytest.mark.req("CP-364", "CP-365")
async def test_a_query_is_an_alarm_while_it_has_a_result(server: AlarmServer) -> None:
    it = source(server, queries={"hot": "temperature > 80"}, rules=False)
    for result, state in (
        (vector(), AlarmState.OK),
        (vector(81.5, 90), AlarmState.ALARM),
        ({"status": "success", "data": {"resultType": "scalar", "result": [1.5, "0"]}}, AlarmState.OK),
        ({"status": "success", "data": {"resultType": "scalar", "result": [1.5, "1"]}}, AlarmState.ALARM),
        (
            {"status": "success", "data": {"resultType": "scalar", "result": [1.5, "NaN"]}},
            AlarmState.INSUFFICIENT_DATA,
        ),
    ):
        server.says(QUERY, result)
        assert state_of((await it.read({"hot"}))["hot"]) is state
    assert server.seen[0].query == {"query": "temperature > 80"}
    assert not it.may_know("cold")


async def test_an_alarm_of_a_query_says_which_series_and_how_many(server: AlarmServer) -> None:
    server.says(QUERY, vector(81.5, 90))
    answer = (await source(server, queries={"hot": "t > 80"}).read({"hot"}))["hot"]
    assert isinstance(answer, Seen)
    assert answer.detail == 'the query gives {job="web"} 81.5, and 1 more'


@pytest.mark.req("CP-363")
@pytest.mark.parametrize(
    "body, status, reason",
    [
        (
            {"status": "error", "errorType": "bad_data", "error": "parse error at char 3"},
            400,
            "parse error at char 3",
        ),
        (
            {"status": "error", "error": "query timed out\n\x1b[31m in expression"},
            503,
            "query timed out [31m in expr",
        ),
        (b"<html>Bad gateway</html>", 502, "answers 502: <html>Bad gateway"),
        (b'{"status": "succ', 200, "answers 200"),
        (b"\xff\xfe", 200, "answers 200"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, 200, "gives a matrix"),
        ({"status": "success", "data": {"resultType": "vector", "result": "x"}}, 200, "cannot be understood"),
        (
            {"status": "success", "data": {"resultType": "scalar", "result": [0, "much"]}},
            200,
            "cannot be understood",
        ),
        ({"status": "success"}, 200, "answers 200"),
        ([1, 2], 200, "answers 200"),
        (
            b'{"status": "success", "data": {"resultType": "vector", "result": ' + b"[" * 50_000,
            200,
            "answers 200",
        ),
    ],
)
async def test_answers_that_are_none_leave_one_query_unread(
    server: AlarmServer, body: Any, status: int, reason: str
) -> None:
    server.says(QUERY, body, status)
    server.says(RULES, rules(rule("Calm", "inactive")))
    answers = await source(server, queries={"hot": "t > 80"}).read({"hot", "Calm"})
    assert reason in reason_of(answers["hot"])
    assert state_of(answers["Calm"]) is AlarmState.OK


@pytest.mark.parametrize(
    "body", [b"oops", b'{"status": "success", "data": {"groups": [{"rules": [{}]}]}}', b""]
)
async def test_broken_lists_of_rules_leave_all_of_them_unread(server: AlarmServer, body: bytes) -> None:
    server.says(RULES, body)
    with pytest.raises(Unreachable, match="that is no list of rules"):
        await source(server).read({"Calm"})


async def test_a_slow_server_is_given_up(server: AlarmServer) -> None:
    server.hangs(RULES)
    with pytest.raises(Unreachable, match="no answer within 300ms"):
        await source(server, timeout=SLOW).read({"Calm"})


async def test_an_endless_answer_is_not_taken_in(server: AlarmServer) -> None:
    server.pours(RULES, 16 << 20)
    with pytest.raises(Unreachable, match="more than 8388608 bytes"):
        await source(server).read({"Calm"})


async def test_a_redirection_is_named_and_not_followed(server: AlarmServer) -> None:
    async with serving() as other:
        other.says(RULES, rules(rule("Calm", "inactive")))
        server.leads(RULES, other.base + RULES)
        with pytest.raises(Unreachable, match="answers 302 and leads to http://127.0.0.1:.*not followed"):
            await source(server).read({"Calm"})
        assert other.seen == []


async def test_nobody_there() -> None:
    with pytest.raises(Unreachable, match="cannot ask http://127.0.0.1"):
        await source(f"http://127.0.0.1:{closed_port()}").read({"Calm"})


@pytest.mark.req("CP-363")
async def test_a_connection_that_breaks_is_tried_once_more(server: AlarmServer) -> None:
    server.says(RULES, rules(rule("Calm", "inactive")))
    server.breaks(RULES, 1)
    assert state_of((await source(server).read({"Calm"}))["Calm"]) is AlarmState.OK
    server.breaks(RULES, 2)
    with pytest.raises(Unreachable):
        await source(server).read({"Calm"})


async def test_the_token_goes_along_and_is_read_anew(server: AlarmServer, tmp_path: Path) -> None:
    server.says(RULES, rules())
    file = tmp_path / "token"
    file.write_text("first\n")
    it = source(server, token_file=str(file))
    await it.read({"X"})
    file.write_text("second\n")
    await it.read({"X"})
    assert [one.headers["Authorization"] for one in server.seen] == ["Bearer first", "Bearer second"]
    file.write_text("\n")
    with pytest.raises(Unreachable, match="holds no token"):
        await it.read({"X"})
    file.unlink()
    with pytest.raises(Unreachable, match="No such file"):
        await it.read({"X"})


async def test_tls_is_checked_with_the_given_certificates(tmp_path: Path) -> None:
    ca, stranger = SmallCa(), SmallCa("another")
    signed = ca.server("127.0.0.1")
    (tmp_path / "chain.pem").write_bytes(signed.chain)
    (tmp_path / "key.pem").write_bytes(signed.key)
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "stranger.pem").write_bytes(stranger.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    async with serving(context) as server:
        server.says(RULES, rules(rule("Calm", "inactive")))
        answers = await source(server, ca_file=str(tmp_path / "ca.pem")).read({"Calm"})
        assert state_of(answers["Calm"]) is AlarmState.OK
        for file in (str(tmp_path / "stranger.pem"), ""):
            with pytest.raises(Unreachable, match="certificate"):
                await source(server, ca_file=file).read({"Calm"})
        with pytest.raises(Unreachable, match="No such file"):
            await source(server, ca_file=str(tmp_path / "missing.pem")).read({"Calm"})


async def test_names_are_those_of_rules_and_queries(server: AlarmServer) -> None:
    server.says(RULES, rules(rule("Calm", "inactive"), rule("Also", "firing")))
    assert await source(server, queries={"hot": "t > 80"}).names() == ["Also", "Calm", "hot"]
    assert await source(server, queries={"hot": "t > 80"}, rules=False).names() == ["hot"]
