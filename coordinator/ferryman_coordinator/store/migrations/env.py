"""Alembic's entry: runs inside the connection and transaction that `store/migrate.py` opened.

A migration is a module of `versions/`, named `v<number>_<what>.py`, with `revision` (the number), `down_revision` (the
one before it) and `upgrade()`. It adds before the code needs it, and removes one release after the code stopped using
it, so that two neighbouring releases can share a database. There is no way back: that is what backups are for. A test
compares the schema that all of them make with `tables.py`, on both databases.
"""

from __future__ import annotations

from alembic import context

from ferryman_coordinator.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    # SQLite cannot alter most things in place.
    render_as_batch=True,
)
context.run_migrations()
