"""`ferryman group`: create, list, show, update, instances, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ferryman.v1 import inventory_pb2
from ferryman_client.cli import render
from ferryman_client.cli.drift import instances_text
from ferryman_client.cli.groupfile import read_group_file
from ferryman_client.cli.instances import print_instances
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.render import Cell, status
from ferryman_client.cli.selections import auto_rollback, selection
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail
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
    from_file: Annotated[
        Path | None, typer.Option("--from", help="YAML file with tags, tagSet, config, rollbackOn.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create a deployment group."""
    request = read_group_file(from_file) if from_file else inventory_pb2.CreateDeploymentGroupRequest()
    request.application_name, request.name = application, name
    if (chosen := selection(tag, tag_set)) is not None:
        request.selection.CopyFrom(chosen)
    if config is not None:
        request.deployment_config_name = config
    if (rollback := auto_rollback(rollback_on)) is not None:
        request.auto_rollback.CopyFrom(rollback)
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

    found = ask(read)
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


@app.command()
def show(name: NameArgument, application: ApplicationOption, as_json: JsonOption = False) -> None:
    """Show one deployment group."""
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
    as_json: JsonOption = False,
) -> None:
    """Change a deployment group; what is not named stays as it is. A running deployment is not affected."""
    request = inventory_pb2.UpdateDeploymentGroupRequest(
        application_name=application,
        name=name,
        new_name=new_name,
        deployment_config_name=config,
        selection=selection(tag, tag_set),
        auto_rollback=auto_rollback(rollback_on),
    )
    response = ask(lambda client: client.call(client.inventory.UpdateDeploymentGroup, request))
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

    async def read(client: Client) -> list[inventory_pb2.Instance]:
        wanted = chosen
        if wanted is None:
            request = inventory_pb2.GetDeploymentGroupRequest(application_name=application, name=name)
            group = await client.call(client.inventory.GetDeploymentGroup, request)
            wanted = group.deployment_group.selection
        pages = every_page(
            lambda page: client.call(client.inventory.ListMatchingInstances, page),
            inventory_pb2.ListMatchingInstancesRequest(selection=wanted),
        )
        return [item async for response in pages for item in response.instances]

    print_instances(ask(read), as_json=as_json, empty="no instance matches")


@app.command()
def delete(
    name: NameArgument,
    application: ApplicationOption,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a deployment group and its history. Nothing is removed from instances."""
    if not yes and typer.prompt(f"This deletes the history of {name}. Type its name") != name:
        fail("nothing was deleted", EXIT_USAGE)
    request = inventory_pb2.DeleteDeploymentGroupRequest(application_name=application, name=name)
    ask(lambda client: client.call(client.inventory.DeleteDeploymentGroup, request))
    render.say(f"deployment group {name} of {application} deleted")


def _details(group: inventory_pb2.DeploymentGroup) -> list[tuple[str, Cell]]:
    from ferryman_client.cli.words import (
        deployment_status,
        iso_time,
        revision_label,
        rollback_text,
        selection_text,
    )

    rows: list[tuple[str, Cell]] = [
        ("Name", group.name),
        ("Application", group.application_name),
        ("Id", group.deployment_group_id),
        ("Configuration", group.deployment_config_name),
        ("Instances", selection_text(group.selection)),
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
