"""What a watcher sees: counts, the targets that tell most, why it failed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ferryman.v1 import deployments_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.progress import Progress
from ferryman_client.cli.terminal import PlainConsole
from ferryman_client.cli.watch import live_view, print_summary

NOW = 1_000_000.0


def target(name: str, status: types_pb2.TargetStatus.ValueType) -> deployments_pb2.Target:
    return deployments_pb2.Target(instance_id=f"i-{name}", instance_name=name, status=status)


def snapshot(*targets: deployments_pb2.Target) -> deployments_pb2.WatchDeploymentResponse:
    deployment = deployments_pb2.Deployment(
        deployment_id="d-ABCDEFGHI",
        application_name="web",
        status=types_pb2.DEPLOYMENT_STATUS_IN_PROGRESS,
        started_at=int(NOW * 1000) - 30_000,
    )
    return deployments_pb2.WatchDeploymentResponse(
        sequence=1, snapshot=deployments_pb2.DeploymentSnapshot(deployment=deployment, targets=targets)
    )


def event(
    name: str, status: types_pb2.LifecycleEventStatus.ValueType, **fields: int
) -> deployments_pb2.LifecycleEvent:
    return deployments_pb2.LifecycleEvent(name=name, status=status, **fields)  # type: ignore[arg-type] # ints only


def drawn(progress: Progress, height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=120, height=height, force_terminal=False)
    console.print(live_view(progress, height, NOW))
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def test_changes_in_any_repetition_give_the_same_picture() -> None:
    changes = [
        snapshot(target("a", types_pb2.TARGET_STATUS_PENDING), target("b", types_pb2.TARGET_STATUS_PENDING)),
        deployments_pb2.WatchDeploymentResponse(
            sequence=2, target=target("a", types_pb2.TARGET_STATUS_IN_PROGRESS)
        ),
        deployments_pb2.WatchDeploymentResponse(
            sequence=3,
            target_event=deployments_pb2.TargetEvent(
                instance_id="i-a",
                lifecycle_event=event("Install", types_pb2.LIFECYCLE_EVENT_STATUS_IN_PROGRESS),
            ),
        ),
    ]
    once, twice = Progress(), Progress()
    for change in changes:
        once.apply(change)
        twice.apply(change)
        twice.apply(change)
    assert once == twice
    assert once.sequence == 3
    counts = once.counts()
    assert (counts["pending"], counts["in_progress"], sum(counts.values())) == (1, 1, 2)


def test_running_event_is_shown_with_its_time() -> None:
    progress = Progress()
    running = target("web-1", types_pb2.TARGET_STATUS_IN_PROGRESS)
    running.lifecycle_events.append(
        event(
            "ApplicationStart",
            types_pb2.LIFECYCLE_EVENT_STATUS_IN_PROGRESS,
            started_at=int(NOW * 1000) - 12_000,
        )
    )
    progress.apply(snapshot(running))
    text = drawn(progress)
    assert "ApplicationStart 12 s" in text
    assert "0/1" in text


def test_small_terminal_shows_what_runs_and_what_failed_first() -> None:
    progress = Progress()
    done = [target(f"done-{n}", types_pb2.TARGET_STATUS_SUCCEEDED) for n in range(50)]
    progress.apply(
        snapshot(
            *done,
            target("broken", types_pb2.TARGET_STATUS_FAILED),
            target("busy", types_pb2.TARGET_STATUS_IN_PROGRESS),
        )
    )
    text = drawn(progress, height=12)
    lines = text.splitlines()
    assert next(n for n, line in enumerate(lines) if "busy" in line) < next(
        n for n, line in enumerate(lines) if "broken" in line
    )
    assert "… and 47 more" in text
    assert len(lines) <= 12


def test_summary_tells_what_failed_and_shows_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = target("web-2", types_pb2.TARGET_STATUS_FAILED)
    diagnostics = types_pb2.Diagnostics(
        error_code=types_pb2.LIFECYCLE_ERROR_CODE_SCRIPT_FAILED,
        script_name="scripts/validate",
        message="exit status 1",
        log_tail="[stderr]no answer on port [8080]",
    )
    failed.lifecycle_events.append(
        deployments_pb2.LifecycleEvent(
            name="ValidateService", status=types_pb2.LIFECYCLE_EVENT_STATUS_FAILED, diagnostics=diagnostics
        )
    )
    progress = Progress()
    progress.apply(snapshot(failed))
    progress.deployment.status = types_pb2.DEPLOYMENT_STATUS_FAILED
    progress.deployment.error.code = "HEALTH_CONSTRAINTS"
    progress.deployment.error.message = "too many failed"
    progress.deployment.rollback.rollback_deployment_id = "d-ROLLBACK1"
    shown = PlainConsole(file=io.StringIO(), width=200, highlight=False, markup=False)
    monkeypatch.setattr(render, "out", shown)
    print_summary(progress)
    written = shown.file
    assert isinstance(written, io.StringIO)
    text = written.getvalue()
    assert "web-2 ValidateService scripts/validate: ScriptFailed, exit status 1" in text
    assert "[stderr]no answer on port [8080]" in text
    assert "HEALTH_CONSTRAINTS: too many failed" in text
    assert "ferryman deployment watch d-ROLLBACK1" in text
