"""States of alarms that were pushed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.model import AlarmState, Instant
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.tables import alarm_states


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedState:
    """What a source said of one alarm, or of one series of it; `since` and `expires_at` as it said."""

    name: str
    series: str = ""
    state: AlarmState
    since: Instant | None
    received_at: Instant
    expires_at: Instant | None = None
    detail: str = ""


async def pushed(connection: AsyncConnection, source: str, names: Collection[str]) -> Sequence[PushedState]:
    """What is known of these alarms of a source."""
    query = (
        sa.select(alarm_states)
        .where(alarm_states.c.source == source, alarm_states.c.name.in_(sorted(names)))
        .order_by(alarm_states.c.name, alarm_states.c.series)
    )
    return [
        PushedState(
            name=row.name,
            series=row.series,
            state=AlarmState(row.state),
            since=row.since,
            received_at=row.received_at,
            expires_at=row.expires_at,
            detail=row.detail,
        )
        for row in await connection.execute(query)
    ]


async def pushed_names(connection: AsyncConnection, source: str, limit: int) -> Sequence[str]:
    """The alarms that a source ever said something of, in their order."""
    name = alarm_states.c.name
    query = sa.select(name).distinct().where(alarm_states.c.source == source).order_by(name).limit(limit)
    return list(await connection.scalars(query))


async def pushed_series(connection: AsyncConnection, source: str, limit: int) -> Sequence[tuple[str, str]]:
    """Name and series of what a source said something of, those first that it said longest ago."""
    query = (
        sa.select(alarm_states.c.name, alarm_states.c.series)
        .where(alarm_states.c.source == source)
        .order_by(alarm_states.c.received_at, alarm_states.c.name, alarm_states.c.series)
        .limit(limit)
    )
    return [(row.name, row.series) for row in await connection.execute(query)]


def keep(batch: Batch, source: str, state: PushedState) -> None:
    """Store it instead of what is known of the same series."""
    batch.put(
        alarm_states,
        {
            "source": source,
            "name": state.name,
            "series": state.series,
            "state": state.state.value,
            "since": state.since,
            "received_at": state.received_at,
            "expires_at": state.expires_at,
            "detail": state.detail,
        },
    )


def drop(batch: Batch, source: str, name: str, series: str = "") -> None:
    """Forget a series."""
    batch.delete(alarm_states, {"source": source, "name": name, "series": series})
