"""Keeps history from growing without end: feeds of finished deployments, and deployments of long ago (CP-432)."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import DeploymentId, Instant
from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.event_history import prune_deliveries, prune_events
from ferryman_coordinator.store.event_records import DeliveryState
from ferryman_coordinator.store.queries import history as queries
from ferryman_coordinator.store.store import Store
from ferryman_coordinator.store.tables import changes, deployments, lifecycle_actions, target_events, targets

log = structlog.get_logger(__name__)

_EVERY_MS = 3_600_000

_FEED_KEPT_MS = 3_600_000
"""For so long the watchers of a finished deployment may go on from any change; later they get a snapshot."""

_EVENTS_KEPT_MS = 7 * 86_400_000

_CHANGES_AT_ONCE = 5_000
_TARGETS_AT_ONCE = 500
"""Deleted in one transaction: others are waiting to write."""


class History:
    """Prunes when it is told to, or by itself as a task."""

    def __init__(
        self, store: Store, clock: Clock, keep_ms: int, *, keep_events_ms: int = _EVENTS_KEPT_MS
    ) -> None:
        """`keep_ms`: how long deployments are kept once they are finished, and messages that were put aside;
        `keep_events_ms`: how long events and delivered messages are.
        """
        self._store = store
        self._clock = clock
        self._keep_ms = keep_ms
        self._keep_events_ms = keep_events_ms

    async def run(self) -> None:
        """Prune every hour, until cancelled."""
        while True:
            try:
                await self.prune()
            except StoreUnavailable as error:
                log.warning("history.not_pruned", error=str(error))
            await self._clock.sleep_until(Instant(self._clock.now() + _EVERY_MS))

    async def prune(self) -> None:
        """Shorten old feeds to their newest change, and delete old deployments but for those that groups go back to.

        Raises StoreUnavailable; what is done by then is done.
        """
        now = self._clock.now()
        async with self._store.reading() as connection:
            feeds = await queries.long_feeds(connection, Instant(now - _FEED_KEPT_MS))
            old = await queries.finished_before(connection, Instant(now - self._keep_ms))
        for feed in feeds:
            await self._shorten(feed)
        for deployment_id, target_count in old:
            await self._delete(deployment_id, target_count)
        if old:
            log.info("history.pruned", deployments=len(old))
        await self._forget_actions(Instant(now - self._keep_ms))
        await prune_events(self._store, Instant(now - self._keep_events_ms))
        await prune_deliveries(self._store, DeliveryState.DELIVERED, Instant(now - self._keep_events_ms))
        await prune_deliveries(self._store, DeliveryState.DEAD, Instant(now - self._keep_ms))

    async def _forget_actions(self, before: Instant) -> None:
        """Of instances that came and went: one that is not answered waits for that, however long."""
        batch = Batch()
        batch.delete(lifecycle_actions, {}, where=[lifecycle_actions.c.answered_at < before])
        await self._store.write(batch)

    async def _shorten(self, feed: queries.LongFeed) -> None:
        for sequence in _steps(feed.first, feed.last, _CHANGES_AT_ONCE):
            batch = Batch()
            is_old = changes.c.sequence < sequence
            batch.delete(changes, {"deployment_id": feed.deployment_id}, where=[is_old])
            await self._store.write(batch)

    async def _delete(self, deployment_id: DeploymentId, target_count: int) -> None:
        key = {"deployment_id": deployment_id}
        for ordinal in _steps(0, target_count, _TARGETS_AT_ONCE):
            gone = (targets.c.deployment_id == deployment_id) & (targets.c.ordinal < ordinal)
            of_gone = target_events.c.instance_id.in_(sa.select(targets.c.instance_id).where(gone))
            batch = Batch()
            batch.delete(target_events, key, where=[of_gone])
            batch.delete(targets, key, where=[targets.c.ordinal < ordinal])
            await self._store.write(batch)
        batch = Batch()
        batch.delete(deployments, key)
        await self._store.write(batch)


def _steps(first: int, last: int, size: int) -> Sequence[int]:
    """Where to go in steps from `first` to `last`."""
    return [*range(first + size, last, size), last]
