"""Which agents a rotation of the certificate authority still waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.store.tables import certificates, instances


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An agent that has a valid certificate, and none of the new authority that it was seen with."""

    instance_id: str
    name: str
    last_seen_at: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`moved` agents have a certificate of the new authority, and so trust it."""

    moved: int
    waiting: Sequence[Waiting]


async def progress(connection: AsyncConnection, new_authority: str, now: Instant) -> Progress:
    """Agents whose certificates have all expired are not waited for: they must enrol anew anyway."""
    is_valid = sa.and_(
        certificates.c.instance_id == instances.c.instance_id,
        certificates.c.revoked_at.is_(None),
        certificates.c.expires_at > now,
    )
    has_moved = sa.exists().where(
        is_valid, certificates.c.issuer == new_authority, certificates.c.first_used_at.is_not(None)
    )
    is_registered = instances.c.deregistered_at.is_(None)
    moved = await connection.scalar(
        sa.select(sa.func.count()).select_from(instances).where(is_registered, has_moved)
    )
    query = (
        sa.select(instances.c.instance_id, instances.c.name, instances.c.last_seen_at)
        .where(is_registered, sa.exists().where(is_valid), ~has_moved)
        .order_by(instances.c.name)
    )
    rows = (await connection.execute(query)).all()
    waiting = [Waiting(instance_id=row[0], name=row[1], last_seen_at=row[2]) for row in rows]
    return Progress(moved=moved or 0, waiting=waiting)
