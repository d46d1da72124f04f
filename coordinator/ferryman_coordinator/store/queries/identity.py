"""Reads of users, roles, grants and credentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.roles import RoleName
from ferryman_coordinator.core.users import AccessKey, AccessToken, Grant, Role, User, UserId
from ferryman_coordinator.store.identity_records import (
    ROOT_GRANT,
    grant_from,
    key_from,
    role_from,
    token_from,
    user_from,
)
from ferryman_coordinator.store.tables import access_keys, access_tokens, grants, roles, users


async def user(connection: AsyncConnection, name: str) -> User | None:
    row = (await connection.execute(sa.select(users).where(users.c.name == name))).one_or_none()
    return None if row is None else user_from(row)


async def user_by_id(connection: AsyncConnection, user_id: UserId) -> User | None:
    row = (await connection.execute(sa.select(users).where(users.c.user_id == user_id))).one_or_none()
    return None if row is None else user_from(row)


async def users_after(connection: AsyncConnection, key: tuple[Any, ...], limit: int) -> Sequence[User]:
    """In the order of their names; `key` is the last one seen, or empty."""
    query = sa.select(users).order_by(users.c.name).limit(limit)
    if key:
        query = query.where(users.c.name > key[0])
    return [user_from(row) for row in await connection.execute(query)]


async def grants_of(
    connection: AsyncConnection, user_ids: Sequence[UserId]
) -> Mapping[UserId, Sequence[Grant]]:
    """In the order of the roles' names; users without grants are left out."""
    query = sa.select(grants).where(grants.c.user_id.in_(user_ids)).order_by(grants.c.role_name)
    found: dict[UserId, list[Grant]] = {}
    for row in await connection.execute(query):
        found.setdefault(UserId(row.user_id), []).append(grant_from(row))
    return found


async def role(connection: AsyncConnection, name: str) -> Role | None:
    row = (await connection.execute(sa.select(roles).where(roles.c.name == name))).one_or_none()
    return None if row is None else role_from(row)


async def all_roles(connection: AsyncConnection) -> Sequence[Role]:
    """Those that were made here, in the order of their names."""
    return [role_from(row) for row in await connection.execute(sa.select(roles).order_by(roles.c.name))]


async def holders(connection: AsyncConnection, role_name: str) -> Sequence[str]:
    """Names of some of the users who were granted the role."""
    query = (
        sa.select(users.c.name)
        .join(grants, grants.c.user_id == users.c.user_id)
        .where(grants.c.role_name == role_name)
        .order_by(users.c.name)
        .limit(5)
    )
    return list(await connection.scalars(query))


async def token(connection: AsyncConnection, digest: str) -> tuple[str, AccessToken] | None:
    """The access token with that digest of its text, and the digest as it is stored."""
    query = sa.select(access_tokens).where(access_tokens.c.digest == digest)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row.digest, token_from(row))


async def token_by_id(connection: AsyncConnection, token_id: str) -> AccessToken | None:
    query = sa.select(access_tokens).where(access_tokens.c.token_id == token_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else token_from(row)


async def tokens_before(
    connection: AsyncConnection, user_id: UserId | None, key: tuple[Any, ...], limit: int
) -> Sequence[AccessToken]:
    """Newest first, sessions included; of one user, or of all; `key`: creation time and id of the last one seen."""
    order = (access_tokens.c.created_at, access_tokens.c.token_id)
    query = sa.select(access_tokens).order_by(*(column.desc() for column in order)).limit(limit)
    if user_id is not None:
        query = query.where(access_tokens.c.user_id == user_id)
    if key:
        query = query.where(sa.tuple_(*order) < sa.tuple_(*key))
    return [token_from(row) for row in await connection.execute(query)]


async def has_token(connection: AsyncConnection, user_id: UserId) -> bool:
    """Whether that user ever had an access token."""
    query = sa.select(sa.literal(1)).where(access_tokens.c.user_id == user_id).limit(1)
    return await connection.scalar(query) is not None


async def has_ended(connection: AsyncConnection, before: Instant) -> bool:
    """Whether a token or temporary key ended before that time."""
    ended = (access_tokens.c.expires_at < before) | (access_tokens.c.revoked_at < before)
    of_tokens = sa.exists(sa.select(sa.literal(1)).where(ended))
    of_keys = sa.exists(sa.select(sa.literal(1)).where(access_keys.c.expires_at < before))
    return bool(await connection.scalar(sa.select(of_tokens | of_keys)))


async def key(connection: AsyncConnection, access_key_id: str) -> AccessKey | None:
    query = sa.select(access_keys).where(access_keys.c.access_key_id == access_key_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else key_from(row)


async def keys_of(connection: AsyncConnection, user_id: UserId) -> Sequence[AccessKey]:
    """Lasting ones, oldest first."""
    query = (
        sa.select(access_keys)
        .where(access_keys.c.user_id == user_id, access_keys.c.token_id == "")
        .order_by(access_keys.c.created_at, access_keys.c.access_key_id)
    )
    return [key_from(row) for row in await connection.execute(query)]


async def names_of(connection: AsyncConnection, user_ids: Sequence[UserId]) -> Mapping[UserId, str]:
    query = sa.select(users.c.user_id, users.c.name).where(users.c.user_id.in_(user_ids))
    return {UserId(row.user_id): row.name for row in await connection.execute(query)}


def has_another_administrator(user_id: UserId) -> sa.ColumnElement[bool]:
    """A condition: somebody who is not that user, and is not disabled, may everything."""
    return sa.exists(
        sa.select(sa.literal(1))
        .select_from(grants.join(users, grants.c.user_id == users.c.user_id))
        .where(
            grants.c.role_name == RoleName.ADMIN.value,
            grants.c.resources == ROOT_GRANT,
            users.c.disabled_at.is_(None),
            users.c.user_id != user_id,
        )
    )


def is_granted(role_name: str) -> sa.ColumnElement[bool]:
    """A condition: somebody has the role."""
    return sa.exists(sa.select(sa.literal(1)).where(grants.c.role_name == role_name))
