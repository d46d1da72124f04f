"""Alarms as people ask for them: which there are, and what a deployment that watches one would see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ferryman_coordinator.alarms.poller import AlarmPoller
from ferryman_coordinator.alarms.source import AlarmSource
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.alarms import AlarmReading
from ferryman_coordinator.core.model import AlarmState, Instant
from ferryman_coordinator.errors import Invalid, Refused, StoreUnavailable
from ferryman_coordinator.operations import names

_NAME = 255
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSource:
    """`error`: why its alarms cannot be listed; empty: they can."""

    name: str
    place: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAlarms:
    """Every alarm as it was read at one time."""

    readings: Sequence[AlarmReading]
    watched: frozenset[str]
    sources: Sequence[ListedSource]
    read_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedAlarm:
    reading: AlarmReading
    would_stop: bool


class Alarms:
    """What can be asked about alarms."""

    def __init__(self, poller: AlarmPoller, clock: Clock) -> None:
        self._poller = poller
        self._clock = clock

    async def list(self) -> ListedAlarms:
        """The alarms of all sources, not more than some hundred of each, and those that deployments watch."""
        sources = self._poller.book.sources
        found = await asyncio.gather(*(_names(source) for source in sources))
        known: dict[str, None] = {}
        for source, (listed, alarms) in zip(sources, found, strict=True):
            if not listed.error:
                for alarm in alarms:
                    known[self._name(source, alarm, known)] = None
        watched = self._poller.watched()
        wanted = [*known, *sorted(watched - set(known))]
        return ListedAlarms(
            readings=await self._poller.book.read(wanted),
            watched=frozenset(watched),
            sources=[listed for listed, _ in found],
            read_at=self._clock.now(),
        )

    async def test(self, name: str) -> TestedAlarm:
        """One reading, now. Raises Invalid for what can be no alarm's name."""
        if not 0 < len(name) <= _NAME:
            raise Invalid(
                "InvalidAlarmConfigException",
                f"{names.shown(name)} is no alarm: its name has 1 to {_NAME} characters",
            )
        (reading,) = await self._poller.book.read([name])
        return TestedAlarm(reading=reading, would_stop=reading.state in (None, AlarmState.ALARM))

    def _name(self, source: AlarmSource, alarm: str, known: dict[str, None]) -> str:
        """What a group has to write to get this alarm and no other."""
        begins_like_a_source = alarm.partition("/")[0] in {one.name for one in self._poller.book.sources}
        return f"{source.name}/{alarm}" if alarm in known or begins_like_a_source else alarm


async def _names(source: AlarmSource) -> tuple[ListedSource, Sequence[str]]:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return ListedSource(name=source.name, place=source.place), await source.names()
    except TimeoutError:
        error = f"it gave no answer within {_PATIENCE_S:g} s"
    except (Refused, StoreUnavailable) as refused:
        error = str(refused)
    return ListedSource(name=source.name, place=source.place, error=error), ()
