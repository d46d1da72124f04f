"""Alarms that are addresses: what each answers, its status or a value in its JSON, says whether all is well."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from ferryman_coordinator.alarms.source import MOST_NAMES, Answer, Seen, Unread
from ferryman_coordinator.alarms.web import SMALL, Fetched, Web, refusal, shown
from ferryman_coordinator.config.alarm_sources import AlarmSourceSettings, Probe
from ferryman_coordinator.core.model import AlarmState
from ferryman_coordinator.errors import Unreachable

_OK, _ALARM = AlarmState.OK, AlarmState.ALARM


class ProbeSource:
    """See `source.AlarmSource`."""

    def __init__(self, name: str, settings: AlarmSourceSettings) -> None:
        self.name = name
        self.place = "HTTP probes"
        self._probes = settings.probes
        self._web = Web(settings)

    def may_know(self, alarm: str) -> bool:
        return alarm in self._probes

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        known = [alarm for alarm in sorted(alarms) if alarm in self._probes]
        answers = await asyncio.gather(*(self._ask(self._probes[alarm]) for alarm in known))
        return dict(zip(known, answers, strict=True))

    async def names(self) -> Sequence[str]:
        return sorted(self._probes)[:MOST_NAMES]

    async def _ask(self, probe: Probe) -> Answer:
        try:
            return judge(probe, await self._web.fetch(probe.url, limit=SMALL))
        except Unreachable as problem:
            return Unread(problem.message)


def judge(probe: Probe, fetched: Fetched) -> Answer:
    """What an answer means."""
    if fetched.status != probe.status:
        return Seen(state=_ALARM, detail=f"{refusal(probe.url, fetched)}, not {probe.status}")
    if not probe.field:
        return Seen(state=_OK, detail=f"{probe.url} answers {fetched.status}")
    try:
        value = _find(msgspec.json.decode(fetched.body), probe.field)
    except (msgspec.DecodeError, RecursionError):
        return Unread(f"{probe.url} answers with something that is no JSON")
    except LookupError:
        return Unread(f"the answer of {probe.url} has no {probe.field}")
    return _judge_value(probe, value)


def _find(value: Any, field: str) -> Any:
    for step in field.split("."):
        if isinstance(value, list) and step.isdecimal() and len(step) < 9:
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value[step]
        else:
            raise LookupError(step)
    return value


def _judge_value(probe: Probe, value: Any) -> Answer:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    detail = f"{probe.field} is {shown(text)}"
    if probe.above is not None or probe.below is not None:
        number = _number(value)
        if number is None:
            return Unread(f"{probe.field} of {probe.url} is {shown(text)}, which is no number")
        if probe.above is not None and number > probe.above:
            return Seen(state=_ALARM, detail=f"{detail}, above {probe.above:g}")
        if probe.below is not None and number < probe.below:
            return Seen(state=_ALARM, detail=f"{detail}, below {probe.below:g}")
    if text in probe.alarm or (probe.ok and text not in probe.ok and not probe.alarm):
        return Seen(state=_ALARM, detail=detail)
    if probe.ok and text not in probe.ok:
        return Seen(state=AlarmState.INSUFFICIENT_DATA, detail=f"{detail}, which is neither good nor bad")
    return Seen(state=_OK, detail=detail)


def _number(value: Any) -> float | None:
    """Also of text: many write their numbers so."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number
