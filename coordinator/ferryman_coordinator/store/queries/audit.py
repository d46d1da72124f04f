"""Reads of the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.audit import BEGINNING, Checkpoint, Head, Link
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.store.tables import audit_checkpoints, audit_records

DENIED = "denied:"
"""Begins the outcome of what was refused for want of identity or rights; an error code follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """A record, and what lists filter by."""

    link: Link
    at: Instant
    user_name: str
    event_name: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    user_name: str = ""
    event_name: str = ""
    since: Instant | None = None
    until: Instant | None = None
    denied_only: bool = False


async def head(connection: AsyncConnection) -> Head:
    """Where the chain ends; after everything was pruned, where it was pruned to."""
    query = (
        sa.select(audit_records.c.sequence, audit_records.c.hash)
        .order_by(audit_records.c.sequence.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is not None:
        return Head(row.sequence, row.hash)
    last = await last_checkpoint(connection)
    return BEGINNING if last is None else Head(last.sequence, last.hash)


async def last_checkpoint(connection: AsyncConnection, before: Instant | None = None) -> Checkpoint | None:
    """The newest one, or the newest one that was made before a time."""
    query = sa.select(audit_checkpoints).order_by(audit_checkpoints.c.sequence.desc()).limit(1)
    if before is not None:
        query = query.where(audit_checkpoints.c.at < before)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _checkpoint(row)


async def checkpoints(connection: AsyncConnection) -> Sequence[Checkpoint]:
    """All that are kept, oldest first."""
    query = sa.select(audit_checkpoints).order_by(audit_checkpoints.c.sequence)
    return [_checkpoint(row) for row in await connection.execute(query)]


async def first_sequence(connection: AsyncConnection) -> int | None:
    """Of the oldest record."""
    found: int | None = await connection.scalar(sa.select(sa.func.min(audit_records.c.sequence)))
    return found


async def records_after(connection: AsyncConnection, sequence: int, limit: int) -> Sequence[StoredRecord]:
    """In the order of the chain."""
    query = (
        sa.select(audit_records)
        .where(audit_records.c.sequence > sequence)
        .order_by(audit_records.c.sequence)
        .limit(limit)
    )
    return [_record(row) for row in await connection.execute(query)]


async def records_before(
    connection: AsyncConnection, wanted: AuditFilter, key: tuple[Any, ...], limit: int
) -> Sequence[StoredRecord]:
    """Newest first; `key` is the sequence of the last one seen, or empty."""
    column = audit_records.c
    query = sa.select(audit_records).order_by(column.sequence.desc()).limit(limit)
    conditions = (
        (bool(key), column.sequence < (key[0] if key else 0)),
        (bool(wanted.user_name), column.user_name == wanted.user_name),
        (bool(wanted.event_name), column.event_name == wanted.event_name),
        (wanted.since is not None, column.at >= (wanted.since or 0)),
        (wanted.until is not None, column.at < (wanted.until or 0)),
        (wanted.denied_only, column.outcome.startswith(DENIED)),
    )
    query = query.where(*(condition for is_wanted, condition in conditions if is_wanted))
    return [_record(row) for row in await connection.execute(query)]


def _record(row: Any) -> StoredRecord:
    return StoredRecord(
        link=Link(row.sequence, row.body, row.hash),
        at=Instant(row.at),
        user_name=row.user_name,
        event_name=row.event_name,
        outcome=row.outcome,
    )


def _checkpoint(row: Any) -> Checkpoint:
    return Checkpoint(row.sequence, Instant(row.at), row.hash, row.seal)
