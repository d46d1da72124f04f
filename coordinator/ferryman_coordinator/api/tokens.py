"""TokenService: join tokens, and the tokens that the coordinator keeps for GitHub."""

from __future__ import annotations

import grpc.aio

from ferryman.v1 import tokens_pb2 as pb
from ferryman.v1 import tokens_pb2_grpc
from ferryman_coordinator.api.auth import Context
from ferryman_coordinator.api.mapping.inventory import join_token_to
from ferryman_coordinator.api.mapping.values import page_from, tags_from
from ferryman_coordinator.core.inventory import TokenId
from ferryman_coordinator.operations.connections import Connections
from ferryman_coordinator.operations.join_tokens import JoinTokens


class TokenServicer(tokens_pb2_grpc.TokenServiceServicer):
    def __init__(self, join_tokens: JoinTokens, connections: Connections) -> None:
        self._join_tokens = join_tokens
        self._connections = connections

    def register(self, server: grpc.aio.Server) -> str:
        tokens_pb2_grpc.add_TokenServiceServicer_to_server(self, server)
        return "ferryman.v1.TokenService"

    async def CreateJoinToken(
        self, request: pb.CreateJoinTokenRequest, context: Context
    ) -> pb.CreateJoinTokenResponse:
        text, token = await self._join_tokens.create(
            uses=request.uses or 1,
            is_unlimited=request.unlimited_uses,
            ttl_seconds=request.ttl_seconds,
            instance_name=request.instance_name,
            tags=tags_from(request.tags),
            allowed_tags=tags_from(request.allowed_tags.patterns)
            if request.HasField("allowed_tags")
            else None,
            allowed_names=request.allowed_names,
            replaces_identity=request.replaces_identity,
        )
        return pb.CreateJoinTokenResponse(token=text, join_token=join_token_to(token))

    async def ListJoinTokens(
        self, request: pb.ListJoinTokensRequest, context: Context
    ) -> pb.ListJoinTokensResponse:
        page = await self._join_tokens.list(page_from(request.page))
        tokens = [join_token_to(token) for token in page.items]
        return pb.ListJoinTokensResponse(join_tokens=tokens, next_page_token=page.next_token)

    async def RevokeJoinToken(
        self, request: pb.RevokeJoinTokenRequest, context: Context
    ) -> pb.RevokeJoinTokenResponse:
        await self._join_tokens.revoke(TokenId(request.token_id))
        return pb.RevokeJoinTokenResponse()

    async def PutGitHubToken(
        self, request: pb.PutGitHubTokenRequest, context: Context
    ) -> pb.PutGitHubTokenResponse:
        stored = await self._connections.put_token(request.name, request.token)
        return pb.PutGitHubTokenResponse(
            git_hub_token=pb.GitHubToken(name=stored.name, stored_at=stored.stored_at)
        )

    async def ListGitHubTokens(
        self, request: pb.ListGitHubTokensRequest, context: Context
    ) -> pb.ListGitHubTokensResponse:
        tokens = self._connections.tokens()
        return pb.ListGitHubTokensResponse(
            git_hub_tokens=[pb.GitHubToken(name=one.name, stored_at=one.stored_at) for one in tokens]
        )

    async def RemoveGitHubToken(
        self, request: pb.RemoveGitHubTokenRequest, context: Context
    ) -> pb.RemoveGitHubTokenResponse:
        await self._connections.remove_token(request.name)
        return pb.RemoveGitHubTokenResponse()
