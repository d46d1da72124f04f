"""`ferryman rule`: create, list, show, update, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ferryman.v1 import events_pb2
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.words import enum_number, enum_word, iso_time, words_of
from ferryman_client.client import Client

app = typer.Typer(
    no_args_is_help=True, help="Notification rules: who is told of the deployments of an application."
)

_PREFIX = "codedeploy-application-"

NameArgument = Annotated[str, typer.Argument(help="Name, id or ARN of the rule.")]
EventOption = Annotated[
    list[str] | None,
    typer.Option(
        "--event", help="deployment-failed, instance-started and so on, or an event type id. Repeat."
    ),
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option("--target", help="Name of a sink in the coordinator's settings, or an ARN. Repeat."),
]
GroupOption = Annotated[
    list[str] | None, typer.Option("--group", "-g", help="Only this group of the application. Repeat.")
]
DetailOption = Annotated[
    str | None, typer.Option("--detail", help="BASIC: the event. FULL: what a trigger would say, too.")
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new rule.")],
    application: Annotated[
        str, typer.Option("--application", "-a", help="Of which application; without it, of all.")
    ] = "",
    event: EventOption = None,
    target: TargetOption = None,
    group: GroupOption = None,
    detail: DetailOption = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Switched off for now.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create a notification rule."""
    request = events_pb2.CreateNotificationRuleRequest(
        name=name,
        application_name=application,
        deployment_group_names=group or (),
        event_type_ids=event or (),
        targets=_targets(target),
        status=events_pb2.RULE_STATUS_DISABLED if disabled else events_pb2.RULE_STATUS_ENABLED,
        detail_type=_detail(detail),
    )
    answer = ask(lambda client: client.call(client.events.CreateNotificationRule, request))
    render.warn(answer.warnings)
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"notification rule {name} created: {answer.rule.arn}")


@app.command(name="list")
def list_(
    application: Annotated[str, typer.Option("--application", "-a", help="Only those of this one.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List notification rules."""

    async def read(client: Client) -> list[events_pb2.NotificationRule]:
        request = events_pb2.ListNotificationRulesRequest(application_name=application)
        pages = every_page(lambda page: client.call(client.events.ListNotificationRules, page), request)
        return [item async for page in pages for item in page.rules]

    found = ask(read)
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            one.name,
            one.application_name or "(all)",
            _status(one),
            ", ".join(event.removeprefix(_PREFIX) for event in one.event_type_ids),
            ", ".join(target.address for target in one.targets),
        )
        for one in found
    )
    columns = ("RULE", "APPLICATION", "STATUS", "EVENTS", "TARGETS")
    render.print_table(columns, rows, empty="no notification rules; `ferryman rule create`")


@app.command()
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show one notification rule."""
    request = events_pb2.GetNotificationRuleRequest(rule=name)
    found = ask(lambda client: client.call(client.events.GetNotificationRule, request)).rule
    if as_json:
        render.print_json(found)
        return
    render.print_details(
        (
            ("name", found.name),
            ("arn", found.arn),
            ("application", found.application_name or "(all)"),
            ("groups", ", ".join(found.deployment_group_names) or "(all)"),
            ("events", ", ".join(found.event_type_ids)),
            ("targets", ", ".join(target.address for target in found.targets)),
            ("status", _status(found)),
            ("detail", enum_word(events_pb2.RuleDetailType.DESCRIPTOR, found.detail_type) or "-"),
            ("created", iso_time(found.created_at)),
            ("changed", iso_time(found.updated_at)),
        )
    )


@app.command()
def update(
    name: NameArgument,
    new_name: Annotated[str | None, typer.Option("--new-name", help="Rename it.")] = None,
    event: EventOption = None,
    target: TargetOption = None,
    group: GroupOption = None,
    every_group: Annotated[bool, typer.Option("--every-group", help="Of all groups again.")] = False,
    detail: DetailOption = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Switch it on, or off without deleting it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change a notification rule; what is not named stays as it is."""
    if group and every_group:
        fail("give --group or --every-group, not both", EXIT_USAGE)
    statuses = {None: 0, True: events_pb2.RULE_STATUS_ENABLED, False: events_pb2.RULE_STATUS_DISABLED}
    request = events_pb2.UpdateNotificationRuleRequest(
        rule=name,
        new_name=new_name,
        deployment_groups=events_pb2.RuleGroups(names=group or ()) if group or every_group else None,
        event_type_ids=event or (),
        targets=_targets(target),
        status=events_pb2.RuleStatus.ValueType(statuses[enable]),
        detail_type=_detail(detail),
    )
    answer = ask(lambda client: client.call(client.events.UpdateNotificationRule, request))
    render.warn(answer.warnings)
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"notification rule {answer.rule.name} changed")


@app.command()
def delete(name: NameArgument) -> None:
    """Delete a notification rule. Messages that are under way still arrive."""
    request = events_pb2.DeleteNotificationRuleRequest(rule=name)
    ask(lambda client: client.call(client.events.DeleteNotificationRule, request))
    render.say(f"there is no notification rule {name} any more")


def _targets(addresses: Sequence[str] | None) -> list[events_pb2.RuleTarget]:
    return [events_pb2.RuleTarget(address=address) for address in addresses or ()]


def _status(rule: events_pb2.NotificationRule) -> str:
    return enum_word(events_pb2.RuleStatus.DESCRIPTOR, rule.status) or "-"


def _detail(word: str | None) -> events_pb2.RuleDetailType.ValueType:
    descriptor = events_pb2.RuleDetailType.DESCRIPTOR
    number = 0 if word is None else enum_number(descriptor, word)
    if number is None:
        fail(f"'{word}' is no detail type: choose from {', '.join(words_of(descriptor))}", EXIT_USAGE)
    return events_pb2.RuleDetailType.ValueType(number)
