"""Reads of events and of what is on its way to consumers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.events import EventKind, EventState, PublishedEvent
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.store.batch import Condition
from ferryman_coordinator.store.event_records import Delivery, DeliveryState, delivery_from, event_from
from ferryman_coordinator.store.tables import deliveries, events, instances, settings

FAN_OUT = "notices.position"
"""Setting that holds the position up to which there are deliveries."""

PRUNED = "events.pruned"
"""Setting that holds the newest position that is no longer kept."""

_IS_WAITING: Condition = sa.literal_column("deliveries.state = 'waiting'")
_IS_DEAD: Condition = sa.literal_column("deliveries.state = 'dead'")
"""As text, as the partial indexes say it: with a parameter SQLite does not see that it can use them."""

_STATES = {DeliveryState.WAITING: _IS_WAITING, DeliveryState.DEAD: _IS_DEAD}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Empty members let everything through. Names are those that the events carry."""

    kind: EventKind | None = None
    states: tuple[EventState, ...] = ()
    application_name: str = ""
    group_name: str = ""
    deployment_id: str = ""

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """ROLLBACK is for those who ask for it: no consumer of the original knows it (CP-382)."""
        table = events.c
        wanted: list[sa.ColumnElement[bool]] = []
        if self.states:
            wanted.append(table.state.in_([state.value for state in self.states]))
        else:
            wanted.append(table.state != EventState.ROLLBACK.value)
        if self.kind is not None:
            wanted.append(table.kind == self.kind.value)
        for column, value in (
            (table.application_name, self.application_name),
            (table.group_name, self.group_name),
            (table.deployment_id, self.deployment_id),
        ):
            if value:
                wanted.append(column == value)
        return wanted


async def newest_position(connection: AsyncConnection) -> int:
    """Of the last event; what is no longer kept counts."""
    newest = await connection.scalar(sa.select(sa.func.max(events.c.position)))
    return max(newest or 0, await pruned_until(connection))


async def pruned_until(connection: AsyncConnection) -> int:
    """Events up to this position are no longer kept."""
    return int(await setting(connection, PRUNED) or 0)


async def setting(connection: AsyncConnection, key: str) -> str | None:
    """A value of the coordinator's own."""
    return await connection.scalar(sa.select(settings.c.value).where(settings.c.key == key))


async def after(
    connection: AsyncConnection, position: int, limit: int, *, with_triggers: bool = False
) -> Sequence[PublishedEvent]:
    """The next events behind `position`, in order; perhaps only those that a trigger waits for."""
    query = _selected().where(events.c.position > position).order_by(events.c.position).limit(limit)
    if with_triggers:
        query = query.where(events.c.triggers.is_not(None))
    return [event_from(row, row.arn or "") for row in await connection.execute(query)]


async def between(
    connection: AsyncConnection, position: int, until: int, limit: int, wanted: EventFilter
) -> Sequence[PublishedEvent]:
    """The next wanted events behind `position`, up to `until`, in order."""
    query = (
        _selected()
        .where(events.c.position > position, events.c.position <= until, *wanted.conditions())
        .order_by(events.c.position)
        .limit(limit)
    )
    return [event_from(row, row.arn or "") for row in await connection.execute(query)]


async def last_between(
    connection: AsyncConnection, position: int, until: int, count: int, wanted: EventFilter
) -> Sequence[int]:
    """Positions of the last `count` wanted events in that stretch, newest first."""
    query = (
        sa.select(events.c.position)
        .where(events.c.position > position, events.c.position <= until, *wanted.conditions())
        .order_by(events.c.position.desc())
        .limit(count)
    )
    return (await connection.scalars(query)).all()


def _selected() -> sa.Select[Any]:
    joined = events.outerjoin(instances, instances.c.instance_id == events.c.instance_id)
    return sa.select(events, instances.c.arn).select_from(joined)


# Deliveries -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What waits for one target of one deployment: in order, so only its first one matters."""

    deployment_id: str
    position: int
    next_at: Instant


async def waiting_targets(connection: AsyncConnection) -> Sequence[str]:
    """Targets that something waits for."""
    found: list[str] = []
    while True:
        # From one to the next in the index: there are few of them, however much waits for each.
        query = sa.select(deliveries.c.target).where(_IS_WAITING).order_by(deliveries.c.target).limit(1)
        if found:
            query = query.where(deliveries.c.target > found[-1])
        following = await connection.scalar(query)
        if following is None:
            return found
        found.append(following)


