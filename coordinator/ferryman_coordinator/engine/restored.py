"""What becomes of the deployments that were under way when a backup was taken, before a coordinator runs on it again.

Agents have gone on since, and have forgotten what they finished: a command that is sent again would run again. So what
was under way ends here, as Failed (INTERNAL_ERROR), with the facts for those who watch, list and are notified. An agent
that is still at one of them hears at its next connection that it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ferryman_coordinator.core.messages import Change, RolloutChanged
from ferryman_coordinator.core.model import DeploymentId, Instant
from ferryman_coordinator.engine.abandon import lose_sight
from ferryman_coordinator.engine.ledger import Ledger
from ferryman_coordinator.engine.loading import Loaded, load
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.store import Store

NOT_ROLLED_BACK = "Not rolled back: what the instances have since the backup is not known."


async def end_unfinished(store: Store, why: str, now: Instant) -> Sequence[DeploymentId]:
    """Returns those that it ended. `why` completes "the coordinator …". Raises StoreUnavailable."""
    async with store.reading() as connection:
        unfinished = await queries.live(connection)
    for deployment_id in unfinished:
        async with store.reading() as connection:
            loaded = await load(connection, deployment_id)
        if loaded is not None:
            await _end(store, loaded, why, now)
    return unfinished


async def _end(store: Store, loaded: Loaded, why: str, now: Instant) -> None:
    batch = Batch()
    ledger = Ledger(loaded.deployment, loaded.rollout.sequence, loaded.rollout.targets)
    changes = [_without_rollback(change) for change in lose_sight(loaded.rollout, why, now)]
    ledger.enter(changes, now, batch)
    await store.write(batch)


def _without_rollback(change: Change) -> Change:
    if not isinstance(change, RolloutChanged):
        return change
    return RolloutChanged(record=replace(change.record, rollback_message=NOT_ROLLED_BACK))
