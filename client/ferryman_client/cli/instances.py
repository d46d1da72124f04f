"""`ferryman instance`: list, show, check, tag, deregister."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from ferryman.v1 import inventory_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.drift import print_installed
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.selections import tag_filter
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail, parse_tag
from ferryman_client.cli.words import enum_word, iso_time, revision_label, tags_text
from ferryman_client.client import CALL_TIMEOUT_SECONDS, Client

app = typer.Typer(no_args_is_help=True, help="Instances: registered machines with an agent.")

_STAT_SECONDS = 30.0
_DIGESTS_SECONDS = 600.0

InstanceArgument = Annotated[str, typer.Argument(help="Name or id of the instance.")]


@app.command(name="list")
def list_(
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Only with this tag: KEY=VALUE, KEY, =VALUE.")
    ] = None,
    deregistered: Annotated[
        bool, typer.Option("--deregistered", help="Those that were deregistered.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List instances."""

    async def read(client: Client) -> list[inventory_pb2.Instance]:
        request = inventory_pb2.ListInstancesRequest(
            registration_status=(
                inventory_pb2.REGISTRATION_STATUS_DEREGISTERED
                if deregistered
                else inventory_pb2.REGISTRATION_STATUS_REGISTERED
            ),
            tag_filters=[tag_filter(text) for text in tag or ()],
        )
        pages = every_page(lambda page: client.call(client.inventory.ListInstances, page), request)
        return [item async for response in pages for item in response.instances]

    print_instances(
        ask(read), as_json=as_json, empty="no instances; `ferryman token create --join` starts one"
    )


@app.command()
def show(instance: InstanceArgument, as_json: JsonOption = False) -> None:
    """Show one instance: what it is, whether it is connected, its health in each group, and which files changed."""
    request = inventory_pb2.GetInstanceRequest(instance=instance)
    found = ask(lambda client: client.call(client.inventory.GetInstance, request)).instance
    if as_json:
        render.print_json(found)
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
    instance: InstanceArgument,
    add: Annotated[list[str] | None, typer.Option("--add", help="KEY=VALUE. Repeat for more.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="KEY=VALUE. Repeat for more.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Add and remove tags; the next deployment sees them."""
    if not add and not remove:
        fail("give --add or --remove", EXIT_USAGE)
    request = inventory_pb2.TagInstanceRequest(
        instance=instance,
        add=[parse_tag(text) for text in add or ()],
        remove=[parse_tag(text) for text in remove or ()],
    )
    found = ask(lambda client: client.call(client.inventory.TagInstance, request)).instance
    if as_json:
        render.print_json(found)
    else:
        render.say(f"{found.name}: {tags_text(found.tags) or 'no tags'}")


@app.command()
def deregister(
    instance: InstanceArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take an instance out of all future deployments and revoke its certificate. Nothing is removed from it."""
    if not yes and not typer.confirm(f"Deregister {instance}? Its agent will have to enrol anew"):
        fail("nothing was changed", EXIT_USAGE)
    request = inventory_pb2.DeregisterInstanceRequest(instance=instance)
    ask(lambda client: client.call(client.inventory.DeregisterInstance, request))
    render.say(f"instance {instance} deregistered")


def print_instances(found: Sequence[inventory_pb2.Instance], *, as_json: bool, empty: str) -> None:
    """Prints instances as a table or as JSON; `empty` says what it means that there are none."""
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            item.name,
            Text("connected", "green") if item.is_connected else Text("silent", "red"),
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
        ("Tags", tags_text(item.tags)),
        ("Zone", item.zone),
        ("Connected", connected),
        ("Registered", iso_time(item.registered_at)),
        ("Deregistered", iso_time(item.deregistered_at) if item.deregistered_at else ""),
        ("Certificate until", iso_time(item.certificate_expires_at) if item.certificate_expires_at else ""),
        ("Host", " ".join(filter(None, (facts.host_name, *facts.addresses)))),
        ("System", " ".join(filter(None, (facts.os, facts.os_version, facts.architecture)))),
        ("Agent", facts.agent_version),
        ("Disk", disk if facts.disk_total_bytes else ""),
    ]


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
