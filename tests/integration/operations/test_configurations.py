from __future__ import annotations

import asyncio

import pytest

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.configs import PREDEFINED
from ferryman_coordinator.core.inventory import ComputePlatform, TrafficRouting, TrafficRoutingType
from ferryman_coordinator.core.model import HealthyHostsType, MinimumHealthyHosts, ZonalConfig
from ferryman_coordinator.errors import Conflict, Invalid, LimitExceeded, NotFound
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.store import Store
from tests.support.desk import Desk

THREE = MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=3)
CANARY = TrafficRouting(type=TrafficRoutingType.CANARY, percentage=10, interval_minutes=5)


@pytest.mark.req("CP-116", "CP-136")
async def test_predefined_configurations_are_there_from_the_start(desk: Desk) -> None:
    page = await desk.configurations.list(PageRequest())
    assert [one.name for one in page.items] == sorted(PREDEFINED)
    platforms = [one.compute_platform for one in page.items]
    assert [platforms.count(platform) for platform in ComputePlatform] == [3, 9, 5]
    one = await desk.configurations.get("CodeDeployDefault.OneAtATime")
    assert (one.config_id[-1], one.is_predefined) == ("1", True)


@pytest.mark.req("CP-123", "CP-136", "CP-137", "CP-014", "T12")
async def test_a_custom_configuration_is_read_back_as_it_was_made(desk: Desk) -> None:
    zonal = ZonalConfig(
        first_zone_monitor_seconds=60,
        monitor_seconds=0,
        minimum_per_zone=MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=50),
    )
    server = await desk.configurations.create("Zones", minimum=THREE, zonal=zonal)
    shifted = await desk.configurations.create("Canary", ComputePlatform.ECS, traffic_routing=CANARY)
    assert server.created_at == desk.clock.now()
    assert await desk.configurations.get("Zones") == server
    assert await desk.configurations.get("Canary") == shifted


@pytest.mark.req("CP-116", "CP-458")
async def test_custom_and_predefined_ones_share_one_order(desk: Desk) -> None:
    for name in ("Alpha", "CodeDeployDefaulu", "zeta"):
        await desk.configurations.create(name, minimum=THREE)
    shown: list[str] = []
    request = PageRequest(size=4)
    while True:
        page = await desk.configurations.list(request)
        shown += [one.name for one in page.items]
        if not page.next_token:
            break
        request = PageRequest(size=4, token=page.next_token)
    assert shown == sorted([*PREDEFINED, "Alpha", "CodeDeployDefaulu", "zeta"])


