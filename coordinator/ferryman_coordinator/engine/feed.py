"""Serves the watchers of deployments from what is stored: any number, from any point on, over restarts.

Changes of a watched deployment are also kept in one bounded ring in memory, from which all its watchers read, each at
its own place. One that is behind the ring reads the stored changes; one that is far behind gets a snapshot, which those
who ask at the same time share. So a slow watcher costs nothing but its place.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import DeploymentId, InstanceId, Instant
from ferryman_coordinator.engine.updates import (
    ScriptUpdate,
    Snapshot,
    TargetView,
    Update,
    is_final,
    update_of,
    view,
)
from ferryman_coordinator.errors import NotFound
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.store import Store

_PIECE = 250
"""Targets of a snapshot that are read between two turns of the loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings:
    # Updates kept in memory for each deployment that is watched.
    ring: int = 4_096
    # Stored changes that are read at once.
    page: int = 1_000
    # A watcher that is this many changes behind gets a snapshot instead of them.
    snapshot_after: int = 10_000


class Feed:
    """Publishes what the engine has stored."""

    def __init__(self, store: Store, settings: FeedSettings | None = None) -> None:
        self._store = store
        self._settings = settings or FeedSettings()
        self._channels: dict[DeploymentId, _Channel] = {}

    def publish(self, deployment_id: DeploymentId, updates: Sequence[Update]) -> None:
        """Hand committed updates to the watchers; never blocks, and costs nothing when nobody watches."""
        channel = self._channels.get(deployment_id)
        if channel is not None and updates:
            channel.publish(updates)

    def hint(
        self,
        deployment_id: DeploymentId,
        instance_id: InstanceId,
        lifecycle_event: str,
        script_name: str,
        at: Instant,
    ) -> None:
        """Tell those who watch now that a script has started; nothing of it is stored."""
        channel = self._channels.get(deployment_id)
        if channel is not None and channel.last_sequence:
            update = ScriptUpdate(
                sequence=channel.last_sequence,
                at=at,
                instance_id=instance_id,
                lifecycle_event=lifecycle_event,
                script_name=script_name,
            )
            channel.publish([update])

    def waiting(self, deployment_id: DeploymentId) -> int:
        """How many watchers have seen all that there is."""
        channel = self._channels.get(deployment_id)
        return 0 if channel is None else channel.waiting

    def close(self, deployment_id: DeploymentId) -> None:
        """The deployment is gone with its application: its watchers end with NotFound."""
        channel = self._channels.get(deployment_id)
        if channel is not None:
            channel.is_gone = True
            channel.ring_bell()

    async def watch(
        self, deployment_id: DeploymentId, after_sequence: int = 0
    ) -> AsyncGenerator[Update, None]:
        """Everything behind `after_sequence`, then what follows, until the deployment is final.

        From 0 a snapshot comes first. Raises NotFound for an unknown deployment. Close the iterator
        (`contextlib.aclosing`) when leaving it early.
        """
        with self._joined(deployment_id) as channel:
            reader = _Reader(self._store, self._settings, channel, await self._find(deployment_id))
            updates = await reader.begin(after_sequence)
            while updates is not None:
                for update in updates:
                    yield update
                    if is_final(update):
                        return
                updates = await reader.next()

    async def _find(self, deployment_id: DeploymentId) -> Deployment:
        async with self._store.reading() as connection:
            found = await queries.get(connection, deployment_id)
        if found is None:
            raise _unknown(deployment_id)
        return found

    @contextmanager
    def _joined(self, deployment_id: DeploymentId) -> Iterator[_Channel]:
        channel = self._channels.get(deployment_id)
        if channel is None:
            channel = self._channels[deployment_id] = _Channel(deployment_id, self._settings.ring)
        channel.watchers += 1
        try:
            yield channel
        finally:
            channel.watchers -= 1
            if not channel.watchers and self._channels.get(deployment_id) is channel:
                del self._channels[deployment_id]


