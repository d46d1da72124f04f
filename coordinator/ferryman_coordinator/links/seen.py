"""Keeps in the database when each instance was last heard: for people, nothing is decided by it."""

from __future__ import annotations

from collections.abc import Mapping

from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store


class StoredSeen:
    """See `registry.SeenKeeper`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, seen: Mapping[InstanceId, Instant]) -> None:
        """One batch for all of them. Raises StoreUnavailable."""
        batch = Batch()
        for instance_id, at in seen.items():
            batch.update(tables.instances, {"instance_id": instance_id}, {"last_seen_at": at})
        await self._store.write(batch)
