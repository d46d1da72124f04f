from __future__ import annotations

import pytest

from ferryman_coordinator.core import configs
from ferryman_coordinator.core.configs import ConfigurationProblem
from ferryman_coordinator.core.inventory import ComputePlatform, TrafficRouting, TrafficRoutingType
from ferryman_coordinator.core.model import HealthyHostsType, MinimumHealthyHosts, ZonalConfig
from tests.support.rollouts import at_a_time, count, percent

SERVER, LAMBDA, ECS = ComputePlatform.SERVER, ComputePlatform.LAMBDA, ComputePlatform.ECS


@pytest.mark.req("CP-116", "CP-117", "CP-119")
def test_predefined_configurations() -> None:
    by_platform = {
        platform: sorted(
            name.removeprefix("CodeDeployDefault.")
            for name, config in configs.PREDEFINED.items()
            if config.compute_platform is platform
        )
        for platform in ComputePlatform
    }

    assert by_platform[SERVER] == ["AllAtOnce", "HalfAtATime", "OneAtATime"]
    assert by_platform[LAMBDA] == [
        "LambdaAllAtOnce",
        "LambdaCanary10Percent10Minutes",
        "LambdaCanary10Percent15Minutes",
        "LambdaCanary10Percent30Minutes",
        "LambdaCanary10Percent5Minutes",
        "LambdaLinear10PercentEvery10Minutes",
        "LambdaLinear10PercentEvery1Minute",
        "LambdaLinear10PercentEvery2Minutes",
        "LambdaLinear10PercentEvery3Minutes",
    ]
    assert by_platform[ECS] == [
        "ECSAllAtOnce",
        "ECSCanary10Percent15Minutes",
        "ECSCanary10Percent5Minutes",
        "ECSLinear10PercentEvery1Minutes",
        "ECSLinear10PercentEvery3Minutes",
    ]
    assert all(config.zonal is None and config.is_predefined for config in configs.PREDEFINED.values())
    assert len({config.config_id for config in configs.PREDEFINED.values()}) == len(configs.PREDEFINED)


@pytest.mark.req("CP-116")
def test_predefined_values() -> None:
    one = configs.PREDEFINED["CodeDeployDefault.OneAtATime"]
    assert one.config_id == "00000000-0000-0000-0000-000000000001"
    assert one.minimum == at_a_time(1)
    assert configs.PREDEFINED["CodeDeployDefault.HalfAtATime"].minimum == percent(50)
    assert configs.PREDEFINED["CodeDeployDefault.AllAtOnce"].minimum == count(0)
    for name, config in configs.PREDEFINED.items():
        if config.traffic_routing is not None:
            configs.validate("copy", config.compute_platform, routing=config.traffic_routing)
            assert ("AllAtOnce" in name) == (config.traffic_routing.type is TrafficRoutingType.ALL_AT_ONCE)
    canary = configs.PREDEFINED["CodeDeployDefault.LambdaCanary10Percent15Minutes"].traffic_routing
    assert canary == TrafficRouting(type=TrafficRoutingType.CANARY, percentage=10, interval_minutes=15)


@pytest.mark.req("CP-120", "CP-121")
@pytest.mark.parametrize(
    "own, group, platform, expected",
    [
        ("Mine", "Groups", SERVER, "Mine"),
        ("", "Groups", SERVER, "Groups"),
        ("", "", SERVER, "CodeDeployDefault.OneAtATime"),
        ("", "", LAMBDA, "CodeDeployDefault.LambdaAllAtOnce"),
        ("", "", ECS, "CodeDeployDefault.ECSAllAtOnce"),
    ],
)
def test_which_configuration_is_used(own: str, group: str, platform: ComputePlatform, expected: str) -> None:
    assert configs.effective_name(own, group, platform) == expected
    assert configs.DEFAULTS[platform] in configs.PREDEFINED


_MINIMUM = "InvalidMinimumHealthyHostValueException"
_ROUTING = "InvalidTrafficRoutingConfigurationException"
_ZONAL = "InvalidZonalDeploymentConfigurationException"


@pytest.mark.req("CP-125", "CP-126", "CP-137")
@pytest.mark.parametrize(
    "minimum",
    [count(0), count(100_000), percent(0), percent(99)],
    ids=lambda minimum: f"{minimum.type}-{minimum.value}",
)
def test_accepted_minimum(minimum: MinimumHealthyHosts) -> None:
    configs.validate(
        "Mine", SERVER, minimum=minimum, zonal=ZonalConfig(minimum_per_zone=minimum, monitor_seconds=0)
    )


