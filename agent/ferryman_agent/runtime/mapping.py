"""Protobuf and the agent's own values, both ways; nowhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import assert_never

from ferryman.channel import PROTOCOL_VERSION
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import types_pb2 as types
from ferryman_agent.core.drift import FileDrift, InstalledGroup
from ferryman_agent.core.facts import (
    CancelNoted,
    CommandStarted,
    DownloadProgress,
    EventFinished,
    EventResumed,
    EventStarted,
    ScriptStarted,
    SegmentFinished,
)
from ferryman_agent.core.messages import (
    BundleType,
    CommandId,
    DeploymentDescription,
    DeploymentId,
    Diagnostics,
    EventStatus,
    FileExistsBehavior,
    GitHubCommit,
    GroupId,
    Instant,
    ResourceUsage,
    RevisionSource,
    S3Object,
    ScriptErrorCode,
    Segment,
)
from ferryman_agent.hooks.contract import OutputLine, Stream
from ferryman_agent.host.facts import Facts
from ferryman_agent.runtime.commands import Answer, Disposition
from ferryman_agent.runtime.live_lines import Lines
from ferryman_agent.runtime.outbox import Report
from ferryman_agent.runtime.whole_logs import LogPiece

_BUNDLE_TYPES = {
    types.BUNDLE_TYPE_ZIP: BundleType.ZIP,
    types.BUNDLE_TYPE_TAR: BundleType.TAR,
    types.BUNDLE_TYPE_TGZ: BundleType.TGZ,
}
_BEHAVIORS = {
    types.FILE_EXISTS_BEHAVIOR_UNSPECIFIED: FileExistsBehavior.DISALLOW,
    types.FILE_EXISTS_BEHAVIOR_DISALLOW: FileExistsBehavior.DISALLOW,
    types.FILE_EXISTS_BEHAVIOR_OVERWRITE: FileExistsBehavior.OVERWRITE,
    types.FILE_EXISTS_BEHAVIOR_RETAIN: FileExistsBehavior.RETAIN,
}
_DISPOSITIONS = {
    Disposition.STARTED: pb.COMMAND_DISPOSITION_STARTED,
    Disposition.QUEUED: pb.COMMAND_DISPOSITION_QUEUED,
    Disposition.KNOWN: pb.COMMAND_DISPOSITION_KNOWN,
    Disposition.REFUSED: pb.COMMAND_DISPOSITION_REFUSED,
}
_STATUSES = {
    EventStatus.SUCCEEDED: types.LIFECYCLE_EVENT_STATUS_SUCCEEDED,
    EventStatus.FAILED: types.LIFECYCLE_EVENT_STATUS_FAILED,
    EventStatus.SKIPPED: types.LIFECYCLE_EVENT_STATUS_SKIPPED,
}
# The wire has the public API's six codes (AG-463); the agent's own two are told by the detail code.
_DRIFTS = {
    FileDrift.MISSING: pb.FILE_DRIFT_MISSING,
    FileDrift.CONTENT: pb.FILE_DRIFT_CONTENT,
    FileDrift.ATTRIBUTES: pb.FILE_DRIFT_ATTRIBUTES,
    FileDrift.KIND: pb.FILE_DRIFT_KIND,
}
_NAMES_BYTES = 1 << 20
"""Of the names of changed files in one message; a message may have four times as much."""
_ERROR_LENGTH = 1024
_MESSAGE_LENGTH = 32 * 1024
_ERROR_CODES = {
    ScriptErrorCode.SUCCESS: types.LIFECYCLE_ERROR_CODE_SUCCESS,
    ScriptErrorCode.SCRIPT_MISSING: types.LIFECYCLE_ERROR_CODE_SCRIPT_MISSING,
    ScriptErrorCode.SCRIPT_NOT_EXECUTABLE: types.LIFECYCLE_ERROR_CODE_SCRIPT_NOT_EXECUTABLE,
    ScriptErrorCode.SCRIPT_TIMED_OUT: types.LIFECYCLE_ERROR_CODE_SCRIPT_TIMED_OUT,
    ScriptErrorCode.SCRIPT_FAILED: types.LIFECYCLE_ERROR_CODE_SCRIPT_FAILED,
    ScriptErrorCode.UNKNOWN_ERROR: types.LIFECYCLE_ERROR_CODE_UNKNOWN_ERROR,
    ScriptErrorCode.OUTPUTS_LEFT_OPEN: types.LIFECYCLE_ERROR_CODE_UNKNOWN_ERROR,
    ScriptErrorCode.FAILED_AFTER_RESTART: types.LIFECYCLE_ERROR_CODE_UNKNOWN_ERROR,
}


def segment(message: pb.RunSegment, base_url: str) -> Segment:
    """Returns the command; `base_url` is where paths without a host are served (`scheme://host:port`)."""
    return Segment(
        command_id=CommandId(message.command_id),
        deployment=deployment(message.deployment, base_url),
        lifecycle_events=tuple(message.lifecycle_events),
        event_timeout_seconds=message.event_timeout_seconds or 3600,
        ignorable_failures=frozenset(message.ignorable_failures),
    )


def deployment(message: pb.DeploymentDescription, base_url: str) -> DeploymentDescription:
    """Returns what the agent is told of a deployment, with the defaults of AG section 5.8."""
    is_known = message.file_exists_behavior in _BEHAVIORS
    return DeploymentDescription(
        deployment_id=_short_id(message.deployment_id),
        deployment_group_id=GroupId(message.deployment_group_id),
        deployment_group_name=message.deployment_group_name,
        application_name=message.application_name,
        deployment_creator=message.deployment_creator or "user",
        deployment_type=message.deployment_type or "IN_PLACE",
        app_spec_file_name=message.app_spec_file_name or "appspec.yml",
        file_exists_behavior=_BEHAVIORS.get(message.file_exists_behavior, FileExistsBehavior.DISALLOW),
        adopt=message.adopt,
        unknown_option="" if is_known else f"file exists behavior {message.file_exists_behavior}",
        revision=_revision(message, base_url),
        last_successful_deployment_id=message.last_successful_deployment_id,
        most_recent_deployment_id=message.most_recent_deployment_id,
        download_headers=tuple(sorted(message.download_headers.items())),
    )


def _short_id(text: str) -> DeploymentId:
    """Returns the last part of an ARN, and any other id as it is (V2-134)."""
    return DeploymentId(re.split(r"[:/]", text)[-1] if text.startswith("arn:") else text)


def _revision(message: pb.DeploymentDescription, base_url: str) -> RevisionSource:
    location = message.revision
    bundle, address, s3, github = location.bundle, location.url, location.s3, location.github
    source = location.WhichOneof("source")
    # One of them is set at most; the others are empty, and so is their type.
    kind = bundle.bundle_type or address.bundle_type or s3.bundle_type or github.bundle_type
    url = message.download_url or address.url
    return RevisionSource(
        url=base_url + url if url.startswith("/") else url,
        # What is not said shows when the archive is opened. GitHub packs as tar unless zip is asked for (AG-229).
        bundle_type=_BUNDLE_TYPES.get(kind, BundleType.TAR if source == "github" else BundleType.ZIP),
        sha256=bundle.sha256 or address.sha256 or s3.sha256 or None,
        size_bytes=bundle.size_bytes if source == "bundle" else None,
        s3=S3Object(bucket=s3.bucket, key=s3.key, version=s3.version, etag=s3.e_tag.strip('"'))
        if source == "s3"
        else None,
        github=GitHubCommit(
            repository=github.repository, commit_id=github.commit_id, token_name=github.token_name
        )
        if source == "github"
        else None,
    )


def facts(values: Facts) -> pb.Facts:
    """Returns what the host tells about itself."""
    return pb.Facts(
        host_name=values.host_name,
        os=values.os,
        os_version=values.os_version,
        kernel=values.kernel,
        architecture=values.architecture,
        agent_version=values.agent_version,
        addresses=values.addresses,
        boot_id=values.boot_id,
        cpu_count=values.cpu_count,
        memory_bytes=values.memory_bytes,
        disk_free_bytes=values.disk_free_bytes,
        disk_total_bytes=values.disk_total_bytes,
    )


def hello(
    values: Facts, *, open_commands: list[CommandId], acknowledged: int, now: Instant
) -> pb.ConnectRequest:
    """Returns the first message of a stream."""
    return pb.ConnectRequest(
        hello=pb.Hello(
            protocol_version=PROTOCOL_VERSION,
            agent_version=values.agent_version,
            facts=facts(values),
            open_command_ids=open_commands,
            last_acknowledged_report=acknowledged,
            now=now,
        )
    )


def command_ack(answer: Answer) -> pb.ConnectRequest:
    """Returns the answer to a command."""
    ack = pb.CommandAck(
        command_id=answer.command_id,
        disposition=_DISPOSITIONS[answer.disposition],
        reason=_text(answer.reason),
    )
    return pb.ConnectRequest(command_ack=ack)


def prefetch_done(deployment_id: DeploymentId, error: str) -> pb.ConnectRequest:
    """Returns the end of a prefetch; `error` is empty when the archive is on disk and verified."""
    return pb.ConnectRequest(prefetch_done=pb.PrefetchDone(deployment_id=deployment_id, error=_text(error)))


def installed_state(check_id: str, states: Sequence[InstalledGroup]) -> pb.ConnectRequest:
    """Returns what checks of installed files found; fewer names where many groups have long ones."""
    room = _NAMES_BYTES // max(1, len(states))
    groups = [_installed_group(state, room) for state in states]
    return pb.ConnectRequest(installed_state=pb.InstalledState(check_id=check_id, groups=groups))


def script_log_piece(read_id: str, piece: LogPiece) -> pb.ConnectRequest:
    """Returns the answer to ReadScriptLog."""
    message = pb.ScriptLogPiece(
        read_id=read_id,
        content=piece.content,
        next_offset=piece.next_offset,
        is_last=piece.is_last,
        error=_bounded(piece.error),
    )
    return pb.ConnectRequest(script_log_piece=message)


def _installed_group(state: InstalledGroup, room: int) -> pb.InstalledGroup:
    message = pb.InstalledGroup(
        deployment_group_id=state.group_id,
        deployment_id=state.deployment_id,
        files_checked=state.files_checked,
        files_drifted=state.files_drifted,
        checked_at=state.checked_at,
        with_digests=state.with_digests,
        archive_whole=state.archive_whole,
        bundle_whole=state.bundle_whole,
        error=_text(state.error)[:_ERROR_LENGTH],
    )
    for one in state.drifted:
        path = _text(one.path)
        room -= len(path.encode())
        if room < 0:
            break
        message.drifted.add(path=path, drift=_DRIFTS[one.drift])
    return message


def goodbye(reason: str, *, is_host_going_down: bool) -> pb.ConnectRequest:
    """Returns the last message of a stream that the agent ends."""
    return pb.ConnectRequest(goodbye=pb.Goodbye(reason=reason, host_going_down=is_host_going_down))


def log_lines(lines: Lines) -> pb.ConnectRequest:
    """Returns live output of a script."""
    return pb.ConnectRequest(
        log_lines=pb.LogLines(
            command_id=lines.command_id,
            lifecycle_event=lines.lifecycle_event,
            script_name=_text(lines.script_name),
            first_line=lines.first_line,
            lines=[_line(line) for line in lines.lines],
            dropped=lines.dropped,
        )
    )


def report(value: Report) -> pb.ConnectRequest:
    """Returns a fact about a command."""
    message = pb.Report(number=value.number, command_id=value.command_id, at=value.at)
    fact = value.fact
    match fact:
        case CommandStarted():
            message.command_started.SetInParent()
        case EventStarted():
            message.event_started.lifecycle_event = fact.lifecycle_event
        case ScriptStarted():
            message.script_started.lifecycle_event = fact.lifecycle_event
            message.script_started.script_name = _text(fact.script_name)
        case EventFinished():
            message.event_finished.lifecycle_event = fact.lifecycle_event
            message.event_finished.status = _STATUSES[fact.status]
            message.event_finished.diagnostics.CopyFrom(_diagnostics(fact.diagnostics))
        case SegmentFinished():
            message.segment_finished.status = _STATUSES[fact.status]
        case DownloadProgress():
            message.download_progress.received_bytes = fact.received_bytes
            message.download_progress.total_bytes = fact.total_bytes
        case EventResumed() | CancelNoted():
            raise ValueError(f"{type(fact).__name__} is never reported")
        case _:
            assert_never(fact)
    return pb.ConnectRequest(report=message)


def _usage(value: ResourceUsage) -> types.ResourceUsage:
    return types.ResourceUsage(
        peak_memory_bytes=value.peak_memory_bytes,
        cpu_ms=value.cpu_ms,
        read_bytes=value.read_bytes,
        written_bytes=value.written_bytes,
        out_of_memory_kills=value.out_of_memory_kills,
    )


def _diagnostics(value: Diagnostics) -> types.Diagnostics:
    message = types.Diagnostics(
        error_code=_ERROR_CODES[value.error_code],
        script_name=_text(value.script_name),
        message=_bounded(value.message),
        log_tail=_text(value.log),
        detail_code=value.detail_code or _own_code(value.error_code),
        duration_ms=value.duration_ms,
        host_log_path=_text(value.host_log_path),
        usage=None if value.usage is None else _usage(value.usage),
        dropped_lines=value.dropped_lines,
        script_index=value.script_index,
        revision_deployment_id=value.revision_deployment_id,
    )
    if value.exit_status is not None:
        message.exit_status = value.exit_status
    if value.signal is not None:
        message.signal = value.signal
    return message


def _own_code(code: ScriptErrorCode) -> str:
    return (
        code.name if code in (ScriptErrorCode.OUTPUTS_LEFT_OPEN, ScriptErrorCode.FAILED_AFTER_RESTART) else ""
    )


def _line(line: OutputLine) -> pb.LogLine:
    return pb.LogLine(is_stderr=line.stream is Stream.STDERR, text=_text(line.text), at=line.at)


def _bounded(text: str) -> str:
    """A message can name every one of a million files; a result must arrive all the same (AG-098)."""
    if len(text) <= _MESSAGE_LENGTH:
        return _text(text)
    return f"{_text(text[:_MESSAGE_LENGTH])} … ({len(text) - _MESSAGE_LENGTH} characters left out, see the agent's log)"


def _text(text: str) -> str:
    """Names of files need not be text; what is sent must be, whatever it costs (AG-454)."""
    return text.encode(errors="backslashreplace").decode()
