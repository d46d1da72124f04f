"""What a command must have, what becomes of it on the wire, and the limits that the configuration gives it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.channel import MESSAGE_LIMIT
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import types_pb2
from ferryman_agent import wiring
from ferryman_agent.config import parse
from ferryman_agent.core.facts import EventFinished, SegmentFinished
from ferryman_agent.core.lifecycle import refusal
from ferryman_agent.core.messages import (
    CommandId,
    DeploymentId,
    Diagnostics,
    EventStatus,
    GroupId,
    Instant,
    ScriptErrorCode,
)
from ferryman_agent.errors import EventError
from ferryman_agent.files.layout import Layout
from ferryman_agent.runtime import mapping
from ferryman_agent.runtime.commands import Answer, Disposition
from ferryman_agent.runtime.outbox import Report
from tests.support.segments import a_segment

HOME = {"FERRYMAN_AGENT_HOME": "/srv/agent"}


@pytest.mark.req("AG-111", "AG-146", "AG-F02", "AG-F03", "AG-F04")
@pytest.mark.parametrize(
    "changes,named",
    [
        ({"deployment_group_id": ""}, "no deployment group id"),
        ({"deployment_group_name": ""}, "no deployment group name"),
        ({"application_name": ""}, "no application name"),
        ({"deployment_group_id": "../x"}, "'../x' cannot be the name of a directory"),
    ],
)
def test_a_command_without_its_deployment_is_refused_and_says_what_is_missing(
    changes: dict[str, str], named: str
) -> None:
    segment = a_segment()
    assert refusal(segment, "i-1") is None
    broken = replace(segment, deployment=replace(segment.deployment, **changes))  # type: ignore[arg-type]
    assert named in str(refusal(broken, "i-1"))


@pytest.mark.req("V2-014", "V2-038", "AG-109")
@pytest.mark.parametrize(
    "command_id",
    [
        *("", "d-1/i-1/1", "d-1/i-1/1/0/0", "d-1/i-1//0", "d-1/i-1/1/0\n", "d-1/i-1/1 1/0", "d-1/i-1/ü/0"),
        "d-1/i-1/" + "1" * 4096 + "/0",
    ],
)
def test_what_would_be_no_marker_is_no_command(command_id: str) -> None:
    segment = replace(a_segment(), command_id=CommandId(command_id))
    assert "is not <deployment>/<instance>/<attempt>/<segment>" in str(refusal(segment, "i-1"))


@pytest.mark.req("V2-013")
@given(st.sampled_from(["", "/", "\\", "..", "."]), st.text(max_size=5), st.text(max_size=5))
def test_names_of_markers_stay_in_their_folder(middle: str, before: str, after: str) -> None:
    layout = Layout(Path("/srv/root"))
    name = DeploymentId(f"{before}{middle}{after}")
    try:
        marker = layout.ongoing_mark(name)
    except EventError as error:
        if error.detail_code != "UNSAFE_ID":
            raise
    else:
        assert marker.parent == layout.ongoing
        assert "/" not in name
        assert "\\" not in name
        assert name not in ("", ".", "..")


@pytest.mark.req("AG-097")
def test_every_end_of_a_command_has_its_status_on_the_wire() -> None:
    wanted = {"SUCCEEDED", "FAILED", "SKIPPED"}
    sent = set()
    for status in EventStatus:
        report = Report(
            number=1, command_id=CommandId("c"), at=Instant(1), fact=SegmentFinished(status=status)
        )
        value = mapping.report(report).report.segment_finished.status
        sent.add(types_pb2.LifecycleEventStatus.Name(value).removeprefix("LIFECYCLE_EVENT_STATUS_"))
    assert sent == wanted
    told = {mapping.command_ack(Answer(CommandId("c"), each)).command_ack.disposition for each in Disposition}
    assert told == {
        pb.COMMAND_DISPOSITION_STARTED,
        pb.COMMAND_DISPOSITION_QUEUED,
        pb.COMMAND_DISPOSITION_KNOWN,
        pb.COMMAND_DISPOSITION_REFUSED,
    }


@pytest.mark.req("AG-098", "V2-392")
def test_a_result_that_names_a_million_files_fits_into_a_message() -> None:
    said = "ü" * 50_000_000
    fact = EventFinished(
        lifecycle_event="Install",
        status=EventStatus.FAILED,
        diagnostics=Diagnostics(error_code=ScriptErrorCode.UNKNOWN_ERROR, message=said, log="x" * 2047),
    )
    report = Report(number=1, command_id=CommandId("c"), at=Instant(1), fact=fact)
    message = mapping.report(report)
    assert message.ByteSize() < MESSAGE_LIMIT / 10
    sent = message.report.event_finished.diagnostics
    assert sent.message.startswith("ü" * 1_000)
    assert "49967232 characters left out" in sent.message
    assert sent.log_tail == "x" * 2047


@pytest.mark.req("AG-Q07", "AG-Q08", "V2-352", "V2-030", "V2-012")
def test_limits_and_names_are_the_originals_unless_the_file_says_otherwise() -> None:
    shipped = parse(b"", "f", HOME).config
    assert shipped.commands.drain_timeout.seconds == 7200
    assert shipped.coordinator.call_timeout.seconds == 80
    assert wiring.layout(shipped).ongoing == Path("/srv/agent/deployment-root/ongoing-deployment")
    text = (
        b":kill_agent_max_wait_time_seconds: 60\n:http_read_timeout: 7\n:ongoing_deployment_tracking: marks\n"
        b":wait_between_runs: 1\n"
    )
    loaded = parse(text, "f", HOME)
    assert loaded.config.commands.drain_timeout.seconds == 60
    assert loaded.config.coordinator.call_timeout.seconds == 7
    assert wiring.layout(loaded.config).ongoing_mark(DeploymentId("d-1")).parent.name == "marks"
    assert [warning for warning in loaded.warnings if "wait_between_runs" in warning and "ignored" in warning]


@pytest.mark.req("AG-F02")
def test_a_group_that_is_no_name_never_becomes_a_path() -> None:
    with pytest.raises(EventError, match="not a safe file name"):
        Layout(Path("/srv/root")).group(GroupId("../x"))
