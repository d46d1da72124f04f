"""What operators want to know of the outbox."""

from __future__ import annotations

from dataclasses import dataclass, field

from ferryman_coordinator.store.queries.events import Backlog


@dataclass(slots=True)
class NoticeFigures:
    """`backlog` as it was when the courier last looked; the others since the start."""

    backlog: Backlog = field(default_factory=Backlog)
    delivered: int = 0
    # Attempts.
    failed: int = 0
