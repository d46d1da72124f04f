"""Hooks in autoscaling groups, and the instances that wait there for an answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")
_OPEN = "answered_at IS NULL"


def upgrade() -> None:
    op.add_column(
        "deployment_groups", sa.Column("auto_scaling_hooks", sa.Text(), nullable=False, server_default="[]")
    )
    op.create_table(
        "lifecycle_actions",
        sa.Column("auto_scaling_group", _TEXT, nullable=False),
        sa.Column("token", _TEXT, nullable=False),
        sa.Column("instance_id", _ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("auto_scaling_group", "token", name=op.f("pk_lifecycle_actions")),
    )
    op.create_index("ix_lifecycle_actions_instance_id", "lifecycle_actions", ["instance_id"])
    op.create_index("ix_lifecycle_actions_created_at", "lifecycle_actions", ["created_at"])
    op.create_index(
        "ix_lifecycle_actions_open",
        "lifecycle_actions",
        ["created_at"],
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    )
