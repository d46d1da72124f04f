"""What the world is told: events, their deliveries, and the rules that say who hears of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def _text(name: str) -> sa.Column[str]:
    # Ordered by code point, as in every table.
    kind = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=False)


def _id(name: str, *, nullable: bool = False) -> sa.Column[str]:
    kind = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    _create_events()
    _create_deliveries()
    op.create_table(
        "notification_rules",
        _id("rule_id"),
        _text("name"),
        _id("application_id", nullable=True),
        sa.Column("group_ids", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("targets", sa.Text(), nullable=False),
        _text("status"),
        _text("detail_type"),
        _time("created_at"),
        _time("updated_at"),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["applications.application_id"],
            name=op.f("fk_notification_rules_application_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("rule_id", name=op.f("pk_notification_rules")),
        sa.UniqueConstraint("name", name=op.f("uq_notification_rules_name")),
    )
    op.create_index("ix_notification_rules_application_id", "notification_rules", ["application_id"])


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column(
            "position",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(),
            autoincrement=True,
            nullable=False,
        ),
        _id("event_id"),
        _text("kind"),
        _text("state"),
        _text("status"),
        _id("deployment_id"),
        _id("instance_id"),
        _id("application_id"),
        _id("group_id"),
        _text("application_name"),
        _text("group_name"),
        _time("at"),
        sa.Column("facts", sa.Text(), nullable=True),
        sa.Column("triggers", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_events_event_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_at", "events", ["at"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        _id("delivery_id"),
        sa.Column("position", sa.BigInteger(), nullable=False),
        _id("event_id"),
        _id("deployment_id"),
        _text("application_name"),
        _text("group_name"),
        _text("source"),
        _text("source_name"),
        _text("target"),
        _text("event_type"),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        _text("state"),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        _time("created_at"),
        _time("waiting_since"),
        _time("next_at"),
        _time("ended_at", nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_deliveries")),
    )
    is_waiting = sa.text("state = 'waiting'")
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["target", "deployment_id", "position"],
        sqlite_where=is_waiting,
        postgresql_where=is_waiting,
    )
    is_dead = sa.text("state = 'dead'")
    op.create_index(
        "ix_deliveries_dead", "deliveries", ["position"], sqlite_where=is_dead, postgresql_where=is_dead
    )
    op.create_index("ix_deliveries_position", "deliveries", ["position", "delivery_id"])
