"""Alarms of an Alertmanager that is asked: one is active while any alert of its name is, and is not silenced."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from ferryman_coordinator.alarms.source import MOST_NAMES, Answer, Seen
from ferryman_coordinator.alarms.web import LARGE, Web, instant, refusal, shown
from ferryman_coordinator.config.alarm_sources import AlarmSourceSettings
from ferryman_coordinator.core.model import AlarmState
from ferryman_coordinator.errors import Unreachable

_ACTIVE = {"active": "true", "silenced": "false", "inhibited": "false"}


class _Alert(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: str = ""


class AskedAlertmanagerSource:
    """See `source.AlarmSource`."""

    def __init__(self, name: str, settings: AlarmSourceSettings) -> None:
        self.name = name
        self.place = settings.url.rstrip("/")
        self._settings = settings
        self._web = Web(settings)

    def may_know(self, alarm: str) -> bool:
        return alarm in self._settings.alerts

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        active: dict[str, list[_Alert]] = {}
        for alert in await self._alerts():
            active.setdefault(alert.labels.get("alertname", ""), []).append(alert)
        watchdog = self._settings.watchdog
        if watchdog and watchdog not in active:
            raise Unreachable(
                "AlarmSourceUnreachable",
                f"its sign of life, alert {watchdog}, is not active: does a Prometheus still send to it?",
            )
        return {alarm: _answer(active.get(alarm, ())) for alarm in alarms if alarm in self._settings.alerts}

    async def names(self) -> Sequence[str]:
        return sorted(self._settings.alerts)[:MOST_NAMES]

    async def _alerts(self) -> Sequence[_Alert]:
        url = f"{self.place}/api/v2/alerts"
        fetched = await self._web.fetch(url, _ACTIVE, limit=LARGE)
        if fetched.status == 200:
            try:
                return msgspec.json.decode(fetched.body, type=list[_Alert])
            except (msgspec.DecodeError, RecursionError):
                pass
        why = f"{refusal(url, fetched)}: that is no list of alerts"
        raise Unreachable("AlarmSourceUnreachable", why)


def _answer(alerts: Sequence[_Alert]) -> Answer:
    if not alerts:
        return Seen(state=AlarmState.OK)
    times = [at for alert in alerts if (at := instant(alert.starts_at)) is not None]
    notes = alerts[0].annotations
    more = f" (and {len(alerts) - 1} more alerts)" if len(alerts) > 1 else ""
    detail = f"{shown(notes.get('summary') or notes.get('description') or '')}{more}".strip()
    return Seen(state=AlarmState.ALARM, since=min(times, default=None), detail=detail)
