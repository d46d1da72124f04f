"""DeploymentService: create, plan, stop, read, and follow while it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc.aio

from ferryman.v1 import deployments_pb2 as pb
from ferryman.v1 import deployments_pb2_grpc
from ferryman_coordinator.api.auth import Context, current_caller
from ferryman_coordinator.api.mapping import deployments as mapping
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.api.mapping.group_options import alarms_from
from ferryman_coordinator.api.mapping.selections import selection_from
from ferryman_coordinator.api.mapping.values import location_from, location_to, page_from, rollback_from
from ferryman_coordinator.core.group_options import WaitType
from ferryman_coordinator.core.model import DeploymentId, FileExistsBehavior, Instant
from ferryman_coordinator.operations.deployment_options import DeploymentOptions
from ferryman_coordinator.operations.deployment_styles import TargetInstances
from ferryman_coordinator.operations.deployments import Deployments
from ferryman_coordinator.operations.script_logs import ScriptLogs
from ferryman_coordinator.operations.waits import end_wait


class DeploymentServicer(deployments_pb2_grpc.DeploymentServiceServicer):
    def __init__(self, deployments: Deployments, logs: ScriptLogs) -> None:
        self._deployments = deployments
        self._logs = logs

    def register(self, server: grpc.aio.Server) -> str:
        deployments_pb2_grpc.add_DeploymentServiceServicer_to_server(self, server)
        return "ferryman.v1.DeploymentService"

    async def CreateDeployment(
        self, request: pb.CreateDeploymentRequest, context: Context
    ) -> pb.CreateDeploymentResponse:
        created = await self._deployments.create(_options_from(request.options), request.request_key)
        return pb.CreateDeploymentResponse(deployment_id=created.deployment_id, warnings=created.warnings)

    async def PlanDeployment(
        self, request: pb.PlanDeploymentRequest, context: Context
    ) -> pb.PlanDeploymentResponse:
        planned = await self._deployments.plan(_options_from(request.options))
        plan = planned.plan
        targets = [
            mapping.planned_target_to(
                target,
                is_connected=target.member.instance_id in planned.connected,
                can_roll_back=planned.can_roll_back.get(target.member.instance_id),
            )
            for target in plan.targets
        ]
        return pb.PlanDeploymentResponse(
            targets=targets,
            counted_instances=plan.counted,
            minimum_healthy=plan.minimum,
            concurrency=plan.concurrency,
            reason=plan.reason,
            error=None if plan.error is None else mapping.error_to(plan.error),
            warnings=planned.warnings,
            deployment_config_name=planned.config_name,
            revision=location_to(planned.revision),
            quotas=[
                pb.QuotaUse(setting=one.setting, used=one.used, limit=one.limit) for one in planned.quotas
            ],
        )

    async def GetDeployment(
        self, request: pb.GetDeploymentRequest, context: Context
    ) -> pb.GetDeploymentResponse:
        found = await self._deployments.get(request.deployment_id)
        return pb.GetDeploymentResponse(deployment=mapping.deployment_to(found))

    async def BatchGetDeployments(
        self, request: pb.BatchGetDeploymentsRequest, context: Context
    ) -> pb.BatchGetDeploymentsResponse:
        found = await self._deployments.several(request.deployment_ids)
        return pb.BatchGetDeploymentsResponse(deployments=[mapping.deployment_to(one) for one in found])

    async def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: Context
    ) -> pb.ListDeploymentsResponse:
        page = await self._deployments.list(
            page_from(request.page),
            application_name=request.application_name,
            group_name=request.deployment_group_name,
            statuses=sorted(words.deployment_statuses.words(request.statuses)),
            created_from=Instant(request.created_from) if request.HasField("created_from") else None,
            created_until=Instant(request.created_until) if request.HasField("created_until") else None,
        )
        deployments = [mapping.deployment_to(one) for one in page.items]
        return pb.ListDeploymentsResponse(deployments=deployments, next_page_token=page.next_token)

    async def StopDeployment(
        self, request: pb.StopDeploymentRequest, context: Context
    ) -> pb.StopDeploymentResponse:
        has_choice = request.HasField("auto_rollback_enabled")
        answer = await self._deployments.stop(
            request.deployment_id,
            current_caller().name,
            request.auto_rollback_enabled if has_choice else None,
        )
        return pb.StopDeploymentResponse(is_stopped=answer.is_stopped, message=answer.message)

    async def ContinueDeployment(
        self, request: pb.ContinueDeploymentRequest, context: Context
    ) -> pb.ContinueDeploymentResponse:
        wait = words.wait_types.word_or(request.wait_type, WaitType.READY_WAIT)
        await end_wait(self._deployments, request.deployment_id, wait)
        return pb.ContinueDeploymentResponse()

    async def SkipWaitTimeForInstanceTermination(
        self, request: pb.SkipWaitTimeForInstanceTerminationRequest, context: Context
    ) -> pb.SkipWaitTimeForInstanceTerminationResponse:
        await end_wait(self._deployments, request.deployment_id, WaitType.TERMINATION_WAIT)
        return pb.SkipWaitTimeForInstanceTerminationResponse()

    async def GetDeploymentTarget(
        self, request: pb.GetDeploymentTargetRequest, context: Context
    ) -> pb.GetDeploymentTargetResponse:
        found = await self._deployments.target(request.deployment_id, request.instance)
        target = mapping.target_to(DeploymentId(request.deployment_id), found)
        return pb.GetDeploymentTargetResponse(target=target)

    async def ListDeploymentTargets(
        self, request: pb.ListDeploymentTargetsRequest, context: Context
    ) -> pb.ListDeploymentTargetsResponse:
        page = await self._deployments.targets(
            request.deployment_id,
            page_from(request.page),
            sorted(words.target_statuses.words(request.statuses)),
            sorted(words.instance_labels.words(request.labels)),
        )
        deployment_id = DeploymentId(request.deployment_id)
        targets = [mapping.target_to(deployment_id, one) for one in page.items]
        return pb.ListDeploymentTargetsResponse(targets=targets, next_page_token=page.next_token)

    async def BatchGetDeploymentTargets(
        self, request: pb.BatchGetDeploymentTargetsRequest, context: Context
    ) -> pb.BatchGetDeploymentTargetsResponse:
        found = await self._deployments.several_targets(request.deployment_id, request.instances)
        deployment_id = DeploymentId(request.deployment_id)
        return pb.BatchGetDeploymentTargetsResponse(
            targets=[mapping.target_to(deployment_id, one) for one in found.items],
            error_message=found.message,
        )

    async def WatchDeployment(
        self, request: pb.WatchDeploymentRequest, context: Context
    ) -> AsyncIterator[pb.WatchDeploymentResponse]:
        deployment_id = DeploymentId(request.deployment_id)
        async with aclosing(
            self._deployments.watch(request.deployment_id, request.after_sequence)
        ) as updates:
            async for update in updates:
                for message in mapping.updates_to(deployment_id, update):
                    yield message

    async def FollowLogs(
        self, request: pb.FollowLogsRequest, context: Context
    ) -> AsyncIterator[pb.FollowLogsResponse]:
        async with aclosing(self._deployments.follow_logs(request.deployment_id, request.instance)) as lines:
            async for line, instance_name in lines:
                yield mapping.log_line_to(line, instance_name)

    async def ReadScriptLog(
        self, request: pb.ReadScriptLogRequest, context: Context
    ) -> AsyncIterator[pb.ReadScriptLogResponse]:
        async with aclosing(self._logs.read(request.deployment_id, request.instance)) as pieces:
            async for content in pieces:
                yield pb.ReadScriptLogResponse(content=content)


def _options_from(options: pb.DeploymentOptions) -> DeploymentOptions:
    """Raises Invalid."""
    return DeploymentOptions(
        application_name=options.application_name,
        group_name=options.deployment_group_name,
        revision=location_from(options.revision),
        config_name=options.deployment_config_name,
        description=options.description,
        ignore_application_stop_failures=options.ignore_application_stop_failures,
        file_exists_behavior=words.file_exists.word_or(
            options.file_exists_behavior, FileExistsBehavior.DISALLOW
        ),
        adopt=options.adopt,
        update_outdated_instances_only=options.update_outdated_instances_only,
        auto_rollback=rollback_from(options.auto_rollback) if options.HasField("auto_rollback") else None,
        override_alarms=alarms_from(options.override_alarms) if options.HasField("override_alarms") else None,
        target_instances=_fleet_from(options.target_instances)
        if options.HasField("target_instances")
        else None,
        sequence=options.sequence,
    )


def _fleet_from(fleet: pb.TargetInstances) -> TargetInstances:
    """Raises Invalid."""
    return TargetInstances(
        selection=selection_from(fleet.selection), auto_scaling_groups=tuple(fleet.auto_scaling_groups)
    )
