"""Deployment configurations: the predefined ones as values, and what a custom one may say (CP section 6). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ferryman_coordinator.core.inventory import (
    ComputePlatform,
    DeploymentConfig,
    TrafficRouting,
    TrafficRoutingType,
)
from ferryman_coordinator.core.model import HealthyHostsType, MinimumHealthyHosts, Timers, ZonalConfig

PREDEFINED_PREFIX = "CodeDeployDefault."

ONE_AT_A_TIME = PREDEFINED_PREFIX + "OneAtATime"
HALF_AT_A_TIME = PREDEFINED_PREFIX + "HalfAtATime"
ALL_AT_ONCE = PREDEFINED_PREFIX + "AllAtOnce"

MAX_PERCENT = 99
MAX_SHIFT_MINUTES = 2_880
"""From the first shift of traffic to the last (CP-130)."""

_MINIMUM = "InvalidMinimumHealthyHostValueException"
_ROUTING = "InvalidTrafficRoutingConfigurationException"
_ZONAL = "InvalidZonalDeploymentConfigurationException"
_NAME = "InvalidDeploymentConfigNameException"

DEFAULTS: Mapping[ComputePlatform, str] = MappingProxyType(
    {
        ComputePlatform.SERVER: ONE_AT_A_TIME,
        ComputePlatform.LAMBDA: PREDEFINED_PREFIX + "LambdaAllAtOnce",
        ComputePlatform.ECS: PREDEFINED_PREFIX + "ECSAllAtOnce",
    }
)
"""What a group gets that names no configuration (CP-120, CP-121)."""


class ConfigurationProblem(ValueError):
    """A configuration that cannot be accepted; `reason` is CodeDeploy's exception name."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def effective_name(own: str, group: str, platform: ComputePlatform) -> str:
    """The deployment's configuration, else the group's, else the platform's default (CP-120); empty: not given."""
    return own or group or DEFAULTS[platform]


def validate(
    name: str,
    platform: ComputePlatform,
    *,
    minimum: MinimumHealthyHosts | None = None,
    zonal: ZonalConfig | None = None,
    routing: TrafficRouting | None = None,
    run_cap_ms: int = Timers().run_cap_ms,
) -> None:
    """Raise ConfigurationProblem for the first mistake of a custom configuration (CP-118, CP-123 to CP-143)."""
    if name.startswith(PREDEFINED_PREFIX):
        raise ConfigurationProblem(
            _NAME,
            f"configuration {name}: names that start with {PREDEFINED_PREFIX} are those of the predefined ones",
        )
    if platform is ComputePlatform.SERVER:
        _validate_server(name, minimum, zonal, routing, run_cap_ms)
    else:
        _validate_shifted(name, platform, minimum, zonal, routing)


def _validate_server(
    name: str,
    minimum: MinimumHealthyHosts | None,
    zonal: ZonalConfig | None,
    routing: TrafficRouting | None,
    run_cap_ms: int,
) -> None:
    if minimum is None:
        raise ConfigurationProblem(
            _MINIMUM,
            f"configuration {name} says no minimum of healthy instances: give a count or a percentage",
        )
    problem = _minimum_problem(minimum)
    if problem:
        raise ConfigurationProblem(_MINIMUM, f"configuration {name}: {problem}")
    if routing is not None:
        raise ConfigurationProblem(
            _ROUTING, f"configuration {name}: traffic routing is for Lambda and ECS, not for Server"
        )
    if zonal is not None:
        _validate_zonal(name, zonal, run_cap_ms)


def _validate_zonal(name: str, zonal: ZonalConfig, run_cap_ms: int) -> None:
    problem = _minimum_problem(zonal.minimum_per_zone)
    if problem:
        raise ConfigurationProblem(_ZONAL, f"configuration {name}, minimum of each zone: {problem}")
    for title, seconds in (
        ("monitor duration", zonal.monitor_seconds),
        ("monitor duration of the first zone", zonal.first_zone_monitor_seconds),
    ):
        if seconds is None:
            continue
        if seconds < 0:
            raise ConfigurationProblem(
                _ZONAL, f"configuration {name}: {title} is {seconds} s, it cannot be negative"
            )
        if seconds * 1000 >= run_cap_ms:
            raise ConfigurationProblem(
                _ZONAL,
                f"configuration {name}: {title} is {seconds} s, but a deployment ends after {run_cap_ms // 1000} s",
            )


def _validate_shifted(
    name: str,
    platform: ComputePlatform,
    minimum: MinimumHealthyHosts | None,
    zonal: ZonalConfig | None,
    routing: TrafficRouting | None,
) -> None:
    if minimum is not None:
        raise ConfigurationProblem(
            _MINIMUM,
            f"configuration {name}: a minimum of healthy instances is for Server, not for {platform}",
        )
    if zonal is not None:
        raise ConfigurationProblem(_ZONAL, f"configuration {name}: zones are for Server, not for {platform}")
    problem = "is missing" if routing is None else _routing_problem(routing)
    if problem:
        raise ConfigurationProblem(_ROUTING, f"configuration {name}: traffic routing {problem}")


