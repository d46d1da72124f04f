"""`ferryman whoami`: who we are to the coordinator, and what we may."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from ferryman.v1 import identity_pb2 as pb
from ferryman_client.cli import render
from ferryman_client.cli.access_tokens import scope_text
from ferryman_client.cli.session import JsonOption, ask
from ferryman_client.cli.words import iso_time

app = typer.Typer(help="Who you are to the coordinator, and what you may.")

_SHOWN = 6


@app.callback(invoke_without_command=True)
def whoami(as_json: JsonOption = False) -> None:
    """Show the user behind your token, and everything that its roles come to."""
    response = ask(lambda client: client.call(client.identity.WhoAmI, pb.WhoAmIRequest()))
    if as_json:
        render.print_json(response)
        return
    render.print_details(
        (
            ("user", response.user.name),
            ("arn", response.user.arn),
            ("credential", response.credential_id),
            ("good until", iso_time(response.expires_at) if response.HasField("expires_at") else "revoked"),
            ("limited to", "" if not response.HasField("scope") else scope_text(response.scope)),
        )
    )
    rows = (
        (
            "deny" if one.effect == pb.EFFECT_DENY else "allow",
            _shortened(one.actions),
            _shortened(one.within or one.resources),
            "yes" if one.HasField("conditions") else "-",
            one.origin,
        )
        for one in response.statements
    )
    columns = ("EFFECT", "ACTIONS", "ON", "CONDITIONS", "BECAUSE OF")
    render.print_table(columns, rows, empty="you were granted no role: ask an administrator for one")


def _shortened(texts: Iterable[str]) -> str:
    listed = list(texts)
    more = f" … and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return " ".join(listed[:_SHOWN]) + more
