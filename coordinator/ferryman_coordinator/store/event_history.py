"""Keeps the outbox from growing without end: events that are old, and messages that were delivered long ago.

Events go from the oldest on, without holes, and never the newest one: who follows them must be able to see whether what
they have not seen yet is still there.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.event_records import DeliveryState
from ferryman_coordinator.store.queries.events import FAN_OUT, PRUNED, setting
from ferryman_coordinator.store.store import Store
from ferryman_coordinator.store.tables import deliveries, events, settings

_AT_ONCE = 5_000
"""Positions that are dealt with in one transaction: others are waiting to write."""


async def prune_events(store: Store, before: Instant) -> int:
    """Delete events from before then that every trigger and rule has had; returns how many positions that are.

    Raises StoreUnavailable; what is done by then is done.
    """
    async with store.reading() as connection:
        first, until = await _old_events(connection, before)
    for position in _steps(first, until):
        batch = Batch()
        batch.delete(events, {}, where=[events.c.position <= position])
        batch.put(settings, {"key": PRUNED, "value": str(position)})
        await store.write(batch)
    return max(0, until - first)


async def prune_deliveries(store: Store, state: DeliveryState, before: Instant) -> None:
    """Delete messages that ended so before then. Raises StoreUnavailable."""
    table = deliveries.c
    is_old = [table.state == state.value, table.ended_at < before]
    async with store.reading() as connection:
        query = sa.select(sa.func.min(table.position), sa.func.max(table.position)).where(*is_old)
        first, last = (await connection.execute(query)).one()
    if first is None:
        return
    for position in _steps(first - 1, last):
        batch = Batch()
        batch.delete(deliveries, {}, where=[*is_old, table.position <= position])
        await store.write(batch)


async def _old_events(connection: AsyncConnection, before: Instant) -> tuple[int, int]:
    """Positions: behind the first one, up to the second one, events can go."""
    table = events.c
    newest = await connection.scalar(sa.select(sa.func.max(table.position)))
    oldest = await connection.scalar(sa.select(sa.func.min(table.position)))
    old = await connection.scalar(sa.select(sa.func.max(table.position)).where(table.at < before))
    if newest is None or oldest is None or old is None:
        return 0, 0
    seen = int(await setting(connection, FAN_OUT) or 0)
    return oldest - 1, min(old, newest - 1, seen)


def _steps(first: int, last: int) -> Sequence[int]:
    """Where to go in steps from behind `first` to `last`."""
    return [] if last <= first else [*range(first + _AT_ONCE, last, _AT_ONCE), last]
