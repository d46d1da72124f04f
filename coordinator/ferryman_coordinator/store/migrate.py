"""Brings a database to the present schema, from whatever older one or none."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ferryman_coordinator.errors import SetupError

_MIGRATIONS = Path(__file__).with_name("migrations")

_LOCK = 0x466572727940
"""Key of the advisory lock under which coordinators on one PostgreSQL migrate one after another."""


def known() -> frozenset[str]:
    """Every schema that this version knows."""
    return frozenset(revision.revision for revision in ScriptDirectory(str(_MIGRATIONS)).walk_revisions())


def newest() -> str:
    """The schema of this version."""
    head = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    if head is None:
        raise RuntimeError("there are no migrations")
    return head


def present(connection: sa.Connection) -> str | None:
    """The schema of a database; None where it has none yet."""
    return MigrationContext.configure(connection).get_current_revision()


def is_due(schema: str | None) -> bool:
    """Whether `upgrade` would change a database that holds something."""
    return schema is not None and schema != newest() and schema in known()


def demand_known(schema: str | None) -> None:
    """Raises SetupError for a schema that this version does not know."""
    if schema is not None and schema not in known():
        raise SetupError(
            f"the database has schema {schema}, made by a newer Ferryman; this one knows schemas up to {newest()}: "
            "install that version again, or restore a backup from before its upgrade"
        )


def upgrade(connection: sa.Connection) -> None:
    """Run the missing migrations in one transaction; raises SetupError for a schema that this version does not know."""
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        schema = present(connection)
        if schema == newest():
            return
        demand_known(schema)
        configuration = Config()
        configuration.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
