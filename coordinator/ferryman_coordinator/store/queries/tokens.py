"""Reads of join tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.inventory import JoinToken
from ferryman_coordinator.store.inventory_records import join_token_from
from ferryman_coordinator.store.tables import join_tokens


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
