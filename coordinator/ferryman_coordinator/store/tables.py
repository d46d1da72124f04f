"""One schema for SQLite and PostgreSQL.

Times are milliseconds since the epoch. JSON is text that `records.py` and `inventory_records.py` read and write: asked
for whole, never searched. A column marked `FIXED` is written once: `Batch.put` of an existing row leaves it alone.
A change here needs a migration (a test compares).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

FIXED = "fixed"

ONCE = "once"
"""In the info of a table: the columns that `Batch.add` looks at, where they are not the primary key."""

ONE_ACTIVE = "uq_deployments_one_active"
"""At most one unfinished fleet deployment a group, but for those that wait in its queue (CP-429, CP-419); what
`ConstraintBroken.name` says when it is broken.
"""

REQUEST_KEY = "uq_deployments_group_id_request_key"
"""A request key was used before in this group (CP-230)."""

REGISTERED_NAME = "uq_instances_registered_name"
"""A registered instance has this name (CP-070)."""

IAM_USER = "uq_instances_iam_user_arn"
"""A registered instance uses this user (CP-071)."""

IAM_SESSION = "uq_instances_iam_session_arn"
"""A registered instance uses this session (CP-072)."""

APPLICATION_NAME = "uq_applications_name"
GROUP_NAME = "uq_deployment_groups_application_id_name"
CONFIG_NAME = "uq_deployment_configs_name"
RULE_NAME = "uq_notification_rules_name"

_UNFINISHED = "status NOT IN ('Succeeded', 'Failed', 'Stopped')"
_ACTIVE = "is_fleet AND status NOT IN ('Succeeded', 'Failed', 'Stopped', 'Queued')"


TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Ordered by code point on both databases, whatever the locale of a PostgreSQL: pages and merged lists rely on it."""

_POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_ID = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def _id(name: str, *rest: Any, **options: Any) -> sa.Column[str]:
    return sa.Column(name, _ID, *rest, **options)


def _name(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, TEXT, nullable=options.pop("nullable", False), **options)


def _time(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=options.pop("nullable", False), **options)


