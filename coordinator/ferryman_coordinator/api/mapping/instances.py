"""Instances, and what was deployed to them, in both directions between the core and the wire."""

from __future__ import annotations

from collections.abc import Iterable

from ferryman.v1 import instances_pb2, inventory_pb2
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.api.mapping.drift import installed_to
from ferryman_coordinator.api.mapping.values import facts_to, location_to, tags_to
from ferryman_coordinator.core.inventory import Instance, InstanceDeploymentHealth
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.links.troubles import Trouble
from ferryman_coordinator.store.queries.instance_history import InstanceDeployment


def instance_to(
    instance: Instance, links: Links, health: Iterable[InstanceDeploymentHealth] = ()
) -> inventory_pb2.Instance:
    """With what `links` know of it now."""
    last_heard = links.last_heard(instance.instance_id)
    trouble = links.trouble_of(instance.instance_id)
    return inventory_pb2.Instance(
        instance_id=instance.instance_id,
        name=instance.name,
        kind=words.instance_kinds.wire(instance.kind),
        arn=instance.arn,
        tags=tags_to(instance.tags),
        zone=instance.zone,
        registered_at=instance.registered_at,
        deregistered_at=instance.deregistered_at,
        is_connected=last_heard is not None,
        last_seen_at=instance.last_seen_at if last_heard is None else last_heard,
        facts=facts_to(instance.facts),
        certificate_expires_at=instance.certificate_expires_at,
        health=[_health_to(one) for one in health],
        iam_user_arn=instance.iam_user_arn,
        iam_session_arn=instance.iam_session_arn,
        auto_scaling_group=instance.auto_scaling_group,
        lifecycle_state=instance.lifecycle_state.value,
        enrolled_at=instance.enrolled_at,
        identity_trouble=None if trouble is None else _trouble_to(trouble),
    )


def history_to(deployment: InstanceDeployment) -> instances_pb2.InstanceDeployment:
    return instances_pb2.InstanceDeployment(
        deployment_id=deployment.deployment_id,
        application_name=deployment.application_name,
        deployment_group_name=deployment.group_name,
        creator=deployment.creator,
        deployment_status=words.deployment_statuses.wire(deployment.deployment_status),
        created_at=deployment.created_at,
        status=words.target_statuses.wire(deployment.status),
        started_at=deployment.started_at,
        ended_at=deployment.ended_at,
    )


def _trouble_to(trouble: Trouble) -> inventory_pb2.IdentityTrouble:
    return inventory_pb2.IdentityTrouble(
        reason=trouble.reason, message=trouble.message, host_name=trouble.host_name, at=trouble.at
    )


def _health_to(health: InstanceDeploymentHealth) -> inventory_pb2.InstanceDeploymentHealth:
    installed = health.installed_revision
    return inventory_pb2.InstanceDeploymentHealth(
        application_name=health.application_name,
        deployment_group_name=health.group_name,
        instance_health=words.instance_health.wire(health.instance_health),
        revision_health=words.revision_health.wire(health.revision_health),
        installed_revision=None if installed is None else location_to(installed),
        last_deployment_id=health.last_deployment_id,
        installed=None if health.installed is None else installed_to(health.installed),
    )
