"""`ferryman search`: whatever has a text in its name."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import resources_pb2
from ferryman_client.cli import render
from ferryman_client.cli.session import JsonOption, ask

app = typer.Typer(help="Find what has a text in its name.")


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="Part of a name or id, in whatever case.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Of each kind at most so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Find applications, groups, configurations, instances, revisions and deployments. Example: ferryman search web"""
    request = resources_pb2.SearchRequest(text=text, limit=limit)
    found = ask(lambda client: client.call(client.resources.Search, request)).results
    if as_json:
        render.print_json(found)
        return
    rows = (
        (one.kind, one.name, one.application_name or "-", one.deployment_group_name or "-") for one in found
    )
    render.print_table(
        ("KIND", "NAME", "APPLICATION", "GROUP"), rows, empty=f"nothing has '{text}' in its name"
    )
