"""`ferryman token`: create, list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import tokens_pb2, types_pb2
from ferryman_client.cli import access_tokens, render
from ferryman_client.cli.configs import parse_duration
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail, parse_tag
from ferryman_client.cli.words import iso_time, tags_text
from ferryman_client.client import Client

app = typer.Typer(no_args_is_help=True, help="Tokens: who may enrol an instance, and who is let in.")


@app.command()
def create(
    join: Annotated[bool, typer.Option("--join", help="A token that enrols instances.")] = False,
    user: Annotated[str, typer.Option("--user", help="A token that lets its holder in as this user.")] = "",
    description: Annotated[str, typer.Option("--description", help="With --user: what it is for.")] = "",
    action: access_tokens.Actions = None,
    on: access_tokens.Resources = None,
    uses: Annotated[
        int,
        typer.Option("--uses", min=0, max=2**32 - 1, help="How many instances; 0 for as many as come."),
    ] = 1,
    ttl: Annotated[str, typer.Option("--ttl", help="How long it can be used: 30m, 1h, 7d.")] = "1h",
    instance_name: Annotated[str, typer.Option("--instance-name", help="Name of the one instance.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="KEY=VALUE for each instance. Repeat.")
    ] = None,
    allow_tag: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-tag",
            help="A tag that the machine may choose: KEY=VALUE with * for any text, or KEY for any value. Repeat."
            " Without: as the coordinator is configured.",
        ),
    ] = None,
    preset_tags: Annotated[
        bool, typer.Option("--preset-tags", help="The machine chooses no tags at all.")
    ] = False,
    allow_name: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-name",
            help="A name that the machine may choose, with * for any text: 'web-*'; 'i-*' for cloud instances. Repeat."
            " Without: any.",
        ),
    ] = None,
    replace_identity: Annotated[
        bool,
        typer.Option(
            "--replace-identity",
            help="Good also when --instance-name has enrolled already: its former certificate ends then.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Create a token. It is shown once, now."""
    if join is bool(user):
        fail("say what the token is for: --join, or --user NAME", EXIT_USAGE)
    seconds = parse_duration(ttl)
    if not seconds:
        fail(f"a token with --ttl {ttl} could never be used: give a duration such as 30m", EXIT_USAGE)
    if user:
        scope = access_tokens.scope_of(action, on)
        access_tokens.create_for(user, description, seconds, scope, as_json=as_json)
        return
    if preset_tags and allow_tag:
        fail("--preset-tags allows no tag: leave --allow-tag out", EXIT_USAGE)
    rule = tokens_pb2.TagRule(patterns=[tag_pattern(text) for text in allow_tag or ()])
    request = tokens_pb2.CreateJoinTokenRequest(
        allowed_tags=rule if preset_tags or allow_tag else None,
        allowed_names=allow_name or (),
        replaces_identity=replace_identity,
        uses=uses,
        unlimited_uses=uses == 0,
        ttl_seconds=seconds,
        instance_name=instance_name,
        tags=[parse_tag(text) for text in tag or ()],
    )
    response = ask(lambda client: client.call(client.tokens.CreateJoinToken, request))
    if as_json:
        render.print_json(response)
        return
    render.say(response.token)
    often = "as often as wanted" if not response.join_token.uses else f"{response.join_token.uses} time(s)"
    render.note(f"usable {often} until {iso_time(response.join_token.expires_at)}; on the instance:")
    render.note("  ferryman-agent enroll --coordinator HOST:7420 --token …")


@app.command(name="list")
def list_(
    user: Annotated[str, typer.Option("--user", help="Access tokens of this user instead.")] = "",
    access: Annotated[bool, typer.Option("--access", help="Access tokens of everybody instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List join tokens, or access tokens; their text is not kept."""
    if user or access:
        access_tokens.print_tokens(user, as_json=as_json)
        return

    async def read(client: Client) -> list[tokens_pb2.JoinToken]:
        request = tokens_pb2.ListJoinTokensRequest()
        pages = every_page(lambda page: client.call(client.tokens.ListJoinTokens, page), request)
        return [item async for response in pages for item in response.join_tokens]

    found = ask(read)
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            item.token_id,
            f"{item.uses_left} of {item.uses}" if item.uses else "unlimited",
            iso_time(item.expires_at),
            iso_time(item.revoked_at) if item.HasField("revoked_at") else "-",
            item.instance_name or "-",
            tags_text(item.tags) or "-",
            _allowed(item),
        )
        for item in found
    )
    columns = ("ID", "USES LEFT", "EXPIRES", "REVOKED", "INSTANCE", "TAGS", "ALLOWS")
    render.print_table(columns, rows, empty="no join tokens; `ferryman token create --join`")


def tag_pattern(text: str) -> types_pb2.Tag:
    """Returns what `KEY=VALUE` allows, or `KEY`: any value of it. Ends the process when there is no key."""
    pattern = parse_tag(text)
    if "=" not in text:
        pattern.value = "*"
    return pattern


def _allowed(token: tokens_pb2.JoinToken) -> str:
    tags = ", ".join(
        "any tag" if (tag.key, tag.value) == ("*", "*") else f"{tag.key}={tag.value}"
        for tag in token.allowed_tags
    )
    names = ", ".join("any name" if name == "*" else name for name in token.allowed_names)
    if token.instance_name:
        names = "replaces its identity" if token.replaces_identity else ""
    return "; ".join(filter(None, (names, tags or "no tags")))


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="Id as `token list` shows it.")],
    access: Annotated[bool, typer.Option("--access", help="It is an access token.")] = False,
) -> None:
    """Make a token unusable. Instances that enrolled with a join token stay."""
    if access:
        access_tokens.revoke(token_id)
        return
    request = tokens_pb2.RevokeJoinTokenRequest(token_id=token_id)
    ask(lambda client: client.call(client.tokens.RevokeJoinToken, request))
    # Revoking is idempotent, so that an id that never was succeeds as well.
    render.say(f"no join token has the id {token_id} and can be used any more")
