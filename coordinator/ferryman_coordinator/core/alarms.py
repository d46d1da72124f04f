"""The alarms that a deployment watches: what was read of them, and whether that ends it (CP section 17).

Pure, and without a memory of its own beyond what is here: what was seen is stored with the deployment, how often in a
row an alarm could not be read is counted anew after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ferryman_coordinator.core.group_options import AlarmConfiguration
from ferryman_coordinator.core.model import (
    AlarmRecord,
    AlarmState,
    Creator,
    ErrorInformation,
    Instant,
    RolloutSpec,
)

ALARM_ACTIVE = "ALARM_ACTIVE"
"""Code of a deployment that an alarm has stopped, or one that could not be read (CP section 20)."""

FAILED_POLLS = 3
"""So many in a row make an alarm unreadable (CP-363)."""

_NAMED = 10
"""Alarms that a message tells of; of more it says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmReading:
    """What one poll found of one alarm.

    `state` is never UNREADABLE; None: it could not be read, and `detail` says why. `since` is what the source says, if
    it says so. `source` names the source and where it is.
    """

    name: str
    state: AlarmState | None
    source: str = ""
    since: Instant | None = None
    detail: str = ""


def watched(configuration: AlarmConfiguration) -> tuple[str, ...]:
    """The alarms that count, each once: none when they are switched off (CP-360)."""
    return tuple(dict.fromkeys(configuration.alarms)) if configuration.enabled else ()


class AlarmWatch:
    """Of one deployment. A rollback records what it sees and goes on whatever that is (CP-344)."""

    def __init__(self, spec: RolloutSpec, seen: Sequence[AlarmRecord] = ()) -> None:
        """`seen`: what is stored; what may start now depends on a new reading all the same."""
        self.names = watched(spec.options.alarms)
        self._is_binding = spec.creator is not Creator.ROLLBACK
        self._ignores_unreadable = spec.options.alarms.ignore_poll_alarm_failure
        self._records = {one.name: one for one in seen if one.name in self.names}
        self._failures = dict.fromkeys(self.names, 0)
        self._awaited = set(self.names) if self._is_binding else set()

    @property
    def is_awaited(self) -> bool:
        """Whether no target may start yet, because an alarm was not read since this began (CP-356)."""
        return bool(self._awaited)

    @property
    def records(self) -> tuple[AlarmRecord, ...]:
        """What is known, to be stored: it changes only when an alarm's state does."""
        return tuple([self._records[name] for name in self.names if name in self._records])

    @property
    def cause(self) -> ErrorInformation | None:
        """Why the deployment must stop now, None if it may go on (CP-355, CP-359)."""
        if not self._is_binding:
            return None
        active = [one for one in self._records.values() if one.state is AlarmState.ALARM]
        unreadable = [one for one in self._records.values() if one.state is AlarmState.UNREADABLE]
        if active:
            return ErrorInformation(code=ALARM_ACTIVE, message=_sentences(active))
        if unreadable and not self._ignores_unreadable:
            return ErrorInformation(code=ALARM_ACTIVE, message=_sentences(unreadable))
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people should know although the deployment goes on."""
        if not (self._is_binding and self._ignores_unreadable):
            return ()
        return tuple([_ignored(one) for one in self.records if one.state is AlarmState.UNREADABLE])

    def take(self, readings: Iterable[AlarmReading], now: Instant) -> tuple[str, ...]:
        """Note what a poll found; returns what has become a warning by it."""
        notes = []
        for reading in readings:
            if reading.name not in self._failures:
                continue
            if reading.state is not None:
                self._note(reading, reading.state, now)
            elif self._fail(reading, now) and self._is_binding and self._ignores_unreadable:
                notes.append(_ignored(self._records[reading.name]))
        return tuple(notes)

    def _note(self, reading: AlarmReading, state: AlarmState, now: Instant) -> None:
        self._failures[reading.name] = 0
        self._awaited.discard(reading.name)
        known = self._records.get(reading.name)
        is_new = known is None or known.state is not state
        since = reading.since or (now if known is None or is_new else known.since)
        if is_new or known is None or (known.source, known.since) != (reading.source, since):
            self._records[reading.name] = AlarmRecord(
                name=reading.name, state=state, source=reading.source, since=since, detail=reading.detail
            )

    def _fail(self, reading: AlarmReading, now: Instant) -> bool:
        """Whether that made the alarm unreadable just now."""
        name = reading.name
        self._failures[name] += 1
        if self._failures[name] < FAILED_POLLS:
            return False
        self._awaited.discard(name)
        known = self._records.get(name)
        if known is not None and known.state is AlarmState.UNREADABLE:
            return False
        self._records[name] = AlarmRecord(
            name=name, state=AlarmState.UNREADABLE, source=reading.source, since=now, detail=reading.detail
        )
        return True


def describe(alarm: AlarmRecord) -> str:
    """An alarm in one sentence: its name, its state, since when, where, and what is said of it."""
    since, source = _moment(alarm.since), alarm.source or "no source"
    detail = f": {alarm.detail.rstrip('.')}" if alarm.detail else ""
    if alarm.state is AlarmState.UNREADABLE:
        return f"The state of alarm {alarm.name} cannot be read from {source} since {since}{detail}."
    return f"Alarm {alarm.name} is in state {alarm.state} since {since}, says {source}{detail}."


def _ignored(alarm: AlarmRecord) -> str:
    return f"{describe(alarm)} The deployment goes on without it."


def _sentences(alarms: Sequence[AlarmRecord]) -> str:
    more = len(alarms) - _NAMED
    rest = [f"And {more} more."] if more > 0 else []
    return " ".join([*(describe(one) for one in alarms[:_NAMED]), *rest])


def _moment(at: Instant) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
