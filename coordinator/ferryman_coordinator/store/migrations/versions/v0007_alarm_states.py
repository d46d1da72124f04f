"""States of alarms that were pushed to the coordinator."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "alarm_states",
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("series", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "name", "series", name=op.f("pk_alarm_states")),
    )
