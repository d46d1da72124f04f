"""The agents' stream: reports into events of the core, orders into messages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from weakref import WeakKeyDictionary

from ferryman.v1 import agents_pb2
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.api.mapping.values import diagnostics_from, location_to
from ferryman_coordinator.core.messages import (
    CommandAcked,
    CommandStarted,
    EventFinished,
    EventStarted,
    SegmentFinished,
)
from ferryman_coordinator.core.model import CommandId, DeploymentId, InstanceId, Instant
from ferryman_coordinator.engine.logs import LogLine
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.links.orders import (
    AckOrder,
    CancelOrder,
    CheckOrder,
    DeploymentDescription,
    DrainOrder,
    ForgetOrder,
    Order,
    PrefetchOrder,
    ReadLogOrder,
    SegmentOrder,
)
from ferryman_coordinator.operations.script_logs import LogPiece

AgentEvent = CommandAcked | CommandStarted | EventStarted | EventFinished | SegmentFinished

_REASON = 16 * 1024

_LINES = 1_000
"""Of one message; the agent sends far fewer."""
_LINE = 4 * 1024 + 64
"""Characters: what an agent leaves of a line, with its remark that it is cut."""
_SCRIPT_NAME = 1024
_ID = 256
"""Longest id of a command or deployment, and name of a lifecycle event, that is looked at."""
_LATEST = 253_402_300_799_999
"""The last millisecond that has a date."""


def event_from(instance_id: InstanceId, report: agents_pb2.Report) -> AgentEvent | None:
    """The event that a report tells of; None for what only watchers care about. Raises Invalid."""
    command_id = command_id_from(report.command_id)
    match report.WhichOneof("fact"):
        case "command_started":
            return CommandStarted(instance_id=instance_id, command_id=command_id)
        case "event_started":
            return EventStarted(
                instance_id=instance_id,
                command_id=command_id,
                lifecycle_event=lifecycle_event_from(report.event_started.lifecycle_event),
            )
        case "event_finished":
            return EventFinished(
                instance_id=instance_id,
                command_id=command_id,
                lifecycle_event=lifecycle_event_from(report.event_finished.lifecycle_event),
                status=words.event_statuses.word(report.event_finished.status),
                diagnostics=diagnostics_from(report.event_finished.diagnostics),
            )
        case "segment_finished":
            return SegmentFinished(
                instance_id=instance_id,
                command_id=command_id,
                status=words.event_statuses.word(report.segment_finished.status),
            )
        case _:
            return None


def ack_from(instance_id: InstanceId, ack: agents_pb2.CommandAck) -> CommandAcked:
    """Raises Invalid."""
    return CommandAcked(
        instance_id=instance_id,
        command_id=command_id_from(ack.command_id),
        disposition=words.dispositions.word(ack.disposition),
        reason=ack.reason[:_REASON],
    )


def command_id_from(text: str) -> CommandId:
    """Raises Invalid for one that is longer than any: it would be kept, compared and logged."""
    return CommandId(_short(text, "command id"))


def deployment_id_from(text: str) -> DeploymentId:
    """Raises Invalid for one that is longer than any."""
    return DeploymentId(_short(text, "deployment id"))


def lifecycle_event_from(text: str) -> str:
    """Raises Invalid for one that is longer than any."""
    return _short(text, "lifecycle event")


def script_name_from(text: str) -> str:
    """The beginning of it: it is only shown."""
    return text[:_SCRIPT_NAME]


def log_lines_from(instance_id: InstanceId, message: agents_pb2.LogLines) -> Iterator[LogLine]:
    """What was left out before the message is told with its first line. Raises Invalid at once."""
    lifecycle_event = lifecycle_event_from(message.lifecycle_event)
    script_name = script_name_from(message.script_name)
    # Made as they are taken: a message of 4 MiB could hold a million.
    left_out = max(0, len(message.lines) - _LINES)
    return (
        LogLine(
            instance_id=instance_id,
            lifecycle_event=lifecycle_event,
            script_name=script_name,
            at=Instant(min(max(line.at, 0), _LATEST)),
            is_stderr=line.is_stderr,
            text=line.text[:_LINE],
            dropped_before=message.dropped + left_out if number == left_out else 0,
        )
        for number, line in enumerate(islice(message.lines, left_out, None), start=left_out)
    )


def _short(text: str, what: str) -> str:
    if len(text) > _ID:
        raise Invalid("NameTooLong", f"a {what} has at most {_ID} characters, not {len(text)}")
    return text


class OrderMapper:
    """Maps orders; a deployment's description only once, since the engine gives the same object to all its targets."""

    def __init__(self) -> None:
        # By identity, and for as long as the engine has the description: its address and headers are secrets.
        self._mapped: WeakKeyDictionary[DeploymentDescription, agents_pb2.DeploymentDescription] = (
            WeakKeyDictionary()
        )

    def message(self, order: Order) -> agents_pb2.ConnectResponse:
        match order:
            case SegmentOrder():
                segment = agents_pb2.RunSegment(
                    command_id=order.command_id,
                    deployment=self._description(order.deployment),
                    lifecycle_events=order.lifecycle_events,
                    event_timeout_seconds=order.event_timeout_seconds,
                    ignorable_failures=sorted(order.ignorable_failures),
                )
                return agents_pb2.ConnectResponse(run_segment=segment)
            case CancelOrder():
                cancel = agents_pb2.Cancel(command_id=order.command_id, reason=order.reason, kill=order.kill)
                return agents_pb2.ConnectResponse(cancel=cancel)
            case PrefetchOrder():
                prefetch = agents_pb2.Prefetch(deployment=self._description(order.deployment))
                return agents_pb2.ConnectResponse(prefetch=prefetch)
            case ForgetOrder():
                return agents_pb2.ConnectResponse(forget=agents_pb2.Forget(deployment_id=order.deployment_id))
            case AckOrder():
                return agents_pb2.ConnectResponse(report_ack=agents_pb2.ReportAck(number=order.number))
            case DrainOrder():
                drain = agents_pb2.Drain(within_ms=order.within_ms, reason=order.reason)
                return agents_pb2.ConnectResponse(drain=drain)
            case CheckOrder():
                check = agents_pb2.CheckInstalled(
                    check_id=order.check_id,
                    deployment_group_ids=order.group_ids,
                    with_digests=order.with_digests,
                )
                return agents_pb2.ConnectResponse(check_installed=check)
            case ReadLogOrder():
                read = agents_pb2.ReadScriptLog(
                    read_id=order.read_id,
                    deployment_group_id=order.group_id,
                    deployment_id=order.deployment_id,
                    offset=order.offset,
                )
                return agents_pb2.ConnectResponse(read_script_log=read)

    def _description(self, description: DeploymentDescription) -> agents_pb2.DeploymentDescription:
        known = self._mapped.get(description)
        if known is None:
            known = self._mapped[description] = _description_to(description)
        return known


def _description_to(description: DeploymentDescription) -> agents_pb2.DeploymentDescription:
    return agents_pb2.DeploymentDescription(
        deployment_id=description.deployment_id,
        deployment_group_id=description.deployment_group_id,
        deployment_group_name=description.deployment_group_name,
        application_name=description.application_name,
        deployment_creator=description.deployment_creator.value,
        deployment_type=description.deployment_type,
        app_spec_file_name=description.app_spec_file_name,
        file_exists_behavior=words.file_exists.wire(description.file_exists_behavior),
        adopt=description.adopt,
        revision=location_to(description.revision),
        download_url=description.download.url,
        download_headers=description.download.headers,
        last_successful_deployment_id=description.last_successful_deployment_id,
        most_recent_deployment_id=description.most_recent_deployment_id,
    )


def log_piece_from(piece: agents_pb2.ScriptLogPiece) -> LogPiece:
    """What an agent sent of a script log."""
    return LogPiece(
        content=piece.content,
        next_offset=piece.next_offset,
        is_last=piece.is_last,
        error=piece.error[:_LINE],
    )
