"""The advanced options of groups: kept, refused, warned of (CP sections 8.1 and 8.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.group_options import (
    AgentUpdates,
    AlarmConfiguration,
    BlueGreen,
    BlueTermination,
    DeploymentOption,
    DeploymentStyle,
    DeploymentType,
    GreenProvisioning,
    GroupOptions,
    LoadBalancers,
    OutdatedInstancesStrategy,
    QueueMode,
    ReadyAction,
    Trigger,
    TriggerEventType,
)
from ferryman_coordinator.core.model import (
    AutoRollback,
    HealthyHostsType,
    MinimumHealthyHosts,
    RollbackEvent,
    ZonalConfig,
)
from ferryman_coordinator.core.tags import Selection, Tag, TagFilter
from ferryman_coordinator.errors import Invalid, LimitExceeded, Refused
from ferryman_coordinator.store.store import Store
from tests.support.desk import Desk

WEB = Selection(tag_filters=(TagFilter.of("role", "web"),))
TOPIC = "arn:aws:sns:eu-1:123456789012:deploys"
CONTROLLED = DeploymentStyle(option=DeploymentOption.WITH_TRAFFIC_CONTROL)
SWAPPED = DeploymentStyle(type=DeploymentType.BLUE_GREEN, option=DeploymentOption.WITH_TRAFFIC_CONTROL)
BALANCED = LoadBalancers(target_groups=("web-tg",))
ON_FAILURE = Trigger(name="oncall", target_arn=TOPIC, events=(TriggerEventType.DEPLOYMENT_FAILURE,))


def saying(**values: Any) -> Callable[[GroupOptions], GroupOptions]:
    return lambda options: replace(options, **values)


@pytest.fixture
async def web(desk: Desk) -> Desk:
    await desk.applications.create("web")
    return desk


EVERYTHING = GroupOptions(
    service_role_arn="arn:aws:iam::123456789012:role/CodeDeploy",
    style=SWAPPED,
    load_balancers=LoadBalancers(classic=("web-elb",), target_groups=("web-tg", "api-tg")),
    blue_green=BlueGreen(
        green_provisioning=GreenProvisioning.COPY_AUTO_SCALING_GROUP,
        ready_action=ReadyAction.STOP_DEPLOYMENT,
        ready_wait_minutes=60,
        blue_termination=BlueTermination.TERMINATE,
        termination_wait_minutes=2_880,
    ),
    cloud_selection=WEB,
    on_premises_selection=Selection(tag_set=(WEB.tag_filters,)),
    auto_scaling_groups=("web-asg",),
    termination_hook=True,
    alarms=AlarmConfiguration(enabled=True, ignore_poll_alarm_failure=True, alarms=("cpu", "latency")),
    triggers=(ON_FAILURE,),
    outdated_instances=OutdatedInstancesStrategy.IGNORE,
    catch_up_on_premises=True,
    queue=QueueMode.FIFO,
    require_all=True,
    single_as_one_at_a_time=True,
    agent_updates=AgentUpdates.SCHEDULED,
)


@pytest.mark.req("CP-017", "CP-161", "CP-165", "CP-170", "CP-048")
async def test_every_option_is_read_back_as_it_was_written(web: Desk) -> None:
    await web.groups.create("web", "live", options=lambda _: EVERYTHING)
    assert (await web.groups.get("web", "live")).options == EVERYTHING
    # Nothing is lost by a change of something else.
    await web.groups.update("web", "live", new_name="prod")
    assert (await web.groups.get("web", "prod")).options == EVERYTHING


@pytest.mark.req("CP-161", "CP-158")
async def test_who_says_nothing_has_the_style_of_the_platform(web: Desk) -> None:
    saved = await web.groups.create("web", "live")
    assert saved.group.options == GroupOptions()
    for platform in ("Lambda", "ECS"):
        await web.applications.create(platform, platform)
        found = (await web.groups.create(platform, "live")).group
        assert (found.options.style, found.compute_platform) == (SWAPPED, platform)
        with pytest.raises(Invalid) as refused:
            await web.groups.create(platform, "in-place", options=saying(style=DeploymentStyle()))
        assert refused.value.reason == "InvalidDeploymentStyleException"


BLUE_GREEN = saying(style=SWAPPED, load_balancers=BALANCED, blue_green=BlueGreen())


def waiting(ready: int = 0, termination: int = 0) -> Callable[[GroupOptions], GroupOptions]:
    waits = BlueGreen(ready_wait_minutes=ready, termination_wait_minutes=termination)
    return saying(style=SWAPPED, load_balancers=BALANCED, blue_green=waits)


def copying(*names: str) -> Callable[[GroupOptions], GroupOptions]:
    copied = BlueGreen(green_provisioning=GreenProvisioning.COPY_AUTO_SCALING_GROUP)
    return saying(style=SWAPPED, load_balancers=BALANCED, blue_green=copied, auto_scaling_groups=names)


def alarmed(*names: str, enabled: bool = True) -> Callable[[GroupOptions], GroupOptions]:
    return saying(alarms=AlarmConfiguration(enabled=enabled, alarms=names))


def triggered(*triggers: Trigger) -> Callable[[GroupOptions], GroupOptions]:
    return saying(triggers=triggers)


@pytest.mark.parametrize(
    "change",
    [
        BLUE_GREEN,
        waiting(2_880, 2_880),
        copying("web-asg"),
        saying(style=CONTROLLED, load_balancers=BALANCED),
        saying(load_balancers=LoadBalancers(classic=tuple("abcdefghij"), target_groups=tuple("abcdefghij"))),
        saying(auto_scaling_groups=tuple("abcdefghij")),
        alarmed(*(f"alarm {number}" for number in range(10))),
        alarmed("a" * 255),
        alarmed("cpu", enabled=False),
        triggered(*(replace(ON_FAILURE, name=f"t{number}") for number in range(10))),
        saying(service_role_arn="arn:aws:iam::123456789012:role/path/CodeDeploy"),
    ],
)
@pytest.mark.req("CP-162", "CP-163", "CP-165", "CP-166", "CP-168", "CP-051", "A28")
async def test_what_is_allowed_to_the_limit_is_accepted(
    web: Desk, change: Callable[[GroupOptions], GroupOptions]
) -> None:
    saved = await web.groups.create("web", "live", options=change)
    assert saved.group.options == change(GroupOptions())


@pytest.mark.parametrize(
    "change, reason",
    [
        (saying(style=DeploymentStyle(type=DeploymentType.BLUE_GREEN)), "InvalidDeploymentStyleException"),
        (saying(style=SWAPPED), "InvalidLoadBalancerInfoException"),
        (saying(style=CONTROLLED), "InvalidLoadBalancerInfoException"),
        (
            saying(load_balancers=LoadBalancers(classic=tuple("abcdefghijk"))),
            "InvalidLoadBalancerInfoException",
        ),
        (
            saying(load_balancers=LoadBalancers(target_groups=tuple("abcdefghijk"))),
            "InvalidLoadBalancerInfoException",
        ),
        (saying(load_balancers=LoadBalancers(classic=("",))), "InvalidLoadBalancerInfoException"),
        (saying(load_balancers=LoadBalancers(classic=("a", "a"))), "InvalidLoadBalancerInfoException"),
        (saying(load_balancers=LoadBalancers(target_groups=("a\r",))), "InvalidLoadBalancerInfoException"),
        (saying(blue_green=BlueGreen()), "InvalidBlueGreenDeploymentConfigurationException"),
        (waiting(ready=2_881), "InvalidBlueGreenDeploymentConfigurationException"),
        (waiting(ready=-1), "InvalidBlueGreenDeploymentConfigurationException"),
        (waiting(termination=2_881), "InvalidBlueGreenDeploymentConfigurationException"),
        (waiting(termination=-1), "InvalidBlueGreenDeploymentConfigurationException"),
        (copying(), "InvalidBlueGreenDeploymentConfigurationException"),
        (copying("a", "b"), "InvalidBlueGreenDeploymentConfigurationException"),
        (saying(auto_scaling_groups=tuple("abcdefghijk")), "InvalidAutoScalingGroupException"),
        (saying(auto_scaling_groups=("a", "a")), "InvalidAutoScalingGroupException"),
        (saying(auto_scaling_groups=("",)), "InvalidAutoScalingGroupException"),
        (saying(auto_scaling_groups=("a:b",)), "InvalidAutoScalingGroupException"),
        (saying(auto_scaling_groups=("a\n",)), "InvalidAutoScalingGroupException"),
        (saying(auto_scaling_groups=("a" * 256,)), "InvalidAutoScalingGroupException"),
        (alarmed(), "InvalidAlarmConfigException"),
        (alarmed("cpu", "cpu"), "InvalidAlarmConfigException"),
        (alarmed("cpu", "cpu", enabled=False), "InvalidAlarmConfigException"),
        (alarmed(""), "InvalidAlarmConfigException"),
        (alarmed("  "), "InvalidAlarmConfigException"),
        (alarmed("a" * 256), "InvalidAlarmConfigException"),
        (alarmed("cpu\x07"), "InvalidAlarmConfigException"),
        (alarmed(*(f"alarm {number}" for number in range(11))), "AlarmsLimitExceededException"),
        (
            triggered(*(replace(ON_FAILURE, name=f"t{number}") for number in range(11))),
            "TriggerTargetsLimitExceededException",
        ),
        (triggered(ON_FAILURE, ON_FAILURE), "InvalidTriggerConfigException"),
        (triggered(replace(ON_FAILURE, name="")), "InvalidTriggerConfigException"),
        (triggered(replace(ON_FAILURE, name="n" * 257)), "InvalidTriggerConfigException"),
        (triggered(replace(ON_FAILURE, events=())), "InvalidTriggerConfigException"),
        (triggered(replace(ON_FAILURE, target_arn="")), "InvalidTriggerConfigException"),
        (triggered(replace(ON_FAILURE, target_arn="https://example.org")), "InvalidTriggerConfigException"),
        (saying(service_role_arn="CodeDeploy"), "InvalidRoleException"),
        (saying(service_role_arn="arn:aws:iam::1:role/x"), "InvalidRoleException"),
        (
            saying(cloud_selection=Selection(tag_filters=WEB.tag_filters, tag_set=(WEB.tag_filters,))),
            "InvalidEC2TagCombinationException",
        ),
        (
            saying(on_premises_selection=Selection(tag_filters=WEB.tag_filters, tag_set=(WEB.tag_filters,))),
            "InvalidOnPremisesTagCombinationException",
        ),
        (saying(cloud_selection=Selection(tag_filters=WEB.tag_filters * 11)), "InvalidEC2TagException"),
        (saying(on_premises_selection=Selection(tag_filters=WEB.tag_filters * 11)), "InvalidTagException"),
        (
            saying(on_premises_selection=Selection(tag_set=(WEB.tag_filters,) * 4)),
            "TagSetListLimitExceededException",
        ),
    ],
)
@pytest.mark.req(
    "CP-015",
    "CP-161",
    "CP-162",
    "CP-163",
    "CP-165",
    "CP-166",
    "CP-167",
    "CP-168",
    "CP-367",
    "CP-368",
    "CP-169",
    "CP-186",
    "CP-046",
    "CP-047",
    "CP-051",
    "T66",
    "T13",
    "T14",
)
async def test_an_option_that_cannot_be_is_refused_and_nothing_is_stored(
    web: Desk, change: Callable[[GroupOptions], GroupOptions], reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        await web.groups.create("web", "new", options=change)
    assert refused.value.reason == reason
    before = (await web.groups.create("web", "there")).group
    with pytest.raises(Refused) as refused:
        await web.groups.update("web", "there", options=change)
    assert refused.value.reason == reason
    assert await web.groups.several("web", ["new", "there"]) == replace(
        await web.groups.several("web", ["there"]), message="no such deployment group: 'new'"
    )
    assert await web.groups.get("web", "there") == before


@pytest.mark.req("T68", "CP-174", "CP-367", "CP-372")
async def test_an_eleventh_trigger_is_refused_and_an_empty_list_removes_all(web: Desk) -> None:
    ten = tuple(replace(ON_FAILURE, name=f"t{number}") for number in range(10))
    await web.groups.create("web", "live", options=triggered(*ten))
    with pytest.raises(LimitExceeded, match="11 triggers are given, at most 10") as refused:
        await web.groups.update("web", "live", options=triggered(*ten, ON_FAILURE))
    assert refused.value.reason == "TriggerTargetsLimitExceededException"
    assert (await web.groups.update("web", "live", options=triggered())).group.options.triggers == ()


@pytest.mark.req("CP-421", "A10")
async def test_quotas_of_options_are_settings_and_messages_print_them(store: Store) -> None:
    small = Limits(
        alarms_per_group=1,
        triggers_per_group=1,
        auto_scaling_groups_per_group=1,
        load_balancers_per_group=1,
        target_groups_per_group=2,
        tags_per_resource=1,
    )
    desk = Desk(store, limits=small)
    await desk.applications.create("web")
    for change, said in (
        (alarmed("a", "b"), "2 alarms are given, at most 1 .*limits.alarms_per_group"),
        (triggered(ON_FAILURE, replace(ON_FAILURE, name="b")), "at most 1 .*limits.triggers_per_group"),
        (saying(auto_scaling_groups=("a", "b")), "at most 1 .*limits.auto_scaling_groups_per_group"),
        (saying(load_balancers=LoadBalancers(classic=("a", "b"))), "limits.load_balancers_per_group"),
        (saying(load_balancers=LoadBalancers(target_groups=("a", "b", "c"))), "at most 2 .*target_groups"),
    ):
        with pytest.raises(Refused, match=said):
            await desk.groups.create("web", "live", options=change)
    with pytest.raises(Invalid, match="at most 1"):
        await desk.groups.create("web", "live", tags=[Tag("a", "1"), Tag("b", "2")])


@pytest.mark.req("CP-187")
async def test_switching_alarms_off_keeps_their_list(web: Desk) -> None:
    await web.groups.create("web", "live", options=alarmed("cpu", "latency"))
    off = (await web.groups.update("web", "live", options=alarmed(enabled=False))).group.options.alarms
    assert off == AlarmConfiguration(enabled=False, alarms=("cpu", "latency"))
    with pytest.raises(Invalid):
        await web.groups.update("web", "live", options=alarmed(enabled=True))


@pytest.mark.req("CP-191")
async def test_there_are_three_reasons_to_roll_back() -> None:
    assert set(RollbackEvent) == {
        "DEPLOYMENT_FAILURE",
        "DEPLOYMENT_STOP_ON_ALARM",
        "DEPLOYMENT_STOP_ON_REQUEST",
    }


@pytest.mark.req("CP-190")
async def test_a_rollback_by_alarm_without_one_that_is_watched_is_warned_of(web: Desk) -> None:
    rollback = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_STOP_ON_ALARM}))

    async def warned(change: Callable[[GroupOptions], GroupOptions]) -> bool:
        saved = await web.groups.update("web", "live", options=change)
        return any("STOP_ON_ALARM never happens" in text for text in saved.warnings)

    saved = await web.groups.create("web", "live", auto_rollback=rollback)
    assert any("STOP_ON_ALARM never happens" in text for text in saved.warnings)
    assert not await warned(alarmed("cpu"))
    assert await warned(alarmed("cpu", enabled=False))


@pytest.mark.req("K7", "A7", "T41")
async def test_a_group_of_one_under_a_percentage_is_warned_of_unless_it_is_allowed(web: Desk) -> None:
    await web.instance("web-1", ("role", "web"))
    half = "CodeDeployDefault.HalfAtATime"
    saved = await web.groups.create("web", "live", selection=WEB, config_name=half)
    assert any("all 1 of 1 instances" in text for text in saved.warnings)
    allowed = await web.groups.update("web", "live", options=saying(single_as_one_at_a_time=True))
    assert allowed.warnings == ()


@pytest.mark.req("CP-171", "CP-190")
async def test_owners_hear_what_is_kept_but_does_not_work_yet(web: Desk) -> None:
    for name, change, said in (
        ("a", BLUE_GREEN, "refuses to start deployments of the group"),
        ("b", saying(style=CONTROLLED, load_balancers=BALANCED), "with traffic control"),
        ("c", saying(load_balancers=BALANCED), "are not used"),
    ):
        saved = await web.groups.create("web", name, selection=WEB, options=change)
        assert any(said in text for text in saved.warnings), saved.warnings


@pytest.mark.req("CP-141")
async def test_zones_are_for_deployments_in_place(web: Desk) -> None:
    one = MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=1)
    await web.configurations.create("Zonal", minimum=one, zonal=ZonalConfig())
    with pytest.raises(Invalid) as refused:
        await web.groups.create("web", "live", config_name="Zonal", options=BLUE_GREEN)
    assert refused.value.reason == "InvalidZonalDeploymentConfigurationException"
    await web.groups.create("web", "live", config_name="Zonal")
    with pytest.raises(Invalid) as refused:
        await web.groups.update("web", "live", options=BLUE_GREEN)
    assert refused.value.reason == "InvalidZonalDeploymentConfigurationException"


@pytest.mark.req("CP-018", "CP-158")
async def test_a_door_can_demand_a_service_role(web: Desk) -> None:
    with pytest.raises(Invalid) as refused:
        await web.groups.create("web", "live", requires_role=True)
    assert refused.value.reason == "RoleRequiredException"
    role = "arn:aws:iam::123456789012:role/CodeDeploy"
    await web.groups.create("web", "live", requires_role=True, options=saying(service_role_arn=role))


@pytest.mark.req("CP-050")
async def test_members_are_counted_over_all_selectors_at_once(web: Desk) -> None:
    await web.instance("here", ("site", "berlin"))
    options = saying(on_premises_selection=Selection(tag_filters=(TagFilter.of("site", "berlin"),)))
    saved = await web.groups.create("web", "live", options=options)
    assert saved.warnings == ()
    nobody = saying(
        on_premises_selection=Selection(),
        cloud_selection=Selection(tag_filters=(TagFilter.of("site", "berlin"),)),
    )
    saved = await web.groups.update("web", "live", options=nobody)
    assert "no registered instance" in saved.warnings[0]