class _Channel:
    """What the watchers of one deployment share. Places in the ring are counted from the channel's beginning."""

    def __init__(self, deployment_id: DeploymentId, size: int) -> None:
        self.deployment_id = deployment_id
        self.watchers = 0
        self.waiting = 0
        self.is_gone = False
        self.snapshot: Snapshot | None = None
        self.reading = asyncio.Lock()
        self._ring: deque[Update] = deque(maxlen=size)
        self._end = 0
        # Every change behind this sequence is in the ring; None: nothing was published yet.
        self._complete_after: int | None = None
        self._bell = asyncio.Event()

    @property
    def last_sequence(self) -> int:
        """0 when nothing was published yet."""
        return self._ring[-1].sequence if self._ring else 0

    @property
    def bell(self) -> asyncio.Event:
        """Is set at the next publication. Take it before looking, so that none is missed."""
        return self._bell

    def publish(self, updates: Sequence[Update]) -> None:
        if self._complete_after is None:
            self._complete_after = updates[0].sequence - 1
        for update in updates:
            if len(self._ring) == self._ring.maxlen:
                self._complete_after = self._ring[0].sequence
            self._ring.append(update)
            self._end += 1
        if self.snapshot is not None and self.snapshot.sequence < self._complete_after:
            self.snapshot = None
        self.ring_bell()

    def ring_bell(self) -> None:
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    def place_behind(self, sequence: int) -> int | None:
        """The place of the first update behind `sequence`; None when the ring does not reach back that far."""
        if self._complete_after is None or sequence < self._complete_after:
            return None
        return (
            self._end
            - len(self._ring)
            + bisect_right(self._ring, sequence, key=lambda update: update.sequence)
        )

    def read(self, place: int) -> tuple[list[Update], int] | None:
        """All from `place` on, and the next place; None when that is no longer in the ring."""
        count = self._end - place
        if count > len(self._ring):
            return None
        return [self._ring[-back] for back in range(count, 0, -1)], self._end


class _Reader:
    """One watcher's place."""

    def __init__(
        self, store: Store, settings: FeedSettings, channel: _Channel, deployment: Deployment
    ) -> None:
        self._store = store
        self._settings = settings
        self._channel = channel
        # Supplies what is the same in all updates.
        self._deployment = deployment
        self._sequence = 0
        self._place: int | None = None

    async def begin(self, after_sequence: int) -> Sequence[Update] | None:
        """The first updates, perhaps none yet; None: there is nothing to wait for."""
        self._sequence = max(0, after_sequence)
        async with self._store.reading() as connection:
            last = await queries.last_sequence(connection, self._channel.deployment_id)
        if self._sequence == 0 or last - self._sequence > self._settings.snapshot_after:
            return await self._snapshot()
        return None if self._deployment.record.status.is_terminal and self._sequence >= last else []

    async def next(self) -> Sequence[Update]:
        """Wait for the next updates."""
        while True:
            bell = self._channel.bell
            if updates := self._from_ring() or await self._from_store():
                return updates
            if self._channel.is_gone:
                raise _unknown(self._channel.deployment_id)
            self._channel.waiting += 1
            try:
                await bell.wait()
            finally:
                self._channel.waiting -= 1

    def _from_ring(self) -> Sequence[Update]:
        if self._place is None:
            self._place = self._channel.place_behind(self._sequence)
        if self._place is None:
            return ()
        found = self._channel.read(self._place)
        if found is None:
            self._place = None
            return ()
        updates, self._place = found
        self._passed(updates)
        return updates

    async def _from_store(self) -> Sequence[Update]:
        """Stored changes, or a snapshot when there are too many of them or the next ones are not kept any more."""
        if self._place is not None:
            return ()
        if self._channel.last_sequence - self._sequence > self._settings.snapshot_after:
            return await self._snapshot()
        async with self._store.reading() as connection:
            stored = await queries.changes_after(
                connection, self._channel.deployment_id, self._sequence, self._settings.page
            )
        if stored and stored[0].sequence != self._sequence + 1:
            return await self._snapshot()
        updates = [update_of(change, self._deployment) for change in stored]
        self._passed(updates)
        return updates

    async def _snapshot(self) -> Sequence[Update]:
        channel = self._channel
        async with channel.reading:
            snapshot = channel.snapshot
            if snapshot is None or snapshot.sequence < self._sequence:
                snapshot = channel.snapshot = await self._read_snapshot()
        self._place = None
        self._sequence = snapshot.sequence
        return (snapshot,)

    async def _read_snapshot(self) -> Snapshot:
        """As of one moment; read in pieces, so that a large deployment does not hold up everything else."""
        deployment_id = self._channel.deployment_id
        targets: list[TargetView] = []
        async with self._store.reading() as connection:
            sequence = await queries.last_sequence(connection, deployment_id)
            deployment = await queries.get(connection, deployment_id)
            if deployment is None:
                raise _unknown(deployment_id)
            while True:
                behind = targets[-1].record.ordinal if targets else -1
                piece = await queries.targets_of(connection, deployment_id, after=behind, limit=_PIECE)
                ids = [record.instance_id for record in piece]
                events = await queries.events_of(connection, deployment_id, ids)
                targets += [view(deployment.spec, record, events) for record in piece]
                if len(piece) < _PIECE:
                    break
                await asyncio.sleep(0)
        record = deployment.record
        return Snapshot(
            sequence=sequence,
            at=record.completed_at or record.started_at or record.created_at,
            deployment=deployment,
            targets=tuple(targets),
        )

    def _passed(self, updates: Sequence[Update]) -> None:
        if updates:
            self._sequence = max(self._sequence, updates[-1].sequence)


def _unknown(deployment_id: DeploymentId) -> NotFound:
    return NotFound("DeploymentDoesNotExistException", f"deployment {deployment_id} does not exist")
