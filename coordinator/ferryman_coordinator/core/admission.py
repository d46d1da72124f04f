"""May this deployment start at all? The checks before its first target (CP-228)."""

from __future__ import annotations

from collections.abc import Sequence

from ferryman_coordinator.core.failure import HEALTH_CONSTRAINTS_INVALID, NO_INSTANCES, OVER_MAX_INSTANCES
from ferryman_coordinator.core.model import (
    ErrorInformation,
    HealthyHostsType,
    MinimumHealthyHosts,
    RolloutSpec,
)
from ferryman_coordinator.core.schedule import Schedule, Tally, resolve_minimum


def refusal(spec: RolloutSpec, schedule: Schedule, zones: Sequence[str]) -> ErrorInformation | None:
    """Why the deployment ends before its first target, None if it may start.

    An outdated-only deployment of a group that is up to date may start, and has nothing to do (CP-220).
    """
    if not schedule.fleet.counted and spec.only_instance:
        return ErrorInformation(
            code=NO_INSTANCES,
            message=f"Instance {spec.only_instance} is no longer registered. Next: nothing, if it was ended.",
        )
    if not schedule.fleet.counted:
        return ErrorInformation(
            code=NO_INSTANCES,
            message=(
                f"No registered instance matches deployment group {spec.group_name} of {spec.application_name}."
                " Next: compare the group's tags with those of the instances (`ferryman instance list`)."
            ),
        )
    count = len(schedule.order)
    if count > spec.max_targets:
        return ErrorInformation(
            code=OVER_MAX_INSTANCES,
            message=(
                f"The deployment has {count} targets, the limit is {spec.max_targets}."
                " Next: split the group, or raise the coordinator's limit."
            ),
        )
    return _constraint_problem(spec, schedule, zones) if count else None


def notes(schedule: Schedule) -> tuple[str, ...]:
    """What is worth saying at the start (CP-220, CP-240)."""
    up_to_date = schedule.fleet.counted - len(schedule.order)
    if up_to_date == 0:
        return ()
    if not schedule.order:
        whose = "the only instance" if up_to_date == 1 else f"all {up_to_date} instances"
        return (f"Nothing to do: {whose} of the group {'has' if up_to_date == 1 else 'have'} this revision.",)
    return (
        f"{up_to_date} of {schedule.fleet.counted} instances have this revision already and are left alone.",
    )


def small_fleet_warning(minimum: MinimumHealthyHosts, count: int) -> str | None:
    """For those who save a group or plan: a minimum that no deployment to so many instances can keep (A7)."""
    if count == 0 or resolve_minimum(minimum, count) < count:
        return None
    return (
        f"{describe(minimum)} means all {count} of {count} instances, so every deployment would fail at once:"
        " choose a configuration with a smaller minimum"
    )


def describe(minimum: MinimumHealthyHosts) -> str:
    """A minimum in words."""
    if minimum.type is HealthyHostsType.HOST_COUNT:
        return f"a minimum of {minimum.value} healthy instances"
    if minimum.type is HealthyHostsType.FLEET_PERCENT:
        return f"a minimum of {minimum.value} % healthy instances"
    return f"at most {minimum.value} at a time"


def _constraint_problem(
    spec: RolloutSpec, schedule: Schedule, zones: Sequence[str]
) -> ErrorInformation | None:
    """Constraints that cannot be met whatever happens (CP-142, CP-270, CP-293)."""
    if spec.zonal is not None:
        without = [target for target in schedule.order if not target.zone]
        if without:
            return _invalid(
                f"Configuration {spec.config_name} goes zone by zone, but {len(without)} instances have no zone,"
                f" {without[0].label} for one. Next: enrol them with --zone, or choose a configuration without zones."
            )
    if schedule.fleet.minimum >= schedule.fleet.counted:
        return _invalid(_impossible(spec.config_name, spec.minimum, schedule.fleet, "the group"))
    for zone, tally in zip(zones, schedule.zones, strict=True):
        if spec.zonal is not None and tally.minimum >= tally.counted:
            return _invalid(_impossible(spec.config_name, spec.zonal.minimum_per_zone, tally, f"zone {zone}"))
    return None


def _impossible(config: str, minimum: MinimumHealthyHosts, tally: Tally, where: str) -> str:
    return (
        f"Configuration {config}, {describe(minimum)}: {tally.minimum} of the {tally.counted} instances of {where} have"
        f" to stay healthy (M={tally.minimum}, N={tally.counted}), so none may be deployed to."
        " Next: choose a configuration with a smaller minimum, or add instances."
    )


def _invalid(message: str) -> ErrorInformation:
    return ErrorInformation(code=HEALTH_CONSTRAINTS_INVALID, message=message)