def _minimum_problem(minimum: MinimumHealthyHosts) -> str:
    """What is wrong with a custom minimum (CP-125, CP-126, CP-127), empty when nothing is."""
    if minimum.type is HealthyHostsType.MOST_CONCURRENCY:
        return f"{minimum.type} is how {ONE_AT_A_TIME} shows itself: give HOST_COUNT or FLEET_PERCENT instead"
    if minimum.value < 0:
        return f"{minimum.type} {minimum.value} is negative"
    if minimum.type is HealthyHostsType.FLEET_PERCENT and minimum.value > MAX_PERCENT:
        return f"FLEET_PERCENT {minimum.value} is over {MAX_PERCENT}, so nothing could ever be deployed"
    return ""


def _routing_problem(routing: TrafficRouting) -> str:
    """What is wrong with a traffic routing (CP-129, CP-130), empty when nothing is."""
    if routing.type is TrafficRoutingType.ALL_AT_ONCE:
        return ""
    if not 1 <= routing.percentage <= MAX_PERCENT:
        return f"shifts {routing.percentage} %, it must be 1 to {MAX_PERCENT}"
    is_linear = routing.type is TrafficRoutingType.LINEAR
    steps = -(-100 // routing.percentage) if is_linear else 1
    longest = MAX_SHIFT_MINUTES // steps
    if not 1 <= routing.interval_minutes <= longest:
        return (
            f"has an interval of {routing.interval_minutes} min, it must be 1 to {longest}"
            f" so that the last shift comes within {MAX_SHIFT_MINUTES} min"
        )
    return ""


def _server(number: int, name: str, type: HealthyHostsType, value: int) -> DeploymentConfig:
    return DeploymentConfig(
        config_id=_config_id(number),
        name=PREDEFINED_PREFIX + name,
        compute_platform=ComputePlatform.SERVER,
        minimum=MinimumHealthyHosts(type=type, value=value),
        is_predefined=True,
    )


def _shifted(
    number: int,
    name: str,
    platform: ComputePlatform,
    type: TrafficRoutingType,
    percentage: int = 0,
    minutes: int = 0,
) -> DeploymentConfig:
    return DeploymentConfig(
        config_id=_config_id(number),
        name=PREDEFINED_PREFIX + name,
        compute_platform=platform,
        traffic_routing=TrafficRouting(type=type, percentage=percentage, interval_minutes=minutes),
        is_predefined=True,
    )


def _config_id(number: int) -> str:
    """Fixed, so that every coordinator gives the same; OneAtATime's is the original's."""
    return f"00000000-0000-0000-0000-{number:012d}"


_LAMBDA, _ECS = ComputePlatform.LAMBDA, ComputePlatform.ECS
_ALL, _CANARY, _LINEAR = TrafficRoutingType.ALL_AT_ONCE, TrafficRoutingType.CANARY, TrafficRoutingType.LINEAR

PREDEFINED: Mapping[str, DeploymentConfig] = MappingProxyType(
    {
        config.name: config
        for config in (
            _server(1, "OneAtATime", HealthyHostsType.MOST_CONCURRENCY, 1),
            _server(2, "HalfAtATime", HealthyHostsType.FLEET_PERCENT, 50),
            _server(3, "AllAtOnce", HealthyHostsType.HOST_COUNT, 0),
            _shifted(11, "LambdaCanary10Percent5Minutes", _LAMBDA, _CANARY, 10, 5),
            _shifted(12, "LambdaCanary10Percent10Minutes", _LAMBDA, _CANARY, 10, 10),
            _shifted(13, "LambdaCanary10Percent15Minutes", _LAMBDA, _CANARY, 10, 15),
            _shifted(14, "LambdaCanary10Percent30Minutes", _LAMBDA, _CANARY, 10, 30),
            _shifted(15, "LambdaLinear10PercentEvery1Minute", _LAMBDA, _LINEAR, 10, 1),
            _shifted(16, "LambdaLinear10PercentEvery2Minutes", _LAMBDA, _LINEAR, 10, 2),
            _shifted(17, "LambdaLinear10PercentEvery3Minutes", _LAMBDA, _LINEAR, 10, 3),
            _shifted(18, "LambdaLinear10PercentEvery10Minutes", _LAMBDA, _LINEAR, 10, 10),
            _shifted(19, "LambdaAllAtOnce", _LAMBDA, _ALL),
            _shifted(21, "ECSLinear10PercentEvery1Minutes", _ECS, _LINEAR, 10, 1),
            _shifted(22, "ECSLinear10PercentEvery3Minutes", _ECS, _LINEAR, 10, 3),
            _shifted(23, "ECSCanary10Percent5Minutes", _ECS, _CANARY, 10, 5),
            _shifted(24, "ECSCanary10Percent15Minutes", _ECS, _CANARY, 10, 15),
            _shifted(25, "ECSAllAtOnce", _ECS, _ALL),
        )
    }
)
"""By name; there from the first start, read-only, none of them zonal (CP-116 to CP-119)."""
