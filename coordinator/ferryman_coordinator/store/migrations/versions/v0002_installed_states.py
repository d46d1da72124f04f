"""What agents find when they look at what they installed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "installed_states",
        sa.Column(
            "group_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "instance_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "deployment_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("files_checked", sa.BigInteger(), nullable=False),
        sa.Column("files_drifted", sa.BigInteger(), nullable=False),
        sa.Column("drifted", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("with_digests", sa.Boolean(), nullable=False),
        sa.Column("archive_whole", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "instance_id", name=op.f("pk_installed_states")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_installed_states_instance_id", "installed_states", ["instance_id"], unique=False)
