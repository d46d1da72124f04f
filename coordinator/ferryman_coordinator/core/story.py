"""The last changes of a rollout, kept so that a contradiction can be told with what led to it."""

from __future__ import annotations

from collections import deque

from ferryman_coordinator.core.messages import Change, EventChanged, TargetChanged
from ferryman_coordinator.core.model import InstanceId, Instant

_KEPT = 2_000
"""Calls whose changes are kept, of all targets together."""

_KEPT_OF_ONE = 50
"""Changes kept of a single call: the start and the end of a large fleet come with very many."""


class Story:
    """What happened lately, to whom. Starts anew when the rollout is restored."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: deque[tuple[Instant, tuple[Change, ...]]] = deque(maxlen=_KEPT)

    def note(self, changes: tuple[Change, ...], now: Instant) -> None:
        self._calls.append((now, changes[:_KEPT_OF_ONE]))

    def of(self, instance_id: InstanceId) -> list[str]:
        """The last changes of one target, oldest first."""
        told: list[str] = []
        for now, changes in self._calls:
            for change in changes:
                if isinstance(change, EventChanged) and change.instance_id == instance_id:
                    told.append(f"{now}: {change.record.name} {change.record.status}")
                elif isinstance(change, TargetChanged) and change.record.instance_id == instance_id:
                    told.append(f"{now}: target {change.record.status}, command {change.record.phase}")
        return told
