"""The last changes of a rollout, kept so that a contradiction can be told with what led to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ferryman_coordinator.core.messages import Change, EventChanged, TargetChanged
from ferryman_coordinator.core.model import InstanceId, Instant

_KEPT = 10_000
"""Changes of all targets together; without their diagnostics, some 2 MB."""


class Story:
    """What happened lately, to whom. Starts anew when the rollout is restored."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: deque[tuple[InstanceId, Instant, str, str]] = deque(maxlen=_KEPT)

    def note(self, changes: Iterable[Change], now: Instant) -> None:
        entries = self._entries
        for change in changes:
            if isinstance(change, EventChanged):
                entries.append((change.instance_id, now, change.record.name, change.record.status))
            elif isinstance(change, TargetChanged):
                entries.append((change.record.instance_id, now, "target", change.record.status))

    def of(self, instance_id: InstanceId) -> list[str]:
        """The last changes of one target, oldest first."""
        return [
            f"{now}: {what} {status}" for whose, now, what, status in self._entries if whose == instance_id
        ]
