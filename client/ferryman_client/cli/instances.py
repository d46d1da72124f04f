"""`ferryman instance`: list, show, history, check, tag. `registration.py` has register and deregister."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from ferryman.v1 import instances_pb2, inventory_pb2, types_pb2
from ferryman_client.cli import registration, render
from ferryman_client.cli.drift import print_installed
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.selections import tag_filter
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail, parse_tag
from ferryman_client.cli.words import (
    deployment_status,
    enum_word,
    iso_time,
    plain,
    revision_label,
    tags_text,
    target_status,
)
from ferryman_client.client import CALL_TIMEOUT_SECONDS, Client

app = typer.Typer(no_args_is_help=True, help="Instances: registered machines with an agent.")

_STAT_SECONDS = 30.0
_DIGESTS_SECONDS = 600.0
_SHOWN_DEPLOYMENTS = 10
_CLOCK_SECONDS = 5

app.command()(registration.register)
app.command()(registration.deregister)

InstanceArgument = Annotated[str, typer.Argument(help="Name or id of the instance.")]


@app.command(name="list")
def list_(
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Only with this tag: KEY=VALUE, KEY, =VALUE.")
    ] = None,
    deregistered: Annotated[
        bool, typer.Option("--deregistered", help="Those that were deregistered.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Those that were deregistered, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List instances."""
    if every:
        status = inventory_pb2.REGISTRATION_STATUS_UNSPECIFIED
    elif deregistered:
        status = inventory_pb2.REGISTRATION_STATUS_DEREGISTERED
    else:
        status = inventory_pb2.REGISTRATION_STATUS_REGISTERED

    async def read(client: Client) -> list[inventory_pb2.Instance]:
        request = inventory_pb2.ListInstancesRequest(
            registration_status=status,
            tag_filters=[tag_filter(text) for text in tag or ()],
        )
        pages = every_page(lambda page: client.call(client.inventory.ListInstances, page), request)
        return [item async for response in pages for item in response.instances]

    print_instances(
        ask(read), as_json=as_json, empty="no instances; `ferryman token create --join` starts one"
    )


@app.command()
def show(instance: InstanceArgument, as_json: JsonOption = False) -> None:
    """Show one instance: what it is, its health in each group, which files changed, and its last deployments."""

    async def read(client: Client) -> tuple[inventory_pb2.Instance, list[instances_pb2.InstanceDeployment]]:
        request = inventory_pb2.GetInstanceRequest(instance=instance)
        found = (await client.call(client.inventory.GetInstance, request)).instance
        return found, await _history(client, found.instance_id, _SHOWN_DEPLOYMENTS)

    found, deployments = ask(read)
    if as_json:
        render.print_json(plain(found) | {"recentDeployments": [plain(one) for one in deployments]})
        return
    render.print_details(_details(found))
    if found.health:
        render.say("")
        render.print_table(
            ("APPLICATION", "GROUP", "HEALTH", "REVISION", "INSTALLED", "LAST DEPLOYMENT"),
            (_health_row(health) for health in found.health),
            empty="",
        )
        render.say("")
        print_installed(found.health)
    if deployments:
        render.say("")
        _print_history(deployments)


