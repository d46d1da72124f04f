"""`ferryman application`: create, list, show, rename, link, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ferryman.v1 import inventory_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.selections import resource_tags
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.words import enum_number, enum_word, iso_time
from ferryman_client.client import Client

app = typer.Typer(no_args_is_help=True, help="Applications: what is deployed.")

NameArgument = Annotated[str, typer.Argument(help="Name of the application.")]


@app.command()
def create(
    name: NameArgument,
    platform: Annotated[str, typer.Option(help="Server, Lambda or ECS.")] = "Server",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Label of the application itself: KEY=VALUE. Repeat.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create an application."""
    number = enum_number(types_pb2.ComputePlatform.DESCRIPTOR, platform)
    if number is None:
        fail(f"'{platform}' is no platform: choose Server, Lambda or ECS", EXIT_USAGE)
    request = inventory_pb2.CreateApplicationRequest(
        name=name,
        compute_platform=types_pb2.ComputePlatform.ValueType(number),
        resource_tags=resource_tags(tag or ()),
    )
    response = ask(lambda client: client.call(client.inventory.CreateApplication, request))
    if as_json:
        render.print_json(response)
    else:
        render.say(
            f"application {name} created; next: `ferryman group create NAME --application {name} --tag K=V`"
        )


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List the applications."""

    async def read(client: Client) -> list[inventory_pb2.Application]:
        request = inventory_pb2.ListApplicationsRequest()
        pages = every_page(lambda page: client.call(client.inventory.ListApplications, page), request)
        return [item async for response in pages for item in response.applications]

    _print(ask(read), as_json=as_json)


@app.command()
def show(
    name: NameArgument,
    more: Annotated[list[str] | None, typer.Argument(help="Further ones, read in the same call.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one application, or several."""
    if more:
        several = inventory_pb2.BatchGetApplicationsRequest(names=[name, *more])
        answer = ask(lambda client: client.call(client.inventory.BatchGetApplications, several))
        _print(answer.applications, as_json=as_json)
        return
    request = inventory_pb2.GetApplicationRequest(name=name)
    found = ask(lambda client: client.call(client.inventory.GetApplication, request)).application
    if as_json:
        render.print_json(found)
        return
    render.print_details(
        (
            ("Name", found.name),
            ("Id", found.application_id),
            ("Platform", enum_word(types_pb2.ComputePlatform.DESCRIPTOR, found.compute_platform) or "-"),
            ("GitHub token", found.github_account_name or "none"),
            ("Tags", ", ".join(f"{tag.key}={tag.value}" for tag in found.resource_tags) or "none"),
            ("ARN", found.arn),
            ("Created", iso_time(found.created_at)),
        )
    )


@app.command()
def rename(
    name: NameArgument, new_name: Annotated[str, typer.Argument()], as_json: JsonOption = False
) -> None:
    """Rename an application; groups, revisions and history move along."""
    request = inventory_pb2.UpdateApplicationRequest(name=name, new_name=new_name)
    response = ask(lambda client: client.call(client.inventory.UpdateApplication, request))
    if as_json:
        render.print_json(response.application)
    else:
        render.say(f"application {name} is now {new_name}")


@app.command()
def link(
    name: NameArgument,
    token_name: Annotated[
        str,
        typer.Argument(help="Name of a stored token, see `ferryman github-token`; left out: none any more."),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Say which stored token the application's GitHub revisions are fetched with.

    Example: ferryman application link web acme
    """
    request = inventory_pb2.LinkApplicationRequest(name=name, github_account_name=token_name)
    linked = ask(lambda client: client.call(client.inventory.LinkApplication, request)).application
    if as_json:
        render.print_json(linked)
    elif token_name:
        render.say(f"revisions of {name} from GitHub are fetched with the token {token_name}")
    else:
        render.say(f"application {name} uses no token of its own any more")


@app.command()
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete an application with its groups, revisions and history. Nothing is removed from instances."""
    if (
        not yes
        and typer.prompt(f"This deletes all groups and the history of {name}. Type 'delete'") != "delete"
    ):
        fail("nothing was deleted", EXIT_USAGE)
    request = inventory_pb2.DeleteApplicationRequest(name=name)
    ask(lambda client: client.call(client.inventory.DeleteApplication, request))
    render.say(f"application {name} deleted")


def _print(found: Sequence[inventory_pb2.Application], *, as_json: bool) -> None:
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            item.name,
            enum_word(types_pb2.ComputePlatform.DESCRIPTOR, item.compute_platform) or "-",
            item.github_account_name or "-",
            iso_time(item.created_at),
        )
        for item in found
    )
    columns = ("NAME", "PLATFORM", "GITHUB TOKEN", "CREATED")
    render.print_table(columns, rows, empty="no applications; `ferryman application create`")
