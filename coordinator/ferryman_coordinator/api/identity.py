"""IdentityService: users, roles, credentials, and what a caller may do."""

from __future__ import annotations

from dataclasses import dataclass

import grpc.aio

from ferryman.v1 import identity_pb2 as pb
from ferryman.v1 import identity_pb2_grpc
from ferryman_coordinator.api.auth import Context, current_admitted, current_caller, source_of
from ferryman_coordinator.api.mapping import identity as mapping
from ferryman_coordinator.api.mapping.values import page_from
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.users import UserKind
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.credentials import Credentials
from ferryman_coordinator.operations.roles import Roles
from ferryman_coordinator.operations.simulation import Simulation
from ferryman_coordinator.operations.users import KnownUser, Users


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityOperations:
    """What this service asks."""

    users: Users
    roles: Roles
    credentials: Credentials
    simulation: Simulation
    account: Account


class IdentityServicer(identity_pb2_grpc.IdentityServiceServicer):
    def __init__(self, operations: IdentityOperations) -> None:
        self._users = operations.users
        self._roles = operations.roles
        self._credentials = operations.credentials
        self._simulation = operations.simulation
        self._account = operations.account

    def register(self, server: grpc.aio.Server) -> str:
        identity_pb2_grpc.add_IdentityServiceServicer_to_server(self, server)
        return "ferryman.v1.IdentityService"

    # We ourselves

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Context) -> pb.WhoAmIResponse:
        admitted = current_admitted()
        caller = admitted.caller
        return pb.WhoAmIResponse(
            user=self._user(await self._users.get(caller.name)),
            credential_kind=mapping.credential_kinds.wire(caller.credential_kind),
            credential_id=caller.credential_id,
            expires_at=admitted.good_until,
            scope=mapping.scope_to(admitted.rights.scope),
            statements=[mapping.statement_to(one) for one in admitted.rights.statements],
        )

    async def CreateSession(
        self, request: pb.CreateSessionRequest, context: Context
    ) -> pb.CreateSessionResponse:
        admitted = current_admitted()
        made = await self._credentials.create_session(
            admitted.caller, admitted.good_until, admitted.rights.scope, ttl_seconds=request.ttl_seconds
        )
        return pb.CreateSessionResponse(
            access_key_id=made.access_key_id,
            secret_access_key=made.secret,
            session_token=made.session_token,
            expires_at=made.expires_at or 0,
        )

    async def CheckAccess(self, request: pb.CheckAccessRequest, context: Context) -> pb.CheckAccessResponse:
        answer = await self._simulation.check(
            current_admitted(),
            request.user,
            request.action,
            request.resource,
            source=request.source_address or source_of(context),
            at=Instant(request.at) if request.HasField("at") else None,
        )
        return pb.CheckAccessResponse(
            is_allowed=answer.verdict.is_allowed,
            cause=mapping.causes.wire(answer.verdict.cause),
            origin=answer.verdict.origin,
            explanation=answer.explanation,
        )

    # Users

    async def CreateUser(self, request: pb.CreateUserRequest, context: Context) -> pb.CreateUserResponse:
        kind = mapping.user_kinds.word_or(request.kind, UserKind.PERSON)
        user = await self._users.create(request.name, kind, request.description, current_caller().name)
        return pb.CreateUserResponse(user=mapping.user_to(user, (), self._account))

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        return pb.GetUserResponse(user=self._user(await self._users.get(request.name)))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        page = await self._users.list(page_from(request.page))
        users = [self._user(one) for one in page.items]
        return pb.ListUsersResponse(users=users, next_page_token=page.next_token)

    async def UpdateUser(self, request: pb.UpdateUserRequest, context: Context) -> pb.UpdateUserResponse:
        await self._users.update(
            request.name,
            description=request.description if request.HasField("description") else None,
            is_enabled=request.is_enabled if request.HasField("is_enabled") else None,
        )
        return pb.UpdateUserResponse(user=self._user(await self._users.get(request.name)))

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Context) -> pb.DeleteUserResponse:
        await self._users.delete(request.name)
        return pb.DeleteUserResponse()

    async def GrantRole(self, request: pb.GrantRoleRequest, context: Context) -> pb.GrantRoleResponse:
        known = await self._users.grant(
            request.user, request.role, list(request.resources), current_caller().name
        )
        return pb.GrantRoleResponse(user=self._user(known))

    async def RevokeRole(self, request: pb.RevokeRoleRequest, context: Context) -> pb.RevokeRoleResponse:
        return pb.RevokeRoleResponse(user=self._user(await self._users.revoke(request.user, request.role)))

    # Roles

    async def PutRole(self, request: pb.PutRoleRequest, context: Context) -> pb.PutRoleResponse:
        statements = mapping.statements_from(request.statements)
        role = await self._roles.put(request.name, request.description, statements)
        return pb.PutRoleResponse(role=mapping.role_to(role))

    async def GetRole(self, request: pb.GetRoleRequest, context: Context) -> pb.GetRoleResponse:
        return pb.GetRoleResponse(role=mapping.role_to(await self._roles.get(request.name)))

    async def ListRoles(self, request: pb.ListRolesRequest, context: Context) -> pb.ListRolesResponse:
        return pb.ListRolesResponse(roles=[mapping.role_to(one) for one in await self._roles.list()])

    async def DeleteRole(self, request: pb.DeleteRoleRequest, context: Context) -> pb.DeleteRoleResponse:
        await self._roles.delete(request.name)
        return pb.DeleteRoleResponse()

    # Access tokens

    async def CreateAccessToken(
        self, request: pb.CreateAccessTokenRequest, context: Context
    ) -> pb.CreateAccessTokenResponse:
        text, token = await self._credentials.create_token(
            request.user,
            name=request.description,
            ttl_seconds=request.ttl_seconds,
            scope=mapping.scope_from(request.scope),
        )
        return pb.CreateAccessTokenResponse(token=text, access_token=mapping.token_to(token, request.user))

    async def ListAccessTokens(
        self, request: pb.ListAccessTokensRequest, context: Context
    ) -> pb.ListAccessTokensResponse:
        page = await self._credentials.list_tokens(request.user, page_from(request.page))
        tokens = [mapping.token_to(one.token, one.user_name) for one in page.items]
        return pb.ListAccessTokensResponse(access_tokens=tokens, next_page_token=page.next_token)

    async def RevokeAccessToken(
        self, request: pb.RevokeAccessTokenRequest, context: Context
    ) -> pb.RevokeAccessTokenResponse:
        await self._credentials.revoke_token(request.token_id)
        return pb.RevokeAccessTokenResponse()

    # Access keys

    async def CreateAccessKey(
        self, request: pb.CreateAccessKeyRequest, context: Context
    ) -> pb.CreateAccessKeyResponse:
        made = await self._credentials.create_key(request.user, scope=mapping.scope_from(request.scope))
        return pb.CreateAccessKeyResponse(access_key_id=made.access_key_id, secret_access_key=made.secret)

    async def ListAccessKeys(
        self, request: pb.ListAccessKeysRequest, context: Context
    ) -> pb.ListAccessKeysResponse:
        keys = await self._credentials.list_keys(request.user)
        return pb.ListAccessKeysResponse(access_keys=mapping.keys_to(keys, request.user))

    async def UpdateAccessKey(
        self, request: pb.UpdateAccessKeyRequest, context: Context
    ) -> pb.UpdateAccessKeyResponse:
        status = mapping.key_statuses.word(request.status)
        await self._credentials.set_status(request.access_key_id, status)
        return pb.UpdateAccessKeyResponse()

    async def DeleteAccessKey(
        self, request: pb.DeleteAccessKeyRequest, context: Context
    ) -> pb.DeleteAccessKeyResponse:
        await self._credentials.delete_key(request.access_key_id)
        return pb.DeleteAccessKeyResponse()

    def _user(self, known: KnownUser) -> pb.User:
        return mapping.user_to(known.user, known.grants, self._account)
