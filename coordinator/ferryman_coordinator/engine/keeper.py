"""Stores what the rounds of one live deployment come to: each as one batch, whatever it touches (CP-423)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ferryman_coordinator.core.decisions import decisions_of, followed
from ferryman_coordinator.core.follow_on import is_due
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.messages import Change, RollbackOrdered, RolloutChanged
from ferryman_coordinator.core.model import (
    Creator,
    DeploymentId,
    DeploymentStatus,
    Instant,
    RolloutRecord,
    RolloutSpec,
)
from ferryman_coordinator.engine.creation import enter_new, enter_use
from ferryman_coordinator.engine.ledger import Ledger
from ferryman_coordinator.engine.loading import Loaded
from ferryman_coordinator.engine.succession import enter_progress, follow_on, rolling_back
from ferryman_coordinator.engine.surroundings import Surroundings
from ferryman_coordinator.engine.updates import Update
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.queries import groups
from ferryman_coordinator.store.records import to_json

_FOLLOWED = (Creator.USER, Creator.ROLLBACK, Creator.AUTO_UPDATE)


class Keeper:
    """Of one live deployment, from what is stored of it."""

    def __init__(self, around: Surroundings, loaded: Loaded) -> None:
        self._around = around
        self._ledger = Ledger(loaded.deployment, loaded.rollout.sequence, loaded.rollout.targets)
        self._triggering = loaded.triggering
        # Stored with the end of this one, and to be started after it.
        self.successor_id: DeploymentId | None = None

    @property
    def deployment(self) -> Deployment:
        """As it is stored, or is about to be."""
        return self._ledger.deployment

    async def keep(self, changes: Sequence[Change], now: Instant) -> Sequence[Update]:
        """Store the changes and what goes with them; returns what to tell watchers.

        With a RollbackOrdered among them the rollback's deployment is stored too, with a success perhaps one for those
        that came late; its inbox is reserved.
        """
        if not changes:
            return ()
        batch = Batch()
        successor = await self._successor(changes, now)
        record = self._ledger.deployment.record
        updates = self._ledger.enter(changes, now, batch)
        self._enter_progress(record.status, batch)
        if successor is None:
            await self._around.store.write(batch)
        else:
            # Behind the end of this deployment: the group has one unfinished deployment at any moment (CP-416).
            enter_new(batch, successor, is_retried=True)
            enter_use(batch, successor)
            await self._write_with(successor.deployment_id, batch)
        if self._ledger.has_events or successor is not None:
            self._around.bell.ring()
        self._bear_witness(record, changes, successor)
        return updates

    async def renew(self, spec: RolloutSpec) -> None:
        """Store another snapshot: of a deployment that has waited in a queue."""
        batch = Batch()
        key = {"deployment_id": self.deployment.deployment_id}
        batch.update(tables.deployments, key, {"spec": to_json(spec)}, expect=1)
        await self._around.store.write(batch)
        self._ledger.deployment = replace(self._ledger.deployment, spec=spec)

    def _bear_witness(
        self, before: RolloutRecord, changes: Sequence[Change], successor: Deployment | None
    ) -> None:
        deployment = self._ledger.deployment
        for decision in decisions_of(before, changes, deployment):
            self._around.witness.decision(decision)
        if successor is not None and successor.auto_update_root_id is not None:
            self._around.witness.decision(followed(deployment, successor))

    async def _write_with(self, successor_id: DeploymentId, batch: Batch) -> None:
        self._around.launcher.reserve(successor_id)
        try:
            await self._around.store.write(batch)
        except BaseException:
            self._around.launcher.release(successor_id)
            raise
        self.successor_id = successor_id

    async def _successor(self, changes: Sequence[Change], now: Instant) -> Deployment | None:
        """What follows on this deployment's end, if that is among the changes."""
        for change in changes:
            if isinstance(change, RollbackOrdered):
                rollback_id = await self._unused_id()
                self._ledger.deployment = replace(self._ledger.deployment, rollback_deployment_id=rollback_id)
                self._around.statistics.rollbacks += 1
                return rolling_back(self._ledger.deployment, change, rollback_id, now)
            if isinstance(change, RolloutChanged) and change.record.status is DeploymentStatus.SUCCEEDED:
                return await self._follow_on(now)
        return None

    async def _follow_on(self, now: Instant) -> Deployment | None:
        deployment = self._ledger.deployment
        if deployment.spec.creator not in _FOLLOWED:
            return None
        connected = self._around.post.links.connected()

        async def read() -> bool:
            root = deployment.auto_update_root_id or deployment.deployment_id
            async with self._around.store.reading() as connection:
                rounds = (await queries.follow_ons(connection, [root])).get(root, ())
                outdated = await groups.outdated(connection, deployment, connected)
            return is_due(deployment.spec, len(rounds), outdated)

        if not await self._around.store.insist(read):
            return None
        return follow_on(deployment, await self._unused_id(), now)

    async def _unused_id(self) -> DeploymentId:
        """Asked for here, since the batch overwrites rows of that id: it may be stored twice."""
        while True:
            drawn = self._around.ids.deployment_id()

            async def find(wanted: DeploymentId = drawn) -> Deployment | None:
                async with self._around.store.reading() as connection:
                    return await queries.get(connection, wanted)

            if await self._around.store.insist(find) is None:
                return drawn

    def _enter_progress(self, before: DeploymentStatus, batch: Batch) -> None:
        deployment = self._ledger.deployment
        triggering_id = deployment.rollback_triggering_deployment_id
        if triggering_id is None or self._triggering is None or deployment.record.status is before:
            return
        enter_progress(batch, triggering_id, self._triggering, deployment.record.status)
