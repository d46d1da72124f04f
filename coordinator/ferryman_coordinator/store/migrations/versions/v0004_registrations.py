"""Instances that are registered before their machine comes, and what the holder of a join token may choose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("instances", sa.Column("enrolled_at", sa.BigInteger(), nullable=True))
    # Until now nothing was registered without enrolling.
    op.execute("UPDATE instances SET enrolled_at = registered_at")
    for column, default in (("allowed_tags", '[["*","*"]]'), ("allowed_names", '["*"]')):
        op.add_column("join_tokens", sa.Column(column, sa.Text(), nullable=False, server_default=default))
    op.add_column(
        "join_tokens",
        sa.Column("replaces_identity", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
