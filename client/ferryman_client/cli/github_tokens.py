"""`ferryman github-token`: add, list, remove what the coordinator reads private repositories with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ferryman.v1 import tokens_pb2
from ferryman_client.cli import render
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.words import iso_time

app = typer.Typer(no_args_is_help=True, help="Tokens for GitHub: what private repositories are read with.")

_LIMIT = 4096


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What revisions call it.")],
    token_file: Annotated[
        Path, typer.Option("--token-file", help="A file that holds the token and nothing else; - for input.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Store a token at the coordinator, or replace it. It needs to read contents, and nothing more."""
    request = tokens_pb2.PutGitHubTokenRequest(name=name, token=_token(token_file))
    stored = ask(lambda client: client.call(client.tokens.PutGitHubToken, request)).git_hub_token
    if as_json:
        render.print_json(stored)
        return
    render.say(f"token {stored.name} stored; it is never shown again")
    render.note(
        f"next: ferryman revision register --application A --github-location OWNER/REPO@COMMIT --token-name {name}"
    )


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List the names of the stored tokens."""
    request = tokens_pb2.ListGitHubTokensRequest()
    found = ask(lambda client: client.call(client.tokens.ListGitHubTokens, request)).git_hub_tokens
    if as_json:
        render.print_json(found)
        return
    rows = ((item.name, iso_time(item.stored_at)) for item in found)
    render.print_table(("NAME", "STORED"), rows, empty="no tokens; `ferryman github-token add`")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="Name as `github-token list` shows it.")]) -> None:
    """Forget a token. Revisions that name it cannot be deployed until there is one of that name again."""
    request = tokens_pb2.RemoveGitHubTokenRequest(name=name)
    ask(lambda client: client.call(client.tokens.RemoveGitHubToken, request))
    # Removing is idempotent, so that a name that never was succeeds as well.
    render.say(f"there is no token {name} any more")


def _token(file: Path) -> str:
    """Never from the command line: others can read that."""
    try:
        if str(file) == "-":
            text = sys.stdin.read(_LIMIT).strip()
        else:
            with file.open() as content:
                text = content.read(_LIMIT).strip()
    except (OSError, UnicodeDecodeError) as problem:
        fail(f"cannot read {file}: {getattr(problem, 'strerror', None) or 'it is no text'}", EXIT_USAGE)
    if not text:
        fail(f"{file} is empty: it must hold the token", EXIT_USAGE)
    return text
