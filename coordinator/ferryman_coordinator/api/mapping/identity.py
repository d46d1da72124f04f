"""Users, roles, statements and credentials: wire <-> values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ferryman.v1 import identity_pb2 as pb
from ferryman_coordinator.api.mapping.words import Words
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.resources import EVERYTHING, USER, in_account
from ferryman_coordinator.core.rights import UNLIMITED, Cause, Conditions, Effect, Scope, Statement
from ferryman_coordinator.core.users import (
    AccessKey,
    AccessToken,
    CredentialKind,
    Grant,
    KeyStatus,
    Role,
    User,
    UserKind,
)
from ferryman_coordinator.operations.arns import Account

user_kinds = Words(UserKind, pb.UserKind, "USER_KIND", "InvalidUserKindException")
credential_kinds = Words(
    CredentialKind, pb.CredentialKind, "CREDENTIAL_KIND", "InvalidCredentialKindException"
)
effects = Words(Effect, pb.Effect, "EFFECT", "InvalidRoleException")
key_statuses = Words(KeyStatus, pb.KeyStatus, "KEY_STATUS", "InvalidKeyStatusException")
causes = Words(Cause, pb.AccessCause, "ACCESS_CAUSE", "InvalidInputException")


def user_to(user: User, grants: Iterable[Grant], account: Account) -> pb.User:
    return pb.User(
        user_id=user.user_id,
        name=user.name,
        arn=in_account(USER + user.name, account.region, account.account_id),
        kind=user_kinds.wire(user.kind),
        description=user.description,
        created_at=user.created_at,
        created_by=user.created_by,
        disabled_at=user.disabled_at,
        grants=[
            pb.Grant(
                role=grant.role_name,
                resources=grant.resources,
                created_at=grant.created_at,
                created_by=grant.created_by,
            )
            for grant in grants
        ],
    )


def role_to(role: Role) -> pb.Role:
    return pb.Role(
        name=role.name,
        description=role.description,
        statements=[statement_to(one) for one in role.statements],
        is_ready_made=role.is_ready_made,
        created_at=role.created_at,
        updated_at=role.updated_at,
    )


def statement_to(statement: Statement) -> pb.Statement:
    within = () if EVERYTHING in statement.within else statement.within
    return pb.Statement(
        effect=effects.wire(statement.effect),
        actions=statement.actions,
        resources=statement.resources,
        conditions=_conditions_to(statement.conditions),
        origin=statement.origin,
        within=within,
    )


def statements_from(statements: Iterable[pb.Statement]) -> list[Statement]:
    """Raises Invalid. What is unspecified allows."""
    return [
        Statement(
            effect=effects.word_or(one.effect, Effect.ALLOW),
            actions=tuple(one.actions),
            resources=tuple(one.resources) or (EVERYTHING,),
            conditions=_conditions_from(one.conditions),
        )
        for one in statements
    ]


def scope_to(scope: Scope) -> pb.Scope | None:
    return None if scope.is_everything else pb.Scope(actions=scope.actions, resources=scope.resources)


def scope_from(scope: pb.Scope) -> Scope:
    return Scope(
        actions=tuple(scope.actions) or UNLIMITED.actions,
        resources=tuple(scope.resources) or UNLIMITED.resources,
    )


def token_to(token: AccessToken, user_name: str) -> pb.AccessToken:
    return pb.AccessToken(
        token_id=token.token_id,
        user=user_name,
        kind=credential_kinds.wire(token.kind),
        description=token.name,
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        scope=scope_to(token.scope),
        last_used_at=token.last_used_at,
        last_used_from=token.last_used_from,
    )


def keys_to(keys: Sequence[AccessKey], user_name: str) -> list[pb.AccessKey]:
    return [
        pb.AccessKey(
            access_key_id=key.access_key_id,
            user=user_name,
            status=key_statuses.wire(key.status),
            created_at=key.created_at,
            scope=scope_to(key.scope),
            last_used_at=key.last_used_at,
            last_used_from=key.last_used_from,
        )
        for key in keys
    ]


def _conditions_to(conditions: Conditions) -> pb.Conditions | None:
    if not conditions:
        return None
    daily = conditions.daily
    return pb.Conditions(
        source_addresses=conditions.sources,
        not_before=conditions.not_before,
        not_after=conditions.not_after,
        daily_hours=None if daily is None else pb.DailyHours(first_minute=daily[0], last_minute=daily[1]),
        secure_transport=conditions.tls,
    )


def _conditions_from(conditions: pb.Conditions) -> Conditions:
    hours = conditions.daily_hours
    return Conditions(
        sources=tuple(conditions.source_addresses),
        not_before=Instant(conditions.not_before) if conditions.HasField("not_before") else None,
        not_after=Instant(conditions.not_after) if conditions.HasField("not_after") else None,
        daily=(hours.first_minute, hours.last_minute) if conditions.HasField("daily_hours") else None,
        tls=conditions.secure_transport if conditions.HasField("secure_transport") else None,
    )
