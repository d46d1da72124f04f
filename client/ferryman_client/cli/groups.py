"""`ferryman group`: create, list, show, update, instances, delete."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ferryman.v1 import inventory_pb2
from ferryman_client.cli import render
from ferryman_client.cli.alarm_options import AlarmOption, AlarmWish, IgnoreOption, SwitchOption
from ferryman_client.cli.drift import instances_text
from ferryman_client.cli.groupfile import read_group_file
from ferryman_client.cli.groupflags import (
    AgentUpdatesOption,
    AutoscalingOption,
    CatchUpOption,
    CloudTagOption,
    FromOption,
    LoadBalancerOption,
    OnPremisesTagOption,
    OutdatedOption,
    QueueOption,
    RequireAllOption,
    ServiceRoleOption,
    SingleOption,
    StyleOption,
    TargetGroupOption,
    TerminationHookOption,
    TrafficOption,
    TriggerOption,
)
from ferryman_client.cli.groupoptions import CLEARABLE, OptionTexts, apply_options
from ferryman_client.cli.groupoptions import clear as clear_options
from ferryman_client.cli.instances import print_instances
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.render import Cell, status
from ferryman_client.cli.selections import auto_rollback, resource_tags, selection
from ferryman_client.cli.session import EXIT_NOT_FOUND_OR_CONFLICT, EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.words import deployment_status, revision_label
from ferryman_client.client import Client

app = typer.Typer(no_args_is_help=True, help="Deployment groups: where an application goes.")

NameArgument = Annotated[str, typer.Argument(help="Name of the deployment group.")]
ApplicationOption = Annotated[str, typer.Option("--application", "-a", help="Name of the application.")]
TagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag", help="Instances with this tag: KEY=VALUE, KEY or =VALUE; `*` in a value. Repeat for more."
    ),
]
TagSetOption = Annotated[
    Path | None,
    typer.Option("--tag-set", help="YAML or JSON file: groups of filters, all of which must match."),
]
ConfigOption = Annotated[str | None, typer.Option("--config", help="Deployment configuration.")]
RollbackOption = Annotated[
    str | None, typer.Option("--rollback-on", help="failure, stop, alarm (comma-separated), or none.")
]


@app.command()
def create(
    name: NameArgument,
    application: ApplicationOption,
    tag: TagOption = None,
    tag_set: TagSetOption = None,
    config: ConfigOption = None,
    rollback_on: RollbackOption = None,
    cloud_tag: CloudTagOption = None,
    on_premises_tag: OnPremisesTagOption = None,
    autoscaling_group: AutoscalingOption = None,
    alarm: AlarmOption = None,
    ignore_alarm_failures: IgnoreOption = None,
    alarms: SwitchOption = None,
    trigger: TriggerOption = None,
    style: StyleOption = None,
    traffic_control: TrafficOption = None,
    load_balancer: LoadBalancerOption = None,
    target_group: TargetGroupOption = None,
    service_role: ServiceRoleOption = None,
    outdated_instances: OutdatedOption = None,
    queue: QueueOption = None,
    agent_updates: AgentUpdatesOption = None,
    catch_up_on_premises: CatchUpOption = None,
    termination_hook: TerminationHookOption = None,
    require_all: RequireAllOption = None,
    single_as_one_at_a_time: SingleOption = None,
    resource_tag: Annotated[
        list[str] | None, typer.Option("--resource-tag", help="Label of the group itself: KEY=VALUE. Repeat.")
    ] = None,
    from_file: FromOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a deployment group.

    Example: ferryman group create live -a web --tag role=web --config CodeDeployDefault.HalfAtATime
    --rollback-on failure
    """
    request = inventory_pb2.CreateDeploymentGroupRequest()
    if from_file is not None:
        read_group_file(from_file, request)
    request.application_name, request.name = application, name
    if (chosen := selection(tag, tag_set)) is not None:
        request.selection.CopyFrom(chosen)
    if config is not None:
        request.deployment_config_name = config
    if (rollback := auto_rollback(rollback_on)) is not None:
        request.auto_rollback.CopyFrom(rollback)
    apply_options(
        request.options,
        OptionTexts(
            cloud_tags=cloud_tag,
            on_premises_tags=on_premises_tag,
            autoscaling_groups=autoscaling_group,
            triggers=trigger,
            style=style,
            traffic_control=traffic_control,
            load_balancers=load_balancer,
            target_groups=target_group,
            service_role=service_role,
            outdated_instances=outdated_instances,
            queue=queue,
            agent_updates=agent_updates,
            catch_up_on_premises=catch_up_on_premises,
            termination_hook=termination_hook,
            require_all=require_all,
            single_as_one_at_a_time=single_as_one_at_a_time,
        ),
    )
    of_alarms = AlarmWish(names=alarm, ignore=ignore_alarm_failures, watch=alarms)
    if not of_alarms.is_empty:
        request.options.alarms.CopyFrom(of_alarms.over(request.options.alarms))
    request.resource_tags.extend(resource_tags(resource_tag or ()))
    response = ask(lambda client: client.call(client.inventory.CreateDeploymentGroup, request))
    render.warn(response.warnings)
    if as_json:
        render.print_json(response)
    else:
        render.say(f"deployment group {name} of {application} created")


