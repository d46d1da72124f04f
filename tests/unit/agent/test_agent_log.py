"""The agent's own log: its line format, its styles, and what it never says."""

from __future__ import annotations

import io
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from ferryman_agent import log as agent_log
from ferryman_agent.log import LogSettings, LogStyle, redact
from tests.support.agent_clock import ManualAgentClock

log = structlog.get_logger("ferryman_agent.tests")


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    root = logging.getLogger()
    own = logging.getLogger("ferryman_agent")
    before = root.handlers, root.level, own.level
    yield
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    monkeypatch.undo()
    time.tzset()


def start(folder: Path, style: LogStyle = LogStyle.TEXT, *, verbose: bool = False) -> agent_log.AgentLog:
    return agent_log.set_up(LogSettings(log_dir=folder, style=style, verbose=verbose), ManualAgentClock())


def lines(folder: Path) -> list[str]:
    return (folder / "ferryman-agent.log").read_text(encoding="utf-8").splitlines()


@pytest.mark.req("AG-431", "AG-432")
def test_the_line_format(tmp_path: Path) -> None:
    start(tmp_path, verbose=True)
    log.info("hook.starting", script="a b.sh", number=3)
    log.error("it broke")
    log.warning("careful")
    log.debug("detail")
    log.critical("over")
    head = f"[ferryman-agent({os.getpid()})]:"
    assert lines(tmp_path) == [
        f'2023-11-14T22:13:20 INFO  {head} hook.starting script="a b.sh" number=3',
        f"2023-11-14T22:13:20 ERROR {head} it broke",
        f"2023-11-14T22:13:20 WARN  {head} careful",
        f"2023-11-14T22:13:20 DEBUG {head} detail",
        f"2023-11-14T22:13:20 FATAL {head} over",
    ]


@pytest.mark.req("AG-431", "AG-H03")
def test_debug_lines_only_when_verbose(tmp_path: Path) -> None:
    start(tmp_path)
    log.debug("detail")
    log.info("said")
    assert [line.partition("]: ")[2] for line in lines(tmp_path)] == ["said"]


def test_bound_ids_are_in_every_line(tmp_path: Path) -> None:
    start(tmp_path)
    structlog.contextvars.bind_contextvars(deployment="d-1")
    log.info("x")
    assert lines(tmp_path)[0].endswith("]: x deployment=d-1")


def test_a_record_is_one_line_and_a_trace_is_indented(tmp_path: Path) -> None:
    start(tmp_path)
    log.info("a\n2023-11-14T22:13:20 ERROR forged", value="b\nc")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("broke")
    first, *rest = lines(tmp_path)
    assert first.endswith(r']: a\n2023-11-14T22:13:20 ERROR forged value="b\nc"')
    assert rest[0].endswith("]: broke")
    assert all(line.startswith("    ") for line in rest[1:])
    assert rest[-1] == "    ValueError: why"


def test_the_libraries_log_through_the_same_formatter(tmp_path: Path) -> None:
    start(tmp_path)
    logging.getLogger("aiohttp.client").warning("GET %s", "https://x/y?X-Amz-Signature=abc")
    logging.getLogger("aiohttp.client").info("too much")
    assert [line.partition("]: ")[2] for line in lines(tmp_path)] == ["GET https://x/y?<redacted>"]


@pytest.mark.req("AG-445")
def test_json_lines(tmp_path: Path) -> None:
    start(tmp_path, LogStyle.JSON)
    log.warning("x.y", count=2, password="open sesame", url="https://u:p@h/")
    (line,) = lines(tmp_path)
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.000+00:00",
        "level": "WARN",
        "program": "ferryman-agent",
        "pid": os.getpid(),
        "event": "x.y",
        "count": 2,
        "password": "<redacted>",
        "url": "https://<redacted>@h/",
    }


def test_journal_lines_have_syslog_levels(tmp_path: Path) -> None:
    stream = io.StringIO()
    agent_log.set_up(LogSettings(log_dir=tmp_path, style=LogStyle.JOURNAL), ManualAgentClock(), stderr=stream)
    log.error("x")
    log.info("y")
    assert stream.getvalue() == "<3>x\n<6>y\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.req("AG-444", "V2-276")
def test_a_log_that_cannot_be_written_is_counted_and_never_raises(tmp_path: Path) -> None:
    (tmp_path / "ferryman-agent.log").mkdir()
    handler = start(tmp_path)
    log.info("x")
    assert handler.failures == 1


@pytest.mark.req("AG-443", "AG-072")
@pytest.mark.parametrize(
    "said, kept",
    [
        ("GET /bundles/ab?expires=9&signature=s3cret done", "GET /bundles/ab?<redacted> done"),
        ("https://s/x?X-Amz-Credential=s3cret&a=b", "https://s/x?<redacted>"),
        ("join with ferryman-join-1-abc-s3cret", "join with ferryman-join-1-<redacted>"),
        ("proxy http://user:s3cret@proxy:3128/", "proxy http://<redacted>@proxy:3128/"),
        ("authorization: Bearer s3cret.s3cret", "authorization: <redacted>"),
        ("got Bearer s3cret-s3cret", "got Bearer <redacted>"),
        ("db_password=s3cret, more", "db_password=<redacted>, more"),
        ('{"token": "s3cret s3cret"}', '{"token": <redacted>}'),
        ("-----BEGIN EC PRIVATE KEY-----\ns3cret\n-----END EC PRIVATE KEY-----\nx", "<redacted>\nx"),
        ("-----BEGIN PRIVATE KEY-----\\ns3cret cut", "<redacted>"),
    ],
)
def test_secrets_are_taken_out(said: str, kept: str) -> None:
    assert redact(said) == kept
    assert "s3cret" not in redact(said)


@pytest.mark.parametrize(
    "said", ["GET /bundles/ab?page=2", "https://host/path", "hook.ended script=a.sh", "user@host", "a: b"]
)
def test_the_rest_is_left_alone(said: str) -> None:
    assert redact(said) == said


@pytest.mark.parametrize("style", [LogStyle.TEXT, LogStyle.JSON])
def test_nothing_in_a_line_is_obeyed_by_a_terminal(tmp_path: Path, style: LogStyle) -> None:
    """What the coordinator, scripts and archives say stands in it."""
    said = "\x1b[2J \x9b31m \x7f \u202e \u2028 \x85 ümlaut"
    start(tmp_path, style)
    log.info("event.ended", message=said)
    try:
        raise ValueError(said)
    except ValueError:
        log.exception(said)
    text = (tmp_path / "ferryman-agent.log").read_text(encoding="utf-8")
    assert {character for character in text if not character.isprintable()} == {"\n"}
    assert "ümlaut" in text
