"""What watchers of a deployment get to see. Each update says how something is now, so repeats do no harm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.lifecycle import complete
from ferryman_coordinator.core.messages import EventChanged, RolloutChanged, TargetChanged
from ferryman_coordinator.core.model import (
    EventRecord,
    InstanceId,
    Instant,
    RolloutSpec,
    TargetRecord,
)
from ferryman_coordinator.store.records import StoredChange


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """A target with all its lifecycle events, in order."""

    record: TargetRecord
    events: tuple[EventRecord, ...]
    # Of its instance, where somebody asked for targets; watchers do without.
    arn: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at once: the first update of a watch from the beginning, and of one that fell too far behind."""

    sequence: int
    at: Instant
    deployment: Deployment
    targets: tuple[TargetView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentUpdate:
    sequence: int
    at: Instant
    deployment: Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetUpdate:
    """The target's status has changed, or it is new. Its lifecycle events come as updates of their own, but for a
    Skipped one: all of its events are Skipped.
    """

    sequence: int
    at: Instant
    target: TargetRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class EventUpdate:
    sequence: int
    at: Instant
    instance_id: InstanceId
    event: EventRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptUpdate:
    """A script of the running lifecycle event has started. Not stored: it shares the sequence of what was before it."""

    sequence: int
    at: Instant
    instance_id: InstanceId
    lifecycle_event: str
    script_name: str


Update = Snapshot | DeploymentUpdate | TargetUpdate | EventUpdate | ScriptUpdate


def is_final(update: Update) -> bool:
    """Nothing follows it."""
    return isinstance(update, Snapshot | DeploymentUpdate) and update.deployment.record.status.is_terminal


def update_of(stored: StoredChange, deployment: Deployment) -> Update:
    """A stored change as watchers get it; `deployment` supplies what is the same in all of its updates."""
    sequence, at = stored.sequence, stored.at
    match stored.change:
        case RolloutChanged(record=rollout):
            return DeploymentUpdate(sequence=sequence, at=at, deployment=replace(deployment, record=rollout))
        case TargetChanged(record=target):
            return TargetUpdate(sequence=sequence, at=at, target=target)
        case EventChanged(instance_id=instance_id, record=event):
            return EventUpdate(sequence=sequence, at=at, instance_id=instance_id, event=event)


def view(
    spec: RolloutSpec, record: TargetRecord, stored: Mapping[InstanceId, Iterable[EventRecord]]
) -> TargetView:
    """One target with its events, those that are not stored filled in."""
    return TargetView(record=record, events=complete(spec.path, record, stored.get(record.instance_id, ())))
