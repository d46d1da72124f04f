"""Whether a deployment of that style can start: what CodeDeploy refuses, and what this version has not learned yet."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core import tags
from ferryman_coordinator.core.group_options import DeploymentOption, DeploymentType, GroupOptions
from ferryman_coordinator.core.inventory import DeploymentConfig, DeploymentGroup, InstanceKind
from ferryman_coordinator.core.membership import Membership
from ferryman_coordinator.core.tags import NO_SELECTION, Selection
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.operations import names
from ferryman_coordinator.store.queries import groups as queries
from ferryman_coordinator.store.queries import instances as instance_queries

_FLEET_TAGS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInstances:
    """API:TargetInstances: the replacement fleet of a blue/green deployment (CP-061)."""

    selection: Selection = NO_SELECTION
    auto_scaling_groups: tuple[str, ...] = ()


def check_zonal(config: DeploymentConfig, options: GroupOptions) -> None:
    """Zones are for deployments in place (CP-141). Raises Invalid."""
    if config.zonal is not None and options.style.type is DeploymentType.BLUE_GREEN:
        raise Invalid(
            "InvalidZonalDeploymentConfigurationException",
            f"configuration {config.name!r} goes zone by zone, which is for {DeploymentType.IN_PLACE} groups, not for "
            f"{DeploymentType.BLUE_GREEN}: choose one without zones",
        )


def check_target_instances(wanted: TargetInstances | None, group: DeploymentGroup, limits: Limits) -> None:
    """CP-061, CP-062. Raises Invalid (InvalidTargetInstancesException)."""
    if wanted is None:
        return
    reason = "InvalidTargetInstancesException"
    if group.options.style.type is DeploymentType.IN_PLACE:
        raise Invalid(
            reason,
            f"deployment group {group.name!r} is deployed to in place: target instances are the replacements of a "
            "blue/green deployment; leave them out",
        )
    try:
        tags.validate(wanted.selection, limits=names.tag_limits(limits))
    except tags.SelectionProblem as problem:
        raise Invalid(reason, problem.message) from problem
    count = len(wanted.selection.tag_filters) + sum(map(len, wanted.selection.tag_set))
    if count > _FLEET_TAGS:
        raise Invalid(reason, f"{count} tags say which instances to use, at most {_FLEET_TAGS} are allowed")
    if wanted.selection.is_empty and not wanted.auto_scaling_groups:
        raise Invalid(
            reason, "the target instances are empty: give tags or autoscaling groups, or leave them out"
        )


async def check_start(
    connection: AsyncConnection,
    group: DeploymentGroup,
    wanted: TargetInstances | None,
    *,
    on_premises_in_place_only: bool,
) -> None:
    """Raises Invalid for what cannot be started; nothing was touched by then."""
    style = group.options.style
    if style.type is DeploymentType.BLUE_GREEN:
        if on_premises_in_place_only:
            await _refuse_on_premises(connection, group, "are deployed to in place only")
        if wanted is not None:
            await _refuse_nobody(connection, wanted)
        raise Invalid(
            "UnsupportedActionForDeploymentTypeException",
            f"deployment group {group.name!r} is {style.type}: this version keeps the settings, but deploys in place "
            "only; change the group's style, and clear its blue/green options, to deploy to it now",
        )
    if style.option is DeploymentOption.WITH_TRAFFIC_CONTROL:
        if on_premises_in_place_only:
            await _refuse_on_premises(connection, group, "take no part in steps of load balancers")
        raise Invalid(
            "InvalidLoadBalancerInfoException",
            f"deployment group {group.name!r} is {style.option}: this version keeps the settings, but cannot take "
            "instances out of a load balancer; change the group's style to deploy to it now",
        )


async def _refuse_on_premises(connection: AsyncConnection, group: DeploymentGroup, what_they_do: str) -> None:
    """CP-016, CP-066."""
    members = await queries.members(connection, group)
    instances = await instance_queries.several(connection, [member.instance_id for member in members])
    for member in members:
        if instances[member.instance_id].kind is InstanceKind.ON_PREMISES:
            raise Invalid(
                "InvalidTargetInstancesException",
                f"instance {member.name!r} of deployment group {group.name!r} is on premises, and "
                f"deployments.on_premises_in_place_only is set: such instances {what_they_do}",
            )


async def _refuse_nobody(connection: AsyncConnection, wanted: TargetInstances) -> None:
    """CP-062."""
    membership = Membership(
        anyone=wanted.selection, auto_scaling_groups=frozenset(wanted.auto_scaling_groups)
    )
    if not await queries.count_matching(connection, membership):
        raise Invalid(
            "InvalidTargetInstancesException",
            "no registered instance is among the target instances: compare their tags with `ferryman instance list`",
        )