def _json(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _later(name: str, default: str) -> sa.Column[str]:
    """A text that rows written before it was there have as `default`."""
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _fixed(column: sa.Column[Any]) -> sa.Column[Any]:
    column.info[FIXED] = True
    return column


def _cascade(target: str) -> sa.ForeignKey:
    return sa.ForeignKey(target, ondelete="CASCADE")


def _one_registered(index: str, column: str) -> sa.Index:
    """At most one registered instance has the same text there, where it has any."""
    where = sa.text(f"deregistered_at IS NULL AND {column} <> ''")
    return sa.Index(index, column, unique=True, sqlite_where=where, postgresql_where=where)


settings = sa.Table(
    "settings",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

applications = sa.Table(
    "applications",
    metadata,
    _id("application_id", primary_key=True),
    _name("name", unique=True),
    _name("compute_platform"),
    _time("created_at"),
    _later("resource_tags", "[]"),
    _later("github_account_name", ""),
)

deployment_configs = sa.Table(
    "deployment_configs",
    metadata,
    _id("config_id", primary_key=True),
    _name("name", unique=True),
    _name("compute_platform"),
    _json("minimum", nullable=True),
    _json("zonal", nullable=True),
    _json("traffic_routing", nullable=True),
    _time("created_at"),
)

deployment_groups = sa.Table(
    "deployment_groups",
    metadata,
    _id("group_id", primary_key=True),
    _id("application_id", _cascade("applications.application_id"), nullable=False),
    _name("name"),
    # No foreign key: the predefined configurations are not in the table.
    _name("config_name", index=True),
    _json("selection"),
    _json("auto_rollback"),
    _time("created_at"),
    # Pointers of CP section 1.1. The last success also says what the target revision is.
    _id("last_attempted_id"),
    _id("last_successful_id"),
    _json("target_revision", nullable=True),
    sa.Column("target_revision_key", sa.Text),
    # GroupOptions, whole.
    _later("options", "{}"),
    _later("resource_tags", "[]"),
    # The highest number that a creation came with (CP-231).
    sa.Column("last_sequence", sa.BigInteger, nullable=False, server_default="0"),
    # What its autoscaling groups know it by: ScalingHook, whole.
    _later("auto_scaling_hooks", "[]"),
    sa.UniqueConstraint("application_id", "name"),
)

revisions = sa.Table(
    "revisions",
    metadata,
    _id("application_id", _cascade("applications.application_id"), primary_key=True),
    sa.Column("revision_key", TEXT, primary_key=True),
    # Empty for a URL whose archive is not pinned.
    sa.Column("sha256", _ID, nullable=False),
    _name("url"),
    _json("location"),
    sa.Column("description", sa.Text, nullable=False),
    _time("registered_at"),
    _time("first_used_at", nullable=True),
    _time("last_used_at", nullable=True),
    sa.Index("ix_revisions_application_id_sha256", "application_id", "sha256"),
)

instances = sa.Table(
    "instances",
    metadata,
    _id("instance_id", primary_key=True),
    _name("name"),
    _name("kind"),
    _name("arn"),
    _json("tags"),
    _name("zone"),
    _time("registered_at"),
    _time("deregistered_at", nullable=True),
    _time("last_seen_at", nullable=True),
    _json("facts"),
    _id("join_token_id"),
    _later("iam_user_arn", ""),
    _later("iam_session_arn", ""),
    _later("auto_scaling_group", ""),
    _later("lifecycle_state", "InService"),
    # When a machine first took the identity; NULL while the registration waits for one.
    _time("enrolled_at", nullable=True),
    sa.Index("ix_instances_auto_scaling_group", "auto_scaling_group"),
    _one_registered(IAM_USER, "iam_user_arn"),
    _one_registered(IAM_SESSION, "iam_session_arn"),
    sa.Index(
        REGISTERED_NAME,
        "name",
        unique=True,
        sqlite_where=sa.text("deregistered_at IS NULL"),
        postgresql_where=sa.text("deregistered_at IS NULL"),
    ),
    sa.Index("ix_instances_name", "name"),
)

certificates = sa.Table(
    "certificates",
    metadata,
    _id("serial", primary_key=True),
    _id("instance_id", _cascade("instances.instance_id"), nullable=False, index=True),
    _time("issued_at"),
    _time("expires_at"),
    _time("revoked_at", nullable=True),
    # Fingerprint of the authority that signed it; those from before it was kept have none.
    _later("issuer", ""),
    # When an agent first came with it: until then it may not have got it.
    _time("first_used_at", nullable=True),
)

join_tokens = sa.Table(
    "join_tokens",
    metadata,
    _id("token_id", primary_key=True),
    # SHA-256 of the secret, in hexadecimal.
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    # 0: any number.
    sa.Column("uses", sa.BigInteger, nullable=False),
    sa.Column("used", sa.BigInteger, nullable=False),
    _time("created_at"),
    _time("expires_at"),
    _time("revoked_at", nullable=True),
    _name("instance_name"),
    _json("tags"),
    # Patterns of what its holder may choose; tokens made before they were there allow everything.
    _later("allowed_tags", '[["*","*"]]'),
    _later("allowed_names", '["*"]'),
    # Also for an instance that has an identity already, which ends then.
    sa.Column("replaces_identity", sa.Boolean, nullable=False, server_default=sa.false()),
)

access_tokens = sa.Table(
    "access_tokens",
    metadata,
    _id("token_id", primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    # What it is for, as its user says.
    _name("name"),
    _time("created_at"),
    _time("expires_at", nullable=True),
    _time("revoked_at", nullable=True),
    # No foreign key: SQLite cannot add one to a table that is there. Whoever deletes a user deletes these.
    _later("user_id", "admin"),
    _later("kind", "Token"),
    _later("scope", "{}"),
    # Of a session: the credential that it was made with.
    _later("parent_id", ""),
    _time("last_used_at", nullable=True),
    _later("last_used_from", ""),
    sa.Index("ix_access_tokens_user_id", "user_id"),
)

users = sa.Table(
    "users",
    metadata,
    _id("user_id", primary_key=True),
    _name("name", unique=True),
    _name("kind"),
    sa.Column("description", sa.Text, nullable=False),
    _time("created_at"),
    _name("created_by"),
    _time("disabled_at", nullable=True),
)

# Those that are made here; the ready-made ones are in core/roles.py.
roles = sa.Table(
    "roles",
    metadata,
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    _json("statements"),
    _time("created_at"),
    _time("updated_at"),
)

grants = sa.Table(
    "grants",
    metadata,
    _id("user_id", _cascade("users.user_id"), primary_key=True),
    sa.Column("role_name", TEXT, primary_key=True),
    _json("resources"),
    _time("created_at"),
    _name("created_by"),
    sa.Index("ix_grants_role_name", "role_name"),
)

access_keys = sa.Table(
    "access_keys",
    metadata,
    _id("access_key_id", primary_key=True),
    _id("user_id", _cascade("users.user_id"), nullable=False, index=True),
    # Signatures are checked with the secret itself, so it is kept, sealed with a key that is not in the database.
    sa.Column("sealed_secret", sa.Text, nullable=False),
    _name("status"),
    # Of temporary ones: the access token that is the session's.
    _id("token_id", nullable=False),
    _json("scope"),
    _time("created_at"),
    _time("expires_at", nullable=True),
    _time("last_used_at", nullable=True),
    _name("last_used_from"),
)

# Append-only: rows go from the old end when they are older than is kept, up to a checkpoint.
audit_records = sa.Table(
    "audit_records",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    _time("at"),
    # What lists filter by; all of it is in the body as well.
    _name("user_name"),
    _name("event_name"),
    _name("outcome"),
    # Exactly what was hashed.
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index("ix_audit_records_at", "at"),
    sa.Index("ix_audit_records_user_name_sequence", "user_name", "sequence"),
    sa.Index("ix_audit_records_event_name_sequence", "event_name", "sequence"),
)

# Sealed with a key that is not in the database: from here the chain cannot be written anew by whoever has that alone.
audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    _time("at"),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("seal", sa.String(64), nullable=False),
)

bundles = sa.Table(
    "bundles",
    metadata,
    sa.Column("sha256", _ID, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    _name("bundle_type"),
    _time("stored_at"),
)

deployments = sa.Table(
    "deployments",
    metadata,
    _id("deployment_id", primary_key=True),
    _id("application_id", _cascade("applications.application_id"), nullable=False, index=True),
    # No foreign key: history outlives the group. The names are those at creation; reads prefer the present ones.
    _id("group_id", nullable=False),
    _name("application_name"),
    _name("group_name"),
    # False for what covers a single instance and may run beside the group's own (CP-401).
    sa.Column("is_fleet", sa.Boolean, nullable=False),
    _name("status"),
    _name("creator"),
    _name("config_name"),
    sa.Column("revision_key", TEXT, nullable=False),
    # RolloutSpec and RolloutRecord, whole.
    _json("spec"),
    _json("record"),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("request_key", sa.String(256)),
    _time("created_at"),
    _id("rollback_deployment_id"),
    _id("rollback_triggering_deployment_id"),
    # Of a follow-on: the deployment whose revision it brings to those that came late (CP-412).
    _id("auto_update_root_id", index=True),
    sa.Index(REQUEST_KEY, "group_id", "request_key", unique=True),
    sa.Index(
        ONE_ACTIVE,
        "group_id",
        unique=True,
        sqlite_where=sa.text(_ACTIVE),
        postgresql_where=sa.text(_ACTIVE),
    ),
    sa.Index("ix_deployments_created_at", "created_at", "deployment_id"),
    sa.Index("ix_deployments_group_id_created_at", "group_id", "created_at", "deployment_id"),
    # Small: what recovery loads and quotas count.
    sa.Index(
        "ix_deployments_unfinished",
        "status",
        sqlite_where=sa.text(_UNFINISHED),
        postgresql_where=sa.text(_UNFINISHED),
    ),
)

targets = sa.Table(
    "targets",
    metadata,
    _id("deployment_id", _cascade("deployments.deployment_id"), primary_key=True),
    _id("instance_id", primary_key=True),
    _fixed(_name("instance_name")),
    _fixed(_name("zone")),
    _fixed(sa.Column("ordinal", sa.BigInteger, nullable=False)),
    _name("status"),
    _fixed(sa.Column("was_healthy", sa.Boolean, nullable=False)),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    _name("phase"),
    sa.Column("is_cancelled", sa.Boolean, nullable=False),
    _name("lifecycle_event"),
    _time("deadline", nullable=True),
    _time("silent_since", nullable=True),
    sa.Column("failed_by_silence", sa.Boolean, nullable=False),
    _time("started_at", nullable=True),
    _time("completed_at", nullable=True),
    _time("updated_at"),
    sa.Index("ix_targets_deployment_id_ordinal", "deployment_id", "ordinal"),
    sa.Index("ix_targets_instance_id", "instance_id"),
    sqlite_with_rowid=False,
)

target_events = sa.Table(
    "target_events",
    metadata,
    _id("deployment_id", _cascade("deployments.deployment_id"), primary_key=True),
    _id("instance_id", primary_key=True),
    sa.Column("name", _ID, primary_key=True),
    _name("status"),
    _time("started_at", nullable=True),
    _time("ended_at", nullable=True),
    _json("diagnostics", nullable=True),
    sqlite_with_rowid=False,
)

# The facts that health is derived from (CP-315): the last attempt of each group on each instance.
installations = sa.Table(
    "installations",
    metadata,
    _id("group_id", primary_key=True),
    _id("instance_id", primary_key=True),
    # Of what is installed; NULL after a failure, since files may be half replaced (CP-314).
    sa.Column("revision_key", TEXT),
    _json("revision", nullable=True),
    _name("last_outcome"),
    _id("last_deployment_id", nullable=False),
    _time("attempted_at"),
    sa.Index("ix_installations_instance_id", "instance_id"),
    sqlite_with_rowid=False,
)

# What agents found when they last looked at what is installed: the newest answer of each.
installed_states = sa.Table(
    "installed_states",
    metadata,
    _id("group_id", primary_key=True),
    _id("instance_id", primary_key=True),
    _id("deployment_id", nullable=False),
    sa.Column("files_checked", sa.BigInteger, nullable=False),
    sa.Column("files_drifted", sa.BigInteger, nullable=False),
    _json("drifted"),
    # By the agent's clock, and by ours.
    _time("checked_at"),
    _time("received_at"),
    sa.Column("with_digests", sa.Boolean, nullable=False),
    sa.Column("archive_whole", sa.Boolean, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    # NULL: an agent that does not say.
    sa.Column("bundle_whole", sa.Boolean),
    sa.Index("ix_installed_states_instance_id", "instance_id"),
    sqlite_with_rowid=False,
)

# What watchers read: `sequence` rises by one in each deployment and is given by the engine.
changes = sa.Table(
    "changes",
    metadata,
    _id("deployment_id", _cascade("deployments.deployment_id"), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    _time("at"),
    _name("kind"),
    _id("instance_id", nullable=False),
    _json("body"),
    sqlite_with_rowid=False,
)

# What the world is told, in order (the outbox, CP-375). Written with the change that is the event. No foreign keys: the
# end of a deployment is told although its application was deleted.
events = sa.Table(
    "events",
    metadata,
    # Given by the database, and never again: cursors of consumers are positions. One coordinator writes to a database
    # (CP-285), one transaction after the other, so whoever has seen a position has seen all before it.
    sa.Column("position", _POSITION, sa.Identity(), primary_key=True, autoincrement=True),
    _id("event_id", nullable=False, unique=True),
    _name("kind"),
    _name("state"),
    _name("status"),
    _id("deployment_id", nullable=False),
    _id("instance_id", nullable=False),
    _id("application_id", nullable=False),
    _id("group_id", nullable=False),
    _name("application_name"),
    _name("group_name"),
    _time("at"),
    # DeploymentFacts; NULL for an instance.
    _json("facts", nullable=True),
    # The triggers that wait for it; NULL for none.
    _json("triggers", nullable=True),
    sa.Index("ix_events_at", "at"),
    info={ONCE: ("event_id",)},
    sqlite_autoincrement=True,
)

# One row for each event and each target that a trigger or a rule names for it.
deliveries = sa.Table(
    "deliveries",
    metadata,
    _id("delivery_id", primary_key=True),
    _fixed(sa.Column("position", sa.BigInteger, nullable=False)),
    _fixed(_id("event_id", nullable=False)),
    _fixed(_id("deployment_id", nullable=False)),
    _fixed(_name("application_name")),
    _fixed(_name("group_name")),
    # What asked for it, a trigger or a rule, and its name.
    _fixed(_name("source")),
    _fixed(_name("source_name")),
    _fixed(_name("target")),
    _fixed(_name("event_type")),
    _fixed(sa.Column("body", sa.Text, nullable=False)),
    _fixed(sa.Column("text", sa.Text, nullable=False)),
    _name("state"),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    _fixed(_time("created_at")),
    # Since when it has been tried for: its creation, or the last replay.
    _time("waiting_since"),
    _time("next_at"),
    _time("ended_at", nullable=True),
    sa.Column("last_error", sa.Text, nullable=False),
    # Small: what is still to be sent.
    sa.Index(
        "ix_deliveries_waiting",
        "target",
        "deployment_id",
        "position",
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    ),
    # None over all states: SQLite would take it where one of these is better.
    sa.Index(
        "ix_deliveries_dead",
        "position",
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    ),
    sa.Index("ix_deliveries_position", "position", "delivery_id"),
)

notification_rules = sa.Table(
    "notification_rules",
    metadata,
    _id("rule_id", primary_key=True),
    _name("name", unique=True),
    # NULL: every application.
    _id("application_id", _cascade("applications.application_id"), nullable=True, index=True),
    _json("group_ids"),
    _json("events"),
    _json("targets"),
    _name("status"),
    _name("detail_type"),
    _time("created_at"),
    _time("updated_at"),
)

# Instances that an autoscaler launches or ends, and that wait for an answer, or had one.
lifecycle_actions = sa.Table(
    "lifecycle_actions",
    metadata,
    sa.Column("auto_scaling_group", TEXT, primary_key=True),
    # The autoscaler's, or one that is derived from what happens to the instance.
    sa.Column("token", TEXT, primary_key=True),
    _fixed(_id("instance_id", nullable=False)),
    _fixed(_time("created_at")),
    _time("answered_at", nullable=True),
    # LifecycleAction, whole.
    _json("action"),
    sa.Index("ix_lifecycle_actions_instance_id", "instance_id"),
    sa.Index("ix_lifecycle_actions_created_at", "created_at"),
    # Small: what goes on after a restart.
    sa.Index(
        "ix_lifecycle_actions_open",
        "created_at",
        sqlite_where=sa.text("answered_at IS NULL"),
        postgresql_where=sa.text("answered_at IS NULL"),
    ),
)

# What was pushed, newest state of each alarm. An alarm of Alertmanager has a row for each series that fires.
alarm_states = sa.Table(
    "alarm_states",
    metadata,
    sa.Column("source", TEXT, primary_key=True),
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("series", TEXT, primary_key=True),
    _name("state"),
    # By the source's clock, and by ours.
    _time("since", nullable=True),
    _time("received_at"),
    _time("expires_at", nullable=True),
    sa.Column("detail", sa.Text, nullable=False),
)
