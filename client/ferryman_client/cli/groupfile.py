"""Reads a deployment group from a YAML file (`ferryman group create --from`, `ferryman group update --from`).

Every key may be left out: then `create` takes the default, and `update` leaves it as it is. One that is there and
empty clears.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import yaml
from msgspec import UNSET, UnsetType

from ferryman.v1 import inventory_pb2
from ferryman_client.cli.groupoptions import OptionTexts, apply_options, number_of
from ferryman_client.cli.selections import FilterText, auto_rollback, filter_message, tag_filter
from ferryman_client.cli.session import EXIT_USAGE, fail


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A mapping in the file."""


class Alarms(Section, frozen=True):
    names: list[str] = []
    enabled: bool = True
    ignore_poll_failures: bool = False


class Trigger(Section, frozen=True):
    name: str
    target: str
    events: list[str]


class LoadBalancers(Section, frozen=True):
    classic: list[str] = []
    target_groups: list[str] = []


class BlueGreen(Section, frozen=True):
    """Empty: no blue/green options."""

    green_provisioning: str = ""
    ready_action: str = ""
    ready_wait_minutes: int = 0
    blue_termination: str = ""
    termination_wait_minutes: int = 0


class GroupFile(Section, frozen=True):
    """The file's content."""

    tags: list[str] | UnsetType = UNSET
    tag_set: list[list[FilterText]] | UnsetType = UNSET
    config: str | UnsetType = UNSET
    rollback_on: list[str] | UnsetType = UNSET
    cloud_tags: list[str] | UnsetType = UNSET
    cloud_tag_set: list[list[FilterText]] | UnsetType = UNSET
    on_premises_tags: list[str] | UnsetType = UNSET
    on_premises_tag_set: list[list[FilterText]] | UnsetType = UNSET
    autoscaling_groups: list[str] | UnsetType = UNSET
    alarms: Alarms | UnsetType = UNSET
    triggers: list[Trigger] | UnsetType = UNSET
    style: str | UnsetType = UNSET
    traffic_control: bool | UnsetType = UNSET
    load_balancers: LoadBalancers | UnsetType = UNSET
    blue_green: BlueGreen | UnsetType = UNSET
    service_role: str | UnsetType = UNSET
    outdated_instances: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET
    agent_updates: str | UnsetType = UNSET
    catch_up_on_premises: bool | UnsetType = UNSET
    termination_hook: bool | UnsetType = UNSET
    require_all: bool | UnsetType = UNSET
    single_as_one_at_a_time: bool | UnsetType = UNSET


Value = TypeVar("Value")

Request = inventory_pb2.CreateDeploymentGroupRequest | inventory_pb2.UpdateDeploymentGroupRequest


def read_group_file(path: Path, request: Request) -> None:
    """Writes what the file says into `request`; ends the process when the file cannot be used."""
    try:
        content = msgspec.convert(yaml.safe_load(path.read_bytes()) or {}, GroupFile)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as problem:
        fail(f"cannot use the group file {path}: {problem}", EXIT_USAGE)
    _select(path, request.selection, "tags", content.tags, content.tag_set)
    if content.config is not UNSET:
        request.deployment_config_name = content.config
    if content.rollback_on is not UNSET:
        rollback = auto_rollback(",".join(content.rollback_on) or "none")
        if rollback is not None:
            request.auto_rollback.CopyFrom(rollback)
    _apply(path, content, request.options)


def _apply(path: Path, content: GroupFile, options: inventory_pb2.GroupOptions) -> None:
    _select(path, options.cloud_selection, "cloudTags", content.cloud_tags, content.cloud_tag_set)
    _select(
        path,
        options.on_premises_selection,
        "onPremisesTags",
        content.on_premises_tags,
        content.on_premises_tag_set,
    )
    if content.autoscaling_groups is not UNSET:
        options.auto_scaling_groups.SetInParent()
        options.auto_scaling_groups.names.extend(content.autoscaling_groups)
    if content.alarms is not UNSET:
        options.alarms.SetInParent()
        options.alarms.enabled = content.alarms.enabled and bool(content.alarms.names)
        options.alarms.ignore_poll_alarm_failure = content.alarms.ignore_poll_failures
        options.alarms.alarms.extend(content.alarms.names)
    if content.triggers is not UNSET:
        options.triggers.SetInParent()
        for one in content.triggers:
            options.triggers.triggers.add(name=one.name, target_arn=one.target, events=one.events)
    if content.load_balancers is not UNSET:
        options.load_balancers.SetInParent()
        options.load_balancers.classic.extend(content.load_balancers.classic)
        options.load_balancers.target_groups.extend(content.load_balancers.target_groups)
    if content.blue_green is not UNSET:
        options.blue_green.CopyFrom(_blue_green(content.blue_green))
    apply_options(
        options,
        OptionTexts(
            style=_given(content.style),
            traffic_control=_given(content.traffic_control),
            service_role=_given(content.service_role),
            outdated_instances=_given(content.outdated_instances),
            queue=_given(content.queue),
            agent_updates=_given(content.agent_updates),
            catch_up_on_premises=_given(content.catch_up_on_premises),
            termination_hook=_given(content.termination_hook),
            require_all=_given(content.require_all),
            single_as_one_at_a_time=_given(content.single_as_one_at_a_time),
        ),
    )


def _given(value: Value | UnsetType) -> Value | None:
    return None if value is UNSET else value


def _select(
    path: Path,
    selection: inventory_pb2.Selection,
    key: str,
    tags: list[str] | UnsetType,
    tag_set: list[list[FilterText]] | UnsetType,
) -> None:
    if tags is not UNSET and tag_set is not UNSET and tags and tag_set:
        fail(f"{path}: give {key} or {key.removesuffix('s')}Set, not both", EXIT_USAGE)
    if tags is not UNSET:
        selection.SetInParent()
        selection.tag_filters.extend(tag_filter(text) for text in tags)
    if tag_set is not UNSET:
        selection.SetInParent()
        for group in tag_set:
            selection.tag_set.groups.add().filters.extend(filter_message(item, path) for item in group)


def _blue_green(wanted: BlueGreen) -> inventory_pb2.BlueGreen:
    made = inventory_pb2.BlueGreen(
        ready_wait_minutes=wanted.ready_wait_minutes,
        termination_wait_minutes=wanted.termination_wait_minutes,
    )
    if wanted.green_provisioning:
        number = number_of(inventory_pb2.GreenProvisioning, wanted.green_provisioning, "greenProvisioning")
        made.green_provisioning = inventory_pb2.GreenProvisioning.ValueType(number)
    if wanted.ready_action:
        number = number_of(inventory_pb2.ReadyAction, wanted.ready_action, "readyAction")
        made.ready_action = inventory_pb2.ReadyAction.ValueType(number)
    if wanted.blue_termination:
        number = number_of(inventory_pb2.BlueTermination, wanted.blue_termination, "blueTermination")
        made.blue_termination = inventory_pb2.BlueTermination.ValueType(number)
    return made
