"""Alembic's entry: runs inside the connection and transaction that `store/migrate.py` opened.

To write a migration, see CONTRIBUTING.md.
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
