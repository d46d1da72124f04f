"""The rules of `hooks` (AG-V44 … AG-V55)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ferryman.appspec.fields import (
    Entry,
    boolean_of,
    described,
    name_of,
    read_list,
    read_mapping,
    warn_of_expansion,
)
from ferryman.appspec.findings import Findings, shown
from ferryman.appspec.model import DEFAULT_TIMEOUT_SECONDS, Place, Script
from ferryman.appspec.nodes import Mapping, Scalar
from ferryman.appspec.paths import inside_revision

SCRIPTABLE_EVENTS = (
    "BeforeBlockTraffic",
    "AfterBlockTraffic",
    "ApplicationStop",
    "BeforeInstall",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
    "BeforeAllowTraffic",
    "AfterAllowTraffic",
)
EVENT_LIMIT_SECONDS = 3600
"""What the coordinator grants to all scripts of one event together (AG-Q02)."""

_RESERVED = ("DownloadBundle", "Install", "BlockTraffic", "AllowTraffic")
_MOST_SECONDS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Events:
    """Which event names may stand in the file. `possible` is the coordinator's list, None when there is none."""

    possible: Collection[str] | None = None
    custom: Collection[str] = ()


def read_hooks(
    given: Entry | None, findings: Findings, events: Events, *, windows: bool
) -> dict[str, tuple[Script, ...]]:
    """Returns the scripts of each event that has some, in file order."""
    hooks: dict[str, tuple[Script, ...]] = {}
    fields = _event_fields(given, findings)
    for name, value in fields.items():
        _check_event(name, value.key, findings, events)
        scripts = _event(name, value, findings, windows)
        if scripts:
            hooks[name] = scripts
    _check_possible(fields, given, findings, events)
    return hooks


def _event_fields(given: Entry | None, findings: Findings) -> dict[str, Entry]:
    if given is None:
        return {}
    if given.is_null:
        findings.warn("HOOKS_SHAPE", given.key, "'hooks' is empty; it counts as absent")
        return {}
    if not isinstance(given.node, Mapping):
        message = f"'hooks' must map lifecycle events to lists of scripts, but is {given.node.kind}"
        findings.error("HOOKS_SHAPE", given.place, message)
        return {}
    return read_mapping(given.node, "hooks", findings, known=None)


def _check_event(name: str, place: Place, findings: Findings, events: Events) -> None:
    if name in SCRIPTABLE_EVENTS or name in events.custom or name in (events.possible or ()):
        return
    if name in _RESERVED:
        message = f"lifecycle event {shown(name)} runs no scripts"
    else:
        hint = findings.nearest(name, (*SCRIPTABLE_EVENTS, *events.custom))
        message = f"there is no lifecycle event {shown(name)}; its scripts would never run{hint}"
    if events.possible is None:
        findings.tolerated("HOOK_UNKNOWN", place, message)
    else:
        findings.error("HOOK_UNKNOWN", place, message)


def _check_possible(
    fields: dict[str, Entry], given: Entry | None, findings: Findings, events: Events
) -> None:
    if events.possible is None:
        return
    for name, value in fields.items():
        if name not in events.possible and (name in SCRIPTABLE_EVENTS or name in events.custom):
            message = (
                f"lifecycle event {shown(name)} is not one of this deployment's: {_listed(events.possible)}"
            )
            findings.error("HOOK_NOT_POSSIBLE", value.key, message)
    built_in = {*SCRIPTABLE_EVENTS, *_RESERVED}
    for name in sorted(set(events.possible) - built_in - set(fields)):
        message = f"the deployment has an event {shown(name)}, but the AppSpec file has no scripts for it"
        findings.error("HOOK_CUSTOM_MISSING", given.place if given else Place(), message)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:20])


def _event(name: str, value: Entry, findings: Findings, windows: bool) -> tuple[Script, ...]:
    if value.is_null:
        findings.warn("HOOKS_SHAPE", value.key, f"event {shown(name)} is empty; it counts as absent")
        return ()
    items = read_list(value.node, value.place.key_path)
    if items is None:
        message = f"event {shown(name)} must hold a list of scripts ('- location: …'), not {value.node.kind}"
        findings.error("HOOKS_SCRIPT_SHAPE", value.place, message)
        return ()
    scripts: list[Script] = []
    for number, item in enumerate(items, 1):
        script = _script(name, number, item, findings, windows)
        if script is not None:
            scripts.append(script)
    _check_sum(name, value, scripts, findings)
    return tuple(scripts)


