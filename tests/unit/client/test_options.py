"""What options and files mean, and what is said about those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from ferryman.v1 import inventory_pb2, types_pb2
from ferryman_client import errors
from ferryman_client.cli.configs import parse_duration, parse_minimum
from ferryman_client.cli.groupfile import read_group_file
from ferryman_client.cli.groupoptions import CLEARABLE, OptionTexts, apply_options, clear
from ferryman_client.cli.groupview import option_rows
from ferryman_client.cli.places import url_location
from ferryman_client.cli.selections import auto_rollback, resource_tags, selection, tag_filter
from ferryman_client.cli.session import exit_code
from ferryman_client.cli.tokens import tag_pattern

COUNT = inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_HOST_COUNT
PERCENT = inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_FLEET_PERCENT


@pytest.mark.parametrize(
    "text, kind, value", [("3", COUNT, 3), ("75%", PERCENT, 75), (" 0 ", COUNT, 0), ("-1%", PERCENT, -1)]
)
def test_minimum_is_count_or_share(
    text: str, kind: inventory_pb2.MinimumHealthyHostsType.ValueType, value: int
) -> None:
    assert parse_minimum(text) == inventory_pb2.MinimumHealthyHosts(type=kind, value=value)


@pytest.mark.parametrize(
    "text, seconds", [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_duration_has_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "7.5%", "3 %%", "10 minutes"])
def test_what_is_no_number_ends_with_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for parse in (parse_minimum, parse_duration):
        with pytest.raises(typer.Exit) as ended:
            parse(text)
        assert ended.value.exit_code == 2
        assert f"'{text}'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["9" * 30, "9" * 10 + "%", "9" * 30 + "d"])
def test_more_than_the_wire_has_room_for_is_wrong_usage(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        (parse_duration if text.endswith("d") else parse_minimum)(text)
    assert ended.value.exit_code == 2
    assert f"'{text}' is too much" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, kind, key, value",
    [
        ("app=web", inventory_pb2.TAG_FILTER_TYPE_KEY_AND_VALUE, "app", "web"),
        ("app=a=b", inventory_pb2.TAG_FILTER_TYPE_KEY_AND_VALUE, "app", "a=b"),
        ("app", inventory_pb2.TAG_FILTER_TYPE_KEY_ONLY, "app", ""),
        ("=web-*", inventory_pb2.TAG_FILTER_TYPE_VALUE_ONLY, "", "web-*"),
    ],
)
def test_tag_filter_is_by_what_is_given(
    text: str, kind: inventory_pb2.TagFilterType.ValueType, key: str, value: str
) -> None:
    assert tag_filter(text) == inventory_pb2.TagFilter(type=kind, key=key, value=value)


def test_tags_and_tag_set_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(typer.Exit) as ended:
        selection(["a=b"], tmp_path / "set.yml")
    assert ended.value.exit_code == 2


def test_group_file_gives_the_same_as_the_options(tmp_path: Path) -> None:
    file = tmp_path / "group.yml"
    file.write_text(
        "config: Half\nrollbackOn: [failure, stop]\n"
        "tagSet:\n- - {Key: app, Value: web}\n  - {Key: app, Type: KEY_ONLY}\n- - {Value: blue, Type: value_only}\n"
    )
    request = inventory_pb2.CreateDeploymentGroupRequest()
    read_group_file(file, request)
    assert request.deployment_config_name == "Half"
    assert request.auto_rollback == auto_rollback("failure,stop")
    assert [len(group.filters) for group in request.selection.tag_set.groups] == [2, 1]
    assert request.selection.tag_set.groups[1].filters[0].type == inventory_pb2.TAG_FILTER_TYPE_VALUE_ONLY


@pytest.mark.parametrize(
    "text", ["confg: x", "tags: [a]\ntagSet: [[{Key: a}]]", "[", "tagSet: [[{Key: a, Type: ANY}]]"]
)
def test_wrong_group_file_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "group.yml"
    file.write_text(text)
    with pytest.raises(typer.Exit) as ended:
        read_group_file(file, inventory_pb2.CreateDeploymentGroupRequest())
    assert ended.value.exit_code == 2
    assert "group.yml" in capsys.readouterr().err


def test_unknown_rollback_reason_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        auto_rollback("failure,rain")
    assert "'rain'" in capsys.readouterr().err


def test_archive_kind_of_a_url_is_by_its_path() -> None:
    location = url_location("https://example.net/a.tar.gz?x=.zip", "AB")
    assert location.url.bundle_type == types_pb2.BUNDLE_TYPE_TGZ
    assert location.url.sha256 == "ab"
    with pytest.raises(typer.Exit):
        url_location("https://example.net/a")


@pytest.mark.parametrize(
    "problem, code",
    [
        (errors.DeniedError("x", "x", {}), 4),
        (errors.NotFoundError("x", "x", {}), 5),
        (errors.ConflictError("x", "x", {}), 5),
        (errors.Unreachable("x"), 6),
        (errors.InvalidRequest("x", "x", {}), 2),
        (errors.ProfileError("x"), 2),
        (errors.CoordinatorFault("x"), 1),
    ],
)
def test_exit_codes_are_those_promised(problem: errors.ClientError, code: int) -> None:
    assert exit_code(problem) == code


@pytest.mark.parametrize(
    "text, key, value",
    [("role=web*", "role", "web*"), ("role", "role", "*"), ("role=", "role", ""), ("*=*", "*", "*")],
)
def test_a_pattern_of_tags_without_a_value_means_any(text: str, key: str, value: str) -> None:
    found = tag_pattern(text)
    assert (found.key, found.value) == (key, value)


@pytest.mark.req("CP-173", "CP-174")
def test_a_group_file_says_only_what_is_in_it_and_clears_what_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "group.yml"
    file.write_text(
        "cloudTags: [role=web]\nonPremisesTags: []\nautoscalingGroups: [web-asg]\n"
        "alarms: {names: [cpu], ignorePollFailures: true}\n"
        "triggers:\n- {name: oncall, target: 'arn:aws:sns:eu-1:1:t', events: [DeploymentFailure]}\n"
        "style: blue-green\ntrafficControl: true\nloadBalancers: {targetGroups: [tg]}\n"
        "blueGreen: {greenProvisioning: copy-auto-scaling-group, readyWaitMinutes: 5}\n"
        "queue: fifo\nrequireAll: true\noutdatedInstances: ignore\nagentUpdates: once\nserviceRole: ''\n"
    )
    request = inventory_pb2.UpdateDeploymentGroupRequest()
    read_group_file(file, request)
    options = request.options
    assert not request.HasField("selection")
    assert not request.HasField("auto_rollback")
    assert not request.HasField("deployment_config_name")
    assert options.cloud_selection.tag_filters[0].key == "role"
    assert options.HasField("on_premises_selection")
    assert not options.on_premises_selection.tag_filters
    assert list(options.auto_scaling_groups.names) == ["web-asg"]
    assert options.alarms == inventory_pb2.AlarmConfiguration(
        enabled=True, ignore_poll_alarm_failure=True, alarms=["cpu"]
    )
    assert options.triggers.triggers[0].events == ["DeploymentFailure"]
    assert options.style.type == inventory_pb2.DEPLOYMENT_TYPE_BLUE_GREEN
    assert options.style.option == inventory_pb2.DEPLOYMENT_OPTION_WITH_TRAFFIC_CONTROL
    assert list(options.load_balancers.target_groups) == ["tg"]
    assert options.blue_green.green_provisioning == inventory_pb2.GREEN_PROVISIONING_COPY_AUTO_SCALING_GROUP
    assert options.blue_green.ready_wait_minutes == 5
    assert (options.queue, options.require_all) == (inventory_pb2.QUEUE_MODE_FIFO, True)
    assert options.outdated_instances == inventory_pb2.OUTDATED_INSTANCES_STRATEGY_IGNORE
    assert options.agent_updates == inventory_pb2.AGENT_UPDATES_ONCE
    assert options.HasField("service_role_arn")
    assert not options.HasField("termination_hook")


def test_flags_and_the_file_say_the_same() -> None:
    options = inventory_pb2.GroupOptions()
    apply_options(options, OptionTexts())
    assert options == inventory_pb2.GroupOptions()
    apply_options(
        options,
        OptionTexts(
            style="in-place",
            traffic_control=False,
            queue="newest",
            agent_updates="scheduled",
            outdated_instances="update",
            on_premises_tags=["role=web"],
            target_groups=["tg"],
            triggers=["oncall, arn:aws:sns:eu-1:1:t, DeploymentFailure, InstanceFailure"],
            catch_up_on_premises=False,
        ),
    )
    assert options.style.type == inventory_pb2.DEPLOYMENT_TYPE_IN_PLACE
    assert options.queue == inventory_pb2.QUEUE_MODE_NEWEST
    assert list(options.triggers.triggers[0].events) == ["DeploymentFailure", "InstanceFailure"]
    assert options.HasField("catch_up_on_premises")
    assert not options.HasField("require_all")


@pytest.mark.req("CP-174")
def test_everything_that_can_be_cleared_is_present_and_empty_then() -> None:
    request = inventory_pb2.UpdateDeploymentGroupRequest()
    clear(request, list(CLEARABLE))
    assert request.HasField("selection")
    fields = ["cloud_selection", "on_premises_selection", "auto_scaling_groups", "load_balancers"]
    for field in [*fields, "blue_green", "alarms", "triggers", "service_role_arn"]:
        assert request.options.HasField(field)  # type: ignore[arg-type]  # one of its fields
    assert request.options == inventory_pb2.GroupOptions.FromString(request.options.SerializeToString())


@pytest.mark.parametrize(
    "texts, said",
    [
        (OptionTexts(style="sideways"), "'sideways' is no style: choose from in-place, blue-green"),
        (OptionTexts(queue="lifo"), "'lifo' is no queue mode"),
        (OptionTexts(triggers=["oncall,arn"]), "'oncall,arn' is no trigger"),
        (OptionTexts(cloud_tags=["="]), "'=' is no tag filter"),
    ],
)
def test_a_flag_that_means_nothing_is_named(
    texts: OptionTexts, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        apply_options(inventory_pb2.GroupOptions(), texts)
    assert ended.value.exit_code == 2
    assert said in capsys.readouterr().err


def test_what_cannot_be_cleared_or_is_no_tag_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        clear(inventory_pb2.UpdateDeploymentGroupRequest(), ["name"])
    assert "'name' cannot be cleared" in capsys.readouterr().err
    with pytest.raises(typer.Exit):
        resource_tags(["team"])
    assert "'team' is no tag" in capsys.readouterr().err
    assert resource_tags(["team=", "a=b=c"]) == [
        types_pb2.Tag(key="team"),
        types_pb2.Tag(key="a", value="b=c"),
    ]


@pytest.mark.req("CP-185")
def test_a_group_shows_what_it_has_set() -> None:
    group = inventory_pb2.DeploymentGroup(options=inventory_pb2.GroupOptions())
    assert list(option_rows(group)) == [("Style", "in place, without traffic control")]
    options = group.options
    apply_options(
        options,
        OptionTexts(
            cloud_tags=["role=web"],
            autoscaling_groups=["web-asg"],
            style="blue-green",
            traffic_control=True,
            load_balancers=["elb"],
            triggers=["oncall,arn:t,DeploymentFailure"],
            queue="fifo",
            agent_updates="once",
            outdated_instances="ignore",
            require_all=True,
            service_role="arn:aws:iam::123456789012:role/x",
        ),
    )
    options.alarms.CopyFrom(inventory_pb2.AlarmConfiguration(alarms=["cpu"]))
    options.blue_green.ready_wait_minutes = 5
    group.resource_tags.add(key="team", value="shop")
    shown = dict(option_rows(group))
    assert shown["Cloud instances"] == "role=web"
    assert shown["Style"] == "blue/green, with traffic control"
    assert shown["Trigger"] == "oncall: DeploymentFailure to arn:t"
    assert (shown["Queue"], shown["Agent updates"]) == ("fifo", "once")
    assert shown["Alarms"] == "cpu (not watched)"
    assert shown["Also"] == "every instance has to succeed"
    assert shown["Tags"] == "team=shop"
