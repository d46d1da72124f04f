"""The ring that the watchers of one deployment share: never a gap, and nobody who cannot keep up."""

from __future__ import annotations

from ferryman_coordinator.core.model import DeploymentId, EventRecord, EventStatus, InstanceId, Instant
from ferryman_coordinator.engine.feed import _Channel
from ferryman_coordinator.engine.updates import EventUpdate, ScriptUpdate

A = InstanceId("mi-a")


def update(sequence: int) -> EventUpdate:
    event = EventRecord(name="Install", status=EventStatus.IN_PROGRESS)
    return EventUpdate(sequence=sequence, at=Instant(0), instance_id=A, event=event)


def hint(sequence: int) -> ScriptUpdate:
    return ScriptUpdate(
        sequence=sequence, at=Instant(0), instance_id=A, lifecycle_event="Install", script_name="a.sh"
    )


def channel(size: int = 4) -> _Channel:
    return _Channel(DeploymentId("d-1"), size)


def sequences(found: _Channel, behind: int) -> list[int] | None:
    place = found.place_behind(behind)
    read = None if place is None else found.read(place)
    return None if read is None else [one.sequence for one in read[0]]


def test_nothing_is_known_before_the_first_publication() -> None:
    assert sequences(channel(), 0) is None


def test_whoever_has_seen_everything_before_may_read_from_the_ring() -> None:
    found = channel()
    found.publish([update(8), update(9)])
    assert sequences(found, 6) is None
    assert sequences(found, 7) == [8, 9]
    assert sequences(found, 8) == [9]
    assert sequences(found, 9) == []


def test_the_ring_forgets_its_oldest_and_says_so() -> None:
    found = channel(size=3)
    found.publish([update(1)])
    place = found.place_behind(0)
    assert place is not None
    found.publish([update(number) for number in range(2, 6)])
    assert found.read(place) is None
    assert sequences(found, 1) is None
    assert sequences(found, 2) == [3, 4, 5]


def test_a_reader_goes_on_where_it_was() -> None:
    found = channel()
    found.publish([update(1), update(2)])
    place = found.place_behind(0)
    assert place is not None
    read = found.read(place)
    assert read is not None
    found.publish([update(3)])
    following = found.read(read[1])
    assert following is not None
    assert [one.sequence for one in following[0]] == [3]


def test_hints_are_read_in_their_place_and_skipped_by_those_who_come_later() -> None:
    found = channel()
    found.publish([update(1)])
    found.publish([hint(1)])
    found.publish([update(2)])
    assert sequences(found, 0) == [1, 1, 2]
    assert sequences(found, 1) == [2]


def test_the_bell_that_was_taken_before_looking_is_rung() -> None:
    found = channel()
    bell = found.bell
    found.publish([update(1)])
    assert bell.is_set()
    assert not found.bell.is_set()
