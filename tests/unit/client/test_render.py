"""What others wrote is shown as it is: it neither steers the terminal nor breaks the command."""

from __future__ import annotations

import io
import json

import pytest
from rich.text import Text

from ferryman.v1 import deployments_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.progress import Progress
from ferryman_client.cli.terminal import PlainConsole, harmless, json_safe
from ferryman_client.cli.watch import live_view, print_summary

HOSTILE = "\x1b]0;mine\x07\x1b[2J\x9b2J\x7f\u202e[/red] [link=x]:boom:"
HARMLESS = "]0;mine[2J2J[/red] [link=x]:boom:"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal with colours gets."""
    written = io.StringIO()
    for name in ("out", "err"):
        console = PlainConsole(
            file=written, width=400, force_terminal=True, highlight=False, markup=False, emoji=False
        )
        monkeypatch.setattr(render, name, console)
    return written


def is_harmless(text: str) -> bool:
    """Whether no control character is there but those of colours that are ours."""
    for part in text.split("\x1b[")[1:]:
        colour, end, _ = part.partition("m")
        if not end or not all(number.isdigit() for number in colour.split(";")):
            return False
    return harmless(text.replace("\x1b[", "")) == text.replace("\x1b[", "")


def test_every_way_of_printing_shows_text_as_it_is(screen: io.StringIO) -> None:
    render.say(HOSTILE)
    render.note(HOSTILE)
    render.warn([HOSTILE])
    render.print_error(HOSTILE)
    render.print_details([("Plain", HOSTILE), ("Coloured", Text(HOSTILE, "red"))])
    render.print_table(("A", "B"), [(HOSTILE, Text(HOSTILE, "red"))], empty="")
    text = screen.getvalue()
    assert is_harmless(text)
    assert text.count(HARMLESS) == 8


def test_a_deployment_full_of_foreign_text_is_shown(screen: io.StringIO) -> None:
    event = deployments_pb2.LifecycleEvent(
        name="Install",
        status=types_pb2.LIFECYCLE_EVENT_STATUS_FAILED,
        diagnostics=types_pb2.Diagnostics(message=HOSTILE, script_name=HOSTILE, log_tail=HOSTILE),
    )
    target = deployments_pb2.Target(
        instance_id="i-1",
        instance_name=HOSTILE,
        status=types_pb2.TARGET_STATUS_FAILED,
        lifecycle_events=[event],
    )
    deployment = deployments_pb2.Deployment(deployment_id="d-ABCDEFGHI", status_messages=[HOSTILE])
    deployment.revision.url.url = HOSTILE
    deployment.error.message = HOSTILE
    snapshot = deployments_pb2.DeploymentSnapshot(deployment=deployment, targets=[target])
    progress = Progress()
    progress.apply(deployments_pb2.WatchDeploymentResponse(snapshot=snapshot))
    print_summary(progress)
    render.out.print(live_view(progress, 40, 0.0))
    text = screen.getvalue()
    assert is_harmless(text)
    assert text.count(HARMLESS) == 9


def test_a_message_cannot_bring_lines_of_its_own(screen: io.StringIO) -> None:
    forged = "failed\nd-ABCDEFGHI Succeeded: 3 succeeded"
    deployment = deployments_pb2.Deployment(deployment_id="d-ABCDEFGHI")
    deployment.error.message = forged
    diagnostics = types_pb2.Diagnostics(message=forged, script_name=forged)
    event = deployments_pb2.LifecycleEvent(
        name="Install", status=types_pb2.LIFECYCLE_EVENT_STATUS_FAILED, diagnostics=diagnostics
    )
    target = deployments_pb2.Target(status=types_pb2.TARGET_STATUS_FAILED, lifecycle_events=[event])
    progress = Progress()
    snapshot = deployments_pb2.DeploymentSnapshot(deployment=deployment, targets=[target])
    progress.apply(deployments_pb2.WatchDeploymentResponse(snapshot=snapshot))
    print_summary(progress)
    assert not any(line.startswith("d-ABCDEFGHI Succeeded") for line in screen.getvalue().splitlines())


def test_lines_and_tabs_stay_lines_and_tabs() -> None:
    assert harmless("a\tb\nc") == "a\tb\nc"


def test_json_means_the_same_and_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_json({"description": HOSTILE + "é\n"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"description": HOSTILE + "é\n"}
    assert "é" in printed
    assert is_harmless(printed)
    assert json_safe("\x9b") == "\\u009b"