@app.command()
def history(
    instance: InstanceArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List what was deployed to an instance, newest first."""
    found = ask(lambda client: _history(client, instance, limit))
    if as_json:
        render.print_json(found)
    else:
        _print_history(found)


@app.command()
def check(
    instance: InstanceArgument,
    group: Annotated[str, typer.Option("--group", "-g", help="Only what this group has installed.")] = "",
    application: Annotated[str, typer.Option("--application", "-a", help="The group's application.")] = "",
    digests: Annotated[
        bool, typer.Option("--digests", help="Read every file, not only what looks touched.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=1, max=3600, help="Wait so many seconds for the answer.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Have an instance's agent look now at what is installed there, and show which files have changed."""
    wait_seconds = math.ceil(
        timeout if timeout is not None else _DIGESTS_SECONDS if digests else _STAT_SECONDS
    )
    request = inventory_pb2.CheckInstanceRequest(
        instance=instance,
        application_name=application,
        deployment_group_name=group,
        with_digests=digests,
        wait_seconds=wait_seconds,
    )
    found = ask(
        lambda client: client.call(
            client.inventory.CheckInstance, request, timeout=wait_seconds + CALL_TIMEOUT_SECONDS
        )
    ).instance
    if as_json:
        render.print_json(found)
        return
    wanted = [one for one in found.health if _is_meant(one, application, group)]
    if not wanted:
        render.note(f"nothing was ever deployed to {found.name}")
    print_installed(wanted)


@app.command(name="tag")
def tag_(
    instances: Annotated[list[str], typer.Argument(help="Names or ids of instances.")],
    add: Annotated[list[str] | None, typer.Option("--add", help="KEY=VALUE. Repeat for more.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="KEY=VALUE. Repeat for more.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Add and remove tags, of all these instances or of none; the next deployment sees them."""
    if not add and not remove:
        fail("give --add or --remove", EXIT_USAGE)
    request = instances_pb2.TagInstancesRequest(
        instances=instances,
        add=[parse_tag(text) for text in add or ()],
        remove=[parse_tag(text) for text in remove or ()],
    )
    tagged = ask(lambda client: client.call(client.instances.TagInstances, request)).instances
    if as_json:
        render.print_json(tagged[0] if len(instances) == 1 else list(tagged))
        return
    for found in tagged:
        render.say(f"{found.name}: {tags_text(found.tags) or 'no tags'}")


def print_instances(found: Sequence[inventory_pb2.Instance], *, as_json: bool, empty: str) -> None:
    """Prints instances as a table or as JSON; `empty` says what it means that there are none."""
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            item.name,
            _agent(item),
            tags_text(item.tags),
            item.zone or "-",
            item.facts.agent_version or "-",
            iso_time(item.last_seen_at) if item.last_seen_at else "never",
        )
        for item in found
    )
    render.print_table(("NAME", "AGENT", "TAGS", "ZONE", "VERSION", "LAST SEEN"), rows, empty=empty)


def _details(item: inventory_pb2.Instance) -> list[tuple[str, render.Cell]]:
    facts = item.facts
    kind = enum_word(item.DESCRIPTOR.fields_by_name["kind"].enum_type, item.kind)
    seen = f", last seen {iso_time(item.last_seen_at)}" if item.last_seen_at else ""
    connected = Text.assemble(("yes", "green") if item.is_connected else ("no", "red"), seen)
    disk = f"{facts.disk_free_bytes / 2**30:.1f} of {facts.disk_total_bytes / 2**30:.1f} GiB free"
    return [
        ("Name", item.name),
        ("Id", item.instance_id),
        ("ARN", item.arn),
        ("Kind", kind or ""),
        ("IAM user", item.iam_user_arn),
        ("IAM session", item.iam_session_arn),
        ("Tags", tags_text(item.tags)),
        ("Zone", item.zone),
        ("Autoscaling group", item.auto_scaling_group),
        ("Lifecycle state", item.lifecycle_state if _has_lifecycle(item) else ""),
        ("Connected", connected),
        ("Registered", iso_time(item.registered_at)),
        ("Enrolled", iso_time(item.enrolled_at) if item.enrolled_at else "not yet"),
        ("Deregistered", iso_time(item.deregistered_at) if item.deregistered_at else ""),
        ("Certificate until", iso_time(item.certificate_expires_at) if item.certificate_expires_at else ""),
        ("Identity trouble", _trouble(item)),
        ("Host", " ".join(filter(None, (facts.host_name, *facts.addresses)))),
        ("System", " ".join(filter(None, (facts.os, facts.os_version, facts.architecture)))),
        ("Agent", facts.agent_version),
        ("Clock", _clock(facts.clock_skew_ms)),
        ("Disk", disk if facts.disk_total_bytes else ""),
    ]


def _clock(skew_ms: int) -> Text:
    """By how much the machine's clock is off, once that matters."""
    seconds = abs(skew_ms) // 1000
    if seconds < _CLOCK_SECONDS:
        return Text("")
    return Text(f"{seconds} s {'ahead of' if skew_ms > 0 else 'behind'} the coordinator's", "yellow")


def _agent(item: inventory_pb2.Instance) -> Text:
    if item.is_connected:
        return Text("connected", "green")
    if item.deregistered_at:
        return Text("deregistered", "dim")
    return Text("silent", "red") if item.enrolled_at else Text("not enrolled", "yellow")


def _has_lifecycle(item: inventory_pb2.Instance) -> bool:
    return bool(item.auto_scaling_group) or item.lifecycle_state not in ("", "InService")


def _trouble(item: inventory_pb2.Instance) -> Text | str:
    if not item.HasField("identity_trouble"):
        return ""
    trouble = item.identity_trouble
    who = f", {trouble.host_name}" if trouble.host_name else ""
    return Text(f"{trouble.reason} at {iso_time(trouble.at)}{who}: {trouble.message}", "red")


async def _history(client: Client, instance: str, limit: int) -> list[instances_pb2.InstanceDeployment]:
    request = instances_pb2.ListInstanceDeploymentsRequest(instance=instance)
    found: list[instances_pb2.InstanceDeployment] = []
    pages = every_page(lambda page: client.call(client.instances.ListInstanceDeployments, page), request)
    async for response in pages:
        found += response.deployments
        if len(found) >= limit:
            break
    return found[:limit]


def _print_history(found: Sequence[instances_pb2.InstanceDeployment]) -> None:
    rows = (
        (
            item.deployment_id,
            item.application_name,
            item.deployment_group_name,
            render.status(target_status(item.status)),
            render.status(deployment_status(item.deployment_status)),
            iso_time(item.created_at),
            iso_time(item.ended_at) if item.ended_at else "-",
        )
        for item in found
    )
    columns = ("DEPLOYMENT", "APPLICATION", "GROUP", "HERE", "IN ALL", "CREATED", "ENDED HERE")
    render.print_table(columns, rows, empty="nothing was ever deployed to it")


def _is_meant(one: inventory_pb2.InstanceDeploymentHealth, application: str, group: str) -> bool:
    return application in ("", one.application_name) and group in ("", one.deployment_group_name)


def _health_row(health: inventory_pb2.InstanceDeploymentHealth) -> tuple[str, ...]:
    return (
        health.application_name,
        health.deployment_group_name,
        enum_word(types_pb2.InstanceHealth.DESCRIPTOR, health.instance_health) or "-",
        enum_word(types_pb2.RevisionHealth.DESCRIPTOR, health.revision_health) or "-",
        revision_label(health.installed_revision),
        health.last_deployment_id or "-",
    )
