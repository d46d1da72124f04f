"""Events into the rollout; changes and commands out of it.

Events are facts that happened, in the past tense. Changes are facts to store, in order, before anything is sent.
Commands are sent once the changes are stored, and may be sent again under the same id at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ferryman_coordinator.core.alarms import AlarmReading
from ferryman_coordinator.core.hot import hot_dataclass
from ferryman_coordinator.core.model import (
    CommandId,
    Diagnostics,
    EventRecord,
    EventStatus,
    FileExistsBehavior,
    InstanceId,
    Instant,
    RevisionLocation,
    RolloutRecord,
    TargetRecord,
)


class Disposition(Enum):
    """What the agent did with a command when it received it."""

    STARTED = "started"
    QUEUED = "queued"
    KNOWN = "known"
    REFUSED = "refused"


# Events ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAcked:
    instance_id: InstanceId
    command_id: CommandId
    disposition: Disposition
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStarted:
    """A queued command got its turn."""

    instance_id: InstanceId
    command_id: CommandId


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStarted:
    instance_id: InstanceId
    command_id: CommandId
    lifecycle_event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFinished:
    instance_id: InstanceId
    command_id: CommandId
    lifecycle_event: str
    status: EventStatus
    diagnostics: Diagnostics


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFinished:
    """`status` is Succeeded, Failed, or Skipped where the command was cancelled before or between its events."""

    instance_id: InstanceId
    command_id: CommandId
    status: EventStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConnected:
    instance_id: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSilent:
    """Its stream ended, or its heartbeats stopped."""

    instance_id: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGone:
    """Terminated, deregistered or replaced: it will not come back (CP-306).

    `reason` completes "instance web-1 …", for example "was deregistered". With `may_finish` what runs on it may go on
    to its end, and only what has not begun is failed: a deregistered instance is still there (CP-095). One that
    `is_reachable` is told to let its running event end, and to leave the rest (CP-409).
    """

    instance_id: InstanceId
    reason: str
    may_finish: bool = False
    is_reachable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    by: str
    auto_rollback: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeDeleted:
    """The application or group is gone; `code` is APPLICATION_MISSING or DEPLOYMENT_GROUP_MISSING."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmsRead:
    """One poll of the alarms that the deployment watches."""

    readings: tuple[AlarmReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Nothing happened but time."""


Event = (
    CommandAcked
    | CommandStarted
    | EventStarted
    | EventFinished
    | SegmentFinished
    | InstanceConnected
    | InstanceSilent
    | InstanceGone
    | StopRequested
    | ScopeDeleted
    | AlarmsRead
    | Tick
)


# Changes --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChanged:
    """The deployment's own record, whole."""

    record: RolloutRecord


@hot_dataclass(frozen=True, slots=True, kw_only=True)
class TargetChanged:
    """One target's record, whole. A terminal status is also the fact that health is derived from (CP-315)."""

    record: TargetRecord


@hot_dataclass(frozen=True, slots=True, kw_only=True)
class EventChanged:
    instance_id: InstanceId
    record: EventRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackOrdered:
    """Comes with the final RolloutChanged: the rollback deployment is created in the same transaction (CP-343)."""

    revision: RevisionLocation
    file_exists_behavior: FileExistsBehavior
    message: str


Change = RolloutChanged | TargetChanged | EventChanged | RollbackOrdered


# Commands -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSegment:
    """`ignorable_failures`: events after whose failure the agent goes on by itself (CP-215)."""

    instance_id: InstanceId
    command_id: CommandId
    events: tuple[str, ...]
    ignorable_failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSegment:
    """The running event ends by itself, the rest is skipped (D4)."""

    instance_id: InstanceId
    command_id: CommandId
    reason: str


Command = RunSegment | CancelSegment


@hot_dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one call of the core asks for."""

    changes: tuple[Change, ...] = ()
    commands: tuple[Command, ...] = ()
    # Call `handle(Tick(), now)` no later than this; None when nothing is due.
    wake_at: Instant | None = None
