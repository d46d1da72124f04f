"""Statements of a role in the form of an IAM policy, JSON or YAML: what people have and know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ferryman.v1 import identity_pb2 as pb
from ferryman_client.cli.session import EXIT_USAGE, fail
from ferryman_client.cli.words import iso_time

_HOURS = re.compile(r"(\d{2}):(\d{2})-(\d{2}):(\d{2})")


def read_policy(path: Path) -> list[pb.Statement]:
    """Returns the statements of a policy file; ends the process when it is none."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as problem:
        fail(f"cannot read {path}: {problem.strerror}", EXIT_USAGE)
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        fail(f"{path} is neither JSON nor YAML: {problem}", EXIT_USAGE)
    listed = document.get("Statement") if isinstance(document, Mapping) else None
    if isinstance(listed, Mapping):
        listed = [listed]
    if not isinstance(listed, list) or not listed:
        fail(f"{path} is no policy: it has no list under Statement", EXIT_USAGE)
    return [_statement(f"{path}, statement {number}", one) for number, one in enumerate(listed, start=1)]


def policy_of(statements: Iterable[pb.Statement]) -> dict[str, Any]:
    """Returns the policy that `read_policy` reads as these statements."""
    return {"Version": "2012-10-17", "Statement": [_plain(one) for one in statements]}


def _statement(where: str, one: Any) -> pb.Statement:
    if not isinstance(one, Mapping):
        fail(f"{where} is no mapping", EXIT_USAGE)
    known = {"Sid", "Effect", "Action", "Resource", "Condition"}
    if unknown := sorted(str(key) for key in set(one) - known):
        fail(f"{where} has {', '.join(unknown)}: only {', '.join(sorted(known))} are known", EXIT_USAGE)
    effect = {"Allow": pb.EFFECT_ALLOW, "Deny": pb.EFFECT_DENY}.get(str(one.get("Effect")))
    if effect is None:
        fail(f"{where} has no Effect of Allow or Deny", EXIT_USAGE)
    return pb.Statement(
        effect=effect,
        actions=_texts(where, "Action", one.get("Action")),
        resources=_texts(where, "Resource", one.get("Resource", "*")),
        conditions=_conditions(where, one["Condition"]) if one.get("Condition") else None,
    )


def _texts(where: str, key: str, value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in listed):
        fail(f"{where}: {key} is a text or a list of texts", EXIT_USAGE)
    return listed


def _conditions(where: str, given: Any) -> pb.Conditions:
    if not isinstance(given, Mapping) or not all(isinstance(one, Mapping) for one in given.values()):
        fail(f"{where}: Condition is a mapping of operators", EXIT_USAGE)
    made = pb.Conditions()
    for operator, operands in given.items():
        for key, value in operands.items():
            match operator, str(key).lower():
                case "IpAddress", "aws:sourceip":
                    made.source_addresses.extend(_texts(where, key, value))
                case "DateGreaterThan" | "DateGreaterThanEquals", "aws:currenttime":
                    made.not_before = _time(where, value)
                case "DateLessThan" | "DateLessThanEquals", "aws:currenttime":
                    made.not_after = _time(where, value)
                case "Bool", "aws:securetransport":
                    made.secure_transport = str(value).lower() == "true"
                case "StringEquals", "ferryman:dailyhours":
                    made.daily_hours.CopyFrom(_hours(where, str(value)))
                case _:
                    fail(
                        f"{where}: condition {operator} of {key} is not known; there are IpAddress of aws:SourceIp,"
                        " DateGreaterThan and DateLessThan of aws:CurrentTime, Bool of aws:SecureTransport, and"
                        " StringEquals of ferryman:DailyHours",
                        EXIT_USAGE,
                    )
    return made


def _time(where: str, value: Any) -> int:
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        fail(f"{where}: {value} is no time: write one such as 2030-01-31T08:00:00Z", EXIT_USAGE)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _hours(where: str, text: str) -> pb.DailyHours:
    match = _HOURS.fullmatch(text)
    if match is None:
        fail(f"{where}: {text} are no hours: write 08:00-18:00, in UTC", EXIT_USAGE)
    first, last = (int(match[at]) * 60 + int(match[at + 1]) for at in (1, 3))
    return pb.DailyHours(first_minute=first, last_minute=last)


def _plain(statement: pb.Statement) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Effect": "Deny" if statement.effect == pb.EFFECT_DENY else "Allow",
        "Action": list(statement.actions),
        "Resource": list(statement.resources),
    }
    conditions = _plain_conditions(statement.conditions)
    return shown | ({"Condition": conditions} if conditions else {})


def _plain_conditions(conditions: pb.Conditions) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if conditions.source_addresses:
        shown["IpAddress"] = {"aws:SourceIp": list(conditions.source_addresses)}
    if conditions.HasField("not_before"):
        shown["DateGreaterThanEquals"] = {"aws:CurrentTime": iso_time(conditions.not_before)}
    if conditions.HasField("not_after"):
        shown["DateLessThan"] = {"aws:CurrentTime": iso_time(conditions.not_after)}
    if conditions.HasField("secure_transport"):
        shown["Bool"] = {"aws:SecureTransport": "true" if conditions.secure_transport else "false"}
    if conditions.HasField("daily_hours"):
        hours = conditions.daily_hours
        texts = (f"{minute // 60:02}:{minute % 60:02}" for minute in (hours.first_minute, hours.last_minute))
        shown["StringEquals"] = {"ferryman:DailyHours": "-".join(texts)}
    return shown
