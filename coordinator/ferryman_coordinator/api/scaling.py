"""AutoScalingService: instances that launch and end, the answers that wait for us, and hooks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc.aio

from ferryman.v1 import scaling_pb2 as pb
from ferryman.v1 import scaling_pb2_grpc
from ferryman_coordinator.api.auth import Context
from ferryman_coordinator.api.mapping import scaling as mapping
from ferryman_coordinator.api.mapping.instances import instance_to
from ferryman_coordinator.api.mapping.values import page_from
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.operations.lifecycle import Lifecycle
from ferryman_coordinator.operations.scaling_hooks import ScalingHooks
from ferryman_coordinator.store.queries.scaling import ActionFilter


class AutoScalingServicer(scaling_pb2_grpc.AutoScalingServiceServicer):
    """`links` knows which instances are connected now."""

    def __init__(self, lifecycle: Lifecycle, hooks: ScalingHooks, links: Links) -> None:
        self._lifecycle = lifecycle
        self._hooks = hooks
        self._links = links

    def register(self, server: grpc.aio.Server) -> str:
        scaling_pb2_grpc.add_AutoScalingServiceServicer_to_server(self, server)
        return "ferryman.v1.AutoScalingService"

    async def NotifyTransition(
        self, request: pb.NotifyTransitionRequest, context: Context
    ) -> pb.NotifyTransitionResponse:
        action = await self._lifecycle.notify(mapping.notice_from(request))
        return pb.NotifyTransitionResponse(action=mapping.action_to(action))

    async def PutInService(
        self, request: pb.PutInServiceRequest, context: Context
    ) -> pb.PutInServiceResponse:
        found = await self._lifecycle.in_service(request.auto_scaling_group, request.instance, request.zone)
        return pb.PutInServiceResponse(instance=instance_to(found, self._links))

    async def PutTerminated(
        self, request: pb.PutTerminatedRequest, context: Context
    ) -> pb.PutTerminatedResponse:
        await self._lifecycle.terminated(request.auto_scaling_group, request.instance)
        return pb.PutTerminatedResponse()

    async def GetLifecycleAction(
        self, request: pb.GetLifecycleActionRequest, context: Context
    ) -> pb.GetLifecycleActionResponse:
        found = await self._lifecycle.get(request.auto_scaling_group, request.token)
        return pb.GetLifecycleActionResponse(action=mapping.action_to(found))

    async def WatchLifecycleAction(
        self, request: pb.WatchLifecycleActionRequest, context: Context
    ) -> AsyncIterator[pb.WatchLifecycleActionResponse]:
        async with aclosing(self._lifecycle.watch(request.auto_scaling_group, request.token)) as seen:
            async for action in seen:
                yield pb.WatchLifecycleActionResponse(action=mapping.action_to(action))

    async def ListLifecycleActions(
        self, request: pb.ListLifecycleActionsRequest, context: Context
    ) -> pb.ListLifecycleActionsResponse:
        wanted = ActionFilter(
            auto_scaling_group=request.auto_scaling_group,
            instance_id=request.instance_id,
            is_open=True if request.open_only else None,
        )
        page = await self._lifecycle.list(wanted, page_from(request.page))
        found = [mapping.action_to(one) for one in page.items]
        return pb.ListLifecycleActionsResponse(actions=found, next_page_token=page.next_token)

    async def CheckHooks(self, request: pb.CheckHooksRequest, context: Context) -> pb.CheckHooksResponse:
        theirs = list(request.hooks) if request.compare or request.hooks else None
        checked = await self._hooks.check(request.auto_scaling_group, theirs)
        return pb.CheckHooksResponse(
            hooks=[mapping.hook_to(one.group, one.hook) for one in checked.hooks],
            differences=[mapping.difference_to(one) for one in checked.differences],
        )

    async def ReinstallHooks(
        self, request: pb.ReinstallHooksRequest, context: Context
    ) -> pb.ReinstallHooksResponse:
        group = await self._hooks.reinstall(
            request.application_name, request.deployment_group_name, request.auto_scaling_group
        )
        return pb.ReinstallHooksResponse(hooks=mapping.hooks_to(group))

    async def LetLaunchesPass(
        self, request: pb.LetLaunchesPassRequest, context: Context
    ) -> pb.LetLaunchesPassResponse:
        group = await self._hooks.let_pass(
            request.application_name,
            request.deployment_group_name,
            request.auto_scaling_group,
            passes=request.passes,
        )
        return pb.LetLaunchesPassResponse(hooks=mapping.hooks_to(group))
