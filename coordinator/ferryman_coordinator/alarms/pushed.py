"""Alarms that others push: what an Alertmanager posts, and what anybody with the token does.

What was heard is in the store, so that a restart knows it and every coordinator of several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from ferryman_coordinator.alarms.source import MOST_NAMES, Answer, Seen, Unread
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.alarm_sources import AlarmSourceSettings
from ferryman_coordinator.core.model import AlarmState, Instant
from ferryman_coordinator.errors import LimitExceeded, Unreachable
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import alarms as queries
from ferryman_coordinator.store.queries.alarms import PushedState
from ferryman_coordinator.store.store import Store

MOST_ALARMS = 1_000
"""That one webhook source may have."""

MOST_SERIES = 10_000
"""Of all alerts of one Alertmanager: labels are written by others, and an alarm that fires is one all the same."""


class AlertmanagerSource:
    """Alerts by name: one is an alarm while any of its series fires. See `source.AlarmSource`."""

    def __init__(self, name: str, settings: AlarmSourceSettings, store: Store, clock: Clock) -> None:
        self.name = name
        self.place = f"posts to /alarms/{name}"
        self.settings = settings
        self._store = store
        self._clock = clock

    def may_know(self, alarm: str) -> bool:
        return alarm in self.settings.alerts

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        known = [alarm for alarm in alarms if alarm in self.settings.alerts]
        now = self._clock.now()
        async with self._store.reading() as connection:
            states = await queries.pushed(connection, self.name, [*known, self.settings.watchdog])
        self._check_life([one for one in states if one.name == self.settings.watchdog], now)
        firing: dict[str, list[PushedState]] = {}
        for one in states:
            if one.expires_at is None or one.expires_at > now:
                firing.setdefault(one.name, []).append(one)
        return {alarm: self._answer(firing.get(alarm, ()), now) for alarm in known}

    async def names(self) -> Sequence[str]:
        return sorted(self.settings.alerts)[:MOST_NAMES]

    async def take(self, firing: Sequence[PushedState], resolved: Sequence[tuple[str, str]]) -> set[str]:
        """Store which series fire and which (name and series) no longer do; returns the alarms that it is about.

        Those that the settings do not name are left out. Beyond `MOST_SERIES` a new series takes the place of that of
        the same alert which was heard of longest ago. Raises StoreUnavailable.
        """
        wanted = {*self.settings.alerts, self.settings.watchdog} - {""}
        named = [one for one in firing if one.name in wanted]
        about = {one.name for one in named}
        batch = Batch()
        async with self._store.reading() as connection:
            known = await queries.pushed_series(connection, self.name, MOST_SERIES + len(wanted))
        for one in named[:MOST_SERIES]:
            queries.keep(batch, self.name, one)
        for name, series in _superseded(known, [(one.name, one.series) for one in named[:MOST_SERIES]]):
            queries.drop(batch, self.name, name, series)
        for name, series in resolved:
            if name in wanted:
                queries.drop(batch, self.name, name, series)
                about.add(name)
        if about:
            await self._store.write(batch)
        return about

    def _check_life(self, watchdog: Sequence[PushedState], now: Instant) -> None:
        if not self.settings.watchdog:
            return
        latest = max((one.received_at for one in watchdog), default=None)
        if latest is None or now - latest > self.settings.silent_after:
            when = "never came" if latest is None else f"came last at {moment(latest)}"
            raise Unreachable(
                "AlarmSourceUnreachable",
                f"its sign of life, alert {self.settings.watchdog}, {when}: does the Alertmanager still post here?",
            )

    def _answer(self, firing: Sequence[PushedState], now: Instant) -> Answer:
        if not firing:
            return Seen(state=AlarmState.OK)
        fresh = [one for one in firing if now - one.received_at <= self.settings.repeated_within]
        if not fresh:
            latest = max(one.received_at for one in firing)
            return Unread(
                f"it was reported as firing at {moment(latest)}, and neither repeated nor resolved since"
            )
        first = min(fresh, key=lambda one: one.since or one.received_at)
        more = f" (and {len(fresh) - 1} more series)" if len(fresh) > 1 else ""
        return Seen(state=AlarmState.ALARM, since=first.since, detail=f"{first.detail}{more}")


class WebhookSource:
    """States that are posted by name; one that nobody ever posted is unknown. See `source.AlarmSource`."""

    def __init__(self, name: str, settings: AlarmSourceSettings, store: Store, clock: Clock) -> None:
        self.name = name
        self.place = f"posts to /alarms/{name}"
        self.settings = settings
        self._store = store
        self._clock = clock

    def may_know(self, alarm: str) -> bool:
        return True

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        async with self._store.reading() as connection:
            states = await queries.pushed(connection, self.name, alarms)
        now = self._clock.now()
        return {one.name: _posted(one, now) for one in states}

    async def names(self) -> Sequence[str]:
        async with self._store.reading() as connection:
            return await queries.pushed_names(connection, self.name, MOST_NAMES)

    async def take(self, state: PushedState) -> None:
        """Store what was posted. Raises LimitExceeded, StoreUnavailable."""
        async with self._store.reading() as connection:
            known = await queries.pushed_names(connection, self.name, MOST_ALARMS)
        if len(known) >= MOST_ALARMS and state.name not in known:
            raise LimitExceeded(
                "AlarmsLimitExceededException",
                f"source {self.name} has {MOST_ALARMS} alarms, the most that are kept: delete some first",
            )
        batch = Batch()
        queries.keep(batch, self.name, state)
        await self._store.write(batch)

    async def forget(self, alarm: str) -> None:
        """Forgetting what is not there succeeds. Raises StoreUnavailable."""
        batch = Batch()
        queries.drop(batch, self.name, alarm)
        await self._store.write(batch)


def _superseded(known: Sequence[tuple[str, str]], heard: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Which of the known series, oldest first, go so that those that were heard have room."""
    again = set(heard)
    others = [one for one in known if one not in again]
    too_many = len(others) + len(again) - MOST_SERIES
    # Others of the same alert fire: it goes on being told as firing.
    replaced = {name for name, _ in again}
    return [one for one in others if one[0] in replaced][: max(too_many, 0)]


PushSource = AlertmanagerSource | WebhookSource


def moment(at: Instant) -> str:
    """A time for people."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _posted(one: PushedState, now: Instant) -> Answer:
    if one.expires_at is not None and one.expires_at <= now:
        return Unread(
            f"its last state, {one.state}, came at {moment(one.received_at)} and was good until"
            f" {moment(one.expires_at)}: whoever posts it has fallen silent"
        )
    return Seen(state=one.state, since=one.since, detail=one.detail)
