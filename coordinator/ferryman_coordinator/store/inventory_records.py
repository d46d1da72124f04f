"""Rows <-> values of what outlives a deployment. See `records.py` for deployments and the feed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from ferryman_coordinator.core.group_options import GroupOptions
from ferryman_coordinator.core.inventory import (
    Application,
    ComputePlatform,
    DeploymentConfig,
    DeploymentGroup,
    Facts,
    Instance,
    InstanceKind,
    JoinToken,
    LastDeployment,
    LifecycleState,
    RegisteredRevision,
    TokenId,
    TrafficRouting,
)
from ferryman_coordinator.core.model import (
    ApplicationId,
    AutoRollback,
    DeploymentId,
    DeploymentStatus,
    GroupId,
    InstanceId,
    Instant,
    MinimumHealthyHosts,
    RevisionLocation,
    UrlLocation,
    ZonalConfig,
)
from ferryman_coordinator.core.scaling_hooks import ScalingHook
from ferryman_coordinator.core.tags import Selection, Tag
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.records import Values, location_from, rollout_from, to_json


def application_row(application: Application) -> Values:
    return {
        "application_id": application.application_id,
        "name": application.name,
        "compute_platform": application.compute_platform.value,
        "created_at": application.created_at,
        "resource_tags": to_json(application.resource_tags),
        "github_account_name": application.github_account_name,
    }


def application_from(row: Any) -> Application:
    return Application(
        application_id=ApplicationId(row.application_id),
        name=row.name,
        compute_platform=ComputePlatform(row.compute_platform),
        created_at=row.created_at,
        resource_tags=_tags.decode(row.resource_tags),
        github_account_name=row.github_account_name,
    )


def group_row(group: DeploymentGroup) -> Values:
    """A row of `deployment_groups` without its pointers."""
    return {
        "group_id": group.group_id,
        "application_id": group.application_id,
        "name": group.name,
        "config_name": group.config_name,
        "selection": to_json(group.selection),
        "auto_rollback": to_json(group.auto_rollback),
        "created_at": group.created_at,
        "options": to_json(group.options),
        "resource_tags": to_json(group.resource_tags),
        "auto_scaling_hooks": to_json(group.hooks),
    }


def group_from(row: Any) -> DeploymentGroup:
    """From a row of `queries.groups`."""
    return DeploymentGroup(
        group_id=GroupId(row.group_id),
        application_id=ApplicationId(row.application_id),
        application_name=row.application_name,
        name=row.name,
        compute_platform=ComputePlatform(row.compute_platform),
        config_name=row.config_name,
        selection=_selection.decode(row.selection),
        auto_rollback=_auto_rollback.decode(row.auto_rollback),
        created_at=row.created_at,
        options=_options.decode(row.options),
        resource_tags=_tags.decode(row.resource_tags),
        hooks=_hooks.decode(row.auto_scaling_hooks),
        target_revision=None if row.target_revision is None else location_from(row.target_revision),
        last_attempted=_last_deployment(row.last_attempted_id, row.attempted_status, row.attempted_record),
        last_successful=_last_deployment(
            row.last_successful_id, row.successful_status, row.successful_record
        ),
    )


def hooks_from(text: str) -> tuple[ScalingHook, ...]:
    return _hooks.decode(text)


def config_row(config: DeploymentConfig) -> Values:
    return {
        "config_id": config.config_id,
        "name": config.name,
        "compute_platform": config.compute_platform.value,
        "minimum": _optional_json(config.minimum),
        "zonal": _optional_json(config.zonal),
        "traffic_routing": _optional_json(config.traffic_routing),
        "created_at": config.created_at,
    }


def config_from(row: Any) -> DeploymentConfig:
    return DeploymentConfig(
        config_id=row.config_id,
        name=row.name,
        compute_platform=ComputePlatform(row.compute_platform),
        minimum=None if row.minimum is None else _minimum.decode(row.minimum),
        zonal=None if row.zonal is None else _zonal.decode(row.zonal),
        traffic_routing=None if row.traffic_routing is None else _traffic.decode(row.traffic_routing),
        created_at=row.created_at,
    )


def revision_row(revision: RegisteredRevision) -> Values:
    location = revision.location
    return {
        "application_id": revision.application_id,
        "revision_key": location.key,
        "sha256": location.sha256,
        "url": location.url if isinstance(location, UrlLocation) else "",
        "location": to_json(location),
        "description": revision.description,
        "registered_at": revision.registered_at,
        "first_used_at": revision.first_used_at,
        "last_used_at": revision.last_used_at,
    }


def use_revision(
    batch: Batch,
    application_id: ApplicationId,
    location: RevisionLocation,
    deployment_id: DeploymentId,
    now: Instant,
) -> None:
    """A deployment uses a revision; an unregistered one gets registered, and its description says why (CP-194)."""
    key = {"application_id": application_id, "revision_key": location.key}
    revision = RegisteredRevision(
        application_id=application_id,
        application_name="",
        location=location,
        description=f"Application revision registered by Deployment ID: {deployment_id}",
        registered_at=now,
        first_used_at=now,
    )
    batch.add(tables.revisions, revision_row(revision))
    first = sa.func.coalesce(tables.revisions.c.first_used_at, now)
    batch.update(tables.revisions, key, {"first_used_at": first, "last_used_at": now}, where=[sa.true()])


def revision_from(row: Any, deployment_groups: Iterable[str]) -> RegisteredRevision:
    return RegisteredRevision(
        application_id=ApplicationId(row.application_id),
        application_name=row.application_name,
        location=location_from(row.location),
        description=row.description,
        registered_at=row.registered_at,
        first_used_at=row.first_used_at,
        last_used_at=row.last_used_at,
        deployment_groups=tuple(deployment_groups),
    )


def instance_row(instance: Instance, join_token_id: TokenId | None = None) -> Values:
    return {
        "instance_id": instance.instance_id,
        "name": instance.name,
        "kind": instance.kind.value,
        "arn": instance.arn,
        "tags": to_json(instance.tags),
        "zone": instance.zone,
        "registered_at": instance.registered_at,
        "deregistered_at": instance.deregistered_at,
        "last_seen_at": instance.last_seen_at,
        "facts": to_json(instance.facts),
        "join_token_id": join_token_id,
        "iam_user_arn": instance.iam_user_arn,
        "iam_session_arn": instance.iam_session_arn,
        "auto_scaling_group": instance.auto_scaling_group,
        "lifecycle_state": instance.lifecycle_state.value,
        "enrolled_at": instance.enrolled_at,
    }


def instance_from(row: Any) -> Instance:
    return Instance(
        instance_id=InstanceId(row.instance_id),
        name=row.name,
        kind=InstanceKind(row.kind),
        arn=row.arn,
        tags=_tags.decode(row.tags),
        zone=row.zone,
        registered_at=row.registered_at,
        deregistered_at=row.deregistered_at,
        last_seen_at=row.last_seen_at,
        facts=_facts.decode(row.facts),
        certificate_expires_at=row.certificate_expires_at,
        iam_user_arn=row.iam_user_arn,
        iam_session_arn=row.iam_session_arn,
        auto_scaling_group=row.auto_scaling_group,
        lifecycle_state=LifecycleState(row.lifecycle_state),
        enrolled_at=row.enrolled_at,
    )


def join_token_row(token: JoinToken, digest: str) -> Values:
    return {
        "token_id": token.token_id,
        "digest": digest,
        "uses": token.uses,
        "used": token.used,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "instance_name": token.instance_name,
        "tags": to_json(token.tags),
        "allowed_tags": to_json(token.allowed_tags),
        "allowed_names": to_json(token.allowed_names),
        "replaces_identity": token.replaces_identity,
    }


def join_token_from(row: Any) -> JoinToken:
    return JoinToken(
        token_id=TokenId(row.token_id),
        uses=row.uses,
        used=row.used,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        instance_name=row.instance_name,
        tags=_tags.decode(row.tags),
        allowed_tags=_tags.decode(row.allowed_tags),
        allowed_names=_names.decode(row.allowed_names),
        replaces_identity=bool(row.replaces_identity),
    )


def tags_from(text: str) -> tuple[Tag, ...]:
    return _tags.decode(text)


def _last_deployment(
    deployment_id: str | None, status: str | None, record: str | None
) -> LastDeployment | None:
    if deployment_id is None or status is None or record is None:
        return None
    rollout = rollout_from(record)
    return LastDeployment(
        deployment_id=DeploymentId(deployment_id),
        status=DeploymentStatus(status),
        created_at=rollout.created_at,
        ended_at=rollout.completed_at,
    )


def _optional_json(value: object | None) -> str | None:
    return None if value is None else to_json(value)


_auto_rollback = msgspec.json.Decoder(AutoRollback)
_options = msgspec.json.Decoder(GroupOptions)
_selection = msgspec.json.Decoder(Selection)
_minimum = msgspec.json.Decoder(MinimumHealthyHosts)
_zonal = msgspec.json.Decoder(ZonalConfig)
_traffic = msgspec.json.Decoder(TrafficRouting)
_facts = msgspec.json.Decoder(Facts)
_hooks = msgspec.json.Decoder(tuple[ScalingHook, ...])
_tags = msgspec.json.Decoder(tuple[Tag, ...])
_names = msgspec.json.Decoder(tuple[str, ...])
