"""Options of deployment groups, labels of resources, and what instances are registered and launched with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for table, column, default in (
        ("applications", "resource_tags", "[]"),
        ("applications", "github_account_name", ""),
        ("deployment_groups", "options", "{}"),
        ("deployment_groups", "resource_tags", "[]"),
        ("instances", "iam_user_arn", ""),
        ("instances", "iam_session_arn", ""),
        ("instances", "auto_scaling_group", ""),
        ("instances", "lifecycle_state", "InService"),
    ):
        op.add_column(table, sa.Column(column, sa.Text(), nullable=False, server_default=default))
    op.create_index("ix_instances_auto_scaling_group", "instances", ["auto_scaling_group"])
    for column in ("iam_user_arn", "iam_session_arn"):
        where = sa.text(f"deregistered_at IS NULL AND {column} <> ''")
        op.create_index(
            f"uq_instances_{column}",
            "instances",
            [column],
            unique=True,
            sqlite_where=where,
            postgresql_where=where,
        )
