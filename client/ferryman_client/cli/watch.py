"""Follows a deployment to its end: a live view on a terminal, plain lines anywhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ferryman.v1 import deployments_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.progress import Progress, TargetProgress
from ferryman_client.cli.session import EXIT_FAILED, EXIT_STOPPED, EXIT_TIMED_OUT
from ferryman_client.cli.words import (
    deployment_status,
    error_code,
    event_status,
    iso_time,
    revision_label,
    target_status,
)
from ferryman_client.client import Client

# How often the live view is drawn anew, a second.
REFRESH_RATE = 8
# Lines of the live view that are not target rows.
_OTHER_LINES = 7
_SHOWN_FAILURES = 10
_EVENT_MARKS = {
    types_pb2.LIFECYCLE_EVENT_STATUS_IN_PROGRESS: ("◐", "cyan"),
    types_pb2.LIFECYCLE_EVENT_STATUS_SUCCEEDED: ("●", "green"),
    types_pb2.LIFECYCLE_EVENT_STATUS_FAILED: ("✗", "bold red"),
    types_pb2.LIFECYCLE_EVENT_STATUS_SKIPPED: ("·", "dim"),
}
_EXIT_CODES = {
    types_pb2.DEPLOYMENT_STATUS_SUCCEEDED: 0,
    types_pb2.DEPLOYMENT_STATUS_FAILED: EXIT_FAILED,
    types_pb2.DEPLOYMENT_STATUS_STOPPED: EXIT_STOPPED,
}


async def follow(client: Client, deployment_id: str, timeout_seconds: float | None) -> int:
    """Shows the deployment until it is final; returns the exit code that its status means, 7 after the time-out."""
    progress = Progress()
    try:
        async with asyncio.timeout(timeout_seconds):
            if render.out.is_terminal:
                await _follow_live(client, deployment_id, progress)
            else:
                await _follow_plain(client, deployment_id, progress)
    except TimeoutError:
        render.note(f"{deployment_id} is not done after {timeout_seconds:.0f} s; it goes on")
        return EXIT_TIMED_OUT
    except asyncio.CancelledError:
        # Ctrl-C ends the watching. Whoever pressed it may have meant the deployment.
        render.note(
            f"{deployment_id} goes on; `ferryman deployment watch {deployment_id}` follows it again, "
            f"`ferryman deployment stop {deployment_id}` stops it"
        )
        raise
    print_summary(progress)
    return _EXIT_CODES.get(progress.deployment.status, EXIT_FAILED)


async def _follow_live(client: Client, deployment_id: str, progress: Progress) -> None:
    with Live(console=render.out, refresh_per_second=REFRESH_RATE, transient=True) as live:
        drawn_at = 0.0
        async for change in client.watch(deployment_id):
            progress.apply(change)
            now = time.monotonic()
            if now - drawn_at > 1 / REFRESH_RATE:
                live.update(live_view(progress, render.out.height, time.time()))
                drawn_at = now


async def _follow_plain(client: Client, deployment_id: str, progress: Progress) -> None:
    shown_status = None
    async for change in client.watch(deployment_id):
        target = progress.apply(change)
        if target is not None:
            line = _plain_line(change, target)
        elif progress.deployment.status != shown_status:
            shown_status = progress.deployment.status
            line = f"{deployment_id}  {deployment_status(shown_status)}"
        else:
            line = ""
        if line:
            render.say(f"{iso_time(change.at) if change.at else ''}  {line}".strip())


def _plain_line(change: deployments_pb2.WatchDeploymentResponse, progress: TargetProgress) -> str:
    name = progress.target.instance_name
    if change.WhichOneof("change") == "target":
        return f"{name}  {target_status(change.target.status)}"
    if not change.target_event.HasField("lifecycle_event"):
        # Only which script runs now: too much for a log of lines.
        return ""
    event = change.target_event.lifecycle_event
    line = f"{name}  {event.name}  {event_status(event.status)}"
    if event.status == types_pb2.LIFECYCLE_EVENT_STATUS_FAILED:
        line += f"  {render.one_line(event.diagnostics.message)}"
    return line


def live_view(progress: Progress, height: int, now: float) -> RenderableType:
    """Returns the picture of a deployment for a terminal of `height` lines, at `now` (seconds since the epoch)."""
    deployment = progress.deployment
    rows = max(3, height - _OTHER_LINES)
    shown = _most_telling(progress.targets.values(), rows)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for target in shown:
        table.add_row(*_target_row(target, now))
    hidden = len(progress.targets) - len(shown)
    parts: list[RenderableType] = [_headline(deployment), _counts_line(progress, now), table]
    if hidden:
        parts.append(Text(f"… and {hidden} more", style="dim"))
    return Group(*parts)


def _headline(deployment: deployments_pb2.Deployment) -> RenderableType:
    text = Text.assemble(
        (deployment.deployment_id, "bold"),
        f"  {deployment.application_name}/{deployment.deployment_group_name}",
        f"  {revision_label(deployment.revision)}  {deployment.deployment_config_name}  ",
    )
    text.append_text(render.status(deployment_status(deployment.status)))
    return text


def _counts_line(progress: Progress, now: float) -> RenderableType:
    counts = progress.counts()
    total = len(progress.targets)
    done = counts["succeeded"] + counts["failed"] + counts["skipped"]
    words = "  ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    started = progress.deployment.started_at / 1000 if progress.deployment.HasField("started_at") else now
    elapsed = max(now - started, 0.001)
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(
        ProgressBar(total=max(total, 1), completed=done, width=30),
        f"{done}/{total}",
        words,
        f"{elapsed:.0f} s, {done / elapsed * 60:.1f} a minute" if done else f"{elapsed:.0f} s",
    )
    return line


def _target_row(progress: TargetProgress, now: float) -> tuple[RenderableType, ...]:
    target = progress.target
    marks = Text()
    for event in progress.events.values():
        marks.append(*_EVENT_MARKS.get(event.status, ("○", "dim")))
    current = progress.current_event
    doing = Text()
    if current is not None and not progress.is_final:
        since = now - current.started_at / 1000 if current.HasField("started_at") else 0.0
        doing.append(f"{current.name} {max(since, 0):.0f} s")
        if progress.running_script:
            doing.append(f"  {progress.running_script}", style="dim")
    elif (failed := progress.failed_event) is not None and target.status == types_pb2.TARGET_STATUS_FAILED:
        doing.append(f"{failed.name}: {failed.diagnostics.message}", style="red")
    return (
        Text(target.instance_name),
        render.status(target_status(target.status)),
        marks,
        doing,
    )


def _most_telling(targets: Iterable[TargetProgress], rows: int) -> list[TargetProgress]:
    """Returns the targets to show when not all fit: what runs, what failed, what is next, what is done."""
    order = {
        types_pb2.TARGET_STATUS_IN_PROGRESS: 0,
        types_pb2.TARGET_STATUS_UNKNOWN: 0,
        types_pb2.TARGET_STATUS_FAILED: 1,
        types_pb2.TARGET_STATUS_PENDING: 2,
    }
    everything = list(targets)
    if len(everything) <= rows:
        return everything
    return sorted(everything, key=lambda progress: order.get(progress.target.status, 3))[:rows]


def print_summary(progress: Progress) -> None:
    """Prints how a deployment ended: counts, what failed and why with the end of its log, and what comes next."""
    deployment = progress.deployment
    counts = progress.counts()
    words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    status = render.status(deployment_status(deployment.status))
    render.out.print(Text.assemble(deployment.deployment_id, " ", status, f": {words or 'no targets'}"))
    failed = [
        target
        for target in progress.targets.values()
        if target.target.status == types_pb2.TARGET_STATUS_FAILED
    ]
    for target in failed[:_SHOWN_FAILURES]:
        _print_failure(target)
    if len(failed) > _SHOWN_FAILURES:
        render.say(f"… and {len(failed) - _SHOWN_FAILURES} more failed")
    if deployment.HasField("error"):
        message = render.one_line(deployment.error.message)
        render.out.print(Text.assemble((deployment.error.code, "bold"), ": ", message))
    for message in deployment.status_messages:
        render.say(message)
    if deployment.rollback.rollback_message:
        render.say(deployment.rollback.rollback_message)
    if deployment.rollback.rollback_deployment_id:
        render.say(f"follow it: ferryman deployment watch {deployment.rollback.rollback_deployment_id}")


def _print_failure(progress: TargetProgress) -> None:
    event = progress.failed_event
    name = (progress.target.instance_name, "red")
    if event is None:
        render.out.print(Text.assemble("  ", name, " failed"))
        return
    diagnostics = event.diagnostics
    where = " ".join(filter(None, (event.name, diagnostics.script_name)))
    why = f" {where}: {error_code(diagnostics.error_code)}, {diagnostics.message}"
    render.out.print(Text.assemble("  ", name, render.one_line(why)))
    for line in diagnostics.log_tail.splitlines()[-12:]:
        render.out.print(Text(f"    {line}", "dim"))
