"""`ferryman deploy`: create a deployment and follow it, or say what it would do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ferryman.v1 import deployments_pb2, inventory_pb2, types_pb2
from ferryman_client.bundle import Bundle
from ferryman_client.cli import render
from ferryman_client.cli.alarm_options import AlarmOption, AlarmWish, IgnoreOption, SwitchOption
from ferryman_client.cli.creation import create
from ferryman_client.cli.places import named_location
from ferryman_client.cli.push import packed
from ferryman_client.cli.selections import auto_rollback
from ferryman_client.cli.session import EXIT_FAILED, EXIT_USAGE, JsonOption, ask, fail, guarded
from ferryman_client.cli.words import enum_number, enum_word, revision_label
from ferryman_client.client import Client
from ferryman_client.errors import NotFoundError

app = typer.Typer(help="Deploy a revision to a deployment group.")


@app.command()
def deploy(
    application: Annotated[str, typer.Option("--application", "-a", help="Name of the application.")],
    group: Annotated[str, typer.Option("--group", "-g", help="Name of the deployment group.")],
    revision: Annotated[
        str,
        typer.Option("--revision", "-r", help="Digest, a beginning of it, URL, s3://… or owner/repo@commit."),
    ] = "",
    source: Annotated[
        Path | None, typer.Option("--source", help="Push this directory or archive first.")
    ] = None,
    config: Annotated[str, typer.Option("--config", help="Configuration instead of the group's.")] = "",
    description: Annotated[str, typer.Option("--description")] = "",
    file_exists_behavior: Annotated[
        str, typer.Option("--file-exists-behavior", help="DISALLOW, OVERWRITE or RETAIN.")
    ] = "DISALLOW",
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Take over files that other deployment groups have installed at the same paths; a rollback gives"
            " them back.",
        ),
    ] = False,
    ignore_application_stop_failures: Annotated[
        bool, typer.Option("--ignore-application-stop-failures", help="Go on when ApplicationStop fails.")
    ] = False,
    update_outdated_instances_only: Annotated[
        bool,
        typer.Option("--update-outdated-instances-only", help="Leave out instances that have it already."),
    ] = False,
    rollback_on: Annotated[
        str | None,
        typer.Option("--rollback-on", help="failure, stop, alarm, or none, instead of the group's."),
    ] = None,
    alarm: AlarmOption = None,
    ignore_alarm_failures: IgnoreOption = None,
    alarms: SwitchOption = None,
    sequence: Annotated[
        int,
        typer.Option(
            "--sequence",
            min=0,
            help="A number that rises, such as a build's: a deployment is refused when one with the same or a higher"
            " number was accepted for the group before.",
        ),
    ] = 0,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would happen; change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = True,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Stop waiting after so many seconds.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Deploy a revision to a deployment group. Exits 0, 1 or 3 as it Succeeded, Failed or was Stopped."""
    if bool(revision) == (source is not None):
        fail("give --revision or --source", EXIT_USAGE)
    options = deployments_pb2.DeploymentOptions(
        application_name=application,
        deployment_group_name=group,
        deployment_config_name=config,
        description=description,
        ignore_application_stop_failures=ignore_application_stop_failures,
        file_exists_behavior=_file_exists_behavior(file_exists_behavior),
        adopt=adopt,
        update_outdated_instances_only=update_outdated_instances_only,
        auto_rollback=auto_rollback(rollback_on),
        sequence=sequence,
    )
    of_alarms = AlarmWish(names=alarm, ignore=ignore_alarm_failures, watch=alarms)
    wish = _Wish(
        options=options,
        alarms=of_alarms,
        revision=revision,
        plan=plan,
        wait=wait,
        timeout=timeout,
        as_json=as_json,
    )
    if source is None:
        raise typer.Exit(ask(lambda client: _deploy(client, wish, None)))
    with guarded(), packed(source) as bundle:
        raise typer.Exit(ask(lambda client: _deploy(client, wish, bundle)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What the command line asks for."""

    options: deployments_pb2.DeploymentOptions
    alarms: AlarmWish
    revision: str
    plan: bool
    wait: bool
    timeout: float | None
    as_json: bool


async def _deploy(client: Client, wish: _Wish, bundle: Bundle | None) -> int:
    """Returns the exit code."""
    options = wish.options
    override = await wish.alarms.over_group(client, options.application_name, options.deployment_group_name)
    if override is not None:
        options.override_alarms.CopyFrom(override)
    if wish.plan:
        options.revision.CopyFrom(await _find_revision(client, wish) if bundle is None else _unsent(bundle))
        return await _plan(client, options, as_json=wish.as_json)
    if bundle is None:
        options.revision.CopyFrom(await _find_revision(client, wish))
    else:
        pushed = await client.push(options.application_name, bundle, options.description)
        options.revision.CopyFrom(pushed.location)
    return await create(client, options, wait=wish.wait, timeout=wish.timeout, as_json=wish.as_json)


async def _find_revision(client: Client, wish: _Wish) -> types_pb2.RevisionLocation:
    """A place that nobody has registered is deployed all the same (CP-194), as far as the text says what it is."""
    request = inventory_pb2.GetRevisionRequest(
        application_name=wish.options.application_name, revision=wish.revision
    )
    try:
        return (await client.call(client.inventory.GetRevision, request)).revision.location
    except NotFoundError as unknown:
        location = None
        if unknown.reason == "RevisionDoesNotExistException":
            location = named_location(wish.revision)
        if location is None:
            raise
        return location


def _unsent(bundle: Bundle) -> types_pb2.RevisionLocation:
    """Returns the location that a bundle will have once it is pushed."""
    return types_pb2.RevisionLocation(
        bundle=types_pb2.BundleLocation(
            sha256=bundle.sha256, size_bytes=bundle.size_bytes, bundle_type=bundle.bundle_type
        )
    )


async def _plan(client: Client, options: deployments_pb2.DeploymentOptions, *, as_json: bool) -> int:
    request = deployments_pb2.PlanDeploymentRequest(options=options)
    plan = await client.call(client.deployments.PlanDeployment, request)
    if as_json:
        render.print_json(plan)
    else:
        _print_plan(plan)
    return EXIT_FAILED if plan.HasField("error") else 0


def _print_plan(plan: deployments_pb2.PlanDeploymentResponse) -> None:
    render.warn(plan.warnings)
    render.say(
        f"revision {revision_label(plan.revision)} with {plan.deployment_config_name}: "
        f"{plan.counted_instances} instances, {plan.minimum_healthy} stay healthy, {plan.concurrency} at once"
    )
    if plan.reason:
        render.say(plan.reason)
    if plan.HasField("error"):
        render.print_error(f"it would fail: {plan.error.code}: {plan.error.message}")
    rows = (
        (
            str(target.wave),
            target.instance_name,
            target.zone or "-",
            enum_word(types_pb2.InstanceHealth.DESCRIPTOR, target.instance_health) or "-",
            enum_word(types_pb2.RevisionHealth.DESCRIPTOR, target.revision_health) or "-",
            "connected" if target.is_connected else Text("silent", "red"),
            _way_back(target),
            target.reason,
        )
        for target in plan.targets
    )
    columns = ("WAVE", "INSTANCE", "ZONE", "HEALTH", "REVISION", "AGENT", "ROLLBACK", "WHY HERE")
    render.print_table(columns, rows, empty="no targets")
    for quota in plan.quotas:
        render.note(f"{quota.used} of {quota.limit} ({quota.setting})")
    render.note("nothing was changed")


def _way_back(target: deployments_pb2.PlannedTarget) -> render.Cell:
    if not target.HasField("can_roll_back"):
        return "-"
    return "from disk" if target.can_roll_back else Text("not whole", "yellow")


def _file_exists_behavior(word: str) -> types_pb2.FileExistsBehavior.ValueType:
    number = enum_number(types_pb2.FileExistsBehavior.DESCRIPTOR, word)
    if number is None:
        fail(f"'{word}' is none of DISALLOW, OVERWRITE, RETAIN", EXIT_USAGE)
    return types_pb2.FileExistsBehavior.ValueType(number)
