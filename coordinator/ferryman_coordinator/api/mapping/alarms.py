"""Alarms."""

from __future__ import annotations

from collections.abc import Iterator

from ferryman.v1 import alarms_pb2 as pb
from ferryman_coordinator.core.alarms import AlarmReading, watched
from ferryman_coordinator.core.model import AlarmRecord, AlarmState, RolloutRecord, RolloutSpec
from ferryman_coordinator.operations.alarms import ListedAlarms, TestedAlarm

_STATES = {
    AlarmState.OK: pb.ALARM_STATE_OK,
    AlarmState.ALARM: pb.ALARM_STATE_ALARM,
    AlarmState.INSUFFICIENT_DATA: pb.ALARM_STATE_INSUFFICIENT_DATA,
    AlarmState.UNREADABLE: pb.ALARM_STATE_UNREADABLE,
}


def reading_to(reading: AlarmReading) -> pb.Alarm:
    """What one poll found."""
    return pb.Alarm(
        name=reading.name,
        state=pb.ALARM_STATE_UNREADABLE if reading.state is None else _STATES[reading.state],
        source=reading.source,
        since=reading.since,
        detail=reading.detail,
    )


def listed_to(listed: ListedAlarms) -> pb.ListAlarmsResponse:
    return pb.ListAlarmsResponse(
        alarms=[
            pb.ListedAlarm(alarm=reading_to(reading), is_watched=reading.name in listed.watched)
            for reading in listed.readings
        ],
        read_at=listed.read_at,
        sources=[pb.AlarmSource(name=one.name, place=one.place, error=one.error) for one in listed.sources],
    )


def tested_to(tested: TestedAlarm) -> pb.TestAlarmResponse:
    return pb.TestAlarmResponse(alarm=reading_to(tested.reading), would_stop=tested.would_stop)


def watched_to(spec: RolloutSpec, record: RolloutRecord) -> Iterator[pb.Alarm]:
    """The alarms that a deployment watches, with what it saw last of each."""
    seen = {one.name: one for one in record.alarms}
    for name in watched(spec.options.alarms):
        yield _record_to(seen[name]) if name in seen else pb.Alarm(name=name)


def _record_to(record: AlarmRecord) -> pb.Alarm:
    return pb.Alarm(
        name=record.name,
        state=_STATES[record.state],
        source=record.source,
        since=record.since,
        detail=record.detail,
    )
