"""Pushed states of alarms come back as they were, newest of each series."""

from __future__ import annotations

from dataclasses import replace

from ferryman_coordinator.core.model import AlarmState, Instant
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import alarms
from ferryman_coordinator.store.queries.alarms import PushedState
from ferryman_coordinator.store.store import Store

ONE = PushedState(
    name="Ärger/1",
    series="a",
    state=AlarmState.ALARM,
    since=Instant(5),
    received_at=Instant(2**41),
    expires_at=None,
    detail="é",
)
OTHER = replace(ONE, series="b", since=None, expires_at=Instant(2**41 + 1), detail="")


async def test_what_was_pushed_comes_back(store: Store) -> None:
    batch = Batch()
    for state in (ONE, OTHER, replace(ONE, name="x")):
        alarms.keep(batch, "hooks", state)
    alarms.keep(batch, "other", replace(ONE, state=AlarmState.OK))
    await store.write(batch)
    newer = replace(ONE, state=AlarmState.INSUFFICIENT_DATA, since=None)
    batch = Batch()
    alarms.keep(batch, "hooks", newer)
    alarms.drop(batch, "hooks", "x", "a")
    await store.write(batch)
    async with store.reading() as connection:
        assert await alarms.pushed(connection, "hooks", ["Ärger/1", "x", "none"]) == [newer, OTHER]
        assert await alarms.pushed_names(connection, "hooks", 10) == ["Ärger/1"]
        assert await alarms.pushed_names(connection, "nobody", 10) == []
