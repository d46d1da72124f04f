"""Rows <-> values of events, deliveries and notification rules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from ferryman_coordinator.core.events import (
    DeploymentFacts,
    EventKind,
    EventState,
    PublishedEvent,
    StateEvent,
)
from ferryman_coordinator.core.group_options import Trigger
from ferryman_coordinator.core.model import DeploymentId, InstanceId, Instant
from ferryman_coordinator.core.rules import (
    DetailType,
    NotificationRule,
    RuleEvent,
    RuleStatus,
    RuleTarget,
)
from ferryman_coordinator.store.records import Values, to_json


def event_row(
    event: StateEvent,
    *,
    application_id: str,
    application_name: str,
    group_id: str,
    group_name: str,
    triggers: tuple[Trigger, ...],
) -> Values:
    """A row of `events`: for `Batch.add`, so that one that is there stays."""
    return {
        "event_id": event.event_id,
        "kind": event.kind.value,
        "state": event.state.value,
        "status": event.status,
        "deployment_id": event.deployment_id,
        "instance_id": event.instance_id,
        "application_id": application_id,
        "group_id": group_id,
        "application_name": application_name,
        "group_name": group_name,
        "at": event.at,
        "facts": None if event.facts is None else to_json(event.facts),
        "triggers": to_json(triggers) if triggers else None,
    }


def event_from(row: Any, instance_arn: str = "") -> PublishedEvent:
    return PublishedEvent(
        position=row.position,
        event=StateEvent(
            event_id=row.event_id,
            kind=EventKind(row.kind),
            state=EventState(row.state),
            status=row.status,
            deployment_id=DeploymentId(row.deployment_id),
            instance_id=InstanceId(row.instance_id),
            at=Instant(row.at),
            facts=None if row.facts is None else _facts.decode(row.facts),
        ),
        application_id=row.application_id,
        application_name=row.application_name,
        group_id=row.group_id,
        group_name=row.group_name,
        triggers=() if row.triggers is None else _triggers.decode(row.triggers),
        instance_arn=instance_arn,
    )


# Deliveries -----------------------------------------------------------------------------------------------------------


class DeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class DeliverySource(StrEnum):
    """What asked for it."""

    TRIGGER = "trigger"
    RULE = "rule"
    # Of an autoscaler that waits, or a group whose launches fail again and again.
    AUTOSCALING = "autoscaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on its way to one target. `target` is what a trigger or rule names: an ARN, or a sink."""

    delivery_id: str
    position: int
    event_id: str
    deployment_id: str
    application_name: str
    group_name: str
    source: DeliverySource
    source_name: str
    target: str
    event_type: str
    # JSON.
    body: str
    # One line for people.
    text: str
    state: DeliveryState = DeliveryState.WAITING
    attempts: int = 0
    created_at: Instant
    waiting_since: Instant
    next_at: Instant
    ended_at: Instant | None = None
    last_error: str = ""


def delivery_row(delivery: Delivery) -> Values:
    """A row of `deliveries`: for `Batch.add`."""
    return {
        "delivery_id": delivery.delivery_id,
        "position": delivery.position,
        "event_id": delivery.event_id,
        "deployment_id": delivery.deployment_id,
        "application_name": delivery.application_name,
        "group_name": delivery.group_name,
        "source": delivery.source.value,
        "source_name": delivery.source_name,
        "target": delivery.target,
        "event_type": delivery.event_type,
        "body": delivery.body,
        "text": delivery.text,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "created_at": delivery.created_at,
        "waiting_since": delivery.waiting_since,
        "next_at": delivery.next_at,
        "ended_at": delivery.ended_at,
        "last_error": delivery.last_error,
    }


def delivery_from(row: Any) -> Delivery:
    return Delivery(
        delivery_id=row.delivery_id,
        position=row.position,
        event_id=row.event_id,
        deployment_id=row.deployment_id,
        application_name=row.application_name,
        group_name=row.group_name,
        source=DeliverySource(row.source),
        source_name=row.source_name,
        target=row.target,
        event_type=row.event_type,
        body=row.body,
        text=row.text,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        created_at=row.created_at,
        waiting_since=row.waiting_since,
        next_at=row.next_at,
        ended_at=row.ended_at,
        last_error=row.last_error,
    )


# Rules ----------------------------------------------------------------------------------------------------------------


def rule_row(rule: NotificationRule) -> Values:
    """A row of `notification_rules`."""
    return {
        "rule_id": rule.rule_id,
        "name": rule.name,
        "application_id": rule.application_id or None,
        "group_ids": to_json(rule.group_ids),
        "events": to_json(rule.events),
        "targets": to_json(rule.targets),
        "status": rule.status.value,
        "detail_type": rule.detail_type.value,
        "created_at": rule.created_at,
        "updated_at": rule.updated_at,
    }


def rule_from(row: Any, application_name: str = "", group_names: tuple[str, ...] = ()) -> NotificationRule:
    """Without its ARNs, which depend on account and region."""
    return NotificationRule(
        rule_id=row.rule_id,
        arn="",
        name=row.name,
        application_id=row.application_id or "",
        application_name=application_name,
        group_ids=_texts.decode(row.group_ids),
        group_names=group_names,
        events=_rule_events.decode(row.events),
        targets=_targets.decode(row.targets),
        status=RuleStatus(row.status),
        detail_type=DetailType(row.detail_type),
        created_at=Instant(row.created_at),
        updated_at=Instant(row.updated_at),
    )


_facts = msgspec.json.Decoder(DeploymentFacts)
_triggers = msgspec.json.Decoder(tuple[Trigger, ...])
_texts = msgspec.json.Decoder(tuple[str, ...])
_rule_events = msgspec.json.Decoder(tuple[RuleEvent, ...])
_targets = msgspec.json.Decoder(tuple[RuleTarget, ...])
