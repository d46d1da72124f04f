"""`ferryman deployment`: list, show, watch, stop, continue, retry, logs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from ferryman.v1 import deployments_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.alarms import watched_rows
from ferryman_client.cli.creation import create
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.progress import Progress
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.watch import follow, print_summary
from ferryman_client.cli.words import (
    deployment_status,
    enum_number,
    error_code,
    event_status,
    healthy_hosts,
    iso_time,
    revision_label,
    rollback_text,
    target_status,
    usage_text,
    words_of,
    zonal_text,
)
from ferryman_client.client import Client

app = typer.Typer(no_args_is_help=True, help="Deployments: follow, stop, continue, retry, read their logs.")

IdArgument = Annotated[str, typer.Argument(help="Id of the deployment, d-….")]


@app.command(name="list")
def list_(
    application: Annotated[str, typer.Option("--application", "-a", help="With --group: only theirs.")] = "",
    group: Annotated[str, typer.Option("--group", "-g")] = "",
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Only these, e.g. InProgress. Repeat.")
    ] = None,
    since: Annotated[datetime | None, typer.Option("--since", help="Created then or later; UTC.")] = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Created then or earlier; UTC.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List deployments, newest first."""
    statuses = [_status_number(word) for word in status or ()]

    async def read(client: Client) -> list[deployments_pb2.Deployment]:
        request = deployments_pb2.ListDeploymentsRequest(
            application_name=application,
            deployment_group_name=group,
            statuses=statuses,
            created_from=_milliseconds(since),
            created_until=_milliseconds(until),
        )
        found: list[deployments_pb2.Deployment] = []
        async for page in every_page(
            lambda page: client.call(client.deployments.ListDeployments, page), request
        ):
            found.extend(page.deployments)
            if len(found) >= limit:
                break
        return found[:limit]

    _print(ask(read), as_json)


