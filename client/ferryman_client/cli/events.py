"""`ferryman events`: what happens to deployments and instances, from any point on."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from google.protobuf.descriptor import EnumDescriptor

from ferryman.v1 import events_pb2
from ferryman_client.cli import render
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.words import enum_number, enum_word, iso_time, plain, words_of
from ferryman_client.client import Client

app = typer.Typer(help="Follow what happens: deployments and instances, as it happens.")

_LAST = 20


@app.command()
def events(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")
    ] = False,
    application: Annotated[str, typer.Option("--application", "-a", help="Only those of this one.")] = "",
    group: Annotated[str, typer.Option("--group", "-g", help="Only those of this group of it.")] = "",
    deployment: Annotated[str, typer.Option("--deployment", help="Only those of this one.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Only those of deployment, or of instance.")] = "",
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="Only START, QUEUED, READY, SUCCESS, FAILURE, STOP, ROLLBACK. Repeat."),
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", min=0, help=f"Begin with so many of the past; {_LAST} by default.")
    ] = None,
    after: Annotated[
        int | None,
        typer.Option("--after", min=0, help="Begin behind this position; 0 for all that are kept."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show events, each with its position: `--after POSITION` goes on behind it. With --json one object a line."""
    if after is not None and last is not None:
        fail("give --after or --last, not both", EXIT_USAGE)
    request = events_pb2.WatchEventsRequest(
        after_position=after,
        last=(_LAST if last is None else last) if after is None else 0,
        follow=follow,
        kind=events_pb2.EventKind.ValueType(_number(events_pb2.EventKind.DESCRIPTOR, kind) if kind else 0),
        states=[
            events_pb2.EventState.ValueType(_number(events_pb2.EventState.DESCRIPTOR, word))
            for word in state or ()
        ],
        application_name=application,
        deployment_group_name=group,
        deployment_id=deployment,
    )

    async def show(client: Client) -> int:
        count = 0
        async for one in client.watch_events(request):
            if one.HasField("event"):
                count += 1
                _print(one, as_json=as_json)
        return count

    if not ask(show) and not as_json:
        render.note("no such events; --follow waits for some")


def _print(one: events_pb2.WatchEventsResponse, *, as_json: bool) -> None:
    if as_json:
        shown = plain(one.event)
        shown["envelope"] = json.loads(one.event.envelope) if one.event.envelope else None
        render.print_line({"position": one.position, **shown})
    else:
        render.say(_line(one.position, one.event))


def _line(position: int, event: events_pb2.StateEvent) -> str:
    kind = (enum_word(events_pb2.EventKind.DESCRIPTOR, event.kind) or "-").lower()
    state = enum_word(events_pb2.EventState.DESCRIPTOR, event.state) or "-"
    of_whom = event.deployment_id + (f" {event.instance_id}" if event.instance_id else "")
    where = f"{event.application_name}/{event.deployment_group_name}"
    why = f" {event.error_code}: {render.one_line(event.error_message)}" if event.error_code else ""
    if event.rollback_triggering_deployment_id:
        why += f" (rolls back {event.rollback_triggering_deployment_id})"
    return f"{position:>8} {iso_time(event.at)} {kind:<10} {state:<8} {of_whom} {where}{why}"


def _number(enum: EnumDescriptor, word: str) -> int:
    number = enum_number(enum, word)
    if number is None:
        fail(f"'{word}' is none: choose from {', '.join(words_of(enum))}", EXIT_USAGE)
    return number
