"""`ferryman access-key`: create, list, activate, deactivate, delete; and sessions."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import identity_pb2 as pb
from ferryman_client.cli import render
from ferryman_client.cli.access_tokens import Actions, Resources, last_use, scope_of, scope_text
from ferryman_client.cli.configs import parse_duration
from ferryman_client.cli.session import JsonOption, ask
from ferryman_client.cli.words import iso_time
from ferryman_client.client import Client

app = typer.Typer(
    no_args_is_help=True, help="Access keys: what tools that speak CodeDeploy's API sign requests with."
)

KeyId = Annotated[str, typer.Argument(help="Id as `access-key list` shows it.")]
User = Annotated[str, typer.Option("--user", help="Name of the user; without: you.")]


@app.command()
def create(
    user: User = "", action: Actions = None, on: Resources = None, as_json: JsonOption = False
) -> None:
    """Create an access key. Its secret is shown once, now."""

    async def make(client: Client) -> pb.CreateAccessKeyResponse:
        request = pb.CreateAccessKeyRequest(user=user or await own_name(client), scope=scope_of(action, on))
        return await client.call(client.identity.CreateAccessKey, request)

    made = ask(make)
    if as_json:
        render.print_json(made)
        return
    render.print_details(
        (("access key id", made.access_key_id), ("secret access key", made.secret_access_key))
    )
    render.note("the secret is not shown again")


@app.command()
def session(
    ttl: Annotated[str, typer.Option("--ttl", help="How long: 15m, 1h; at most 36h.")] = "1h",
    as_json: JsonOption = False,
) -> None:
    """Create temporary credentials of your own: an access key with a session token, which is a bearer token as well."""
    request = pb.CreateSessionRequest(ttl_seconds=parse_duration(ttl))
    made = ask(lambda client: client.call(client.identity.CreateSession, request))
    if as_json:
        render.print_json(made)
        return
    render.print_details(
        (
            ("access key id", made.access_key_id),
            ("secret access key", made.secret_access_key),
            ("session token", made.session_token),
            ("until", iso_time(made.expires_at)),
        )
    )


@app.command(name="list")
def list_(user: User = "", as_json: JsonOption = False) -> None:
    """List a user's access keys. Secrets are not shown again."""

    async def read(client: Client) -> pb.ListAccessKeysResponse:
        request = pb.ListAccessKeysRequest(user=user or await own_name(client))
        return await client.call(client.identity.ListAccessKeys, request)

    found = ask(read).access_keys
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            key.access_key_id,
            "active" if key.status == pb.KEY_STATUS_ACTIVE else "inactive",
            iso_time(key.created_at),
            last_use(key),
            scope_text(key.scope),
        )
        for key in found
    )
    columns = ("ID", "STATE", "CREATED", "LAST USED", "LIMITED TO")
    render.print_table(columns, rows, empty="no access keys; `ferryman access-key create`")


@app.command()
def deactivate(key_id: KeyId) -> None:
    """Accept a key no more, until it is activated again."""
    _set(key_id, pb.KEY_STATUS_INACTIVE)
    render.say(f"access key {key_id} is inactive")


@app.command()
def activate(key_id: KeyId) -> None:
    """Accept a key again."""
    _set(key_id, pb.KEY_STATUS_ACTIVE)
    render.say(f"access key {key_id} is active")


@app.command()
def delete(key_id: KeyId) -> None:
    """Delete a key for good."""
    request = pb.DeleteAccessKeyRequest(access_key_id=key_id)
    ask(lambda client: client.call(client.identity.DeleteAccessKey, request))
    render.say(f"there is no access key {key_id} any more")


async def own_name(client: Client) -> str:
    """Returns the name of the user whose token the profile has."""
    return (await client.call(client.identity.WhoAmI, pb.WhoAmIRequest())).user.name


def _set(key_id: str, status: pb.KeyStatus.ValueType) -> None:
    request = pb.UpdateAccessKeyRequest(access_key_id=key_id, status=status)
    ask(lambda client: client.call(client.identity.UpdateAccessKey, request))
