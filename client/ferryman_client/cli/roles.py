"""`ferryman role`: list, show, grant, revoke, put, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ferryman.v1 import identity_pb2 as pb
from ferryman_client.cli import render
from ferryman_client.cli.policies import policy_of, read_policy
from ferryman_client.cli.session import JsonOption, ask
from ferryman_client.cli.users import print_user

app = typer.Typer(no_args_is_help=True, help="Roles: who may do what, on what.")

Name = Annotated[str, typer.Argument(help="Name of the role.")]
User = Annotated[str, typer.Option("--user", help="Name of the user.")]


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List roles: the ready-made ones, then those that were made here."""
    response = ask(lambda client: client.call(client.identity.ListRoles, pb.ListRolesRequest()))
    if as_json:
        render.print_json(response.roles)
        return
    rows = (
        (role.name, "ready-made" if role.is_ready_made else "made here", role.description or "-")
        for role in response.roles
    )
    render.print_table(("NAME", "KIND", "MAY"), rows, empty="no roles")


@app.command()
def show(name: Name, as_json: JsonOption = False) -> None:
    """Show what a role says, as a policy that `role put --from` reads."""
    request = pb.GetRoleRequest(name=name)
    response = ask(lambda client: client.call(client.identity.GetRole, request))
    if as_json:
        render.print_json(response.role)
        return
    render.note(f"{name}: {response.role.description}")
    render.print_json(policy_of(response.role.statements))


@app.command()
def grant(
    name: Name,
    user: User,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            help="A resource: 'application:web', 'deploymentgroup:web/*', 'instance/web-*', or its ARN. Repeat."
            " Without: everything.",
        ),
    ] = None,
    application: Annotated[
        list[str] | None,
        typer.Option(
            "--application", help="An application, its deployment groups, and all configurations. Repeat."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Grant a role to a user, in place of what the user was granted of it before.

    Example: ferryman role grant ci --user build --application web
    """
    resources = list(on or ())
    for one in application or ():
        resources += [f"application:{one}", f"deploymentgroup:{one}/*", "deploymentconfig:*"]
    request = pb.GrantRoleRequest(user=user, role=name, resources=resources)
    response = ask(lambda client: client.call(client.identity.GrantRole, request))
    if as_json:
        render.print_json(response.user)
        return
    print_user(response.user)


@app.command()
def revoke(name: Name, user: User) -> None:
    """Take a role away from a user. It counts from the next call on."""
    request = pb.RevokeRoleRequest(user=user, role=name)
    ask(lambda client: client.call(client.identity.RevokeRole, request))
    render.say(f"{user} does not have role {name}")


@app.command()
def put(
    name: Name,
    source: Annotated[Path, typer.Option("--from", help="A file with an IAM policy, JSON or YAML.")],
    description: Annotated[str, typer.Option("--description", help="What it is for.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a role, or give one other statements: whoever has it may that from the next call on."""
    request = pb.PutRoleRequest(name=name, description=description, statements=read_policy(source))
    response = ask(lambda client: client.call(client.identity.PutRole, request))
    if as_json:
        render.print_json(response.role)
        return
    render.say(f"role {name} has {len(response.role.statements)} statement(s)")


@app.command()
def delete(name: Name) -> None:
    """Delete a role that nobody was granted."""
    request = pb.DeleteRoleRequest(name=name)
    ask(lambda client: client.call(client.identity.DeleteRole, request))
    render.say(f"there is no role {name} any more")
