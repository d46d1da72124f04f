"""Reads of registered revisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.inventory import RegisteredRevision
from ferryman_coordinator.core.model import GITHUB_KEY_PREFIX, ApplicationId, s3_key_prefix
from ferryman_coordinator.store.inventory_records import revision_from
from ferryman_coordinator.store.tables import applications, deployment_groups, revisions


class RevisionSort(StrEnum):
    """API:ApplicationRevisionSortBy."""

    REGISTER_TIME = "registerTime"
    FIRST_USED_TIME = "firstUsedTime"
    LAST_USED_TIME = "lastUsedTime"


class RevisionSource(StrEnum):
    """Kinds of location, for a list of one kind."""

    BUNDLE = "Bundle"
    URL = "Url"
    S3 = "S3"
    GITHUB = "GitHub"


class TargetFilter(StrEnum):
    """API:ListStateFilterAction: whether revisions are listed that are the target of a deployment group."""

    INCLUDE = "include"
    EXCLUDE = "exclude"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionFilter:
    """Which revisions to list (CP-204, CP-205)."""

    source: RevisionSource | None = None
    bucket: str = ""
    key_prefix: str = ""
    target: TargetFilter = TargetFilter.IGNORE

    @property
    def as_words(self) -> tuple[str, ...]:
        """All of it: a cursor is good for one filter only."""
        return (self.source or "", self.bucket, self.key_prefix, self.target)


_SOURCE_KEYS = {
    RevisionSource.BUNDLE: "sha256:",
    RevisionSource.URL: "url:",
    RevisionSource.S3: "s3://",
    RevisionSource.GITHUB: GITHUB_KEY_PREFIX,
}

_NEVER = sa.literal(2**62)
"""Where revisions that were never used come in an order by use: behind all others, or before them when descending."""

_SORTED = {
    RevisionSort.REGISTER_TIME: revisions.c.registered_at,
    RevisionSort.FIRST_USED_TIME: sa.func.coalesce(revisions.c.first_used_at, _NEVER),
    RevisionSort.LAST_USED_TIME: sa.func.coalesce(revisions.c.last_used_at, _NEVER),
}

_SELECTED = sa.select(revisions, applications.c.name.label("application_name")).join(
    applications, applications.c.application_id == revisions.c.application_id
)

_PAST_HEXADECIMAL = "g"
"""Behind every digest that goes on from a prefix."""


async def get(
    connection: AsyncConnection, application_id: ApplicationId, key: str
) -> RegisteredRevision | None:
    """The revision of an application by its location's key."""
    found = await _found(connection, application_id, revisions.c.revision_key == key, limit=1)
    return found[0] if found else None


async def several(
    connection: AsyncConnection, application_id: ApplicationId, keys: Sequence[str]
) -> Mapping[str, RegisteredRevision]:
    """Those revisions of an application whose location has one of these keys, by key."""
    found = await _found(connection, application_id, revisions.c.revision_key.in_(keys), limit=len(keys))
    return {one.location.key: one for one in found}


async def by_digest(
    connection: AsyncConnection, application_id: ApplicationId, prefix: str, limit: int
) -> Sequence[RegisteredRevision]:
    """Revisions whose digest begins with `prefix` (lower-case hexadecimal), newest first."""
    where = revisions.c.sha256.between(prefix, prefix + _PAST_HEXADECIMAL)
    return await _found(connection, application_id, where, limit=limit)


async def by_url(
    connection: AsyncConnection, application_id: ApplicationId, url: str, limit: int
) -> Sequence[RegisteredRevision]:
    """Revisions at this URL, newest first: more than one when it was registered with different digests."""
    return await _found(connection, application_id, revisions.c.url == url, limit=limit)


async def after(
    connection: AsyncConnection,
    application_id: ApplicationId,
    key: tuple[Any, ...],
    limit: int,
    *,
    wanted: RevisionFilter,
    sort_by: RevisionSort,
    descending: bool,
) -> Sequence[tuple[int, RegisteredRevision]]:
    """The next revisions, each with the time that they are sorted by; `key` is time and key of the last one seen."""
    time = _SORTED[sort_by]
    order = (time, revisions.c.revision_key)
    query = _SELECTED.add_columns(time.label("sorted_by")).limit(limit)
    query = query.where(revisions.c.application_id == application_id, *_conditions(wanted))
    query = query.order_by(*(column.desc() if descending else column.asc() for column in order))
    if key:
        place, seen = sa.tuple_(*order), sa.tuple_(*key)
        query = query.where(place < seen if descending else place > seen)
    rows = (await connection.execute(query)).all()
    groups = await _groups(connection, application_id, [row.revision_key for row in rows])
    return [(row.sorted_by, revision_from(row, groups.get(row.revision_key, ()))) for row in rows]


async def exists(connection: AsyncConnection, source: RevisionSource) -> bool:
    """Whether any application has a revision of this kind."""
    query = sa.select(sa.literal(1)).select_from(revisions).where(_begins(_SOURCE_KEYS[source])).limit(1)
    return (await connection.execute(query)).first() is not None


def _conditions(wanted: RevisionFilter) -> list[sa.ColumnElement[bool]]:
    """A revision's key begins with its kind, and that of an object with its bucket and key: ranges of the index."""
    found: list[sa.ColumnElement[bool]] = []
    if wanted.source is not None:
        found.append(_begins(_SOURCE_KEYS[wanted.source]))
    if wanted.bucket:
        found.append(_begins(s3_key_prefix(wanted.bucket, wanted.key_prefix)))
    if wanted.target is not TargetFilter.IGNORE:
        is_target = sa.exists().where(
            deployment_groups.c.application_id == revisions.c.application_id,
            deployment_groups.c.target_revision_key == revisions.c.revision_key,
        )
        found.append(is_target if wanted.target is TargetFilter.INCLUDE else ~is_target)
    return found


def _begins(prefix: str) -> sa.ColumnElement[bool]:
    """By code points on both databases; never empty. What follows a prefix is ASCII, since keys are escaped."""
    key = revisions.c.revision_key
    return sa.and_(key >= prefix, key < prefix[:-1] + chr(ord(prefix[-1]) + 1))


async def _found(
    connection: AsyncConnection, application_id: ApplicationId, where: sa.ColumnElement[bool], *, limit: int
) -> Sequence[RegisteredRevision]:
    query = (
        _SELECTED.where(revisions.c.application_id == application_id, where)
        .order_by(revisions.c.registered_at.desc(), revisions.c.revision_key)
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    groups = await _groups(connection, application_id, [row.revision_key for row in rows])
    return [revision_from(row, groups.get(row.revision_key, ())) for row in rows]


async def _groups(
    connection: AsyncConnection, application_id: ApplicationId, keys: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    """Names of the groups whose target revision is one of `keys` (CP-203)."""
    query = (
        sa.select(deployment_groups.c.target_revision_key, deployment_groups.c.name)
        .where(
            deployment_groups.c.application_id == application_id,
            deployment_groups.c.target_revision_key.in_(keys),
        )
        .order_by(deployment_groups.c.name)
    )
    names: dict[str, list[str]] = {}
    for row in await connection.execute(query):
        names.setdefault(row.target_revision_key, []).append(row.name)
    return names
