"""Old events and messages go, from the oldest on and without holes; what is still needed stays."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.events import EventKind, EventState, StateEvent
from ferryman_coordinator.core.model import DeploymentId, InstanceId, Instant
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.event_records import (
    Delivery,
    DeliverySource,
    DeliveryState,
    delivery_row,
    event_row,
)
from ferryman_coordinator.store.history import History
from ferryman_coordinator.store.queries import events as queries
from ferryman_coordinator.store.store import Store
from tests.support.clock import START, ManualClock

HOUR = 3_600_000
KEEP_EVENTS = 24 * HOUR
KEEP = 30 * KEEP_EVENTS


async def tell(store: Store, *ages: int) -> None:
    """One event of each age in hours."""
    batch = Batch()
    for number, age in enumerate(ages):
        event = StateEvent(
            event_id=f"event-{number}",
            kind=EventKind.DEPLOYMENT,
            state=EventState.START,
            status="InProgress",
            deployment_id=DeploymentId("d-1"),
            instance_id=InstanceId(""),
            at=Instant(START - age * HOUR),
        )
        row = event_row(
            event,
            application_id="app-1",
            application_name="web",
            group_id="group-1",
            group_name="prod",
            triggers=(),
        )
        batch.add(tables.events, row)
    await store.write(batch)


async def fanned_out(store: Store, position: int) -> None:
    batch = Batch()
    batch.put(tables.settings, {"key": queries.FAN_OUT, "value": str(position)})
    await store.write(batch)


async def positions(store: Store) -> tuple[list[str], int, int]:
    """Events that are kept, the newest position, and up to where they are gone."""
    async with store.reading() as connection:
        kept = await queries.after(connection, 0, 100)
        newest = await queries.newest_position(connection)
        return [one.event.event_id for one in kept], newest, await queries.pruned_until(connection)


def history(store: Store) -> History:
    return History(store, ManualClock(), KEEP, keep_events_ms=KEEP_EVENTS)


@pytest.mark.req("CP-387", "CP-432")
async def test_old_events_go_but_never_the_newest_nor_what_is_to_be_told(store: Store) -> None:
    await tell(store, 50, 40, 30, 20, 10)
    _, newest, _ = await positions(store)
    first = newest - 4
    # Nobody has had any of them yet.
    await history(store).prune()
    assert (await positions(store))[0] == [f"event-{number}" for number in range(5)]
    await fanned_out(store, first + 1)
    await history(store).prune()
    assert await positions(store) == (["event-2", "event-3", "event-4"], newest, first + 1)
    await fanned_out(store, newest)
    await history(store).prune()
    assert await positions(store) == (["event-3", "event-4"], newest, first + 2)


async def test_the_newest_event_stays_however_old_and_positions_go_on(store: Store) -> None:
    await tell(store, 500, 400)
    _, newest, _ = await positions(store)
    await fanned_out(store, newest)
    await history(store).prune()
    assert await positions(store) == (["event-1"], newest, newest - 1)
    await tell(store, 1, 1, 1)
    assert (await positions(store))[1] > newest


async def test_messages_go_when_they_ended_long_ago(store: Store) -> None:
    def delivery(name: str, state: DeliveryState, ended: int | None) -> Delivery:
        return Delivery(
            delivery_id=name,
            position=1,
            event_id="event-1",
            deployment_id="d-1",
            application_name="web",
            group_name="prod",
            source=DeliverySource.TRIGGER,
            source_name="ops",
            target="x",
            event_type="DeploymentStart",
            body="{}",
            text="",
            state=state,
            created_at=Instant(0),
            waiting_since=Instant(0),
            next_at=Instant(0),
            ended_at=None if ended is None else Instant(START - ended * HOUR),
        )

    batch = Batch()
    for one in (
        delivery("a-waiting", DeliveryState.WAITING, None),
        delivery("b-sent", DeliveryState.DELIVERED, 1),
        delivery("c-sent-long-ago", DeliveryState.DELIVERED, 25),
        delivery("d-dead", DeliveryState.DEAD, 25),
        delivery("e-dead-long-ago", DeliveryState.DEAD, 31 * 24),
    ):
        batch.add(tables.deliveries, delivery_row(one))
    await store.write(batch)
    await history(store).prune()
    async with store.reading() as connection:
        kept = await queries.deliveries_after(connection, queries.DeliveryFilter(), (), 100)
        found = await queries.backlog(connection)
    assert [one.delivery_id for one in kept] == ["a-waiting", "b-sent", "d-dead"]
    assert (found.waiting, found.dead, found.oldest) == (1, 1, 0)
