"""Reads of notification rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.rules import NotificationRule
from ferryman_coordinator.store.event_records import rule_from
from ferryman_coordinator.store.tables import applications, deployment_groups, notification_rules


async def get(connection: AsyncConnection, key: str) -> NotificationRule | None:
    """The rule with that id or name; ids are looked at first."""
    table = notification_rules.c
    query = (
        _selected()
        .where((table.rule_id == key) | (table.name == key))
        .order_by((table.rule_id == key).desc())
        .limit(1)
    )
    rows = (await connection.execute(query)).all()
    found = await _with_groups(connection, rows)
    return found[0] if found else None


async def after(
    connection: AsyncConnection, application_id: str | None, key: tuple[Any, ...], limit: int
) -> Sequence[NotificationRule]:
    """The next rules by name; those of every application for None. `key` is the name of the last one seen, or empty."""
    table = notification_rules.c
    query = _selected().order_by(table.name).limit(limit)
    if application_id is not None:
        query = query.where(table.application_id == application_id)
    if key:
        query = query.where(table.name > key[0])
    return await _with_groups(connection, (await connection.execute(query)).all())


async def all_rules(connection: AsyncConnection) -> Sequence[NotificationRule]:
    """Every rule, without the names of its groups."""
    return [rule_from(row, row.application_name or "") for row in await connection.execute(_selected())]


def fewer_than(limit: int) -> sa.ColumnElement[bool]:
    """Whether there is room for one more."""
    counted = sa.select(sa.func.count()).select_from(notification_rules).scalar_subquery()
    return counted < limit


def _selected() -> sa.Select[Any]:
    joined = notification_rules.outerjoin(
        applications, applications.c.application_id == notification_rules.c.application_id
    )
    return sa.select(notification_rules, applications.c.name.label("application_name")).select_from(joined)


async def _with_groups(connection: AsyncConnection, rows: Sequence[Any]) -> Sequence[NotificationRule]:
    rules = [rule_from(row, row.application_name or "") for row in rows]
    ids = {group_id for rule in rules for group_id in rule.group_ids}
    table = deployment_groups.c
    names: dict[str, str] = {}
    if ids:
        query = sa.select(table.group_id, table.name).where(table.group_id.in_(ids))
        names = {row.group_id: row.name for row in await connection.execute(query)}
    return [
        rule_from(
            row,
            row.application_name or "",
            # A group that was deleted has no name any more, and no events either.
            tuple(names[group_id] for group_id in rule.group_ids if group_id in names),
        )
        for row, rule in zip(rows, rules, strict=True)
    ]
