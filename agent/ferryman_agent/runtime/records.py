"""What a line of the journal says, and how it is written: checksum, blank, JSON, newline.

The checksum tells a record that is whole from one that a crash, a full disk or a bad disk cut or changed.
"""

from __future__ import annotations

import zlib

import msgspec

from ferryman_agent.core.facts import (
    CancelNoted,
    CommandStarted,
    DownloadProgress,
    EventFinished,
    EventResumed,
    EventStarted,
    Fact,
    ScriptStarted,
    SegmentFinished,
)
from ferryman_agent.core.messages import CommandId, DeploymentId, EventStatus, GroupId, Instant, Segment
from ferryman_agent.hooks.contract import ProcessMark

FORMAT = 1
"""Raised when an older agent could no longer read the file."""


class RecordBroken(ValueError):
    """The line is not a record that this agent can read."""


class Format(msgspec.Struct, frozen=True, tag="format", tag_field="k"):
    """First line of the file."""

    version: int


class Received(msgspec.Struct, frozen=True, tag="received", tag_field="k"):
    """A command is here, and will be answered under this id from now on."""

    at: Instant
    segment: Segment
    is_announced: bool


class CancelledAhead(msgspec.Struct, frozen=True, tag="cancelled-ahead", tag_field="k"):
    """A command that never came is cancelled; when it comes it does not start."""

    at: Instant
    command_id: CommandId


class Noted(msgspec.Struct, frozen=True, tag="noted", tag_field="k"):
    """A fact about a command; `number` is that of its report, 0 where the coordinator is not told."""

    at: Instant
    command_id: CommandId
    number: int
    kind: str
    fact: msgspec.Raw
    # It waits to be acknowledged, but no longer tells anything of its command's state.
    is_report_only: bool = False

    def decoded(self) -> Fact:
        """Returns the fact; raises RecordBroken when it is none."""
        decoder = _FACT_DECODERS.get(self.kind)
        if decoder is None:
            raise RecordBroken(f"unknown fact {self.kind!r}")
        try:
            return decoder.decode(self.fact)
        except (msgspec.DecodeError, RecursionError) as error:
            raise RecordBroken(f"fact {self.kind!r}: {error}") from error


class ProcessBegan(msgspec.Struct, frozen=True, tag="process-began", tag_field="k"):
    """A script runs as this process; a restart ends what is left of it (V2-008)."""

    command_id: CommandId
    process: ProcessMark


class ProcessGone(msgspec.Struct, frozen=True, tag="process-gone", tag_field="k"):
    command_id: CommandId
    process: ProcessMark


class Acknowledged(msgspec.Struct, frozen=True, tag="acknowledged", tag_field="k"):
    """The coordinator has stored every report up to this number."""

    number: int


class Renumbered(msgspec.Struct, frozen=True, tag="renumbered", tag_field="k"):
    """The reports that wait are numbered anew from `first`: the coordinator knows a history that this file does not."""

    first: int


class Numbering(msgspec.Struct, frozen=True, tag="numbering", tag_field="k"):
    """The newest number that was given away; opens a compacted file."""

    last: int


class LastResult(msgspec.Struct, frozen=True, tag="last-result", tag_field="k"):
    """How the newest finished command of a deployment group ended: known longer than the command itself."""

    group_id: GroupId
    group_name: str
    deployment_id: DeploymentId
    status: EventStatus
    at: Instant
    lifecycle_event: str = ""
    """The last one that came to an end, and was not skipped (AG-470)."""


class Dropped(msgspec.Struct, frozen=True, tag="dropped", tag_field="k"):
    """Nothing will ask for this command again."""

    command_id: CommandId


Record = (
    Format
    | Received
    | CancelledAhead
    | Noted
    | ProcessBegan
    | ProcessGone
    | Acknowledged
    | Renumbered
    | Numbering
    | LastResult
    | Dropped
)

_FACT_KINDS: dict[type[Fact], str] = {
    CommandStarted: "command-started",
    EventStarted: "event-started",
    EventResumed: "event-resumed",
    ScriptStarted: "script-started",
    DownloadProgress: "download-progress",
    EventFinished: "event-finished",
    SegmentFinished: "segment-finished",
    CancelNoted: "cancel-noted",
}
_FACT_DECODERS: dict[str, msgspec.json.Decoder[Fact]] = {
    kind: msgspec.json.Decoder(fact_type) for fact_type, kind in _FACT_KINDS.items()
}
_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def noted(
    at: Instant, command_id: CommandId, number: int, fact: Fact, *, is_report_only: bool = False
) -> Noted:
    """Returns the record of a fact."""
    return Noted(
        at=at,
        command_id=command_id,
        number=number,
        kind=_FACT_KINDS[type(fact)],
        fact=msgspec.Raw(_encoded(fact)),
        is_report_only=is_report_only,
    )


def _encoded(fact: Fact) -> bytes:
    try:
        return _ENCODER.encode(fact)
    except UnicodeEncodeError:
        # Names of files need not be text; a result must be written down whatever it says (AG-454).
        return _ENCODER.encode(_readable(msgspec.to_builtins(fact)))


def _readable(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _readable(part) for key, part in value.items()}
    return value


def to_line(record: Record) -> bytes:
    """Returns the record as one line with its newline."""
    text = _ENCODER.encode(record)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def from_line(line: bytes) -> Record:
    """Returns the record of one line without its newline; raises RecordBroken."""
    checksum, _, text = line.partition(b" ")
    if len(checksum) != 8 or checksum != b"%08x" % zlib.crc32(text):
        raise RecordBroken("checksum does not match")
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RecordBroken(str(error)) from error
