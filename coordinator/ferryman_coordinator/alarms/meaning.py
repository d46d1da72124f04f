"""What it means that a source has no data for an alarm: a setting of the source (PF-206)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ferryman_coordinator.alarms.source import AlarmSource, Answer, Seen, Unread
from ferryman_coordinator.config.alarm_sources import InsufficientData
from ferryman_coordinator.core.model import AlarmState


class StrictSource:
    """A source whose alarms without data are not taken for good. See `source.AlarmSource`."""

    def __init__(self, source: AlarmSource, meaning: InsufficientData) -> None:
        self._source = source
        self._meaning = meaning

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def place(self) -> str:
        return self._source.place

    def may_know(self, alarm: str) -> bool:
        return self._source.may_know(alarm)

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        return {alarm: self._settle(answer) for alarm, answer in (await self._source.read(alarms)).items()}

    async def names(self) -> Sequence[str]:
        return await self._source.names()

    def _settle(self, answer: Answer) -> Answer:
        if isinstance(answer, Unread) or answer.state is not AlarmState.INSUFFICIENT_DATA:
            return answer
        why = "it has insufficient data, which this source's settings do not accept"
        detail = f"{why}: {answer.detail}" if answer.detail else why
        if self._meaning is InsufficientData.ALARM:
            return Seen(state=AlarmState.ALARM, since=answer.since, detail=detail)
        return Unread(detail)
