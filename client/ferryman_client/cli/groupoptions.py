"""Reads the advanced options of a deployment group from the command line; what is not given is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ferryman.v1 import inventory_pb2
from ferryman_client.cli.selections import tag_filter
from ferryman_client.cli.session import EXIT_USAGE, fail
from ferryman_client.cli.words import enum_number, words_of

CLEARABLE = (
    "tags",
    "cloud-tags",
    "on-premises-tags",
    "autoscaling-groups",
    "load-balancers",
    "blue-green",
    "alarms",
    "triggers",
    "service-role",
)
"""What `group update --clear` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionTexts:
    """The options as typed; None for one that is not given."""

    cloud_tags: list[str] | None = None
    on_premises_tags: list[str] | None = None
    autoscaling_groups: list[str] | None = None
    triggers: list[str] | None = None
    style: str | None = None
    traffic_control: bool | None = None
    load_balancers: list[str] | None = None
    target_groups: list[str] | None = None
    service_role: str | None = None
    outdated_instances: str | None = None
    queue: str | None = None
    agent_updates: str | None = None
    catch_up_on_premises: bool | None = None
    termination_hook: bool | None = None
    require_all: bool | None = None
    single_as_one_at_a_time: bool | None = None


def apply_options(options: inventory_pb2.GroupOptions, texts: OptionTexts) -> None:
    """Writes what is given into `options`; ends the process at a word that means nothing."""
    for name in ("catch_up_on_premises", "termination_hook", "require_all", "single_as_one_at_a_time"):
        if (value := getattr(texts, name)) is not None:
            setattr(options, name, value)
    if texts.service_role is not None:
        options.service_role_arn = texts.service_role
    if texts.cloud_tags:
        options.cloud_selection.CopyFrom(_selection(texts.cloud_tags))
    if texts.on_premises_tags:
        options.on_premises_selection.CopyFrom(_selection(texts.on_premises_tags))
    if texts.autoscaling_groups:
        options.auto_scaling_groups.CopyFrom(inventory_pb2.AutoScalingGroups(names=texts.autoscaling_groups))
    if texts.triggers:
        options.triggers.CopyFrom(inventory_pb2.Triggers(triggers=[trigger(one) for one in texts.triggers]))
    if texts.load_balancers or texts.target_groups:
        named = inventory_pb2.LoadBalancers(classic=texts.load_balancers, target_groups=texts.target_groups)
        options.load_balancers.CopyFrom(named)
    _apply_words(options, texts)


def clear(request: inventory_pb2.UpdateDeploymentGroupRequest, words: list[str]) -> None:
    """Makes each of these present and empty; ends the process at one that cannot be cleared."""
    options = request.options
    for word in words:
        match word:
            case "tags":
                request.selection.SetInParent()
            case "cloud-tags":
                options.cloud_selection.SetInParent()
            case "on-premises-tags":
                options.on_premises_selection.SetInParent()
            case "autoscaling-groups":
                options.auto_scaling_groups.SetInParent()
            case "load-balancers":
                options.load_balancers.SetInParent()
            case "blue-green":
                options.blue_green.SetInParent()
            case "alarms":
                options.alarms.SetInParent()
            case "triggers":
                options.triggers.SetInParent()
            case "service-role":
                options.service_role_arn = ""
            case _:
                fail(f"'{word}' cannot be cleared: choose from {', '.join(CLEARABLE)}", EXIT_USAGE)


def trigger(text: str) -> inventory_pb2.Trigger:
    """Returns the trigger of `NAME,ARN,EVENT,…`."""
    name, *rest = (part.strip() for part in text.split(","))
    if len(rest) < 2:
        fail(
            f"'{text}' is no trigger: write NAME,ARN,EVENT[,EVENT…], such as"
            " oncall,arn:aws:sns:eu-1:123456789012:deploys,DeploymentFailure",
            EXIT_USAGE,
        )
    return inventory_pb2.Trigger(name=name, target_arn=rest[0], events=rest[1:])


def number_of(enum: Any, word: str, what: str) -> int:
    """Returns the number of a word of that enum, in whatever case and with dashes; ends the process at another."""
    # Any: the enum wrappers of protobuf have no common type.
    number = enum_number(enum.DESCRIPTOR, word.replace("-", "_"))
    if number is None:
        known = ", ".join(one.lower().replace("_", "-") for one in words_of(enum.DESCRIPTOR))
        fail(f"'{word}' is no {what}: choose from {known}", EXIT_USAGE)
    return number


def _selection(tags: list[str]) -> inventory_pb2.Selection:
    return inventory_pb2.Selection(tag_filters=[tag_filter(text) for text in tags])


def _apply_words(options: inventory_pb2.GroupOptions, texts: OptionTexts) -> None:
    if texts.style is not None:
        number = number_of(inventory_pb2.DeploymentType, texts.style, "style")
        options.style.type = inventory_pb2.DeploymentType.ValueType(number)
    if texts.traffic_control is not None:
        options.style.option = (
            inventory_pb2.DEPLOYMENT_OPTION_WITH_TRAFFIC_CONTROL
            if texts.traffic_control
            else inventory_pb2.DEPLOYMENT_OPTION_WITHOUT_TRAFFIC_CONTROL
        )
    if texts.outdated_instances is not None:
        number = number_of(
            inventory_pb2.OutdatedInstancesStrategy,
            texts.outdated_instances,
            "strategy for outdated instances",
        )
        options.outdated_instances = inventory_pb2.OutdatedInstancesStrategy.ValueType(number)
    if texts.queue is not None:
        number = number_of(inventory_pb2.QueueMode, texts.queue, "queue mode")
        options.queue = inventory_pb2.QueueMode.ValueType(number)
    if texts.agent_updates is not None:
        number = number_of(inventory_pb2.AgentUpdates, texts.agent_updates, "way to keep agents")
        options.agent_updates = inventory_pb2.AgentUpdates.ValueType(number)
