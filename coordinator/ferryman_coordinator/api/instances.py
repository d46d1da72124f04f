"""InstanceService: registration by name, many instances at once, and what was deployed to one."""

from __future__ import annotations

import grpc.aio

from ferryman.v1 import instances_pb2 as pb
from ferryman.v1 import instances_pb2_grpc
from ferryman_coordinator.api.auth import Context
from ferryman_coordinator.api.mapping.instances import history_to, instance_to
from ferryman_coordinator.api.mapping.values import page_from, tags_from
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.operations.instances import Instances
from ferryman_coordinator.operations.registration import Registration


class InstanceServicer(instances_pb2_grpc.InstanceServiceServicer):
    """`links` knows which instances are connected now."""

    def __init__(self, instances: Instances, registration: Registration, links: Links) -> None:
        self._instances = instances
        self._registration = registration
        self._links = links

    def register(self, server: grpc.aio.Server) -> str:
        instances_pb2_grpc.add_InstanceServiceServicer_to_server(self, server)
        return "ferryman.v1.InstanceService"

    async def RegisterInstance(
        self, request: pb.RegisterInstanceRequest, context: Context
    ) -> pb.RegisterInstanceResponse:
        registered = await self._registration.register(
            request.instance_name,
            iam_user_arn=request.iam_user_arn,
            iam_session_arn=request.iam_session_arn,
            by_certificate=request.by_certificate,
        )
        return pb.RegisterInstanceResponse(instance=instance_to(registered, self._links))

    async def BatchGetInstances(
        self, request: pb.BatchGetInstancesRequest, context: Context
    ) -> pb.BatchGetInstancesResponse:
        found = await self._instances.several(request.instances)
        known = [instance_to(one.instance, self._links, one.health) for one in found]
        return pb.BatchGetInstancesResponse(instances=known)

    async def TagInstances(
        self, request: pb.TagInstancesRequest, context: Context
    ) -> pb.TagInstancesResponse:
        tagged = await self._instances.tag_several(
            request.instances, add=tags_from(request.add), remove=tags_from(request.remove)
        )
        return pb.TagInstancesResponse(instances=[instance_to(one, self._links) for one in tagged])

    async def ListInstanceDeployments(
        self, request: pb.ListInstanceDeploymentsRequest, context: Context
    ) -> pb.ListInstanceDeploymentsResponse:
        page = await self._instances.deployments(request.instance, page_from(request.page))
        found = [history_to(one) for one in page.items]
        return pb.ListInstanceDeploymentsResponse(deployments=found, next_page_token=page.next_token)
