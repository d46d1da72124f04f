"""ResourceService: tags of resources by ARN, and the search over all of them."""

from __future__ import annotations

import grpc.aio

from ferryman.v1 import resources_pb2 as pb
from ferryman.v1 import resources_pb2_grpc
from ferryman_coordinator.api.auth import Context
from ferryman_coordinator.api.mapping.values import page_from, tags_from, tags_to
from ferryman_coordinator.operations.resources import Resources
from ferryman_coordinator.operations.search import Search


class ResourceServicer(resources_pb2_grpc.ResourceServiceServicer):
    def __init__(self, resources: Resources, search: Search) -> None:
        self._resources = resources
        self._search = search

    def register(self, server: grpc.aio.Server) -> str:
        resources_pb2_grpc.add_ResourceServiceServicer_to_server(self, server)
        return "ferryman.v1.ResourceService"

    async def TagResource(self, request: pb.TagResourceRequest, context: Context) -> pb.TagResourceResponse:
        await self._resources.tag(request.resource_arn, tags_from(request.tags))
        return pb.TagResourceResponse()

    async def UntagResource(
        self, request: pb.UntagResourceRequest, context: Context
    ) -> pb.UntagResourceResponse:
        await self._resources.untag(request.resource_arn, request.tag_keys)
        return pb.UntagResourceResponse()

    async def ListTagsForResource(
        self, request: pb.ListTagsForResourceRequest, context: Context
    ) -> pb.ListTagsForResourceResponse:
        page = await self._resources.tags(request.resource_arn, page_from(request.page))
        return pb.ListTagsForResourceResponse(tags=tags_to(page.items), next_page_token=page.next_token)

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:
        found = await self._search.find(request.text, request.limit)
        return pb.SearchResponse(
            results=[
                pb.SearchResult(
                    kind=one.kind.value,
                    name=one.name,
                    application_name=one.application_name,
                    deployment_group_name=one.group_name,
                    arn=one.arn,
                )
                for one in found
            ]
        )
