"""Puts the events of a decision round into the batch that stores it (CP-375, CP-423).

Who hears of an event, and what it says, is worked out later, off the path of reports: here is one row for each.
"""

from __future__ import annotations

from collections.abc import Iterable

from ferryman_coordinator.core.events import (
    DeploymentFacts,
    EventKind,
    EventState,
    Happening,
    StateEvent,
    state_of,
    waiting_triggers,
)
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.messages import RolloutChanged
from ferryman_coordinator.core.model import (
    Creator,
    DeploymentStatus,
    InstanceId,
    Instant,
    RolloutRecord,
    TargetRecord,
)
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.event_ids import event_id
from ferryman_coordinator.store.event_records import event_row

_NOBODY = InstanceId("")


def enter_events(
    batch: Batch,
    deployment: Deployment,
    happened: Iterable[Happening],
    now: Instant,
) -> bool:
    """Add one row for each event; `deployment` is as after the round. Whether there were any."""
    is_any = False
    for one in happened:
        if isinstance(one, RolloutChanged):
            state = state_of(one.record.status)
            if state is not None:
                _enter(batch, deployment, _of_deployment(deployment, state, one.record, now))
                is_any = True
        else:
            _enter(batch, deployment, _of_target(deployment, *one))
            is_any = True
    return is_any


def enter_creation(batch: Batch, deployment: Deployment) -> None:
    """The events of a deployment that was just created: QUEUED, and that it is a rollback (CP-351)."""
    record = deployment.record
    states = []
    if (
        deployment.spec.creator is Creator.ROLLBACK
        or deployment.rollback_triggering_deployment_id is not None
    ):
        states.append(EventState.ROLLBACK)
    if record.status is DeploymentStatus.QUEUED:
        states.append(EventState.QUEUED)
    for state in states:
        _enter(batch, deployment, _of_deployment(deployment, state, record, record.created_at))


def _of_deployment(
    deployment: Deployment,
    state: EventState,
    record: RolloutRecord,
    now: Instant,
) -> StateEvent:
    error = record.error
    return StateEvent(
        event_id=event_id(deployment.deployment_id, "", state),
        kind=EventKind.DEPLOYMENT,
        state=state,
        status=record.status.value,
        deployment_id=deployment.deployment_id,
        instance_id=_NOBODY,
        at=now,
        facts=DeploymentFacts(
            created_at=record.created_at,
            completed_at=record.completed_at,
            overview={status.value: count for status, count in deployment.overview.items()},
            error_code=error.code if error else "",
            error_message=error.message if error else "",
            triggering_deployment_id=deployment.rollback_triggering_deployment_id or "",
            rollback_message=record.rollback_message if deployment.rollback_triggering_deployment_id else "",
        ),
    )


def _of_target(deployment: Deployment, record: TargetRecord, state: EventState) -> StateEvent:
    return StateEvent(
        event_id=event_id(deployment.deployment_id, record.instance_id, state, record.attempt),
        kind=EventKind.INSTANCE,
        state=state,
        status=record.status.value,
        deployment_id=deployment.deployment_id,
        instance_id=record.instance_id,
        at=record.updated_at,
    )


def _enter(batch: Batch, deployment: Deployment, event: StateEvent) -> None:
    triggers = deployment.spec.options.triggers
    row = event_row(
        event,
        application_id=deployment.application_id,
        application_name=deployment.application_name,
        group_id=deployment.group_id,
        group_name=deployment.group_name,
        triggers=waiting_triggers(triggers, event.kind, event.state) if triggers else (),
    )
    batch.add(tables.events, row)
