"""Deployments that wait in the queue of their group do not count as its unfinished one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_ACTIVE = "is_fleet AND status NOT IN ('Succeeded', 'Failed', 'Stopped', 'Queued')"


def upgrade() -> None:
    op.drop_index("uq_deployments_one_active", table_name="deployments")
    op.create_index(
        "uq_deployments_one_active",
        "deployments",
        ["group_id"],
        unique=True,
        sqlite_where=sa.text(_ACTIVE),
        postgresql_where=sa.text(_ACTIVE),
    )
    op.add_column(
        "deployment_groups", sa.Column("last_sequence", sa.BigInteger(), nullable=False, server_default="0")
    )
