"""The shape of what a running agent tells in its status file, for those who read it without its libraries.

Only what `status` shows is looked at: a file of another version, or of nobody, must not break who asks (V2-288).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from ferryman_agent.files.plain import open_plain


class _Link(msgspec.Struct):
    state: str
    since: int = 0
    problem: str = ""
    last_connected_at: int | None = None
    last_contact_at: int | None = None
    clock_skew_ms: int | None = None


class _Command(msgspec.Struct):
    deployment_id: str = ""
    group_name: str = ""
    lifecycle_event: str = ""
    is_running: bool = False
    since: int = 0


class _Result(msgspec.Struct):
    group_name: str
    deployment_id: str
    status: str
    at: int


class _Told(msgspec.Struct):
    pid: int
    version: str | None = None
    started_at: int | None = None
    configured_at: int | None = None
    link: _Link | None = None
    commands: list[_Command] | None = None
    results: list[_Result] = []
    reports_waiting: int | None = None
    is_draining: bool = False
    service_manager: str | None = None
    installed_version: str | None = None
    warnings: list[str] = []


_MOST_BYTES = 16 << 20
_LATEST_MS = 253_402_000_000_000
"""The last day of the year 9999: later ones cannot be shown."""


def read(path: Path, pid: int) -> dict[str, Any]:
    """Returns all that the agent with this PID wrote; nothing where there is no file of its, or it is not whole."""
    try:
        with open(open_plain(path), "rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
        told = msgspec.convert(content, _Told)
    except (OSError, ValueError, RecursionError, OverflowError):
        return {}
    return content if pid and told.pid == pid and all(0 <= at < _LATEST_MS for at in _times(told)) else {}


def _times(told: _Told) -> list[int]:
    link = told.link
    found = [told.started_at, told.configured_at]
    found += [link.since, link.last_connected_at, link.last_contact_at] if link else []
    found += [each.since for each in told.commands or ()] + [each.at for each in told.results]
    return [at for at in found if at is not None]
