"""`ferryman alarm`: list, test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from ferryman.v1 import alarms_pb2 as pb
from ferryman_client.cli import render
from ferryman_client.cli.session import EXIT_FAILED, JsonOption, ask
from ferryman_client.cli.words import iso_time

app = typer.Typer(no_args_is_help=True, help="Alarms: what stops a deployment, and how it is now.")

_WORDS = {
    pb.ALARM_STATE_UNSPECIFIED: "not read yet",
    pb.ALARM_STATE_OK: "OK",
    pb.ALARM_STATE_ALARM: "ALARM",
    pb.ALARM_STATE_INSUFFICIENT_DATA: "INSUFFICIENT_DATA",
    pb.ALARM_STATE_UNREADABLE: "UNREADABLE",
}
_STYLES = {"OK": "green", "ALARM": "bold red", "UNREADABLE": "yellow", "INSUFFICIENT_DATA": "dim"}


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List the alarms of every source, as they are now."""
    listed = ask(lambda client: client.call(client.alarms.ListAlarms, pb.ListAlarmsRequest()))
    if as_json:
        render.print_json(listed)
        return
    rows = (
        (
            one.alarm.name,
            state(one.alarm),
            iso_time(one.alarm.since) if one.alarm.HasField("since") else "-",
            "yes" if one.is_watched else "-",
            one.alarm.source or "-",
            one.alarm.detail or "-",
        )
        for one in listed.alarms
    )
    columns = ("ALARM", "STATE", "SINCE", "WATCHED", "SOURCE", "DETAIL")
    empty = (
        "no alarms"
        if listed.sources
        else "no alarms; set `alarms.sources` in the coordinator's configuration"
    )
    render.print_table(columns, rows, empty=empty)
    render.warn(
        f"the alarms of {one.name} ({one.place}) cannot be listed: {one.error}"
        for one in listed.sources
        if one.error
    )


@app.command(name="test")
def read_one(
    name: Annotated[str, typer.Argument(help="Name of the alarm, as a group would name it.")],
    as_json: JsonOption = False,
) -> None:
    """Read one alarm now. Exits 1 when it would stop a deployment: it is active, or cannot be read."""
    request = pb.TestAlarmRequest(name=name)
    tested = ask(lambda client: client.call(client.alarms.TestAlarm, request))
    if as_json:
        render.print_json(tested)
    else:
        render.print_details(_details(tested.alarm))
        render.say(
            "a deployment that watches it would stop now"
            if tested.would_stop
            else "a deployment that watches it would go on"
        )
    raise typer.Exit(EXIT_FAILED if tested.would_stop else 0)


def state(alarm: pb.Alarm) -> Text:
    """Returns the state in words, with its colour."""
    word = _WORDS[alarm.state]
    return Text(word, _STYLES.get(word, ""))


def watched_rows(alarms: Sequence[pb.Alarm]) -> list[tuple[str, render.Cell]]:
    """Returns a line for each alarm that a deployment watches."""
    rows: list[tuple[str, render.Cell]] = []
    for number, alarm in enumerate(alarms):
        since = f" since {iso_time(alarm.since)}" if alarm.HasField("since") else ""
        # Of an alarm that is well nobody wants to read more.
        is_worth = alarm.detail and alarm.state != pb.ALARM_STATE_OK
        told = Text.assemble(alarm.name, "  ", state(alarm), since, f": {alarm.detail}" if is_worth else "")
        rows.append(("Alarms" if number == 0 else " ", told))
    return rows


def _details(alarm: pb.Alarm) -> list[tuple[str, render.Cell]]:
    return [
        ("Alarm", alarm.name),
        ("State", state(alarm)),
        ("Since", iso_time(alarm.since) if alarm.HasField("since") else ""),
        ("Source", alarm.source),
        ("Detail", alarm.detail),
    ]
