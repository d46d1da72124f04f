"""Applications, groups, configurations, revisions, instances and join tokens."""

from __future__ import annotations

from ferryman.v1 import inventory_pb2, tokens_pb2
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.api.mapping.group_options import options_to
from ferryman_coordinator.api.mapping.selections import selection_to
from ferryman_coordinator.api.mapping.values import (
    location_to,
    minimum_to,
    rollback_to,
    tags_to,
    zonal_to,
)
from ferryman_coordinator.core.inventory import (
    Application,
    DeploymentConfig,
    DeploymentGroup,
    JoinToken,
    LastDeployment,
    RegisteredRevision,
    TrafficRouting,
)
from ferryman_coordinator.store.queries.drift import DriftCount


def application_to(application: Application, arn: str) -> inventory_pb2.Application:
    return inventory_pb2.Application(
        application_id=application.application_id,
        name=application.name,
        compute_platform=words.platforms.wire(application.compute_platform),
        created_at=application.created_at,
        resource_tags=tags_to(application.resource_tags),
        github_account_name=application.github_account_name,
        linked_to_github=bool(application.github_account_name),
        arn=arn,
    )


def group_to(group: DeploymentGroup, arn: str, drift: DriftCount) -> inventory_pb2.DeploymentGroup:
    return inventory_pb2.DeploymentGroup(
        deployment_group_id=group.group_id,
        name=group.name,
        application_name=group.application_name,
        deployment_config_name=group.config_name,
        selection=selection_to(group.selection),
        auto_rollback=rollback_to(group.auto_rollback),
        created_at=group.created_at,
        target_revision=None if group.target_revision is None else location_to(group.target_revision),
        last_attempted_deployment=_last_to(group.last_attempted),
        last_successful_deployment=_last_to(group.last_successful),
        checked_instances=drift.checked,
        drifted_instances=drift.drifted,
        options=options_to(group.options),
        resource_tags=tags_to(group.resource_tags),
        compute_platform=words.platforms.wire(group.compute_platform),
        arn=arn,
        auto_scaling_groups=[
            inventory_pb2.AutoScalingGroup(
                name=hook.auto_scaling_group, hook=hook.launch, termination_hook=hook.termination
            )
            for hook in group.hooks
        ],
    )


def _last_to(last: LastDeployment | None) -> inventory_pb2.LastDeployment | None:
    if last is None:
        return None
    return inventory_pb2.LastDeployment(
        deployment_id=last.deployment_id,
        status=words.deployment_statuses.wire(last.status),
        created_at=last.created_at,
        ended_at=last.ended_at,
    )


def config_to(config: DeploymentConfig) -> inventory_pb2.DeploymentConfig:
    return inventory_pb2.DeploymentConfig(
        deployment_config_id=config.config_id,
        name=config.name,
        compute_platform=words.platforms.wire(config.compute_platform),
        minimum_healthy_hosts=None if config.minimum is None else minimum_to(config.minimum),
        zonal=None if config.zonal is None else zonal_to(config.zonal),
        traffic_routing=None if config.traffic_routing is None else _routing_to(config.traffic_routing),
        created_at=config.created_at,
        is_predefined=config.is_predefined,
    )


def _routing_to(routing: TrafficRouting) -> inventory_pb2.TrafficRouting:
    return inventory_pb2.TrafficRouting(
        type=words.traffic_routing.wire(routing.type),
        percentage=routing.percentage,
        interval_minutes=routing.interval_minutes,
    )


def routing_from(routing: inventory_pb2.TrafficRouting) -> TrafficRouting:
    """Raises Invalid."""
    return TrafficRouting(
        type=words.traffic_routing.word(routing.type),
        percentage=routing.percentage,
        interval_minutes=routing.interval_minutes,
    )


def revision_to(revision: RegisteredRevision) -> inventory_pb2.Revision:
    return inventory_pb2.Revision(
        application_name=revision.application_name,
        location=location_to(revision.location),
        description=revision.description,
        registered_at=revision.registered_at,
        first_used_at=revision.first_used_at,
        last_used_at=revision.last_used_at,
        deployment_groups=revision.deployment_groups,
        label=revision.label,
    )


def join_token_to(token: JoinToken) -> tokens_pb2.JoinToken:
    return tokens_pb2.JoinToken(
        token_id=token.token_id,
        uses=token.uses,
        uses_left=token.uses_left,
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        instance_name=token.instance_name,
        tags=tags_to(token.tags),
        allowed_tags=tags_to(token.allowed_tags),
        allowed_names=token.allowed_names,
        replaces_identity=token.replaces_identity,
    )
