"""Whether a successful deployment is followed by one to the instances that it missed (CP-410 to CP-415)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ferryman_coordinator.core.group_options import OutdatedInstancesStrategy
from ferryman_coordinator.core.inventory import InstanceKind
from ferryman_coordinator.core.model import AutoRollback, Creator, DeploymentId, LastGood, RolloutSpec

MOST_ROUNDS = 3
"""In a row: who is still outdated then has another problem than that it came late (CP-413)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outdated:
    """A member of the group that has not what was deployed successfully just now."""

    kind: InstanceKind
    auto_scaling_group: str
    # The deployment had it among its targets, and lost sight of it.
    was_silent: bool
    # The deployment had it among its targets, and it failed otherwise.
    was_tried: bool
    is_connected: bool


def is_due(spec: RolloutSpec, rounds: int, outdated: Iterable[Outdated]) -> bool:
    """`spec` is of the deployment that succeeded; `rounds` counts the follow-ons of its root so far."""
    if rounds >= MOST_ROUNDS or spec.options.outdated_instances is OutdatedInstancesStrategy.IGNORE:
        return False
    return any(_came_late(one, spec) for one in outdated)


def _came_late(one: Outdated, spec: RolloutSpec) -> bool:
    """Tagging starts nothing (CP-053): it was launched by a provider, or the group catches up its own machines."""
    if one.was_tried or not one.is_connected:
        return False
    if one.auto_scaling_group:
        return one.auto_scaling_group in spec.options.auto_scaling_groups and not one.was_silent
    return one.kind is InstanceKind.ON_PREMISES and spec.options.catch_up_on_premises


def follow_on_spec(spec: RolloutSpec, deployment_id: DeploymentId) -> RolloutSpec:
    """The snapshot of the follow-on of `spec`'s deployment: the same revision, to those that have it not (CP-412).

    Without rollback: what it would go back to is what it deploys (CP-415).
    """
    good = LastGood(
        deployment_id=spec.deployment_id,
        revision=spec.revision,
        file_exists_behavior=spec.file_exists_behavior,
    )
    return replace(
        spec,
        deployment_id=deployment_id,
        creator=Creator.AUTO_UPDATE,
        update_outdated_instances_only=True,
        zonal=None,
        auto_rollback=AutoRollback(),
        last_good=good,
        warnings=(),
    )
