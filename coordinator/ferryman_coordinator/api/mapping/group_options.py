"""The options of deployment groups. In a change what is absent stays, and what is present but empty clears (CP-173)."""

from __future__ import annotations

from dataclasses import replace

from ferryman.v1 import inventory_pb2 as pb
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.api.mapping.selections import selection_from, selection_to
from ferryman_coordinator.core.group_options import (
    AlarmConfiguration,
    BlueGreen,
    DeploymentStyle,
    GroupOptions,
    LoadBalancers,
    Trigger,
    TriggerEventType,
)
from ferryman_coordinator.errors import Invalid

_BLUE_GREEN = BlueGreen()


def options_to(options: GroupOptions) -> pb.GroupOptions:
    """Every member, said or not: who reads need not know the defaults."""
    return pb.GroupOptions(
        service_role_arn=options.service_role_arn,
        style=pb.DeploymentStyle(
            type=words.deployment_types.wire(options.style.type),
            option=words.deployment_options.wire(options.style.option),
        ),
        load_balancers=pb.LoadBalancers(
            classic=options.load_balancers.classic, target_groups=options.load_balancers.target_groups
        ),
        blue_green=None if options.blue_green is None else _blue_green_to(options.blue_green),
        cloud_selection=selection_to(options.cloud_selection),
        on_premises_selection=selection_to(options.on_premises_selection),
        auto_scaling_groups=pb.AutoScalingGroups(names=options.auto_scaling_groups),
        termination_hook=options.termination_hook,
        alarms=_alarms_to(options.alarms),
        triggers=pb.Triggers(triggers=[_trigger_to(one) for one in options.triggers]),
        outdated_instances=words.outdated_strategies.wire(options.outdated_instances),
        catch_up_on_premises=options.catch_up_on_premises,
        queue=words.queue_modes.wire(options.queue),
        require_all=options.require_all,
        single_as_one_at_a_time=options.single_as_one_at_a_time,
        agent_updates=words.agent_updates.wire(options.agent_updates),
    )


def changed(options: GroupOptions, message: pb.GroupOptions) -> GroupOptions:
    """`options` with what `message` says. Raises Invalid."""
    options = _with_switches(_with_selectors(options, message), message)
    if message.HasField("service_role_arn"):
        options = replace(options, service_role_arn=message.service_role_arn)
    if message.HasField("style"):
        options = replace(options, style=_style_from(message.style, options.style))
    if message.HasField("load_balancers"):
        listed = message.load_balancers
        named = LoadBalancers(classic=tuple(listed.classic), target_groups=tuple(listed.target_groups))
        options = replace(options, load_balancers=named)
    if message.HasField("blue_green"):
        options = replace(options, blue_green=_blue_green_from(message.blue_green))
    if message.HasField("alarms"):
        options = replace(options, alarms=alarms_from(message.alarms))
    if message.HasField("triggers"):
        options = replace(options, triggers=tuple(_trigger_from(one) for one in message.triggers.triggers))
    return options


def alarms_from(alarms: pb.AlarmConfiguration) -> AlarmConfiguration:
    return AlarmConfiguration(
        enabled=alarms.enabled,
        ignore_poll_alarm_failure=alarms.ignore_poll_alarm_failure,
        alarms=tuple(alarms.alarms),
    )


def _with_selectors(options: GroupOptions, message: pb.GroupOptions) -> GroupOptions:
    if message.HasField("cloud_selection"):
        options = replace(options, cloud_selection=selection_from(message.cloud_selection))
    if message.HasField("on_premises_selection"):
        options = replace(options, on_premises_selection=selection_from(message.on_premises_selection))
    if message.HasField("auto_scaling_groups"):
        options = replace(options, auto_scaling_groups=tuple(message.auto_scaling_groups.names))
    return options


def _with_switches(options: GroupOptions, message: pb.GroupOptions) -> GroupOptions:
    if message.HasField("termination_hook"):
        options = replace(options, termination_hook=message.termination_hook)
    if message.HasField("catch_up_on_premises"):
        options = replace(options, catch_up_on_premises=message.catch_up_on_premises)
    if message.HasField("require_all"):
        options = replace(options, require_all=message.require_all)
    if message.HasField("single_as_one_at_a_time"):
        options = replace(options, single_as_one_at_a_time=message.single_as_one_at_a_time)
    return replace(
        options,
        outdated_instances=words.outdated_strategies.word_or(
            message.outdated_instances, options.outdated_instances
        ),
        queue=words.queue_modes.word_or(message.queue, options.queue),
        agent_updates=words.agent_updates.word_or(message.agent_updates, options.agent_updates),
    )


def _style_from(style: pb.DeploymentStyle, before: DeploymentStyle) -> DeploymentStyle:
    return DeploymentStyle(
        type=words.deployment_types.word_or(style.type, before.type),
        option=words.deployment_options.word_or(style.option, before.option),
    )


def _blue_green_to(blue_green: BlueGreen) -> pb.BlueGreen:
    return pb.BlueGreen(
        green_provisioning=words.green_provisionings.wire(blue_green.green_provisioning),
        ready_action=words.ready_actions.wire(blue_green.ready_action),
        ready_wait_minutes=blue_green.ready_wait_minutes,
        blue_termination=words.blue_terminations.wire(blue_green.blue_termination),
        termination_wait_minutes=blue_green.termination_wait_minutes,
    )


def _blue_green_from(message: pb.BlueGreen) -> BlueGreen | None:
    """None for an empty message; members that are not said have their defaults."""
    if message == pb.BlueGreen():
        return None
    return BlueGreen(
        green_provisioning=words.green_provisionings.word_or(
            message.green_provisioning, _BLUE_GREEN.green_provisioning
        ),
        ready_action=words.ready_actions.word_or(message.ready_action, _BLUE_GREEN.ready_action),
        ready_wait_minutes=message.ready_wait_minutes,
        blue_termination=words.blue_terminations.word_or(
            message.blue_termination, _BLUE_GREEN.blue_termination
        ),
        termination_wait_minutes=message.termination_wait_minutes,
    )


def _alarms_to(alarms: AlarmConfiguration) -> pb.AlarmConfiguration:
    return pb.AlarmConfiguration(
        enabled=alarms.enabled,
        ignore_poll_alarm_failure=alarms.ignore_poll_alarm_failure,
        alarms=alarms.alarms,
    )


def _trigger_to(trigger: Trigger) -> pb.Trigger:
    return pb.Trigger(
        name=trigger.name, target_arn=trigger.target_arn, events=[one.value for one in trigger.events]
    )


def _trigger_from(message: pb.Trigger) -> Trigger:
    try:
        events = tuple(TriggerEventType(one) for one in message.events)
    except ValueError as problem:
        known = ", ".join(TriggerEventType)
        raise Invalid(
            "InvalidTriggerConfigException", f"trigger {message.name!r}: {problem}: use of {known}"
        ) from None
    return Trigger(name=message.name, target_arn=message.target_arn, events=events)
