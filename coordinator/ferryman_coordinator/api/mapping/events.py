"""Events, deliveries and notification rules on the wire."""

from __future__ import annotations

from collections.abc import Iterable

from ferryman.v1 import events_pb2 as pb
from ferryman_coordinator.api.mapping.words import Words
from ferryman_coordinator.core.events import EventKind, EventState, PublishedEvent
from ferryman_coordinator.core.rules import (
    DetailType,
    NotificationRule,
    RuleStatus,
    RuleTarget,
    RuleTargetType,
)
from ferryman_coordinator.operations.events import EventWatch, WatchedEvent
from ferryman_coordinator.store.event_records import Delivery, DeliverySource, DeliveryState
from ferryman_coordinator.store.queries.events import DeliveryFilter, EventFilter

_REFUSAL = "InvalidInputException"

kinds = Words(EventKind, pb.EventKind, "EVENT_KIND", _REFUSAL)
states = Words(EventState, pb.EventState, "EVENT_STATE", _REFUSAL)
delivery_states = Words(DeliveryState, pb.DeliveryState, "DELIVERY_STATE", _REFUSAL)
delivery_sources = Words(DeliverySource, pb.DeliverySource, "DELIVERY_SOURCE", _REFUSAL)
rule_statuses = Words(RuleStatus, pb.RuleStatus, "RULE_STATUS", _REFUSAL)
detail_types = Words(DetailType, pb.RuleDetailType, "RULE_DETAIL_TYPE", _REFUSAL)
target_types = Words(RuleTargetType, pb.RuleTargetType, "RULE_TARGET_TYPE", _REFUSAL)


def watch_from(request: pb.WatchEventsRequest) -> EventWatch:
    """Raises Invalid."""
    return EventWatch(
        after_position=request.after_position if request.HasField("after_position") else None,
        last=request.last,
        follow=request.follow,
        wanted=EventFilter(
            kind=kinds.word(request.kind) if request.kind else None,
            states=tuple(sorted(states.words(request.states))),
            application_name=request.application_name,
            group_name=request.deployment_group_name,
            deployment_id=request.deployment_id,
        ),
    )


def watched_to(watched: WatchedEvent, envelope: str) -> pb.WatchEventsResponse:
    """`envelope`: of its event, as JSON."""
    if watched.event is None:
        return pb.WatchEventsResponse(position=watched.position)
    return pb.WatchEventsResponse(position=watched.position, event=_event_to(watched.event, envelope))


def _event_to(published: PublishedEvent, envelope: str) -> pb.StateEvent:
    event, facts = published.event, published.event.facts
    return pb.StateEvent(
        event_id=event.event_id,
        kind=kinds.wire(event.kind),
        state=states.wire(event.state),
        status=event.status,
        at=event.at,
        deployment_id=event.deployment_id,
        application_name=published.application_name,
        deployment_group_name=published.group_name,
        deployment_group_id=published.group_id,
        instance_id=event.instance_id,
        instance_arn=published.instance_arn,
        error_code=facts.error_code if facts else "",
        error_message=facts.error_message if facts else "",
        rollback_triggering_deployment_id=facts.triggering_deployment_id if facts else "",
        envelope=envelope,
    )


# Deliveries -----------------------------------------------------------------------------------------------------------


def delivery_filter_from(request: pb.ListDeliveriesRequest) -> DeliveryFilter:
    """Raises Invalid."""
    return DeliveryFilter(
        states=tuple(sorted(delivery_states.words(request.states))),
        target=request.target,
        application_name=request.application_name,
        group_name=request.deployment_group_name,
        deployment_id=request.deployment_id,
    )


def delivery_to(delivery: Delivery) -> pb.Delivery:
    is_waiting = delivery.state is DeliveryState.WAITING
    return pb.Delivery(
        delivery_id=delivery.delivery_id,
        position=delivery.position,
        event_id=delivery.event_id,
        deployment_id=delivery.deployment_id,
        application_name=delivery.application_name,
        deployment_group_name=delivery.group_name,
        source=delivery_sources.wire(delivery.source),
        source_name=delivery.source_name,
        target=delivery.target,
        event_type=delivery.event_type,
        state=delivery_states.wire(delivery.state),
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        next_attempt_at=delivery.next_at if is_waiting else None,
        ended_at=delivery.ended_at,
        last_error=delivery.last_error,
        body=delivery.body,
    )


# Rules ----------------------------------------------------------------------------------------------------------------


def targets_from(targets: Iterable[pb.RuleTarget]) -> list[RuleTarget]:
    """The type follows from the address; raises Invalid for one that there is not."""
    return [
        RuleTarget(
            type=target_types.word(target.type) if target.type else RuleTargetType.SINK,
            address=target.address,
        )
        for target in targets
    ]


def rule_to(rule: NotificationRule) -> pb.NotificationRule:
    return pb.NotificationRule(
        rule_id=rule.rule_id,
        arn=rule.arn,
        name=rule.name,
        application_name=rule.application_name,
        resource_arn=rule.resource_arn,
        deployment_group_names=rule.group_names,
        event_type_ids=[event.value for event in rule.events],
        targets=[
            pb.RuleTarget(type=target_types.wire(target.type), address=target.address)
            for target in rule.targets
        ],
        status=rule_statuses.wire(rule.status),
        detail_type=detail_types.wire(rule.detail_type),
        created_at=rule.created_at,
        updated_at=rule.updated_at,
    )
