"""What one decision round wants stored, and how many such batches become few statements.

`arrange` merges: within a stretch of plain writes, rows of one table stay in their order, rows of equal shape become
one executemany, a later row of the same key replaces an earlier one where only the key is unique, and parents come
before children. What depends on what is stored already (guards, conditional updates, deletes) keeps its place and
ends a stretch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import sqlalchemy as sa

from ferryman_coordinator.store.tables import metadata

Condition = sa.ColumnElement[bool]


class Kind(Enum):
    PUT = "put"
    ADD = "add"
    INSERT = "insert"
    UPDATE = "update"


class Shape(NamedTuple):
    """Writes of equal shape are one statement with many rows. `keys` come after `columns` in a row."""

    kind: Kind
    table: sa.Table
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ()


class Row(NamedTuple):
    """One plain write. `identity` says which stored row it is about; None: it is never merged."""

    shape: Shape
    identity: tuple[Any, ...] | None
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ConditionalUpdate:
    """An update whose effect is counted."""

    table: sa.Table
    statement: sa.Update
    expect: int | None


@dataclass(frozen=True, slots=True)
class Deletion:
    statement: sa.Delete


@dataclass(frozen=True, slots=True)
class Guard:
    """The batch is refused with `name` unless `condition` holds, seen from inside the transaction."""

    name: str
    condition: Condition


Write = Row | ConditionalUpdate | Deletion | Guard


@dataclass(frozen=True, slots=True)
class Run:
    """One executemany."""

    shape: Shape
    rows: Sequence[tuple[Any, ...]]


Step = Run | ConditionalUpdate | Deletion | Guard


class Batch:
    """Writes that are stored together or not at all, in the order in which they were added."""

    __slots__ = ("writes",)

    def __init__(self) -> None:
        self.writes: list[Write] = []

    def __len__(self) -> int:
        return len(self.writes)

    def put(self, table: sa.Table, row: Mapping[str, Any]) -> None:
        """Insert, or overwrite the row of the same primary key: the columns given, but for those marked FIXED."""
        identity = tuple([row[name] for name in _KEYS[table]])
        self.writes.append(Row(Shape(Kind.PUT, table, tuple(row)), identity, tuple(row.values())))

    def add(self, table: sa.Table, row: Mapping[str, Any]) -> None:
        """Insert, unless there is a row of the same primary key (or of what the table says with ONCE): then that one

        stays as it is.
        """
        self.writes.append(Row(Shape(Kind.ADD, table, tuple(row)), None, tuple(row.values())))

    def insert(self, table: sa.Table, row: Mapping[str, Any]) -> None:
        """Insert; `Store.write` raises ConstraintBroken when the row exists."""
        self.writes.append(Row(Shape(Kind.INSERT, table, tuple(row)), None, tuple(row.values())))

    def update(
        self,
        table: sa.Table,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
        *,
        expect: int | None = None,
        where: Sequence[Condition] = (),
    ) -> None:
        """Change the rows that have the values of `key` and fulfil `where`.

        Without `expect` and `where`, rows that do not exist are no mistake and values must be plain; with `where`,
        values may be SQL expressions. `Store.write` raises NotMatched when `expect` is given and another number of
        rows was changed.
        """
        if expect is None and not where:
            identity = tuple(key.values())
            shape = Shape(Kind.UPDATE, table, tuple(values), tuple(key))
            self.writes.append(Row(shape, identity, (*values.values(), *identity)))
            return
        statement = sa.update(table).where(*_equal(table, key), *where).values(dict(values))
        self.writes.append(ConditionalUpdate(table, statement, expect))

    def delete(self, table: sa.Table, key: Mapping[str, Any], *, where: Sequence[Condition] = ()) -> None:
        """Delete what there is of it; children of the row go along."""
        self.writes.append(Deletion(sa.delete(table).where(*_equal(table, key), *where)))

    def ensure(self, name: str, condition: Condition) -> None:
        """Refuse the whole batch with ConstraintBroken(name) unless `condition` holds at this point of it.

        One store has one writer, so nothing comes between a guard and the rest of its batch. Another coordinator on the
        same PostgreSQL may: what must never happen twice needs a constraint as well.
        """
        self.writes.append(Guard(name, condition))


def arrange(batches: Iterable[Batch]) -> Iterator[Step]:
    """The steps that store `batches`, in an order that stores the same as one after another would.

    But for a row whose parent comes later in the same group: it is stored as well, for the parent is there in the end.
    Where merging would break a constraint that the plain order keeps, the caller replays the batches one by one.
    """
    stretch = _Stretch()
    for batch in batches:
        for write in batch.writes:
            if isinstance(write, Row):
                stretch.add(write)
            else:
                yield from stretch.end()
                yield write
    yield from stretch.end()


class _Stretch:
    def __init__(self) -> None:
        self._tables: dict[sa.Table, list[_Growing]] = {}

    def add(self, row: Row) -> None:
        runs = self._tables.setdefault(row.shape.table, [])
        if not runs or runs[-1].shape != row.shape:
            runs.append(_Growing(row.shape))
        runs[-1].add(row)

    def end(self) -> Iterator[Run]:
        for table in sorted(self._tables, key=_RANK.__getitem__):
            for run in self._tables[table]:
                yield Run(run.shape, run.rows)
        self._tables.clear()


class _Growing:
    __slots__ = ("_place", "rows", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rows: list[tuple[Any, ...]] = []
        self._place: dict[tuple[Any, ...], int] = {}

    def add(self, row: Row) -> None:
        if row.identity is None or self.shape.table in _UNIQUE_BESIDES_KEY:
            self.rows.append(row.values)
            return
        place = self._place.setdefault(row.identity, len(self.rows))
        if place == len(self.rows):
            self.rows.append(row.values)
        else:
            self.rows[place] = row.values


_KEYS = {table: tuple(column.name for column in table.primary_key) for table in metadata.sorted_tables}
"""Names of the primary key's columns."""

_RANK = {table: rank for rank, table in enumerate(metadata.sorted_tables)}
"""Parents before children."""

_UNIQUE_BESIDES_KEY = frozenset(
    table
    for table in metadata.sorted_tables
    if any(index.unique for index in table.indexes)
    or any(isinstance(constraint, sa.UniqueConstraint) for constraint in table.constraints)
)
"""Here a row that a later one replaces may have stood in the way of a third one: all of them are written."""


def _equal(table: sa.Table, key: Mapping[str, Any]) -> Iterator[Condition]:
    for name, value in key.items():
        yield table.c[name] == value
