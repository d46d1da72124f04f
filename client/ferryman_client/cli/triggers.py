"""`ferryman trigger`: list, put, remove, test; and messages: waiting, dead, replay."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import events_pb2, inventory_pb2
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.session import (
    EXIT_FAILED,
    EXIT_NOT_FOUND_OR_CONFLICT,
    EXIT_USAGE,
    JsonOption,
    ask,
    fail,
)
from ferryman_client.cli.words import iso_time
from ferryman_client.client import Client

app = typer.Typer(no_args_is_help=True, help="Triggers: who is told, and messages that did not arrive.")

ApplicationOption = Annotated[str, typer.Option("--application", "-a", help="Name of the application.")]
GroupOption = Annotated[str, typer.Option("--group", "-g", help="Name of the deployment group.")]
OnlyApplication = Annotated[str, typer.Option("--application", "-a", help="Only those of this one.")]
OnlyGroup = Annotated[str, typer.Option("--group", "-g", help="Only those of this group of it.")]
TargetOption = Annotated[str, typer.Option("--target", help="Only those for this target.")]

_SHOWN_ERROR = 120


@app.command(name="list")
def list_(application: ApplicationOption, group: GroupOption, as_json: JsonOption = False) -> None:
    """List the triggers of a deployment group."""
    found = _triggers(_group(application, group))
    if as_json:
        render.print_json(found)
        return
    rows = ((one.name, one.target_arn, ", ".join(one.events)) for one in found)
    render.print_table(("TRIGGER", "TARGET", "EVENTS"), rows, empty="no triggers; `ferryman trigger put`")


@app.command()
def put(
    name: Annotated[str, typer.Argument(help="Name of the trigger.")],
    application: ApplicationOption,
    group: GroupOption,
    target: Annotated[str, typer.Option("--target", help="ARN that a sink in the settings stands for.")],
    on: Annotated[
        list[str], typer.Option("--on", help="DeploymentFailure, InstanceFailure and so on. Repeat.")
    ],
) -> None:
    """Add a trigger to a deployment group, or replace the one of that name. Sends a test message."""
    others = [one for one in _triggers(_group(application, group)) if one.name != name]
    fresh = inventory_pb2.Trigger(name=name, target_arn=target, events=on)
    _write(application, group, [*others, fresh])
    render.say(f"trigger {name} of {application}/{group} is set")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of the trigger.")],
    application: ApplicationOption,
    group: GroupOption,
) -> None:
    """Remove a trigger from a deployment group. Messages that are under way still arrive."""
    known = _triggers(_group(application, group))
    others = [one for one in known if one.name != name]
    if len(others) == len(known):
        names = ", ".join(one.name for one in known) or "none"
        fail(f"{application}/{group} has no trigger {name}; there are: {names}", EXIT_NOT_FOUND_OR_CONFLICT)
    _write(application, group, others)
    render.say(f"trigger {name} of {application}/{group} is removed")


@app.command(name="test")
def try_out(
    target: Annotated[str, typer.Argument(help="ARN of a target, or name of a sink.")],
    as_json: JsonOption = False,
) -> None:
    """Send one test message to a target, and say what became of it."""
    request = events_pb2.TestTargetRequest(target=target)
    answer = ask(lambda client: client.call(client.events.TestTarget, request))
    if as_json:
        render.print_json(answer)
    if not answer.is_delivered:
        fail(f"the test message was not delivered: {render.one_line(answer.message)}", EXIT_FAILED)
    if not as_json:
        render.say(f"a test message was delivered to {target}")


@app.command()
def waiting(
    application: OnlyApplication = "",
    group: OnlyGroup = "",
    target: TargetOption = "",
    as_json: JsonOption = False,
) -> None:
    """List messages that are still to be delivered."""
    _show(application, group, target, events_pb2.DELIVERY_STATE_WAITING, "nothing waits", as_json=as_json)


@app.command()
def dead(
    application: OnlyApplication = "",
    group: OnlyGroup = "",
    target: TargetOption = "",
    as_json: JsonOption = False,
) -> None:
    """List messages that were put aside; `ferryman trigger replay` sends them again."""
    _show(
        application, group, target, events_pb2.DELIVERY_STATE_DEAD, "nothing was put aside", as_json=as_json
    )


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids as `trigger dead` shows them.")] = None,
    all_dead: Annotated[
        bool, typer.Option("--all-dead", help="All that were put aside, or those that the rest names.")
    ] = False,
    application: OnlyApplication = "",
    group: OnlyGroup = "",
    target: TargetOption = "",
    as_json: JsonOption = False,
) -> None:
    """Send messages again: by id, or all that were put aside."""
    if bool(ids) == all_dead:
        fail("say which messages: their ids, or --all-dead", EXIT_USAGE)
    if ids and (application or group or target):
        fail("--application, --group and --target go with --all-dead, not with ids", EXIT_USAGE)
    request = events_pb2.ReplayDeliveriesRequest(
        delivery_ids=ids or (),
        all_dead=all_dead,
        application_name=application,
        deployment_group_name=group,
        target=target,
    )
    answer = ask(lambda client: client.call(client.events.ReplayDeliveries, request))
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"{answer.replayed} message(s) will be sent again")


def _group(application: str, group: str) -> inventory_pb2.DeploymentGroup:
    request = inventory_pb2.GetDeploymentGroupRequest(application_name=application, name=group)
    return ask(lambda client: client.call(client.inventory.GetDeploymentGroup, request)).deployment_group


def _triggers(group: inventory_pb2.DeploymentGroup) -> list[inventory_pb2.Trigger]:
    return list(group.options.triggers.triggers)


def _write(application: str, group: str, triggers: list[inventory_pb2.Trigger]) -> None:
    request = inventory_pb2.UpdateDeploymentGroupRequest(
        application_name=application,
        name=group,
        options=inventory_pb2.GroupOptions(triggers=inventory_pb2.Triggers(triggers=triggers)),
    )
    answer = ask(lambda client: client.call(client.inventory.UpdateDeploymentGroup, request))
    render.warn(answer.warnings)


def _show(
    application: str,
    group: str,
    target: str,
    state: events_pb2.DeliveryState.ValueType,
    empty: str,
    *,
    as_json: bool,
) -> None:
    request = events_pb2.ListDeliveriesRequest(
        states=[state], application_name=application, deployment_group_name=group, target=target
    )

    async def read(client: Client) -> list[events_pb2.Delivery]:
        pages = every_page(lambda page: client.call(client.events.ListDeliveries, page), request)
        return [item async for page in pages for item in page.deliveries]

    found = ask(read)
    if as_json:
        render.print_json(found)
        return
    columns = ("ID", "DEPLOYMENT", "EVENT", "BY", "TARGET", "ATTEMPTS", "SINCE", "LAST ERROR")
    rows = (
        (
            one.delivery_id,
            one.deployment_id,
            one.event_type,
            one.source_name,
            one.target,
            str(one.attempts),
            iso_time(one.created_at),
            render.one_line(one.last_error)[:_SHOWN_ERROR] or "-",
        )
        for one in found
    )
    render.print_table(columns, rows, empty=empty)
