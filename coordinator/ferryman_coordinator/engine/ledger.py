"""What the changes of a decision round mean in the database, and what watchers see of them.

Within a round only the newest of several changes of one thing is kept. A target's record changes with each report,
most of it of no interest to people: it enters the feed when its status has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ferryman_coordinator.core.events import happenings
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.messages import (
    Change,
    EventChanged,
    RollbackOrdered,
    RolloutChanged,
    TargetChanged,
)
from ferryman_coordinator.core.model import (
    Creator,
    DeploymentId,
    DeploymentStatus,
    Instant,
    TargetRecord,
    TargetStatus,
)
from ferryman_coordinator.engine.outbox import enter_events
from ferryman_coordinator.engine.updates import Update, update_of
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.records import (
    FeedChange,
    StoredChange,
    change_row,
    event_row,
    installation_row,
    rollout_values,
    succeeded_values,
    target_row,
)

_ATTEMPTED = (TargetStatus.SUCCEEDED, TargetStatus.FAILED)


class Ledger:
    """Of one live deployment. Knows its newest sequence and status of each target, so it is asked once a round."""

    def __init__(self, deployment: Deployment, sequence: int, targets: Iterable[TargetRecord] = ()) -> None:
        """`deployment` as stored; `sequence` of its newest feed entry."""
        self.deployment = deployment
        self.sequence = sequence
        # Whether the last round was one that the world is told of.
        self.has_events = False
        self._statuses = {target.instance_id: target.status for target in targets}
        self._counts = dict.fromkeys(TargetStatus, 0)
        for status in self._statuses.values():
            self._counts[status] += 1

    @property
    def overview(self) -> Mapping[TargetStatus, int]:
        """Targets by status, without zeros (CP-238)."""
        return {status: count for status, count in self._counts.items() if count}

    def enter(self, changes: Sequence[Change], now: Instant, batch: Batch) -> list[Update]:
        """Put the round's changes into `batch`; returns what to tell watchers once that is committed.

        A RollbackOrdered is left to the caller, which must set `deployment.rollback_deployment_id` before.
        """
        entries = []
        # All of them, before the newest ones become what is known here.
        happened = list(happenings(changes, self.deployment.record.status, self._statuses))
        for change in _newest(changes):
            if (seen := self._enter(change, batch)) is not None:
                self.sequence += 1
                stored = StoredChange(sequence=self.sequence, at=now, change=seen)
                # Put, not inserted: a batch whose commit was lost sight of is stored again.
                batch.put(tables.changes, change_row(self._id, stored))
                entries.append(stored)
        # With the counts as they are after the whole round.
        self.deployment = replace(self.deployment, overview=self.overview)
        self.has_events = enter_events(batch, self.deployment, happened, now)
        return [update_of(stored, self.deployment) for stored in entries]

    @property
    def _id(self) -> DeploymentId:
        return self.deployment.spec.deployment_id

    def _enter(self, change: FeedChange, batch: Batch) -> FeedChange | None:
        match change:
            case TargetChanged(record=record):
                batch.put(tables.targets, target_row(self._id, record))
                return change if self._count(record, batch) else None
            case EventChanged():
                batch.put(tables.target_events, event_row(self._id, change.instance_id, change.record))
                return change
            case RolloutChanged():
                return self._enter_rollout(change, batch)

    def _count(self, record: TargetRecord, batch: Batch) -> bool:
        """Whether the target's status is another than before."""
        before = self._statuses.get(record.instance_id)
        if before is record.status:
            return False
        if before is not None:
            self._counts[before] -= 1
        self._counts[record.status] += 1
        self._statuses[record.instance_id] = record.status
        # Who only stops what an instance has, to end it, installs nothing (CP-406).
        is_end = self.deployment.spec.creator is Creator.AUTO_SCALING_TERMINATION
        if record.status in _ATTEMPTED and not is_end:
            batch.put(tables.installations, self._installation(record))
        return True

    def _installation(self, record: TargetRecord) -> dict[str, object]:
        return installation_row(
            self.deployment.group_id,
            record.instance_id,
            outcome=record.status,
            revision=self.deployment.spec.revision,
            deployment_id=self._id,
            at=record.completed_at or record.updated_at,
        )

    def _enter_rollout(self, change: RolloutChanged, batch: Batch) -> RolloutChanged:
        """One row must be there: whoever deletes an application deletes its deployments."""
        record = change.record
        self.deployment = replace(self.deployment, record=record)
        values = rollout_values(record)
        if self.deployment.rollback_deployment_id is not None:
            values["rollback_deployment_id"] = self.deployment.rollback_deployment_id
        batch.update(tables.deployments, {"deployment_id": self._id}, values, expect=1)
        if record.status is DeploymentStatus.SUCCEEDED and self.deployment.spec.creator.is_fleet:
            batch.update(
                tables.deployment_groups,
                {"group_id": self.deployment.group_id},
                succeeded_values(self._id, self.deployment.spec.revision),
            )
        return change


def _newest(changes: Iterable[Change]) -> list[FeedChange]:
    """The newest change of each thing, in the order of their arrival; a final status comes last of all."""
    newest: dict[tuple[str, str, str], FeedChange] = {}
    for change in changes:
        if not isinstance(change, RollbackOrdered):
            key = _key(change)
            newest.pop(key, None)
            newest[key] = change
    return sorted(newest.values(), key=_is_final)


def _key(change: FeedChange) -> tuple[str, str, str]:
    match change:
        case TargetChanged(record=record):
            return ("target", record.instance_id, "")
        case EventChanged(instance_id=instance_id, record=event):
            return ("event", instance_id, event.name)
        case RolloutChanged():
            return ("deployment", "", "")


def _is_final(change: FeedChange) -> bool:
    return isinstance(change, RolloutChanged) and change.record.status.is_terminal