@pytest.mark.parametrize(
    "minimum, named",
    [
        pytest.param(None, "says no minimum", marks=pytest.mark.req("CP-124")),
        pytest.param(percent(100), "over 99", marks=pytest.mark.req("CP-126", "T6")),
        pytest.param(percent(-1), "negative", marks=pytest.mark.req("CP-126", "T6")),
        pytest.param(count(-1), "negative", marks=pytest.mark.req("CP-125")),
        pytest.param(at_a_time(1), "OneAtATime", marks=pytest.mark.req("CP-127", "T7")),
    ],
)
def test_refused_minimum(minimum: MinimumHealthyHosts | None, named: str) -> None:
    refuse(_MINIMUM, named, minimum=minimum)


@pytest.mark.req("CP-118", "T8")
def test_reserved_name() -> None:
    with pytest.raises(ConfigurationProblem, match=r"CodeDeployDefault\.Mine") as problem:
        configs.validate("CodeDeployDefault.Mine", SERVER, minimum=count(1))

    assert problem.value.reason == "InvalidDeploymentConfigNameException"


@pytest.mark.parametrize(
    "zonal, named",
    [
        (ZonalConfig(minimum_per_zone=percent(100)), "minimum of each zone"),
        (ZonalConfig(minimum_per_zone=at_a_time(1)), "minimum of each zone"),
        (ZonalConfig(monitor_seconds=-1), "negative"),
        (ZonalConfig(first_zone_monitor_seconds=-1), "first zone"),
        pytest.param(
            ZonalConfig(monitor_seconds=12 * 3600), "ends after 43200 s", marks=pytest.mark.req("CP-143")
        ),
        pytest.param(
            ZonalConfig(first_zone_monitor_seconds=12 * 3600), "43200", marks=pytest.mark.req("CP-143")
        ),
    ],
)
@pytest.mark.req("CP-137")
def test_refused_zonal_part(zonal: ZonalConfig, named: str) -> None:
    refuse(_ZONAL, named, minimum=count(1), zonal=zonal)


@pytest.mark.req("CP-139")
def test_zone_minimum_is_nothing_unless_given() -> None:
    assert ZonalConfig().minimum_per_zone == MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=0)


def routing(type: TrafficRoutingType, percentage: int, minutes: int) -> TrafficRouting:
    return TrafficRouting(type=type, percentage=percentage, interval_minutes=minutes)


CANARY, LINEAR = TrafficRoutingType.CANARY, TrafficRoutingType.LINEAR


@pytest.mark.req("CP-129", "CP-130", "A29")
@pytest.mark.parametrize(
    "shift", [routing(CANARY, 1, 2880), routing(CANARY, 99, 1), routing(LINEAR, 25, 720)]
)
def test_accepted_routing(shift: TrafficRouting) -> None:
    configs.validate("Mine", LAMBDA, routing=shift)


@pytest.mark.req("CP-129", "CP-130", "A29")
@pytest.mark.parametrize(
    "shift, named",
    [
        (None, "missing"),
        (routing(CANARY, 0, 5), "1 to 99"),
        (routing(CANARY, 100, 5), "1 to 99"),
        (routing(CANARY, 10, 2881), "1 to 2880"),
        (routing(LINEAR, 25, 721), "1 to 720"),
        (routing(LINEAR, 30, 721), "1 to 720"),
        (routing(LINEAR, 10, 0), "1 to 288"),
    ],
)
def test_refused_routing(shift: TrafficRouting | None, named: str) -> None:
    with pytest.raises(ConfigurationProblem, match=named) as problem:
        configs.validate("Mine", ECS, routing=shift)

    assert problem.value.reason == _ROUTING


@pytest.mark.req("CP-128", "CP-141")
def test_parts_of_another_platform() -> None:
    shift = routing(CANARY, 10, 5)
    refuse(_ROUTING, "not for Server", minimum=count(1), routing=shift)
    for parts, reason in (({"minimum": count(1)}, _MINIMUM), ({"zonal": ZonalConfig()}, _ZONAL)):
        with pytest.raises(ConfigurationProblem, match="not for Lambda") as problem:
            configs.validate("Mine", LAMBDA, routing=shift, **parts)
        assert problem.value.reason == reason


def refuse(
    reason: str,
    named: str,
    *,
    minimum: MinimumHealthyHosts | None,
    zonal: ZonalConfig | None = None,
    routing: TrafficRouting | None = None,
) -> None:
    with pytest.raises(ConfigurationProblem, match=named) as problem:
        configs.validate("Mine", SERVER, minimum=minimum, zonal=zonal, routing=routing)
    assert problem.value.reason == reason
    assert "Mine" in problem.value.message
