"""EventService: the stream of events, messages on their way, and notification rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc.aio

from ferryman.v1 import events_pb2 as pb
from ferryman.v1 import events_pb2_grpc
from ferryman_coordinator.api.auth import Context
from ferryman_coordinator.api.mapping import events as mapping
from ferryman_coordinator.api.mapping.values import page_from
from ferryman_coordinator.core.rules import DetailType, RuleStatus
from ferryman_coordinator.operations.deliveries import Deliveries
from ferryman_coordinator.operations.events import Events
from ferryman_coordinator.operations.notification_rules import NotificationRules


class EventServicer(events_pb2_grpc.EventServiceServicer):
    def __init__(self, events: Events, deliveries: Deliveries, rules: NotificationRules) -> None:
        self._events = events
        self._deliveries = deliveries
        self._rules = rules

    def register(self, server: grpc.aio.Server) -> str:
        events_pb2_grpc.add_EventServiceServicer_to_server(self, server)
        return "ferryman.v1.EventService"

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        async with aclosing(self._events.watch(mapping.watch_from(request))) as watched:
            async for one in watched:
                envelope = self._events.envelope(one.event) if one.event is not None else ""
                yield mapping.watched_to(one, envelope)

    async def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: Context
    ) -> pb.ListDeliveriesResponse:
        page = await self._deliveries.list(page_from(request.page), mapping.delivery_filter_from(request))
        found = [mapping.delivery_to(one) for one in page.items]
        return pb.ListDeliveriesResponse(deliveries=found, next_page_token=page.next_token)

    async def ReplayDeliveries(
        self, request: pb.ReplayDeliveriesRequest, context: Context
    ) -> pb.ReplayDeliveriesResponse:
        if request.all_dead:
            replayed = await self._deliveries.replay_dead(
                target=request.target,
                application_name=request.application_name,
                group_name=request.deployment_group_name,
            )
        else:
            replayed = await self._deliveries.replay(request.delivery_ids)
        return pb.ReplayDeliveriesResponse(replayed=replayed)

    async def TestTarget(self, request: pb.TestTargetRequest, context: Context) -> pb.TestTargetResponse:
        failure = await self._deliveries.test(request.target)
        return pb.TestTargetResponse(is_delivered=not failure, message=failure)

    async def CreateNotificationRule(
        self, request: pb.CreateNotificationRuleRequest, context: Context
    ) -> pb.CreateNotificationRuleResponse:
        rule = await self._rules.create(
            request.name,
            application_name=request.application_name,
            group_names=request.deployment_group_names,
            events=request.event_type_ids,
            targets=mapping.targets_from(request.targets),
            status=mapping.rule_statuses.word_or(request.status, RuleStatus.ENABLED),
            detail_type=mapping.detail_types.word_or(request.detail_type, DetailType.FULL),
        )
        return pb.CreateNotificationRuleResponse(
            rule=mapping.rule_to(rule), warnings=self._rules.warnings(rule)
        )

    async def GetNotificationRule(
        self, request: pb.GetNotificationRuleRequest, context: Context
    ) -> pb.GetNotificationRuleResponse:
        return pb.GetNotificationRuleResponse(rule=mapping.rule_to(await self._rules.get(request.rule)))

    async def ListNotificationRules(
        self, request: pb.ListNotificationRulesRequest, context: Context
    ) -> pb.ListNotificationRulesResponse:
        page = await self._rules.list(page_from(request.page), request.application_name)
        found = [mapping.rule_to(rule) for rule in page.items]
        return pb.ListNotificationRulesResponse(rules=found, next_page_token=page.next_token)

    async def UpdateNotificationRule(
        self, request: pb.UpdateNotificationRuleRequest, context: Context
    ) -> pb.UpdateNotificationRuleResponse:
        has_groups = request.HasField("deployment_groups")
        rule = await self._rules.update(
            request.rule,
            new_name=request.new_name if request.HasField("new_name") else None,
            group_names=request.deployment_groups.names if has_groups else None,
            events=request.event_type_ids,
            targets=mapping.targets_from(request.targets),
            status=mapping.rule_statuses.word(request.status) if request.status else None,
            detail_type=mapping.detail_types.word(request.detail_type) if request.detail_type else None,
        )
        return pb.UpdateNotificationRuleResponse(
            rule=mapping.rule_to(rule), warnings=self._rules.warnings(rule)
        )

    async def DeleteNotificationRule(
        self, request: pb.DeleteNotificationRuleRequest, context: Context
    ) -> pb.DeleteNotificationRuleResponse:
        await self._rules.delete(request.rule)
        return pb.DeleteNotificationRuleResponse()
