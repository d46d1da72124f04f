"""What `ferryman-agent status` tells: the state files, and what the running agent keeps beside them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ferryman_agent import __version__
from ferryman_agent.config import Loaded
from ferryman_agent.core import clocks
from ferryman_agent.errors import IdentityError
from ferryman_agent.host import external_identity, identity, instance
from ferryman_agent.host import told as status_told

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """`facts` has the stable names of `--json`. `drain_seconds`: how long an ending agent may take."""

    facts: dict[str, Any]
    drain_seconds: float

    @property
    def is_running(self) -> bool:
        return self.facts["running"] is True

    @property
    def pid(self) -> int:
        return int(self.facts["pid"] or 0)

    @property
    def running_commands(self) -> list[dict[str, Any]] | None:
        """Commands with an event in progress; None when that cannot be told."""
        if self.facts["commands"] is None:
            return None
        return [each for each in self.facts["commands"] if each.get("is_running")]

    def as_json(self) -> str:
        return json.dumps(self.facts, indent=2)

    def as_text(self) -> str:
        return "\n".join(_lines(self.facts))


def gather(loaded: Loaded) -> Overview:
    """Returns everything that can be told now. Raises OSError when the PID files cannot be read."""
    config = loaded.config
    holder, supervisor = instance.find(config.pid_path), instance.find(config.supervisor_pid_path)
    told = status_told.read(config.status_path, holder.pid if holder else 0)
    space = _disk(config.root)
    return Overview(
        drain_seconds=config.commands.drain_timeout.seconds,
        facts={
            "running": holder is not None,
            "pid": holder.pid if holder else None,
            "version": told.get("version") or __version__,
            "started_at": told.get("started_at"),
            "config": str(loaded.path) if loaded.path else None,
            **_identity(config.identity_path),
            **_external(Path(config.coordinator.on_premises_file), config.user),
            "link": told.get("link"),
            "commands": _with_elapsed(told.get("commands")) if holder else [],
            "results": told.get("results", []),
            "reports_waiting": told.get("reports_waiting"),
            "is_draining": told.get("is_draining", False),
            "configured_at": told.get("configured_at"),
            "service_manager": told.get("service_manager") or None,
            "supervisor_pid": supervisor.pid if supervisor else None,
            "installed_version": told.get("installed_version"),
            "disk_free_bytes": space[0],
            "disk_total_bytes": space[1],
            "root_dir": config.root_dir,
            "state_dir": config.state_dir,
            "log_dir": config.log_dir,
            "warnings": list(dict.fromkeys((*loaded.warnings, *told.get("warnings", ())))),
        },
    )


def _identity(path: Path) -> dict[str, Any]:
    try:
        found = identity.load(path)
    except IdentityError as error:
        return {
            "instance_id": None,
            "instance_name": None,
            "coordinator": None,
            "certificate_expires_at": None,
            "identity_problem": str(error),
        }
    return {
        "instance_id": found.instance_id,
        "instance_name": found.instance_name,
        "coordinator": found.address,
        "certificate_expires_at": found.expires_at,
        "identity_problem": None,
    }


def _with_elapsed(commands: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Adds how many seconds ago the newest fact about each command is."""
    if commands is None:
        return None
    return [{**each, "elapsed_seconds": _seconds_since(each.get("since"))} for each in commands]


def _seconds_since(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else max(0, round(time.time() - milliseconds / 1000))


def _external(path: Path, user: str) -> dict[str, Any]:
    found = external_identity.look(path, user)
    return {
        "host_identifier": found.host_identifier,
        "region": found.region,
        "identity_file": str(path) if found.found or found.problem else None,
        "identity_file_problem": found.problem,
    }


def _disk(root: Path) -> tuple[int, int]:
    for folder in (root, *root.parents):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return usage.free, usage.total
    return 0, 0


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    if facts["running"]:
        since = f", since {_at(facts['started_at'])}" if facts["started_at"] else ""
        draining = ", ending" if facts["is_draining"] else ""
        yield f"ferryman-agent {facts['version']} is running with PID {facts['pid']}{since}{draining}"
    else:
        yield "no ferryman-agent is running"
        if facts["supervisor_pid"]:
            yield f"it ended unexpectedly and is started again by process {facts['supervisor_pid']}"
    if facts["identity_problem"]:
        yield f"identity      {facts['identity_problem']}"
    else:
        yield f"instance      {facts['instance_name']} ({facts['instance_id']})"
        yield f"coordinator   {facts['coordinator']}{_link(facts['link'])}"
        yield f"certificate   {_certificate(facts['certificate_expires_at'])}"
    if facts["host_identifier"]:
        yield f"asks to be    {facts['host_identifier']} in {facts['region']}"
    if facts["identity_file_problem"]:
        yield f"identity file {facts['identity_file_problem']}"
    if remark := clocks.remark((facts["link"] or {}).get("clock_skew_ms")):
        yield f"clock         {remark}"
    if facts["running"] and facts["commands"] is None:
        yield "commands      not known: read as the agent's own user, or root"
    for command in facts["commands"] or ():
        yield _command(command)
    for result in facts["results"]:
        after = f" after {result['lifecycle_event']}" if result.get("lifecycle_event") else ""
        yield (
            f"last result   {result['group_name']}: {result['deployment_id']} {result['status']}{after}, "
            f"{_at(result['at'])}"
        )
    if facts["reports_waiting"]:
        yield f"reports       {facts['reports_waiting']} not acknowledged by the coordinator yet"
    free, total = facts["disk_free_bytes"] / GIB, facts["disk_total_bytes"] / GIB
    yield f"disk          {free:.1f} GiB free of {total:.1f} at {facts['root_dir']}"
    for warning in facts["warnings"]:
        yield f"warning       {warning}"


def _link(link: dict[str, Any] | None) -> str:
    if link is None:
        return ""
    heard = f"; last heard {_at(link['last_contact_at'])}" if link.get("last_contact_at") else ""
    if link["state"] == "connected":
        return f", connected since {_at(link['since'])}{heard}"
    last = f"; last connected {_at(link['last_connected_at'])}" if link["last_connected_at"] else ""
    problem = f": {link['problem']}" if link["problem"] else ""
    return f", not connected{problem}{heard or last}"


def _certificate(expires_at: int) -> str:
    left = expires_at / 1000 - time.time()
    if left <= 0:
        return f"expired {_at(expires_at)}: enroll again with a new join token"
    days, hours = divmod(int(left) // 3600, 24)
    return f"valid until {_at(expires_at)} ({days} d {hours} h)"


def _command(command: dict[str, Any]) -> str:
    what = command["lifecycle_event"] or (
        "between two events" if command["is_running"] else "waits for its turn"
    )
    kind = "running" if command["is_running"] else "queued"
    elapsed = command["elapsed_seconds"]
    return f"{kind:<13} {command['group_name']}: {command['deployment_id']} {what}, {elapsed} s"


def _at(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