def _script(event: str, number: int, item: Entry, findings: Findings, windows: bool) -> Script | None:
    if not isinstance(item.node, Mapping):
        message = f"script {number} of {event} must be a mapping ('location: …'), not {described(item.node)}"
        findings.error("HOOKS_SCRIPT_SHAPE", item.place, message)
        return None
    known = ("location", "timeout", "runas", "sudo")
    fields = read_mapping(item.node, item.place.key_path, findings, known=known)
    if windows:
        for key in ("runas", "sudo"):
            if key in fields:
                findings.error(
                    "RUNAS_WINDOWS", fields[key].place, f"'{key}' does not exist on windows; remove it"
                )
    location = _location(event, number, fields.get("location"), item.place, findings, windows)
    timeout = _timeout(fields.get("timeout"), findings)
    runas = _runas(fields.get("runas"), findings)
    sudo = _sudo(fields.get("sudo"), findings)
    if location is None:
        return None
    return Script(location=location, timeout_seconds=timeout, runas=runas, sudo=sudo, place=item.place)


def _location(
    event: str, number: int, given: Entry | None, item: Place, findings: Findings, windows: bool
) -> str | None:
    value = "" if given is None else (name_of(given.node) or "").strip()
    if given is None or given.is_null or (isinstance(given.node, Scalar) and not value):
        place = given.key if given else item
        findings.error("SCRIPT_LOCATION_MISSING", place, f"script {number} of {event} has no location")
        return None
    if not value or "\0" in value:
        message = f"location of script {number} of {event} must be a path, not {described(given.node)}"
        findings.error("SCRIPT_LOCATION_MISSING", given.place, message)
        return None
    if inside_revision(value, windows=windows) is None:
        message = f"location {shown(value)} of {event} leaves the revision; name a file inside it"
        findings.error("SCRIPT_LOCATION_ESCAPES", given.place, message)
        return None
    warn_of_expansion(value, "location", given.place, findings)
    return value


def _timeout(given: Entry | None, findings: Findings) -> int:
    if given is None or given.is_null:
        return DEFAULT_TIMEOUT_SECONDS
    value = (name_of(given.node) or "").strip()
    seconds = int(value) if re.fullmatch(r"[1-9][0-9]{0,9}", value, re.ASCII) else 0
    if not 0 < seconds <= _MOST_SECONDS:
        message = f"'timeout' must be a positive whole number of seconds, not {described(given.node)}"
        findings.error("SCRIPT_TIMEOUT", given.place, message)
        return DEFAULT_TIMEOUT_SECONDS
    if seconds > EVENT_LIMIT_SECONDS:
        message = f"'timeout' is {seconds} s, but an event ends after {EVENT_LIMIT_SECONDS} s"
        findings.warn("TIMEOUT_EXCEEDS_EVENT", given.place, message)
    return seconds


def _check_sum(name: str, value: Entry, scripts: list[Script], findings: Findings) -> None:
    given = [
        script.timeout_seconds for script in scripts if script.timeout_seconds != DEFAULT_TIMEOUT_SECONDS
    ]
    total = sum(given)
    if total > EVENT_LIMIT_SECONDS and max(given) <= EVENT_LIMIT_SECONDS:
        message = (
            f"the time-outs of {name} add up to {total} s, but an event ends after {EVENT_LIMIT_SECONDS} s"
        )
        findings.warn("TIMEOUT_EXCEEDS_EVENT", value.key, message)


def _runas(given: Entry | None, findings: Findings) -> str | None:
    if given is None or given.is_null:
        return None
    value = name_of(given.node)
    if value is None or "\0" in value:
        message = f"'runas' must be the name of a user, not {described(given.node)}"
        findings.error("SCRIPT_RUNAS", given.place, message)
        return None
    return value.strip() or None


def _sudo(given: Entry | None, findings: Findings) -> bool:
    if given is None or given.is_null:
        return False
    value = boolean_of(given.node)
    if value is None:
        message = f"'sudo' must be true or false, not {described(given.node)}"
        findings.error("SCRIPT_SUDO", given.place, message)
    return bool(value)
