"""Access tokens of users, for `ferryman token`: what is not about joining."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import identity_pb2 as pb
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.session import ask
from ferryman_client.cli.words import iso_time
from ferryman_client.client import Client

Actions = Annotated[
    list[str] | None,
    typer.Option("--action", help="Limit it to an action: 'codedeploy:Get*'. Repeat. Without: no limit."),
]
Resources = Annotated[
    list[str] | None,
    typer.Option("--on", help="Limit it to a resource: 'deploymentgroup:web/*'. Repeat. Without: no limit."),
]


def scope_of(actions: list[str] | None, resources: list[str] | None) -> pb.Scope:
    """Returns what options limit a credential to."""
    return pb.Scope(actions=actions or (), resources=resources or ())


def scope_text(scope: pb.Scope) -> str:
    """Returns a limit in one line; "-" for none."""
    return " ".join([*scope.actions, *(f"on {text}" for text in scope.resources if text != "*")]) or "-"


def last_use(credential: pb.AccessToken | pb.AccessKey) -> str:
    """Returns when and from where it was last used."""
    if not credential.HasField("last_used_at"):
        return "never"
    return f"{iso_time(credential.last_used_at)} from {credential.last_used_from or '?'}"


def create_for(user: str, description: str, ttl_seconds: int, scope: pb.Scope, *, as_json: bool) -> None:
    """Creates a token of a user and prints it: the text alone on standard output."""
    request = pb.CreateAccessTokenRequest(
        user=user, description=description, ttl_seconds=ttl_seconds, scope=scope
    )
    response = ask(lambda client: client.call(client.identity.CreateAccessToken, request))
    if as_json:
        render.print_json(response)
        return
    render.say(response.token)
    render.note(f"lets its holder in as {user} until {iso_time(response.access_token.expires_at)}")


def print_tokens(user: str, *, as_json: bool) -> None:
    """Prints the tokens of a user; of everybody for an empty name."""

    async def read(client: Client) -> list[pb.AccessToken]:
        request = pb.ListAccessTokensRequest(user=user)
        pages = every_page(lambda page: client.call(client.identity.ListAccessTokens, page), request)
        return [item async for response in pages for item in response.access_tokens]

    found = ask(read)
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            token.token_id,
            token.user,
            "session" if token.kind == pb.CREDENTIAL_KIND_SESSION else "token",
            iso_time(token.expires_at) if token.HasField("expires_at") else "never",
            iso_time(token.revoked_at) if token.HasField("revoked_at") else "-",
            last_use(token),
            scope_text(token.scope),
            token.description or "-",
        )
        for token in found
    )
    columns = ("ID", "USER", "KIND", "EXPIRES", "REVOKED", "LAST USED", "LIMITED TO", "DESCRIPTION")
    render.print_table(columns, rows, empty="no access tokens; `ferryman token create --user …`")


def revoke(token_id: str) -> None:
    """Lets nobody in with an access token any more."""
    request = pb.RevokeAccessTokenRequest(token_id=token_id)
    ask(lambda client: client.call(client.identity.RevokeAccessToken, request))
    render.say(f"no access token has the id {token_id} and lets anybody in any more")
