"""Reading the audit log, and keeping it from growing without end (CP-446, CP-449)."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.audit import Head, pruned_to
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import Invalid, StoreUnavailable
from ferryman_coordinator.observe.audit import AuditLog
from ferryman_coordinator.observe.audit_check import AuditCheck, verify
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.queries import audit as queries
from ferryman_coordinator.store.queries.audit import AuditFilter, StoredRecord
from ferryman_coordinator.store.store import Store

logger = structlog.get_logger(__name__)

_EVERY_MS = 3_600_000
_AT_ONCE = 5_000
"""Deleted in one transaction: others are waiting to write."""


class AuditTrail:
    """What can be asked about the audit log."""

    def __init__(self, store: Store, clock: Clock, log: AuditLog, key: bytes, keep_ms: int) -> None:
        """`log` writes what is read here; `key` seals checkpoints; records are kept for `keep_ms`."""
        self._log = log
        self._store = store
        self._clock = clock
        self._key = key
        self._keep_ms = keep_ms

    async def list(self, wanted: AuditFilter, request: PageRequest) -> Page[StoredRecord]:
        """Newest first. Raises Invalid."""
        if wanted.since is not None and wanted.until is not None and wanted.since > wanted.until:
            raise Invalid(
                "InvalidTimeRangeException",
                f"the range of times begins at {wanted.since}, after its end at {wanted.until}",
            )

        if not request.token:
            await self._log.flush()

        async def fetch(after: Key | None, limit: int) -> Sequence[StoredRecord]:
            async with self._store.reading() as connection:
                return await queries.records_before(connection, wanted, after or (), limit)

        scope = ["audit", wanted.user_name, wanted.event_name, wanted.since, wanted.until, wanted.denied_only]
        return await self._store.cursors.page(scope, request, fetch, lambda one: (one.link.sequence,))

    async def verify(self, anchor: Head | None = None) -> AuditCheck:
        """Recounts the chain; `anchor` is a record that must be in it."""
        await self._log.flush()
        return await verify(self._store, self._key, anchor)

    async def run(self) -> None:
        """Prune every hour, until cancelled."""
        while True:
            try:
                await self.prune()
            except StoreUnavailable as error:
                logger.warning("audit.not_pruned", error=str(error))
            await self._clock.sleep_until(Instant(self._clock.now() + _EVERY_MS))

    async def prune(self) -> int:
        """Deletes records up to the newest checkpoint that is older than is kept; returns how many.

        That checkpoint stays, and what is left is verified from it on. Raises StoreUnavailable.
        """
        async with self._store.reading() as connection:
            until = await queries.last_checkpoint(connection, Instant(self._clock.now() - self._keep_ms))
            first = await queries.first_sequence(connection)
        if until is None or first is None or first > until.sequence:
            return 0
        # First said, then done: a check in between finds both in order.
        batch = Batch()
        seal = pruned_to(self._key, until).seal
        batch.update(tables.audit_checkpoints, {"sequence": until.sequence}, {"seal": seal})
        await self._store.write(batch)
        column = tables.audit_records.c.sequence
        for end in [*range(first + _AT_ONCE, until.sequence, _AT_ONCE), until.sequence + 1]:
            batch = Batch()
            batch.delete(tables.audit_records, {}, where=[column < end])
            await self._store.write(batch)
        batch = Batch()
        older = tables.audit_checkpoints.c.sequence < until.sequence
        batch.delete(tables.audit_checkpoints, {}, where=[older])
        await self._store.write(batch)
        logger.info("audit.pruned", records=until.sequence - first + 1)
        return until.sequence - first + 1