@pytest.mark.parametrize(
    "name, kind, reason",
    [
        ("", Invalid, "DeploymentConfigNameRequiredException"),
        ("a b", Invalid, "InvalidDeploymentConfigNameException"),
        ("CodeDeployDefault.Mine", Invalid, "InvalidDeploymentConfigNameException"),
        ("CodeDeployDefault.AllAtOnce", Conflict, "DeploymentConfigAlreadyExistsException"),
    ],
)
@pytest.mark.req("CP-118", "CP-033")
async def test_names_that_cannot_be(desk: Desk, name: str, kind: type[Invalid], reason: str) -> None:
    with pytest.raises(kind) as refused:
        await desk.configurations.create(name, minimum=THREE)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "parts, reason",
    [
        ({}, "InvalidMinimumHealthyHostValueException"),
        (
            {"minimum": MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=100)},
            "InvalidMinimumHealthyHostValueException",
        ),
        (
            {"minimum": MinimumHealthyHosts(type=HealthyHostsType.MOST_CONCURRENCY, value=1)},
            "InvalidMinimumHealthyHostValueException",
        ),
        (
            {"minimum": THREE, "zonal": ZonalConfig(monitor_seconds=-1)},
            "InvalidZonalDeploymentConfigurationException",
        ),
        (
            {"minimum": THREE, "zonal": ZonalConfig(monitor_seconds=12 * 3600)},
            "InvalidZonalDeploymentConfigurationException",
        ),
        (
            {"minimum": MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=-1)},
            "InvalidMinimumHealthyHostValueException",
        ),
        (
            {"minimum": MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=-1)},
            "InvalidMinimumHealthyHostValueException",
        ),
        ({"platform": "Lambda"}, "InvalidTrafficRoutingConfigurationException"),
        (
            {"platform": "Lambda", "minimum": THREE, "traffic_routing": CANARY},
            "InvalidMinimumHealthyHostValueException",
        ),
        ({"minimum": THREE, "traffic_routing": CANARY}, "InvalidTrafficRoutingConfigurationException"),
        ({"platform": "Toaster", "minimum": THREE}, "InvalidComputePlatformException"),
    ],
)
@pytest.mark.req("CP-124", "CP-125", "CP-126", "CP-127", "CP-128", "CP-034")
async def test_what_makes_no_sense_is_refused_and_leaves_no_trace(
    desk: Desk, parts: dict[str, object], reason: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await desk.configurations.create("Mine", **parts)  # type: ignore[arg-type]
    assert refused.value.reason == reason
    with pytest.raises(NotFound):
        await desk.configurations.get("Mine")


@pytest.mark.req("CP-123", "CP-131")
async def test_names_are_unique_and_the_quota_holds_at_the_same_moment(desk: Desk) -> None:
    names = ["one", "one", "two", "three", "four"]
    calls = (desk.configurations.create(name, minimum=THREE) for name in names)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(result, "reason", "created") for result in results] == [
        "created",
        "DeploymentConfigAlreadyExistsException",
        "created",
        "created",
        "DeploymentConfigLimitExceededException",
    ]
    assert isinstance(results[4], LimitExceeded)


@pytest.mark.req("CP-118", "CP-134", "A36", "T9")
async def test_deleting(desk: Desk) -> None:
    await desk.configurations.create("Mine", minimum=THREE)
    await desk.configurations.delete("Mine")
    await desk.configurations.delete("Mine")
    with pytest.raises(NotFound, match="'Mine' does not exist"):
        await desk.configurations.get("Mine")
    with pytest.raises(Conflict, match="is predefined") as refused:
        await desk.configurations.delete("CodeDeployDefault.AllAtOnce")
    assert refused.value.reason == "InvalidOperationException"


@pytest.mark.req("CP-133", "T10")
async def test_what_a_group_or_a_running_deployment_uses_cannot_be_deleted(desk: Desk) -> None:
    await desk.configurations.create("Mine", minimum=THREE)
    await desk.applications.create("web")
    await desk.groups.create("web", "production", config_name="Mine")
    with pytest.raises(Conflict, match="in use by deployment group production: give those groups") as refused:
        await desk.configurations.delete("Mine")
    assert refused.value.reason == "DeploymentConfigInUseException"

    await desk.groups.update("web", "production", config_name="CodeDeployDefault.AllAtOnce")
    await desk.deployment("d-000000001", "web", "production", config_name="Mine")
    with pytest.raises(Conflict, match="in use by deployment d-000000001"):
        await desk.configurations.delete("Mine")

    group = await desk.groups.get("web", "production")
    await desk.engine.end_scope([group.group_id], "DEPLOYMENT_GROUP_MISSING")
    await desk.configurations.delete("Mine")


@pytest.mark.req("T11", "CP-131", "A34")
async def test_fifty_custom_configurations_are_allowed_unless_the_setting_says_otherwise(
    store: Store,
) -> None:
    desk = Desk(store, limits=Limits())
    for number in range(50):
        await desk.configurations.create(f"Mine-{number}", minimum=THREE)
    with pytest.raises(LimitExceeded, match="there are 50 custom configurations") as refused:
        await desk.configurations.create("One-more", minimum=THREE)
    assert refused.value.reason == "DeploymentConfigLimitExceededException"
    await desk.configurations.delete("Mine-7")
    await desk.configurations.create("One-more", minimum=THREE)
