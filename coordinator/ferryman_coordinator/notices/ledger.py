"""What is stored of deliveries while they are under way."""

from __future__ import annotations

from collections.abc import Sequence

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.event_records import Delivery, DeliveryState
from ferryman_coordinator.store.queries import events as queries
from ferryman_coordinator.store.queries.events import Backlog, Lane
from ferryman_coordinator.store.store import Store

_ERROR = 1_000
_WAITING = {"state": DeliveryState.WAITING.value}


class DeliveryLedger:
    """Every method raises StoreUnavailable; then it is open whether that was stored."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def targets(self) -> Sequence[str]:
        """Those that something waits for."""
        async with self._store.reading() as connection:
            return await queries.waiting_targets(connection)

    async def backlog(self) -> Backlog:
        """How many wait, and how many were put aside."""
        async with self._store.reading() as connection:
            return await queries.backlog(connection)

    async def lanes(self, target: str, limit: int) -> Sequence[Lane]:
        """See `queries.lanes`."""
        async with self._store.reading() as connection:
            return await queries.lanes(connection, target, limit)

    async def in_lane(self, target: str, deployment_id: str, limit: int) -> Sequence[Delivery]:
        """See `queries.in_lane`."""
        async with self._store.reading() as connection:
            return await queries.in_lane(connection, target, deployment_id, limit)

    async def delivered(self, delivery: Delivery, now: Instant) -> None:
        """It was taken."""
        values = {
            "state": DeliveryState.DELIVERED.value,
            "attempts": delivery.attempts + 1,
            "ended_at": now,
            "last_error": "",
        }
        batch = Batch()
        batch.update(tables.deliveries, {"delivery_id": delivery.delivery_id}, values)
        await self._store.write(batch)

    async def failed(
        self,
        delivery: Delivery,
        reason: str,
        next_at: Instant,
        now: Instant,
        too_old: Instant,
        *,
        for_all: bool,
    ) -> None:
        """It was not taken. What waits since `too_old` is put aside: this one, or `for_all` of the target."""
        reason = reason[:_ERROR]
        batch = Batch()
        values = {"attempts": delivery.attempts + 1, "next_at": next_at, "last_error": reason}
        batch.update(tables.deliveries, {"delivery_id": delivery.delivery_id}, values)
        key = {"target": delivery.target} if for_all else {"delivery_id": delivery.delivery_id}
        is_old = tables.deliveries.c.waiting_since <= too_old
        batch.update(tables.deliveries, key | _WAITING, _dead(reason, now), where=[is_old])
        await self._store.write(batch)

    async def bury(self, target: str, reason: str, now: Instant) -> None:
        """Put aside all that waits for a target."""
        batch = Batch()
        key = {"target": target} | _WAITING
        batch.update(tables.deliveries, key, _dead(reason, now))
        await self._store.write(batch)


def _dead(reason: str, now: Instant) -> dict[str, object]:
    return {"state": DeliveryState.DEAD.value, "ended_at": now, "last_error": reason}
