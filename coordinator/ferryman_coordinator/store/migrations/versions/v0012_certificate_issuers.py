"""Which authority signed a certificate, and whether its agent has it: what a rotation of the CA waits for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("certificates", sa.Column("issuer", sa.Text, nullable=False, server_default=""))
    op.add_column("certificates", sa.Column("first_used_at", sa.BigInteger))
