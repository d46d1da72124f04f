"""A deployment's description is mapped once for all its targets, and let go of with the deployment."""

from __future__ import annotations

import gc
import weakref

from ferryman_coordinator.api.mapping import agents
from ferryman_coordinator.api.mapping.agents import OrderMapper
from ferryman_coordinator.core.model import (
    BundleLocation,
    BundleType,
    Creator,
    DeploymentId,
    FileExistsBehavior,
    GroupId,
)
from ferryman_coordinator.links.orders import DeploymentDescription, Download, PrefetchOrder


def described(deployment_id: str = "d-1") -> DeploymentDescription:
    return DeploymentDescription(
        deployment_id=DeploymentId(deployment_id),
        deployment_group_id=GroupId("g-1"),
        deployment_group_name="group",
        application_name="app",
        deployment_creator=Creator.USER,
        file_exists_behavior=FileExistsBehavior.DISALLOW,
        revision=BundleLocation(sha256="ab" * 32, size_bytes=1, bundle_type=BundleType.ZIP),
        download=Download("/bundles/secret"),
    )


def test_all_targets_of_a_deployment_share_one_mapping() -> None:
    mapper, one, other = OrderMapper(), described(), described()
    first = mapper._description(one)
    assert mapper._description(one) is first
    # The same words of another deployment, or of the same one with a fresh address, are another description.
    assert mapper._description(other) is not first


def test_nothing_of_a_deployment_is_kept_once_the_engine_has_dropped_it() -> None:
    mapper, one = OrderMapper(), described()
    mapper.message(PrefetchOrder(deployment=one))
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None
    assert not mapper._mapped


def test_the_message_says_what_the_description_does() -> None:
    message = OrderMapper().message(PrefetchOrder(deployment=described("d-7")))
    assert message.prefetch.deployment == agents._description_to(described("d-7"))
    assert message.prefetch.deployment.deployment_id == "d-7"
