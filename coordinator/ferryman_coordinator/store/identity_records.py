"""Rows <-> values of users, roles and credentials."""

from __future__ import annotations

from typing import Any

import msgspec

from ferryman_coordinator.core.inventory import TokenId
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.rights import Scope, Statement
from ferryman_coordinator.core.users import (
    AccessKey,
    AccessToken,
    CredentialKind,
    Grant,
    KeyStatus,
    Role,
    User,
    UserId,
    UserKind,
)
from ferryman_coordinator.store.records import Values, to_json

ROOT_GRANT = to_json(("*",))
"""As a grant without limits is stored."""


def user_row(user: User) -> Values:
    return {
        "user_id": user.user_id,
        "name": user.name,
        "kind": user.kind.value,
        "description": user.description,
        "created_at": user.created_at,
        "created_by": user.created_by,
        "disabled_at": user.disabled_at,
    }


def user_from(row: Any) -> User:
    return User(
        user_id=UserId(row.user_id),
        name=row.name,
        kind=UserKind(row.kind),
        description=row.description,
        created_at=Instant(row.created_at),
        created_by=row.created_by,
        disabled_at=row.disabled_at,
    )


def grant_row(user_id: UserId, grant: Grant) -> Values:
    return {
        "user_id": user_id,
        "role_name": grant.role_name,
        "resources": to_json(grant.resources),
        "created_at": grant.created_at,
        "created_by": grant.created_by,
    }


def grant_from(row: Any) -> Grant:
    return Grant(
        role_name=row.role_name,
        resources=msgspec.json.decode(row.resources, type=tuple[str, ...]),
        created_at=Instant(row.created_at),
        created_by=row.created_by,
    )


def role_row(role: Role) -> Values:
    return {
        "name": role.name,
        "description": role.description,
        "statements": to_json(role.statements),
        "created_at": role.created_at,
        "updated_at": role.updated_at,
    }


def role_from(row: Any) -> Role:
    return Role(
        name=row.name,
        description=row.description,
        statements=msgspec.json.decode(row.statements, type=tuple[Statement, ...]),
        created_at=Instant(row.created_at),
        updated_at=Instant(row.updated_at),
    )


def token_row(token: AccessToken, digest: str) -> Values:
    return {
        "token_id": token.token_id,
        "digest": digest,
        "user_id": token.user_id,
        "kind": token.kind.value,
        "name": token.name,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "scope": to_json(token.scope),
        "parent_id": token.parent_id,
    }


def token_from(row: Any) -> AccessToken:
    return AccessToken(
        token_id=TokenId(row.token_id),
        user_id=UserId(row.user_id),
        kind=CredentialKind(row.kind),
        name=row.name,
        created_at=Instant(row.created_at),
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        scope=msgspec.json.decode(row.scope, type=Scope),
        parent_id=row.parent_id,
        last_used_at=row.last_used_at,
        last_used_from=row.last_used_from,
    )


def key_row(key: AccessKey) -> Values:
    return {
        "access_key_id": key.access_key_id,
        "user_id": key.user_id,
        "sealed_secret": key.sealed_secret,
        "status": key.status.value,
        "token_id": key.token_id,
        "scope": to_json(key.scope),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "last_used_from": key.last_used_from,
    }


def key_from(row: Any) -> AccessKey:
    return AccessKey(
        access_key_id=row.access_key_id,
        user_id=UserId(row.user_id),
        sealed_secret=row.sealed_secret,
        status=KeyStatus(row.status),
        token_id=row.token_id,
        scope=msgspec.json.decode(row.scope, type=Scope),
        created_at=Instant(row.created_at),
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        last_used_from=row.last_used_from,
    )
