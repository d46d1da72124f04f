"""What one event says to those who hear of it: the deliveries of a page of events.

Everything that they say is worked out here, once: each attempt, and each replay, sends the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core import payloads
from ferryman_coordinator.core.events import (
    EventKind,
    EventState,
    PublishedEvent,
    trigger_type,
)
from ferryman_coordinator.core.group_options import Trigger
from ferryman_coordinator.core.lifecycle import complete, event_names
from ferryman_coordinator.core.model import DeploymentId, EventRecord, EventStatus, Instant, RolloutSpec
from ferryman_coordinator.core.payloads import Origin, Payload
from ferryman_coordinator.core.rules import DetailType, NotificationRule, rule_event
from ferryman_coordinator.notices.sinks import Sinks, no_sink
from ferryman_coordinator.store.event_ids import delivery_id
from ferryman_coordinator.store.event_records import Delivery, DeliverySource, DeliveryState
from ferryman_coordinator.store.queries import deployments


class Composer:
    """For one page of events, from one state of the database."""

    def __init__(
        self, connection: AsyncConnection, sinks: Sinks, origin: Origin, rules: Sequence[NotificationRule]
    ) -> None:
        self._connection = connection
        self._sinks = sinks
        self._origin = origin
        self._rules = rules
        self._specs: dict[DeploymentId, RolloutSpec | None] = {}

    async def compose(self, published: PublishedEvent, now: Instant) -> list[Delivery]:
        """One for each trigger and for each target of each rule that waits for the event."""
        rules = [rule for rule in self._rules if rule.wants(published)]
        if not rules and not published.triggers:
            return []
        events = await self._lifecycle_events(published)
        made = [self._of_trigger(published, trigger, events, now) for trigger in published.triggers]
        for rule in rules:
            made += self._of_rule(published, rule, events, now)
        return made

    def _of_trigger(
        self, published: PublishedEvent, trigger: Trigger, events: Sequence[EventRecord], now: Instant
    ) -> Delivery:
        if published.event.kind is EventKind.DEPLOYMENT:
            payload = payloads.deployment_payload(published, trigger.name, self._origin)
        else:
            payload = payloads.instance_payload(published, trigger.name, self._origin, events)
        if self._sinks.is_observed(trigger.target_arn):
            payload = payloads.observed(payload)
        return self._delivery(
            published,
            DeliverySource.TRIGGER,
            trigger.name,
            trigger.target_arn,
            str(trigger_type(published.event.kind, published.event.state)),
            payload,
            now,
        )

    def _of_rule(
        self, published: PublishedEvent, rule: NotificationRule, events: Sequence[EventRecord], now: Instant
    ) -> list[Delivery]:
        if rule.detail_type is DetailType.FULL:
            payload = payloads.full(published, self._origin, events)
        else:
            payload = payloads.envelope(published, self._origin)
        kind = str(rule_event(published.event.kind, published.event.state))
        return [
            self._delivery(published, DeliverySource.RULE, rule.name, target.address, kind, payload, now)
            for target in rule.targets
        ]

    def _delivery(
        self,
        published: PublishedEvent,
        source: DeliverySource,
        source_name: str,
        target: str,
        event_type: str,
        payload: Payload,
        now: Instant,
    ) -> Delivery:
        event = published.event
        is_known = self._sinks.name_of(target) is not None
        return Delivery(
            delivery_id=delivery_id(event.event_id, f"{source}/{source_name}", target),
            position=published.position,
            event_id=event.event_id,
            deployment_id=event.deployment_id,
            application_name=published.application_name,
            group_name=published.group_name,
            source=source,
            source_name=source_name,
            target=target,
            event_type=event_type,
            body=payloads.compact(payload),
            text=payloads.sentence(published),
            state=DeliveryState.WAITING if is_known else DeliveryState.DEAD,
            created_at=now,
            waiting_since=now,
            next_at=now,
            ended_at=None if is_known else now,
            last_error="" if is_known else no_sink(target),
        )

    async def _lifecycle_events(self, published: PublishedEvent) -> Sequence[EventRecord]:
        """Of the target, as they were when it got into that state; none when the deployment was deleted since."""
        event = published.event
        if event.kind is EventKind.DEPLOYMENT:
            return ()
        spec = await self._spec(event.deployment_id)
        if spec is None:
            return ()
        if event.state is EventState.START:
            # It may be further by now.
            return [EventRecord(name=name, status=EventStatus.PENDING) for name in event_names(spec.path)]
        record = await deployments.target(self._connection, event.deployment_id, event.instance_id)
        if record is None:
            return ()
        stored = await deployments.events_of(self._connection, event.deployment_id, [event.instance_id])
        return complete(spec.path, record, stored[event.instance_id])

    async def _spec(self, deployment_id: DeploymentId) -> RolloutSpec | None:
        if deployment_id not in self._specs:
            found = await deployments.get(self._connection, deployment_id)
            self._specs[deployment_id] = None if found is None else found.spec
        return self._specs[deployment_id]
