"""One target as the rollout holds it: what is stored of it, and the little more that can be worked out from that.

Mutable, and small: a rollout may hold 100,000 of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ferryman_coordinator.core.lifecycle import Route
from ferryman_coordinator.core.model import (
    CommandPhase,
    Diagnostics,
    EventRecord,
    EventStatus,
    InstanceHealth,
    InstanceId,
    Instant,
    LifecycleErrorCode,
    Member,
    TargetRecord,
    TargetStatus,
)

_MESSAGE_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a target failed, in the words of its lifecycle event's diagnostics; kept short, for messages."""

    lifecycle_event: str
    error_code: LifecycleErrorCode
    script_name: str
    message: str

    @classmethod
    def of(cls, lifecycle_event: str, diagnostics: Diagnostics) -> Failure:
        message = " ".join(diagnostics.message.split())
        if len(message) > _MESSAGE_LIMIT:
            message = message[: _MESSAGE_LIMIT - 1] + "…"
        return cls(lifecycle_event, diagnostics.error_code, diagnostics.script_name, message)


class Target:
    """The fields of a TargetRecord, and after them what is not stored."""

    __slots__ = (
        "attempt",
        "completed_at",
        "deadline",
        "event_started_at",
        "failed_by_silence",
        "failure",
        "instance_id",
        "instance_name",
        "is_cancelled",
        "lifecycle_event",
        "ordinal",
        "phase",
        "place",
        "silent_since",
        "started_at",
        "status",
        "step",
        "updated_at",
        "was_healthy",
        "zone",
        "zone_index",
    )

    def __init__(self, member: Member, ordinal: int, zone_index: int, now: Instant) -> None:
        self.instance_id = member.instance_id
        self.instance_name = member.name
        self.zone = member.zone
        self.ordinal = ordinal
        self.status = TargetStatus.PENDING
        self.was_healthy = member.instance_health is InstanceHealth.HEALTHY
        self.attempt = 1
        self.step = 0
        self.phase = CommandPhase.NONE
        self.is_cancelled = False
        self.lifecycle_event = ""
        self.deadline: Instant | None = None
        self.silent_since: Instant | None = None
        self.failed_by_silence = False
        self.started_at: Instant | None = None
        self.completed_at: Instant | None = None
        self.updated_at = now
        # Place of `zone` in the rollout's zones; 0 where zones do not matter.
        self.zone_index = zone_index
        # Place of `lifecycle_event` in its step.
        self.place = 0
        # When it started; None while it is still to start.
        self.event_started_at: Instant | None = None
        self.failure: Failure | None = None

    @classmethod
    def restore(
        cls, record: TargetRecord, zone_index: int, route: Route, events: Iterable[EventRecord]
    ) -> Target:
        """The same target again; of its events only the running and the failed ones matter."""
        target = cls.__new__(cls)
        for field in TargetRecord.__slots__:
            setattr(target, field, getattr(record, field))
        target.zone_index = zone_index
        target.place = route.places.get(record.lifecycle_event, (0, 0))[1]
        target.event_started_at = None
        target.failure = None
        for event in events:
            if event.name != record.lifecycle_event:
                continue
            if event.status is EventStatus.IN_PROGRESS:
                target.event_started_at = event.started_at
            elif event.status is EventStatus.FAILED and event.diagnostics is not None:
                target.failure = Failure.of(event.name, event.diagnostics)
        return target

    @property
    def is_running(self) -> bool:
        return self.status is TargetStatus.IN_PROGRESS

    @property
    def label(self) -> str:
        """Name and id, for messages."""
        if self.instance_name == self.instance_id or not self.instance_name:
            return str(self.instance_id)
        return f"{self.instance_name} ({self.instance_id})"

    def record(self) -> TargetRecord:
        """What is to be stored of it now."""
        return TargetRecord(
            instance_id=self.instance_id,
            instance_name=self.instance_name,
            zone=self.zone,
            ordinal=self.ordinal,
            status=self.status,
            was_healthy=self.was_healthy,
            attempt=self.attempt,
            step=self.step,
            phase=self.phase,
            is_cancelled=self.is_cancelled,
            lifecycle_event=self.lifecycle_event,
            deadline=self.deadline,
            silent_since=self.silent_since,
            failed_by_silence=self.failed_by_silence,
            started_at=self.started_at,
            completed_at=self.completed_at,
            updated_at=self.updated_at,
        )


class TargetRecords(Mapping[InstanceId, TargetRecord]):
    """The records of a rollout's targets, made when they are asked for."""

    def __init__(self, targets: Mapping[InstanceId, Target]) -> None:
        self._targets = targets

    def __getitem__(self, instance_id: InstanceId) -> TargetRecord:
        return self._targets[instance_id].record()

    def __iter__(self) -> Iterator[InstanceId]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)