async def lanes(connection: AsyncConnection, target: str, limit: int) -> Sequence[Lane]:
    """So many of a target, the one that is due first at the front."""
    table = deliveries.c
    first = (
        sa.select(table.deployment_id, sa.func.min(table.position).label("position"))
        .where(_IS_WAITING, table.target == target)
        .group_by(table.deployment_id)
        .subquery()
    )
    query = (
        sa.select(table.deployment_id, table.position, sa.func.max(table.next_at).label("next_at"))
        .join(
            first,
            (first.c.deployment_id == table.deployment_id) & (first.c.position == table.position),
        )
        .where(_IS_WAITING, table.target == target)
        .group_by(table.deployment_id, table.position)
        .order_by(sa.func.max(table.next_at), table.position)
        .limit(limit)
    )
    return [
        Lane(deployment_id=row.deployment_id, position=row.position, next_at=row.next_at)
        for row in await connection.execute(query)
    ]


async def in_lane(
    connection: AsyncConnection, target: str, deployment_id: str, limit: int
) -> Sequence[Delivery]:
    """The next of a lane, in order."""
    table = deliveries.c
    query = (
        sa.select(deliveries)
        .where(_IS_WAITING, table.target == target, table.deployment_id == deployment_id)
        .order_by(table.position, table.delivery_id)
        .limit(limit)
    )
    return [delivery_from(row) for row in await connection.execute(query)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Empty members let everything through."""

    states: tuple[DeliveryState, ...] = ()
    target: str = ""
    application_name: str = ""
    group_name: str = ""
    deployment_id: str = ""

    def conditions(self) -> list[Condition]:
        """As SQL."""
        table = deliveries.c
        wanted: list[Condition] = []
        if len(self.states) == 1 and self.states[0] in _STATES:
            wanted.append(_STATES[self.states[0]])
        elif self.states:
            wanted.append(table.state.in_([state.value for state in self.states]))
        for column, value in (
            (table.target, self.target),
            (table.application_name, self.application_name),
            (table.group_name, self.group_name),
            (table.deployment_id, self.deployment_id),
        ):
            if value:
                wanted.append(column == value)
        return wanted


async def deliveries_after(
    connection: AsyncConnection, wanted: DeliveryFilter, key: tuple[Any, ...], limit: int
) -> Sequence[Delivery]:
    """The next deliveries in the order of their events; `key` is position and id of the last one seen, or empty."""
    order = (deliveries.c.position, deliveries.c.delivery_id)
    query = sa.select(deliveries).where(*wanted.conditions()).order_by(*order).limit(limit)
    if key:
        query = query.where(sa.tuple_(*order) > sa.tuple_(*key))
    return [delivery_from(row) for row in await connection.execute(query)]


async def count(connection: AsyncConnection, wanted: DeliveryFilter, delivery_ids: Sequence[str] = ()) -> int:
    """How many there are, or how many of these ids."""
    query = sa.select(sa.func.count()).select_from(deliveries).where(*wanted.conditions())
    if delivery_ids:
        query = query.where(deliveries.c.delivery_id.in_(delivery_ids))
    return await connection.scalar(query) or 0


async def known(connection: AsyncConnection, delivery_ids: Sequence[str]) -> frozenset[str]:
    """Those of the ids that there are."""
    query = sa.select(deliveries.c.delivery_id).where(deliveries.c.delivery_id.in_(delivery_ids))
    return frozenset((await connection.scalars(query)).all())


MOST_COUNTED = 100_000
"""Whatever is more counts as this many: reading on would take too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How the outbox stands."""

    waiting: int = 0
    # When what waits longest was created.
    oldest: Instant | None = None
    dead: int = 0


async def backlog(connection: AsyncConnection) -> Backlog:
    """Counted anew, up to MOST_COUNTED."""
    table = deliveries.c
    first = sa.select(sa.func.min(table.position)).where(_IS_WAITING).scalar_subquery()
    oldest = sa.select(table.created_at).where(_IS_WAITING, table.position == first).limit(1)
    return Backlog(
        waiting=await _counted(connection, _IS_WAITING),
        oldest=await connection.scalar(oldest),
        dead=await _counted(connection, _IS_DEAD),
    )


async def _counted(connection: AsyncConnection, condition: Condition) -> int:
    found = sa.select(deliveries.c.position).where(condition).limit(MOST_COUNTED).subquery()
    return await connection.scalar(sa.select(sa.func.count()).select_from(found)) or 0
