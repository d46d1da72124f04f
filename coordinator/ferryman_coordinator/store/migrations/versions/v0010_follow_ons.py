"""Which deployment a follow-on belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    name = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")
    op.add_column("deployments", sa.Column("auto_update_root_id", name))
    op.create_index("ix_deployments_auto_update_root_id", "deployments", ["auto_update_root_id"])
