"""What an event's end says: through the journal, onto the wire, whatever it holds."""

from __future__ import annotations

from dataclasses import asdict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.v1 import types_pb2
from ferryman_agent.core.facts import EventFinished
from ferryman_agent.core.messages import (
    CommandId,
    Diagnostics,
    EventStatus,
    Instant,
    ResourceUsage,
    ScriptErrorCode,
)
from ferryman_agent.runtime import mapping
from ferryman_agent.runtime.outbox import Report
from ferryman_agent.runtime.records import Noted, from_line, noted, to_line

counts = st.none() | st.integers(0, 2**50)
diagnostics = st.builds(
    Diagnostics,
    error_code=st.sampled_from(ScriptErrorCode),
    script_name=st.text(max_size=20),
    message=st.text(max_size=20),
    log=st.text(max_size=20),
    detail_code=st.sampled_from(["", "SCRIPT_MISSING"]),
    exit_status=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    duration_ms=st.integers(0, 2**40),
    usage=st.none()
    | st.builds(
        ResourceUsage,
        peak_memory_bytes=counts,
        cpu_ms=counts,
        read_bytes=counts,
        written_bytes=counts,
        out_of_memory_kills=st.none() | st.integers(0, 2**20),
    ),
    dropped_lines=st.integers(0, 2**40),
    script_index=st.none() | st.integers(0, 100),
    revision_deployment_id=st.text(max_size=20),
)


def through_the_journal(fact: EventFinished) -> EventFinished:
    record = from_line(to_line(noted(Instant(1), CommandId("c-1"), 1, fact)).rstrip(b"\n"))
    assert isinstance(record, Noted)
    found = record.decoded()
    assert isinstance(found, EventFinished)
    return found


def on_the_wire(said: Diagnostics) -> types_pb2.Diagnostics:
    fact = EventFinished(lifecycle_event="Install", status=EventStatus.FAILED, diagnostics=said)
    report = Report(number=1, command_id=CommandId("c-1"), at=Instant(1), fact=through_the_journal(fact))
    return mapping.report(report).report.event_finished.diagnostics


@pytest.mark.req("AG-448", "AG-454", "AG-455", "V2-041")
@given(diagnostics)
def test_everything_arrives(said: Diagnostics) -> None:
    sent = on_the_wire(said)
    assert (sent.script_name, sent.message, sent.log_tail) == (said.script_name, said.message, said.log)
    assert (sent.duration_ms, sent.dropped_lines) == (said.duration_ms, said.dropped_lines)
    assert (sent.exit_status if sent.HasField("exit_status") else None) == said.exit_status
    assert (sent.script_index if sent.HasField("script_index") else None) == said.script_index
    assert sent.revision_deployment_id == said.revision_deployment_id
    assert (sent.signal if sent.HasField("signal") else None) == said.signal
    assert sent.HasField("usage") == (said.usage is not None)
    measured = asdict(said.usage) if said.usage else {}
    assert {field.name: value for field, value in sent.usage.ListFields()} == {
        name: value for name, value in measured.items() if value is not None
    }


@pytest.mark.req("AG-462", "AG-463", "V2-237", "AG-E00", "AG-E01", "AG-E02", "AG-E03", "AG-E04", "AG-E05")
def test_the_codes_are_numbers_with_the_public_names() -> None:
    assert {code.name: int(code) for code in ScriptErrorCode} == {
        "SUCCESS": 0,
        "SCRIPT_MISSING": 1,
        "SCRIPT_NOT_EXECUTABLE": 2,
        "SCRIPT_TIMED_OUT": 3,
        "SCRIPT_FAILED": 4,
        "UNKNOWN_ERROR": 5,
        "OUTPUTS_LEFT_OPEN": 6,
        "FAILED_AFTER_RESTART": 7,
    }
    for code in ScriptErrorCode:
        sent = on_the_wire(Diagnostics(error_code=code))
        name = types_pb2.LifecycleErrorCode.Name(sent.error_code).removeprefix("LIFECYCLE_ERROR_CODE_")
        own = {ScriptErrorCode.OUTPUTS_LEFT_OPEN, ScriptErrorCode.FAILED_AFTER_RESTART}
        # CodeDeploy's API has no words for the last two: they are its unknown error, and say which of ours it is.
        assert (name, sent.detail_code) == (("UNKNOWN_ERROR", code.name) if code in own else (code.name, ""))


@pytest.mark.req("AG-E08", "AG-454")
def test_what_is_no_text_is_sent_as_something_readable() -> None:
    sent = on_the_wire(Diagnostics(message="cannot open b\udcff", script_name="\ud800", log="\udc80x"))
    assert sent.message.startswith("cannot open b")
    assert sent.script_name
    assert sent.log_tail.endswith("x")
    assert sent.error_code == types_pb2.LIFECYCLE_ERROR_CODE_SUCCESS


def test_a_journal_of_an_older_agent_is_read() -> None:
    fact = EventFinished(lifecycle_event="Install", status=EventStatus.FAILED)
    document = msgspec.json.decode(msgspec.json.encode(fact))
    del document["diagnostics"]["usage"]
    del document["diagnostics"]["dropped_lines"]
    assert msgspec.convert(document, EventFinished) == fact