@app.command()
def show(
    deployment_id: IdArgument,
    more: Annotated[
        list[str] | None, typer.Argument(help="Further ones, read in the same call, as a table.")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="One instance, with the log of what failed.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show a deployment and its targets, or several deployments."""
    if more:
        several = deployments_pb2.BatchGetDeploymentsRequest(deployment_ids=[deployment_id, *more])
        _print(
            ask(lambda client: client.call(client.deployments.BatchGetDeployments, several)).deployments,
            as_json,
        )
        return
    if target:
        _show_target(deployment_id, target, as_json=as_json)
        return

    async def read(client: Client) -> deployments_pb2.DeploymentSnapshot:
        request = deployments_pb2.GetDeploymentRequest(deployment_id=deployment_id)
        found = (await client.call(client.deployments.GetDeployment, request)).deployment
        snapshot = deployments_pb2.DeploymentSnapshot(deployment=found)
        if found.HasField("started_at") or found.HasField("completed_at"):
            pages = every_page(
                lambda page: client.call(client.deployments.ListDeploymentTargets, page),
                deployments_pb2.ListDeploymentTargetsRequest(deployment_id=deployment_id),
            )
            async for page in pages:
                snapshot.targets.extend(page.targets)
        return snapshot

    snapshot = ask(read)
    if as_json:
        render.print_json(snapshot)
        return
    render.print_details(_details(snapshot.deployment))
    if snapshot.targets:
        render.say("")
        render.print_table(
            ("INSTANCE", "ZONE", "STATUS", "LAST EVENT", "UPDATED"),
            (_target_row(item) for item in snapshot.targets),
            empty="",
        )
        render.say("")
    progress = Progress()
    progress.apply(deployments_pb2.WatchDeploymentResponse(snapshot=snapshot))
    print_summary(progress)


@app.command()
def watch(
    deployment_id: IdArgument,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Stop watching after so many seconds.")
    ] = None,
) -> None:
    """Follow a deployment to its end; exits 0, 1 or 3 as it Succeeded, Failed or was Stopped."""
    raise typer.Exit(ask(lambda client: follow(client, deployment_id, timeout)))


@app.command()
def stop(
    deployment_id: IdArgument,
    rollback: Annotated[
        bool | None,
        typer.Option("--rollback/--no-rollback", help="Instead of what the deployment's settings say."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a deployment: running lifecycle events end, nothing more starts."""
    request = deployments_pb2.StopDeploymentRequest(
        deployment_id=deployment_id, auto_rollback_enabled=rollback
    )
    response = ask(lambda client: client.call(client.deployments.StopDeployment, request))
    if as_json:
        render.print_json(response)
    else:
        render.say(response.message)


@app.command("continue")
def continue_(
    deployment_id: IdArgument,
    skip_termination_wait: Annotated[
        bool,
        typer.Option(
            "--skip-termination-wait",
            help="End the wait before the original instances go, not that for traffic.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a blue/green deployment go on that waits to be continued.

    Without an option that is the wait before traffic moves to the new instances.
    """
    wait = "TERMINATION_WAIT" if skip_termination_wait else "READY_WAIT"
    request = deployments_pb2.ContinueDeploymentRequest(
        deployment_id=deployment_id,
        wait_type=deployments_pb2.DeploymentWaitType.Value(f"DEPLOYMENT_WAIT_TYPE_{wait}"),
    )
    response = ask(lambda client: client.call(client.deployments.ContinueDeployment, request))
    if as_json:
        render.print_json(response)
    else:
        render.say(f"deployment {deployment_id} goes on")


@app.command()
def retry(
    deployment_id: IdArgument,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = True,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Stop waiting after so many seconds.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Deploy the same revision to the same group again, with the same options, as a new deployment.

    Exits 0, 1 or 3 as that one Succeeded, Failed or was Stopped.
    """

    async def run(client: Client) -> int:
        request = deployments_pb2.GetDeploymentRequest(deployment_id=deployment_id)
        found = (await client.call(client.deployments.GetDeployment, request)).deployment
        return await create(client, options_of(found), wait=wait, timeout=timeout, as_json=as_json)

    raise typer.Exit(ask(run))


@app.command()
def logs(
    deployment_id: IdArgument,
    target: Annotated[str, typer.Option("--target", help="Only this instance.")] = "",
    follow_: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what hooks print now.")] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="All that hooks printed on the --target, from its own disk.")
    ] = False,
) -> None:
    """Print why events failed and the ends of their logs; with -f, what hooks print from now on."""
    if whole and (follow_ or not target):
        fail("--whole needs --target, and goes without -f", EXIT_USAGE)
    if whole:
        ask(lambda client: _print_whole(client, deployment_id, target))
    elif follow_:
        ask(lambda client: _follow_logs(client, deployment_id, target))
    else:
        ask(lambda client: _print_tails(client, deployment_id, target))


def options_of(item: deployments_pb2.Deployment) -> deployments_pb2.DeploymentOptions:
    """Returns what would create a deployment like this one.

    Alarms that were the group's are the group's again, as they are by then.
    """
    return deployments_pb2.DeploymentOptions(
        application_name=item.application_name,
        deployment_group_name=item.deployment_group_name,
        revision=item.revision,
        deployment_config_name=item.deployment_config_name,
        description=item.description,
        ignore_application_stop_failures=item.ignore_application_stop_failures,
        file_exists_behavior=item.file_exists_behavior,
        adopt=item.adopt,
        update_outdated_instances_only=item.update_outdated_instances_only,
        auto_rollback=item.auto_rollback,
        override_alarms=item.options.alarms if item.overrides_alarms else None,
    )


async def _follow_logs(client: Client, deployment_id: str, target: str) -> None:
    request = deployments_pb2.FollowLogsRequest(deployment_id=deployment_id, instance=target)
    async for line in client.stream(client.deployments.FollowLogs, request):
        name = f"{line.instance_name} {line.lifecycle_event} {line.script_name}"
        if line.dropped_before:
            render.note(
                f"{name}: {line.dropped_before} lines left out; they are in the instance's scripts.log"
            )
        text = (line.text, "red" if line.is_stderr else "")
        render.out.print(Text.assemble((f"{iso_time(line.at)} {name}", "dim"), " ", text))


async def _print_whole(client: Client, deployment_id: str, target: str) -> None:
    request = deployments_pb2.ReadScriptLogRequest(deployment_id=deployment_id, instance=target)
    rest = b""
    async for piece in client.stream(client.deployments.ReadScriptLog, request):
        *lines, rest = (rest + piece.content).split(b"\n")
        for line in lines:
            render.say(line.decode(errors="replace"))
    if rest:
        render.say(rest.decode(errors="replace"))


async def _print_tails(client: Client, deployment_id: str, target: str) -> None:
    request = deployments_pb2.ListDeploymentTargetsRequest(deployment_id=deployment_id)
    shown = 0
    async for page in every_page(
        lambda page: client.call(client.deployments.ListDeploymentTargets, page), request
    ):
        for item in page.targets:
            if target in ("", item.instance_id, item.instance_name):
                shown += _print_target_tails(item)
    if not shown:
        render.note("no event of this deployment failed or left a log; -f shows what hooks print now")


def _print_target_tails(target: deployments_pb2.Target) -> int:
    events = [event for event in target.lifecycle_events if event.diagnostics.log_tail or _failed(event)]
    for event in events:
        render.out.print(Text(f"{target.instance_name} {event.name}", "bold"))
        # What failed before a script ran has no log, only a reason.
        for line in (event.diagnostics.log_tail or event.diagnostics.message).splitlines():
            render.say(f"  {line}")
    return len(events)


def _failed(event: deployments_pb2.LifecycleEvent) -> bool:
    return event.status == types_pb2.LIFECYCLE_EVENT_STATUS_FAILED


def _status_number(word: str) -> types_pb2.DeploymentStatus.ValueType:
    descriptor = types_pb2.DeploymentStatus.DESCRIPTOR
    number = enum_number(descriptor, word)
    if number is None:
        fail(f"'{word}' is no status: choose from {', '.join(words_of(descriptor))}", EXIT_USAGE)
    return types_pb2.DeploymentStatus.ValueType(number)


def _print(found: Sequence[deployments_pb2.Deployment], as_json: bool) -> None:
    if as_json:
        render.print_json(found)
        return
    columns = (
        "DEPLOYMENT",
        "APPLICATION",
        "GROUP",
        "REVISION",
        "BY",
        "STATUS",
        "TARGETS",
        "CREATED",
        "DESCRIPTION",
    )
    render.print_table(columns, (_row(item) for item in found), empty="no deployments; `ferryman deploy`")


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def _row(item: deployments_pb2.Deployment) -> tuple[render.Cell, ...]:
    overview = item.overview
    total = sum(
        (overview.pending, overview.in_progress, overview.succeeded, overview.failed, overview.skipped)
    )
    done = f"{overview.succeeded}/{total}" + (f", {overview.failed} failed" if overview.failed else "")
    return (
        item.deployment_id,
        item.application_name,
        item.deployment_group_name,
        revision_label(item.revision),
        item.creator,
        render.status(deployment_status(item.status)),
        done,
        iso_time(item.created_at),
        item.description or "-",
    )


def _details(item: deployments_pb2.Deployment) -> list[tuple[str, render.Cell]]:
    limits = (
        f"{item.counted_instances} instances, {item.minimum_healthy} stay healthy, {item.concurrency} at once"
    )
    return [
        ("Deployment", item.deployment_id),
        ("Application", item.application_name),
        ("Group", item.deployment_group_name),
        ("Status", render.status(deployment_status(item.status))),
        ("Revision", revision_label(item.revision)),
        (
            "Previous revision",
            revision_label(item.previous_revision) if item.HasField("previous_revision") else "",
        ),
        ("Configuration", f"{item.deployment_config_name} ({healthy_hosts(item.minimum_healthy_hosts)})"),
        ("Zones", zonal_text(item.zonal) if item.HasField("zonal") else ""),
        ("Limits", limits if item.counted_instances else ""),
        ("Rollback on", rollback_text(item.auto_rollback)),
        ("Adopts", "files that other deployment groups installed" if item.adopt else ""),
        ("Created by", item.creator),
        ("Description", item.description),
        ("Created", iso_time(item.created_at)),
        ("Started", iso_time(item.started_at) if item.HasField("started_at") else ""),
        ("Completed", iso_time(item.completed_at) if item.HasField("completed_at") else ""),
        ("Stopped by", item.stopped_by),
        ("Rollback of", item.rollback.rollback_triggering_deployment_id),
        ("Follow-on of", item.auto_update_root_deployment_id),
        ("Follow-ons", ", ".join(item.auto_update_deployment_ids)),
        *watched_rows(item.watched_alarms),
        *(("Warning", Text(warning, "yellow")) for warning in item.warnings),
    ]


def _target_row(target: deployments_pb2.Target) -> tuple[render.Cell, ...]:
    last = next(
        (event for event in reversed(target.lifecycle_events) if event.HasField("started_at")),
        deployments_pb2.LifecycleEvent(),
    )
    return (
        target.instance_name,
        target.zone or "-",
        render.status(target_status(target.status)),
        Text.assemble(last.name, " ", render.status(event_status(last.status))) if last.name else "-",
        iso_time(target.last_updated_at) if target.last_updated_at else "-",
    )


def _show_target(deployment_id: str, instance: str, *, as_json: bool) -> None:
    request = deployments_pb2.GetDeploymentTargetRequest(deployment_id=deployment_id, instance=instance)
    target = ask(lambda client: client.call(client.deployments.GetDeploymentTarget, request)).target
    if as_json:
        render.print_json(target)
        return
    render.print_details(
        (
            ("Instance", target.instance_name),
            ("Id", target.instance_id),
            ("ARN", target.target_arn),
            ("Status", render.status(target_status(target.status))),
        )
    )
    render.say("")
    rows = (
        (
            event.name,
            render.status(event_status(event.status)),
            _duration(event),
            usage_text(event.diagnostics.usage),
            error_code(event.diagnostics.error_code) if event.HasField("diagnostics") else "-",
            event.diagnostics.message or "-",
        )
        for event in target.lifecycle_events
    )
    render.print_table(("EVENT", "STATUS", "TOOK", "USED", "CODE", "MESSAGE"), rows, empty="no events yet")
    _print_target_tails(target)


def _duration(event: deployments_pb2.LifecycleEvent) -> str:
    if not event.HasField("started_at") or not event.HasField("ended_at"):
        return "-"
    return f"{(event.ended_at - event.started_at) / 1000:.1f} s"
