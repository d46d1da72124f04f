"""Reads of join tokens and access tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.inventory import Caller, JoinToken, TokenId
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.store.inventory_records import join_token_from
from ferryman_coordinator.store.tables import access_tokens, join_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccessToken:
    """What the store knows of an access token; never its text."""

    caller: Caller
    digest: str
    expires_at: Instant | None
    revoked_at: Instant | None


async def join_token(connection: AsyncConnection, digest: str) -> tuple[str, JoinToken] | None:
    """The join token with that digest of its secret, and the digest as it is stored."""
    row = (
        await connection.execute(sa.select(join_tokens).where(join_tokens.c.digest == digest))
    ).one_or_none()
    return None if row is None else (row.digest, join_token_from(row))


async def join_tokens_before(
    connection: AsyncConnection, key: tuple[Any, ...], limit: int
) -> Sequence[JoinToken]:
    """The next join tokens, newest first; `key` is creation time and id of the last one seen, or empty."""
    order = (join_tokens.c.created_at, join_tokens.c.token_id)
    query = sa.select(join_tokens).order_by(*(column.desc() for column in order)).limit(limit)
    if key:
        query = query.where(sa.tuple_(*order) < sa.tuple_(*key))
    return [join_token_from(row) for row in await connection.execute(query)]


async def access_token(connection: AsyncConnection, digest: str) -> StoredAccessToken | None:
    """The access token with that digest."""
    query = sa.select(access_tokens).where(access_tokens.c.digest == digest)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return StoredAccessToken(
        caller=Caller(token_id=TokenId(row.token_id), name=row.name),
        digest=row.digest,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


async def has_access_token(connection: AsyncConnection, name: str) -> bool:
    """Whether a token of that name was ever made."""
    query = sa.select(sa.literal(1)).where(access_tokens.c.name == name).limit(1)
    return await connection.scalar(query) is not None
