"""What the store needs of a database, and what both kinds have in common."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.errors import ConstraintBroken
from ferryman_coordinator.store.batch import Batch, arrange
from ferryman_coordinator.store.statements import Statements
from ferryman_coordinator.store.tables import metadata

FOREIGN_KEY = "foreign_key"
"""Name of a ConstraintBroken where the database does not say which foreign key it was."""

Verdict = Exception | None
"""What became of one batch: None when it is stored."""


class Database(Protocol):
    """One writer and any number of readers."""

    async def store(self, batches: Sequence[Batch]) -> Sequence[Verdict]:
        """Store them in one transaction, each whole or not at all.

        Raises StoreUnavailable; then nothing is stored, unless the connection was lost over the commit itself.
        """
        ...

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that sees one state of the database and cannot write; raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


class Faults(Protocol):
    """Tells what an error of one driver means."""

    def is_unavailable(self, error: Exception) -> bool:
        """Whether the database is at fault, not the batch."""
        ...

    def constraint(self, error: sa.exc.IntegrityError) -> str:
        """The name of the constraint that was broken."""
        ...


class Group:
    """Stores batches together; one object an attempt."""

    def __init__(self, statements: Statements, faults: Faults, batches: Sequence[Batch]) -> None:
        self._statements = statements
        self._faults = faults
        self._batches = batches
        self.is_committing = False
        """Whether an error from now on leaves open what is stored."""

    def store(self, connection: sa.Connection) -> Sequence[Verdict]:
        """One transaction for all. If that cannot be, another one where each batch has a savepoint of its own,

        so that only the guilty ones fail. Raises the driver's error when the database is at fault.
        """
        try:
            with connection.begin():
                self._statements.carry_out(connection, arrange(self._batches))
                self.is_committing = True
            return [None] * len(self._batches)
        except Exception as error:
            if self.is_committing or self._faults.is_unavailable(error):
                raise
            if len(self._batches) == 1:
                return [self._verdict(error)]
        with connection.begin():
            verdicts = [self._alone(connection, batch) for batch in self._batches]
            self.is_committing = True
        return verdicts

    def _alone(self, connection: sa.Connection, batch: Batch) -> Verdict:
        try:
            with connection.begin_nested():
                self._statements.carry_out(connection, arrange([batch]))
        except Exception as error:
            if self._faults.is_unavailable(error):
                raise
            return self._verdict(error)
        return None

    def _verdict(self, error: Exception) -> Exception:
        if isinstance(error, sa.exc.IntegrityError):
            return ConstraintBroken(self._faults.constraint(error))
        return error


def constraint_of(table: str, columns: frozenset[str]) -> str:
    """The name of the unique constraint or index of `table` over `columns`."""
    for candidate in _unique(metadata.tables[table]):
        if frozenset(candidate.columns.keys()) == columns and candidate.name is not None:
            return str(candidate.name)
    return f"{table}({', '.join(sorted(columns))})"


def _unique(table: sa.Table) -> Sequence[sa.Index | sa.UniqueConstraint | sa.PrimaryKeyConstraint]:
    constraints = [item for item in table.constraints if isinstance(item, sa.UniqueConstraint)]
    indexes = [index for index in table.indexes if index.unique]
    return [table.primary_key, *constraints, *indexes]
