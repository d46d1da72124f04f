"""What one call of the core asks for, while it is being put together."""

from __future__ import annotations

from ferryman_coordinator.core.messages import Change, Command, EventChanged, TargetChanged
from ferryman_coordinator.core.model import EventRecord, Instant
from ferryman_coordinator.core.target import Target


class Draft:
    """Changes and commands in the order in which they came up, all of them at one moment."""

    __slots__ = ("changes", "commands", "now")

    def __init__(self, now: Instant) -> None:
        self.now = now
        self.changes: list[Change] = []
        self.commands: list[Command] = []

    def target(self, target: Target) -> None:
        """Note a target as it is now (CP-248)."""
        target.updated_at = self.now
        self.changes.append(TargetChanged(record=target.record()))

    def event(self, target: Target, record: EventRecord) -> None:
        """Note a lifecycle event of a target."""
        self.changes.append(EventChanged(instance_id=target.instance_id, record=record))
