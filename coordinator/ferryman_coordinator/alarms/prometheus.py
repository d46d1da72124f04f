"""Alarms of a Prometheus: its own alerting rules, and queries that the settings give names.

The rules, not the series `ALERTS`: what has no series there may be at rest or not exist at all.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from ferryman_coordinator.alarms.source import MOST_NAMES, Answer, Seen, Unread
from ferryman_coordinator.alarms.web import LARGE, Web, instant, refusal, shown
from ferryman_coordinator.config.alarm_sources import AlarmSourceSettings
from ferryman_coordinator.core.model import AlarmState
from ferryman_coordinator.errors import Unreachable

T = TypeVar("T")


class _Series(msgspec.Struct):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None


class _Result(msgspec.Struct, rename="camel"):
    result_type: str
    result: Any = None


class _QueryAnswer(msgspec.Struct, rename="camel"):
    status: str
    data: _Result | None = None
    error: str = ""


class _Alert(msgspec.Struct, rename="camel"):
    state: str = ""
    active_at: str = ""
    annotations: dict[str, str] = {}
    value: str = ""


class _Rule(msgspec.Struct, rename="camel"):
    name: str
    state: str = ""
    health: str = ""
    last_error: str = ""
    alerts: list[_Alert] = []


class _Group(msgspec.Struct):
    rules: list[_Rule] = []


class _Groups(msgspec.Struct):
    groups: list[_Group] = []


class _RulesAnswer(msgspec.Struct):
    status: str
    data: _Groups | None = None
    error: str = ""


class PrometheusSource:
    """See `source.AlarmSource`."""

    def __init__(self, name: str, settings: AlarmSourceSettings) -> None:
        self.name = name
        self.place = settings.url.rstrip("/")
        self._settings = settings
        self._web = Web(settings)

    def may_know(self, alarm: str) -> bool:
        return self._settings.rules or alarm in self._settings.queries

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        queries = [alarm for alarm in sorted(alarms) if alarm in self._settings.queries]
        of_rules = set(alarms) - set(queries)
        answers: dict[str, Answer] = {}
        if of_rules and self._settings.rules:
            answers.update(await self._read_rules(of_rules))
        asked = await asyncio.gather(*(self._query(self._settings.queries[alarm]) for alarm in queries))
        return answers | dict(zip(queries, asked, strict=True))

    async def names(self) -> Sequence[str]:
        rules = await self._rules() if self._settings.rules else []
        return sorted({*self._settings.queries, *(rule.name for rule in rules)})[:MOST_NAMES]

    # Queries ----------------------------------------------------------------------------------------------------------

    async def _query(self, expression: str) -> Answer:
        url = f"{self.place}/api/v1/query"
        try:
            fetched = await self._web.fetch(url, {"query": expression}, limit=LARGE)
        except Unreachable as problem:
            return Unread(problem.message)
        answer = _decoded(fetched.body, _QueryAnswer)
        if answer is None or answer.data is None or answer.status != "success":
            said = answer.error if answer is not None else ""
            return Unread(f"{url} says of the query: {shown(said)}" if said else refusal(url, fetched))
        return _judge(answer.data)

    # Rules ------------------------------------------------------------------------------------------------------------

    async def _read_rules(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        found: dict[str, list[_Rule]] = {}
        for rule in await self._rules():
            if rule.name in alarms:
                found.setdefault(rule.name, []).append(rule)
        return {name: _state(rules) for name, rules in found.items()}

    async def _rules(self) -> Sequence[_Rule]:
        url = f"{self.place}/api/v1/rules"
        fetched = await self._web.fetch(url, {"type": "alert"}, limit=LARGE)
        answer = _decoded(fetched.body, _RulesAnswer)
        if answer is None or answer.data is None or answer.status != "success":
            said = answer.error if answer is not None else ""
            why = (
                f"{url} says: {shown(said)}" if said else f"{refusal(url, fetched)}: that is no list of rules"
            )
            raise Unreachable("AlarmSourceUnreachable", why)
        return [rule for group in answer.data.groups for rule in group.rules]


def _judge(result: _Result) -> Answer:
    """A result is an alarm: a vector that is not empty, or a number that is not 0."""
    try:
        if result.result_type == "vector":
            series = msgspec.convert(result.result, list[_Series])
            if not series:
                return Seen(state=AlarmState.OK)
            more = f", and {len(series) - 1} more" if len(series) > 1 else ""
            return Seen(state=AlarmState.ALARM, detail=f"the query gives {_text(series[0])}{more}")
        if result.result_type == "scalar":
            _, value = msgspec.convert(result.result, tuple[float, str])
            return Seen(state=_state_of(float(value)), detail=f"the query gives {shown(value)}")
    except (msgspec.ValidationError, ValueError):
        return Unread("the answer to the query cannot be understood")
    return Unread(
        f"the query gives a {shown(result.result_type)}: it must give an instant vector or a number"
    )


def _state_of(number: float) -> AlarmState:
    if math.isnan(number):
        # What `scalar()` makes of a vector that has not exactly one element.
        return AlarmState.INSUFFICIENT_DATA
    return AlarmState.ALARM if number else AlarmState.OK


def _text(series: _Series) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(series.metric.items()))
    value = series.value[1] if series.value is not None else ""
    return shown(f"{{{labels}}} {value}")


def _state(rules: Sequence[_Rule]) -> Answer:
    """Of all rules of one name: an alarm when any of them fires, unread when any that does not fire is broken."""
    firing = [alert for rule in rules for alert in rule.alerts if alert.state == "firing"]
    if firing or any(rule.state == "firing" for rule in rules):
        times = [at for alert in firing if (at := instant(alert.active_at)) is not None]
        detail = _said(firing[0]) if firing else ""
        return Seen(state=AlarmState.ALARM, since=min(times, default=None), detail=detail)
    for rule in rules:
        if rule.health == "err":
            return Unread(f"the rule cannot be evaluated: {shown(rule.last_error) or 'no reason given'}")
    if any(rule.health == "unknown" for rule in rules):
        return Seen(state=AlarmState.INSUFFICIENT_DATA, detail="the rule was not evaluated yet")
    pending = any(rule.state == "pending" for rule in rules)
    return Seen(state=AlarmState.OK, detail="pending" if pending else "")


def _said(alert: _Alert) -> str:
    notes = alert.annotations
    return shown(notes.get("summary") or notes.get("description") or (alert.value and f"value {alert.value}"))


def _decoded(body: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.DecodeError, RecursionError):
        return None
