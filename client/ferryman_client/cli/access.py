"""`ferryman access`: may somebody do something, and why?"""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import identity_pb2 as pb
from ferryman_client.cli import render
from ferryman_client.cli.session import EXIT_DENIED, JsonOption, ask

app = typer.Typer(no_args_is_help=True, help="Rights: ask what a call would be told, without making it.")


@app.callback()
def access() -> None:
    """Holds the commands together."""


@app.command()
def check(
    user: Annotated[str, typer.Argument(help="Name of the user; '-' for you.")],
    action: Annotated[str, typer.Argument(help="Such as codedeploy:CreateDeployment.")],
    resource: Annotated[
        str, typer.Argument(help="Such as deploymentgroup:web/prod, or its ARN; '*' for everything.")
    ] = "*",
    source: Annotated[str, typer.Option("--from", help="As if the call came from this address.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Say whether a user may do something, and which role decides that. Exit code 0: yes; 4: no.

    Example: ferryman access check ann codedeploy:StopDeployment deploymentgroup:web/prod
    """
    request = pb.CheckAccessRequest(
        user="" if user == "-" else user, action=action, resource=resource, source_address=source
    )
    answer = ask(lambda client: client.call(client.identity.CheckAccess, request))
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"{'yes' if answer.is_allowed else 'no'}: {answer.explanation}")
    if not answer.is_allowed:
        raise typer.Exit(EXIT_DENIED)
