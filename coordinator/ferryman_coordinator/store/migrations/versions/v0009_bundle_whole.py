"""Whether the bundle of what an instance has installed is whole, apart from its unpacked archive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("installed_states", sa.Column("bundle_whole", sa.Boolean(), nullable=True))
