"""Carries out the steps of a transaction on one connection, with SQL that is compiled once a shape.

Rows go to the driver as tuples: SQLAlchemy's own executemany takes several times as long to prepare them as SQLite
takes to store them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ferryman_coordinator.errors import ConstraintBroken, NotMatched
from ferryman_coordinator.store.batch import ConditionalUpdate, Deletion, Guard, Kind, Run, Shape, Step
from ferryman_coordinator.store.tables import FIXED, ONCE

_KEY = "key_"
"""Sets the values that find a row apart from those that change it."""


class Statements:
    """Knows one database's SQL."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self._compiled: dict[Shape, tuple[str, tuple[int, ...] | None]] = {}

    def carry_out(self, connection: sa.Connection, steps: Iterable[Step]) -> None:
        """Execute `steps` in order inside the connection's transaction.

        Raises ConstraintBroken for a guard, NotMatched for an update, and what SQLAlchemy raises for the rest.
        """
        for step in steps:
            match step:
                case Run():
                    self._run(connection, step)
                case ConditionalUpdate():
                    changed = connection.execute(step.statement).rowcount
                    if step.expect is not None and changed != step.expect:
                        raise NotMatched(step.table.name)
                case Deletion():
                    connection.execute(step.statement)
                case Guard():
                    if not connection.execute(sa.select(step.condition)).scalar_one():
                        raise ConstraintBroken(step.name)

    def _run(self, connection: sa.Connection, run: Run) -> None:
        sql, order = self._sql(run.shape)
        rows = run.rows if order is None else [tuple([row[place] for place in order]) for row in run.rows]
        connection.exec_driver_sql(sql, list(rows))

    def _sql(self, shape: Shape) -> tuple[str, tuple[int, ...] | None]:
        """The statement, and which value of a row goes into which of its places; None: as they come."""
        if (known := self._compiled.get(shape)) is not None:
            return known
        compiled = self._statement(shape).compile(dialect=self._dialect, column_keys=list(shape.columns))
        names = [*shape.columns, *(_KEY + key for key in shape.keys)]
        order = tuple(names.index(name) for name in compiled.positiontup or ())
        self._compiled[shape] = str(compiled), None if order == tuple(range(len(names))) else order
        return self._compiled[shape]

    def _statement(self, shape: Shape) -> sa.Insert | sa.Update:
        table = shape.table
        match shape.kind:
            case Kind.INSERT:
                return sa.insert(table).inline()
            case Kind.UPDATE:
                keys = [
                    table.c[key] == sa.bindparam(_KEY + key, type_=table.c[key].type) for key in shape.keys
                ]
                return sa.update(table).where(*keys)
            case Kind.ADD:
                return self._upsert(table, ())
            case Kind.PUT:
                key = table.primary_key.columns
                free = [
                    name for name in shape.columns if name not in key and not table.c[name].info.get(FIXED)
                ]
                return self._upsert(table, free)

    def _upsert(self, table: sa.Table, changing: Sequence[str]) -> sa.Insert:
        key = table.primary_key.columns
        insert: Any = sqlite.insert if self._dialect.name == "sqlite" else postgresql.insert
        statement = insert(table).inline()
        if not changing:
            once = table.info.get(ONCE) or [column.name for column in key]
            result: sa.Insert = statement.on_conflict_do_nothing(index_elements=list(once))
            return result
        result = statement.on_conflict_do_update(
            index_elements=list(key), set_={name: statement.excluded[name] for name in changing}
        )
        return result
