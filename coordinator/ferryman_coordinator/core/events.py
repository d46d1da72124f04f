"""What the world is told of deployments: which state changes are events, each of them once (CP sections 18.1 and 19).

An event is derived from what changed, never drawn: the same change always has the same id, so storing it again does no
harm. What a consumer gets to read is in `payloads.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ferryman_coordinator.core.group_options import Trigger, TriggerEventType
from ferryman_coordinator.core.hot import hot_dataclass
from ferryman_coordinator.core.messages import Change, RolloutChanged, TargetChanged
from ferryman_coordinator.core.model import (
    DeploymentId,
    DeploymentStatus,
    InstanceId,
    Instant,
    TargetRecord,
    TargetStatus,
)


class EventKind(StrEnum):
    """CP-381."""

    DEPLOYMENT = "deployment"
    INSTANCE = "instance"


class EventState(StrEnum):
    """CP-382, CP-383. ROLLBACK is ours: a rollback was created (CP-351, CP-391)."""

    START = "START"
    QUEUED = "QUEUED"
    READY = "READY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    STOP = "STOP"
    ROLLBACK = "ROLLBACK"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFacts:
    """What a deployment's event says besides its state, as it was at that moment."""

    created_at: Instant
    completed_at: Instant | None = None
    # By the word of the target status.
    overview: Mapping[str, int]
    error_code: str = ""
    error_message: str = ""
    triggering_deployment_id: str = ""
    rollback_message: str = ""


@hot_dataclass(frozen=True, slots=True, kw_only=True)
class StateEvent:
    """One event, whoever will hear of it. `at` is when the deployment or target got into that state."""

    event_id: str
    kind: EventKind
    state: EventState
    status: str
    deployment_id: DeploymentId
    # Empty for an event of the deployment itself.
    instance_id: InstanceId
    at: Instant
    # None for an instance: its lifecycle events are read when somebody wants to know.
    facts: DeploymentFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedEvent:
    """A stored event with all that is known of its surroundings. `position` is its place among all events."""

    position: int
    event: StateEvent
    application_id: str
    application_name: str
    group_id: str
    group_name: str
    # Those of the group, as in the deployment's snapshot, that wait for this event.
    triggers: tuple[Trigger, ...] = ()
    # The instance's ARN, where there is an instance.
    instance_arn: str = ""


# Which changes are events ---------------------------------------------------------------------------------------------

_DEPLOYMENT_STATES = {
    DeploymentStatus.QUEUED: EventState.QUEUED,
    DeploymentStatus.IN_PROGRESS: EventState.START,
    DeploymentStatus.READY: EventState.READY,
    DeploymentStatus.SUCCEEDED: EventState.SUCCESS,
    DeploymentStatus.FAILED: EventState.FAILURE,
    DeploymentStatus.STOPPED: EventState.STOP,
}

_TARGET_STATES = {
    TargetStatus.IN_PROGRESS: EventState.START,
    TargetStatus.READY: EventState.READY,
    TargetStatus.SUCCEEDED: EventState.SUCCESS,
    TargetStatus.FAILED: EventState.FAILURE,
}

_BEFORE_START = (DeploymentStatus.CREATED, DeploymentStatus.QUEUED)


def state_of(status: DeploymentStatus) -> EventState | None:
    """The event that a deployment's coming into `status` is, if it is one."""
    return _DEPLOYMENT_STATES.get(status)


Happening = RolloutChanged | tuple[TargetRecord, EventState]
"""A change of status that is an event: of the deployment, or of a target."""


def happenings(
    changes: Iterable[Change],
    before: DeploymentStatus,
    statuses: Mapping[InstanceId, TargetStatus],
) -> Iterator[Happening]:
    """The events among a round's changes, in order; the deployment's end comes last.

    `before` and `statuses` are those of the deployment and its targets before the round. Changes that follow one
    another within the round are seen one by one, so that nothing is skipped.
    """
    seen: dict[InstanceId, TargetStatus] = {}
    end: RolloutChanged | None = None
    for change in changes:
        if isinstance(change, TargetChanged):
            record = change.record
            known = seen.get(record.instance_id) or statuses.get(record.instance_id)
            if known is record.status:
                continue
            seen[record.instance_id] = record.status
            state = _TARGET_STATES.get(record.status)
            if state is not None:
                yield record, state
        elif isinstance(change, RolloutChanged):
            status = change.record.status
            if status is before:
                continue
            is_event = status in _DEPLOYMENT_STATES
            if status is DeploymentStatus.IN_PROGRESS and before not in _BEFORE_START:
                # Back from Baking or Ready: it has started once.
                is_event = False
            before = status
            if status.is_terminal:
                end = change
            elif is_event:
                yield change
    if end is not None:
        yield end


# Who waits for what ---------------------------------------------------------------------------------------------------

_TRIGGER_TYPES = {
    (EventKind.DEPLOYMENT, EventState.START): TriggerEventType.DEPLOYMENT_START,
    (EventKind.DEPLOYMENT, EventState.SUCCESS): TriggerEventType.DEPLOYMENT_SUCCESS,
    (EventKind.DEPLOYMENT, EventState.FAILURE): TriggerEventType.DEPLOYMENT_FAILURE,
    (EventKind.DEPLOYMENT, EventState.STOP): TriggerEventType.DEPLOYMENT_STOP,
    (EventKind.DEPLOYMENT, EventState.ROLLBACK): TriggerEventType.DEPLOYMENT_ROLLBACK,
    (EventKind.DEPLOYMENT, EventState.READY): TriggerEventType.DEPLOYMENT_READY,
    (EventKind.INSTANCE, EventState.START): TriggerEventType.INSTANCE_START,
    (EventKind.INSTANCE, EventState.SUCCESS): TriggerEventType.INSTANCE_SUCCESS,
    (EventKind.INSTANCE, EventState.FAILURE): TriggerEventType.INSTANCE_FAILURE,
    (EventKind.INSTANCE, EventState.READY): TriggerEventType.INSTANCE_READY,
}


def trigger_type(kind: EventKind, state: EventState) -> TriggerEventType | None:
    """What triggers call that event (CP section 18.1); None for one that they do not know."""
    return _TRIGGER_TYPES.get((kind, state))


def waiting_triggers(triggers: Iterable[Trigger], kind: EventKind, state: EventState) -> tuple[Trigger, ...]:
    """Those that wait for the event (CP-369)."""
    wanted = trigger_type(kind, state)
    return tuple(trigger for trigger in triggers if wanted in trigger.events)
