"""Users, roles, credentials, and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    # Ordered by code point, as in every table.
    return sa.Column(name, _TEXT, nullable=nullable)


def _id(name: str) -> sa.Column[str]:
    return sa.Column(name, _ID, nullable=False)


def _plain(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_user_id_users")
    return sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    _users()
    _credentials()
    _audit()


def _users() -> None:
    op.create_table(
        "users",
        _id("user_id"),
        _text("name"),
        _text("kind"),
        _plain("description"),
        _time("created_at"),
        _text("created_by"),
        _time("disabled_at", nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "roles",
        _text("name"),
        _plain("description"),
        _plain("statements"),
        _time("created_at"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_roles")),
    )
    op.create_table(
        "grants",
        _id("user_id"),
        _text("role_name"),
        _plain("resources"),
        _time("created_at"),
        _text("created_by"),
        _of_user("grants"),
        sa.PrimaryKeyConstraint("user_id", "role_name", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_role_name", "grants", ["role_name"])


def _credentials() -> None:
    for column, default in (
        # Until now there was nobody else.
        ("user_id", "admin"),
        ("kind", "Token"),
        ("scope", "{}"),
        ("parent_id", ""),
        ("last_used_from", ""),
    ):
        op.add_column("access_tokens", sa.Column(column, sa.Text(), nullable=False, server_default=default))
    op.add_column("access_tokens", _time("last_used_at", nullable=True))
    op.create_index("ix_access_tokens_user_id", "access_tokens", ["user_id"])
    op.create_table(
        "access_keys",
        _id("access_key_id"),
        _id("user_id"),
        _plain("sealed_secret"),
        _text("status"),
        _id("token_id"),
        _plain("scope"),
        _time("created_at"),
        _time("expires_at", nullable=True),
        _time("last_used_at", nullable=True),
        _text("last_used_from"),
        _of_user("access_keys"),
        sa.PrimaryKeyConstraint("access_key_id", name=op.f("pk_access_keys")),
    )
    op.create_index("ix_access_keys_user_id", "access_keys", ["user_id"])


def _audit() -> None:
    op.create_table(
        "audit_records",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        _time("at"),
        _text("user_name"),
        _text("event_name"),
        _text("outcome"),
        _plain("body"),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_records")),
    )
    op.create_index("ix_audit_records_at", "audit_records", ["at"])
    op.create_index("ix_audit_records_user_name_sequence", "audit_records", ["user_name", "sequence"])
    op.create_index("ix_audit_records_event_name_sequence", "audit_records", ["event_name", "sequence"])
    op.create_table(
        "audit_checkpoints",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        _time("at"),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("seal", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_checkpoints")),
    )
