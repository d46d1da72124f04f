"""Says in words what a deployment group has set, for `ferryman group show`; what it has not is left out."""

from __future__ import annotations

from collections.abc import Iterator

from ferryman.v1 import inventory_pb2
from ferryman_client.cli.words import enum_word, selection_text


def option_rows(group: inventory_pb2.DeploymentGroup) -> Iterator[tuple[str, str]]:
    """Label and text of each option that is not at its default."""
    options = group.options
    for label, selection in (
        ("Cloud instances", options.cloud_selection),
        ("On-premises instances", options.on_premises_selection),
    ):
        if selection.tag_filters or selection.tag_set.groups:
            yield label, selection_text(selection)
    if options.auto_scaling_groups.names:
        yield "Autoscaling groups", ", ".join(options.auto_scaling_groups.names)
    yield "Style", _style(options)
    balancers = [*options.load_balancers.classic, *options.load_balancers.target_groups]
    if balancers:
        yield "Load balancers", ", ".join(balancers)
    if options.HasField("blue_green"):
        yield "Blue/green", _blue_green(options.blue_green)
    if options.alarms.alarms:
        yield "Alarms", _alarms(options.alarms)
    for trigger in options.triggers.triggers:
        yield "Trigger", f"{trigger.name}: {', '.join(trigger.events)} to {trigger.target_arn}"
    yield from _switches(options)
    if options.service_role_arn:
        yield "Service role", options.service_role_arn
    if group.resource_tags:
        yield "Tags", ", ".join(f"{tag.key}={tag.value}" for tag in group.resource_tags)


def _switches(options: inventory_pb2.GroupOptions) -> Iterator[tuple[str, str]]:
    if options.queue not in (inventory_pb2.QUEUE_MODE_UNSPECIFIED, inventory_pb2.QUEUE_MODE_REFUSE):
        yield "Queue", (enum_word(inventory_pb2.QueueMode.DESCRIPTOR, options.queue) or "").lower()
    if options.outdated_instances == inventory_pb2.OUTDATED_INSTANCES_STRATEGY_IGNORE:
        yield "Outdated instances", "left as they are"
    if options.agent_updates not in (
        inventory_pb2.AGENT_UPDATES_UNSPECIFIED,
        inventory_pb2.AGENT_UPDATES_NEVER,
    ):
        word = enum_word(inventory_pb2.AgentUpdates.DESCRIPTOR, options.agent_updates) or ""
        yield "Agent updates", word.lower()
    for is_on, text in (
        (options.require_all, "every instance has to succeed"),
        (options.single_as_one_at_a_time, "a group of one instance is deployed to"),
        (options.catch_up_on_premises, "on-premises instances are caught up"),
        (options.termination_hook, "stop scripts run before an instance is terminated"),
    ):
        if is_on:
            yield "Also", text


def _style(options: inventory_pb2.GroupOptions) -> str:
    is_swapped = options.style.type == inventory_pb2.DEPLOYMENT_TYPE_BLUE_GREEN
    is_controlled = options.style.option == inventory_pb2.DEPLOYMENT_OPTION_WITH_TRAFFIC_CONTROL
    return f"{'blue/green' if is_swapped else 'in place'}, {'with' if is_controlled else 'without'} traffic control"


def _blue_green(settings: inventory_pb2.BlueGreen) -> str:
    provisioning = enum_word(inventory_pb2.GreenProvisioning.DESCRIPTOR, settings.green_provisioning)
    ready = enum_word(inventory_pb2.ReadyAction.DESCRIPTOR, settings.ready_action)
    ending = enum_word(inventory_pb2.BlueTermination.DESCRIPTOR, settings.blue_termination)
    return (
        f"{provisioning}; {ready} after {settings.ready_wait_minutes} min; "
        f"{ending} after {settings.termination_wait_minutes} min"
    )


def _alarms(alarms: inventory_pb2.AlarmConfiguration) -> str:
    text = ", ".join(alarms.alarms)
    if not alarms.enabled:
        return f"{text} (not watched)"
    return f"{text} (going on when they cannot be read)" if alarms.ignore_poll_alarm_failure else text
