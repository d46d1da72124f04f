"""`ferryman user`: create, list, show, update, disable, enable, delete."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import identity_pb2 as pb
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.session import JsonOption, ask
from ferryman_client.cli.words import iso_time
from ferryman_client.client import Client

app = typer.Typer(no_args_is_help=True, help="Users: people and services, and what they were granted.")

Name = Annotated[str, typer.Argument(help="Name of the user.")]


@app.command()
def create(
    name: Name,
    service: Annotated[bool, typer.Option("--service", help="A service, not a person.")] = False,
    description: Annotated[str, typer.Option("--description", help="What or who it is.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Create a user without any right; grant some with `ferryman role grant`.

    Example: ferryman user create ann && ferryman role grant deployer --user ann
    """
    kind = pb.USER_KIND_SERVICE if service else pb.USER_KIND_PERSON
    request = pb.CreateUserRequest(name=name, kind=kind, description=description)
    response = ask(lambda client: client.call(client.identity.CreateUser, request))
    if as_json:
        render.print_json(response.user)
        return
    render.say(f"created user {name}, who may nothing yet")
    render.note(f"  ferryman role grant deployer --user {name}")
    render.note(f"  ferryman token create --user {name} --ttl 8h")


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List users, with their roles."""

    async def read(client: Client) -> list[pb.User]:
        pages = every_page(lambda page: client.call(client.identity.ListUsers, page), pb.ListUsersRequest())
        return [item async for response in pages for item in response.users]

    found = ask(read)
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            user.name,
            "service" if user.kind == pb.USER_KIND_SERVICE else "person",
            "disabled" if user.HasField("disabled_at") else "enabled",
            ", ".join(grant.role for grant in user.grants) or "-",
            user.description or "-",
        )
        for user in found
    )
    render.print_table(("NAME", "KIND", "STATE", "ROLES", "DESCRIPTION"), rows, empty="no users")


@app.command()
def show(name: Name, as_json: JsonOption = False) -> None:
    """Show a user and what it was granted."""
    request = pb.GetUserRequest(name=name)
    response = ask(lambda client: client.call(client.identity.GetUser, request))
    if as_json:
        render.print_json(response.user)
        return
    print_user(response.user)


@app.command()
def update(
    name: Name,
    description: Annotated[str, typer.Option("--description", help="What or who it is.")],
) -> None:
    """Change the description."""
    request = pb.UpdateUserRequest(name=name, description=description)
    ask(lambda client: client.call(client.identity.UpdateUser, request))
    render.say(f"updated user {name}")


@app.command()
def disable(name: Name) -> None:
    """Let none of the user's tokens and keys in any more, until it is enabled again."""
    request = pb.UpdateUserRequest(name=name, is_enabled=False)
    ask(lambda client: client.call(client.identity.UpdateUser, request))
    render.say(f"disabled user {name}: no token or access key of {name} is accepted")


@app.command()
def enable(name: Name) -> None:
    """Take the user's tokens and keys again."""
    request = pb.UpdateUserRequest(name=name, is_enabled=True)
    ask(lambda client: client.call(client.identity.UpdateUser, request))
    render.say(f"enabled user {name}")


@app.command()
def delete(name: Name) -> None:
    """Delete a user with all its tokens and keys. The audit log keeps what it did."""
    request = pb.DeleteUserRequest(name=name)
    ask(lambda client: client.call(client.identity.DeleteUser, request))
    render.say(f"deleted user {name}")


def print_user(user: pb.User) -> None:
    """Prints a user and its grants."""
    render.print_details(
        (
            ("name", user.name),
            ("arn", user.arn),
            ("kind", "service" if user.kind == pb.USER_KIND_SERVICE else "person"),
            ("description", user.description),
            ("created", f"{iso_time(user.created_at)} by {user.created_by}"),
            ("disabled", iso_time(user.disabled_at) if user.HasField("disabled_at") else ""),
        )
    )
    rows = ((grant.role, " ".join(grant.resources), grant.created_by) for grant in user.grants)
    render.print_table(("ROLE", "ON", "GRANTED BY"), rows, empty=f"{user.name} was granted nothing")
