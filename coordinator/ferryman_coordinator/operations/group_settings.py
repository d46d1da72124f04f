"""What the settings of a deployment group may be, and what its owner is warned of."""

from __future__ import annotations

from collections.abc import Iterator

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.admission import small_fleet_warning
from ferryman_coordinator.core.group_options import (
    DeploymentOption,
    DeploymentType,
    GroupOptions,
    LoadBalancers,
)
from ferryman_coordinator.core.inventory import (
    Application,
    ComputePlatform,
    DeploymentConfig,
    DeploymentGroup,
)
from ferryman_coordinator.core.membership import Membership
from ferryman_coordinator.core.model import AutoRollback, RollbackEvent
from ferryman_coordinator.errors import Conflict, Invalid, LimitExceeded, NotFound
from ferryman_coordinator.operations import names

_ON_ALARM = RollbackEvent.DEPLOYMENT_STOP_ON_ALARM


def check_auto_rollback(settings: AutoRollback) -> None:
    """Raises Invalid (InvalidAutoRollbackConfigException) (CP-188)."""
    if settings.enabled and not settings.events:
        raise Invalid(
            "InvalidAutoRollbackConfigException",
            "automatic rollback is enabled but no event says when: give at least one of "
            + ", ".join(RollbackEvent),
        )


def check_platform(config: DeploymentConfig, application: Application) -> None:
    """Raises Invalid (InvalidDeploymentConfigNameException) (CP-160)."""
    if config.compute_platform is not application.compute_platform:
        raise Invalid(
            "InvalidDeploymentConfigNameException",
            f"configuration {config.name!r} is for {config.compute_platform}, but application {application.name!r} is "
            f"on {application.compute_platform}: choose one for that platform",
        )


def warnings(group: DeploymentGroup, config: DeploymentConfig, matching: int) -> Iterator[str]:
    """What is accepted and still looks like a mistake; `matching` counts the instances that belong now (A7, CP-190)."""
    if Membership.of_group(group).is_empty:
        yield "the group selects no instance: its deployments fail with NO_INSTANCES until it gets a tag filter"
    elif matching == 0:
        yield "no registered instance matches the group's tags now: a deployment would fail with NO_INSTANCES"
    is_single = matching == 1 and group.options.single_as_one_at_a_time
    if config.minimum is not None and not is_single:
        warning = small_fleet_warning(config.minimum, matching)
        if warning:
            yield f"configuration {config.name}: {warning}"
    if group.compute_platform is ComputePlatform.SERVER:
        yield from _style_warnings(group.options)
    alarms = group.options.alarms
    is_watched = alarms.enabled and alarms.alarms
    if not is_watched and group.auto_rollback.enabled and _ON_ALARM in group.auto_rollback.events:
        yield "rollback on DEPLOYMENT_STOP_ON_ALARM never happens: the group has no alarm"


def _style_warnings(options: GroupOptions) -> Iterator[str]:
    """What is stored, but does not work yet, or not so."""
    if options.style.type is DeploymentType.BLUE_GREEN:
        yield "this version keeps blue/green settings, but refuses to start deployments of the group"
    elif options.style.option is DeploymentOption.WITH_TRAFFIC_CONTROL:
        yield "this version keeps load balancers, but refuses to start deployments with traffic control"
    elif options.load_balancers != LoadBalancers():
        yield f"the load balancers are not used: the style of the group is {options.style.option}"


def missing(application_name: str, name: str) -> NotFound:
    """The application has no group of that name."""
    return NotFound(
        "DeploymentGroupDoesNotExistException",
        f"application {application_name!r} has no deployment group {names.shown(name)}; "
        f"`ferryman group list --application {application_name}` shows those it has",
    )


def exists(application_name: str, name: str) -> Conflict:
    """The name is taken."""
    return Conflict(
        "DeploymentGroupAlreadyExistsException",
        f"application {application_name!r} has a deployment group {name!r} already: "
        "choose another name, or update the one that is there",
    )


def too_many(application_name: str, limits: Limits) -> LimitExceeded:
    """The quota is reached."""
    return LimitExceeded(
        "DeploymentGroupLimitExceededException",
        f"application {application_name!r} has {limits.groups_per_application} deployment groups, the most that are "
        "allowed: delete one, or raise limits.groups_per_application in the coordinator's configuration",
    )
