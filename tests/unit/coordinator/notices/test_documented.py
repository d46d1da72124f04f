"""What `docs/operating/notifications.md` shows is true: the check of a signature, the sinks, the commands."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferryman_client.cli import rules, triggers
from ferryman_coordinator.config import load
from ferryman_coordinator.core.rules import RuleEvent
from ferryman_coordinator.notices import signature

PAGE = (Path(__file__).parents[4] / "docs/operating/notifications.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    text: str = found
    return text


@pytest.fixture
def is_genuine() -> Callable[[bytes, dict[str, str], bytes], bool]:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    found: Callable[[bytes, dict[str, str], bytes], bool] = names["is_genuine"]
    return found


@pytest.mark.req("CP-380", "PF-312")
def test_the_check_of_a_signature_works(is_genuine: Callable[[bytes, dict[str, str], bytes], bool]) -> None:
    now, body = int(time.time()), b'{"status":"Failed"}'

    def headers(secrets: list[bytes], at: int = now) -> dict[str, str]:
        made = signature.signature(secrets, at, body)
        return {signature.TIMESTAMP: str(at), signature.SIGNATURE: made}

    assert is_genuine(b"s3cret", headers([b"s3cret"]), body)
    # While it is being replaced, each of the two secrets will do.
    assert is_genuine(b"s3cret", headers([b"newer", b"s3cret"]), body)
    assert is_genuine(b"newer", headers([b"newer", b"s3cret"]), body)
    assert not is_genuine(b"other", headers([b"s3cret"]), body)
    assert not is_genuine(b"s3cret", headers([b"s3cret"]), body + b" ")
    assert not is_genuine(b"s3cret", headers([b"s3cret"]) | {signature.TIMESTAMP: str(now + 1)}, body)
    # An old message, sent again by somebody else.
    assert not is_genuine(b"s3cret", headers([b"s3cret"], now - 600), body)


def test_the_sinks_that_are_shown_are_read(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.yml"
    file.write_text(block("yaml"))
    config = load(file, {}, {})
    assert set(config.sinks) == {"ops", "chat", "aws"}


def test_the_headers_are_called_so() -> None:
    for name in (
        signature.EVENT_ID,
        signature.DELIVERY_ID,
        signature.EVENT_TYPE,
        signature.TIMESTAMP,
        signature.SIGNATURE,
    ):
        assert f"`{name}`" in PAGE


def test_the_commands_exist() -> None:
    for command, app in (("trigger", triggers.app), ("rule", rules.app)):
        known = {one.name or (one.callback and one.callback.__name__) for one in app.registered_commands}
        shown = set(re.findall(rf"ferryman {command} (\w+)", PAGE))
        assert shown
        assert shown <= known


def test_every_event_type_is_named() -> None:
    for event in RuleEvent:
        kind, _, state = event.short.partition("-")
        assert re.search(rf"`{kind}-` with[^;]*`{state}`", PAGE)