@app.command(name="list")
def list_(
    application: Annotated[str, typer.Option("--application", "-a", help="Only those of this one.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List deployment groups."""

    async def read(client: Client) -> list[inventory_pb2.DeploymentGroup]:
        request = inventory_pb2.ListDeploymentGroupsRequest(application_name=application)
        pages = every_page(lambda page: client.call(client.inventory.ListDeploymentGroups, page), request)
        return [item async for response in pages for item in response.deployment_groups]

    _print(ask(read), as_json)


@app.command()
def show(
    name: NameArgument,
    application: ApplicationOption,
    more: Annotated[
        list[str] | None, typer.Argument(help="Further ones of the application, read in the same call.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one deployment group, or several."""
    if more:
        several = inventory_pb2.BatchGetDeploymentGroupsRequest(
            application_name=application, names=[name, *more]
        )
        answer = ask(lambda client: client.call(client.inventory.BatchGetDeploymentGroups, several))
        _print(answer.deployment_groups, as_json)
        if answer.error_message:
            fail(answer.error_message, EXIT_NOT_FOUND_OR_CONFLICT)
        return
    request = inventory_pb2.GetDeploymentGroupRequest(application_name=application, name=name)
    found = ask(lambda client: client.call(client.inventory.GetDeploymentGroup, request)).deployment_group
    if as_json:
        render.print_json(found)
        return
    render.print_details(_details(found))
    render.warn(found.warnings)


@app.command()
def update(
    name: NameArgument,
    application: ApplicationOption,
    new_name: Annotated[str | None, typer.Option("--new-name", help="Rename it.")] = None,
    tag: TagOption = None,
    tag_set: TagSetOption = None,
    config: ConfigOption = None,
    rollback_on: RollbackOption = None,
    cloud_tag: CloudTagOption = None,
    on_premises_tag: OnPremisesTagOption = None,
    autoscaling_group: AutoscalingOption = None,
    alarm: AlarmOption = None,
    ignore_alarm_failures: IgnoreOption = None,
    alarms: SwitchOption = None,
    trigger: TriggerOption = None,
    style: StyleOption = None,
    traffic_control: TrafficOption = None,
    load_balancer: LoadBalancerOption = None,
    target_group: TargetGroupOption = None,
    service_role: ServiceRoleOption = None,
    outdated_instances: OutdatedOption = None,
    queue: QueueOption = None,
    agent_updates: AgentUpdatesOption = None,
    catch_up_on_premises: CatchUpOption = None,
    termination_hook: TerminationHookOption = None,
    require_all: RequireAllOption = None,
    single_as_one_at_a_time: SingleOption = None,
    clear: Annotated[
        list[str] | None, typer.Option("--clear", help=f"Empty it: {', '.join(CLEARABLE)}. Repeat.")
    ] = None,
    from_file: FromOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a deployment group; what is not named stays as it is. A running deployment is not affected.

    Example: ferryman group update live -a web --alarm cpu --alarm latency --clear triggers
    """
    request = inventory_pb2.UpdateDeploymentGroupRequest()
    if from_file is not None:
        read_group_file(from_file, request)
    request.application_name, request.name = application, name
    if new_name is not None:
        request.new_name = new_name
    if config is not None:
        request.deployment_config_name = config
    if (chosen := selection(tag, tag_set)) is not None:
        request.selection.CopyFrom(chosen)
    if (rollback := auto_rollback(rollback_on)) is not None:
        request.auto_rollback.CopyFrom(rollback)
    apply_options(
        request.options,
        OptionTexts(
            cloud_tags=cloud_tag,
            on_premises_tags=on_premises_tag,
            autoscaling_groups=autoscaling_group,
            triggers=trigger,
            style=style,
            traffic_control=traffic_control,
            load_balancers=load_balancer,
            target_groups=target_group,
            service_role=service_role,
            outdated_instances=outdated_instances,
            queue=queue,
            agent_updates=agent_updates,
            catch_up_on_premises=catch_up_on_premises,
            termination_hook=termination_hook,
            require_all=require_all,
            single_as_one_at_a_time=single_as_one_at_a_time,
        ),
    )
    clear_options(request, clear or [])
    of_alarms = AlarmWish(names=alarm, ignore=ignore_alarm_failures, watch=alarms)

    async def change(client: Client) -> inventory_pb2.UpdateDeploymentGroupResponse:
        if (wished := await of_alarms.over_group(client, application, name)) is not None:
            request.options.alarms.CopyFrom(wished)
        return await client.call(client.inventory.UpdateDeploymentGroup, request)

    response = ask(change)
    render.warn(response.warnings)
    if as_json:
        render.print_json(response.deployment_group)
    else:
        render.say(f"deployment group {response.deployment_group.name} of {application} updated")


@app.command()
def instances(
    tag: TagOption = None,
    tag_set: TagSetOption = None,
    name: Annotated[str, typer.Argument(help="A group, instead of --tag or --tag-set.")] = "",
    application: Annotated[str, typer.Option("--application", "-a", help="The group's application.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the instances that a group, or a selection that is not saved yet, matches now."""
    chosen = selection(tag, tag_set)
    if (chosen is None) == (not name):
        fail("name a group with --application, or give --tag or --tag-set", EXIT_USAGE)

    request = inventory_pb2.ListMatchingInstancesRequest(
        selection=chosen, application_name=application if name else "", deployment_group_name=name
    )

    async def read(client: Client) -> list[inventory_pb2.Instance]:
        pages = every_page(lambda page: client.call(client.inventory.ListMatchingInstances, page), request)
        return [item async for response in pages for item in response.instances]

    print_instances(ask(read), as_json=as_json, empty="no instance matches")


@app.command()
def delete(
    name: NameArgument,
    application: ApplicationOption,
    clean_out: Annotated[
        bool,
        typer.Option(
            "--clean-out",
            help="First remove from its instances what it has installed there, and wait for that.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a deployment group. Its deployments stay as history; nothing is removed from instances by itself."""
    if not yes and typer.prompt(f"This deletes {name} of {application}. Type its name") != name:
        fail("nothing was deleted", EXIT_USAGE)
    request = inventory_pb2.DeleteDeploymentGroupRequest(application_name=application, name=name)

    async def remove(client: Client) -> inventory_pb2.DeleteDeploymentGroupResponse:
        if clean_out:
            from ferryman_client.cli.cleanout import clean_out as run

            await run(client, application, name)
        return await client.call(client.inventory.DeleteDeploymentGroup, request)

    ask(remove)
    render.say(f"deployment group {name} of {application} deleted")


def _print(found: Sequence[inventory_pb2.DeploymentGroup], as_json: bool) -> None:
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            item.application_name,
            item.name,
            item.deployment_config_name,
            revision_label(item.target_revision),
            item.last_attempted_deployment.deployment_id or "-",
            render.status(deployment_status(item.last_attempted_deployment.status)),
        )
        for item in found
    )
    columns = ("APPLICATION", "GROUP", "CONFIG", "REVISION", "LAST DEPLOYMENT", "STATUS")
    render.print_table(columns, rows, empty="no deployment groups; `ferryman group create`")


def _details(group: inventory_pb2.DeploymentGroup) -> list[tuple[str, Cell]]:
    from ferryman_client.cli.groupview import option_rows
    from ferryman_client.cli.words import iso_time, revision_label, rollback_text, selection_text

    rows: list[tuple[str, Cell]] = [
        ("Name", group.name),
        ("Application", group.application_name),
        ("Id", group.deployment_group_id),
        ("Configuration", group.deployment_config_name),
        ("Instances", selection_text(group.selection)),
        *option_rows(group),
        ("Rollback on", rollback_text(group.auto_rollback)),
        ("Revision", revision_label(group.target_revision)),
        ("Drift", instances_text(group)),
    ]
    for label, last in (
        ("Last attempted", group.last_attempted_deployment),
        ("Last successful", group.last_successful_deployment),
    ):
        if last.deployment_id:
            when = iso_time(last.ended_at or last.created_at)
            ended = status(deployment_status(last.status))
            rows.append((label, Text.assemble(last.deployment_id, "  ", ended, "  ", when)))
    rows.append(("Created", iso_time(group.created_at)))
    return rows
