"""What the engine can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from ferryman_coordinator.core.model import Timers


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """`timers` and `max_targets` go into the snapshot of each new deployment; durations in milliseconds."""

    timers: Timers = field(default_factory=Timers)
    # Targets of one deployment (CP-229).
    max_targets: int = 1_000
    # Unfinished deployments of the whole coordinator (CP-226).
    max_deployments: int = 1_300
    # Instances of all running deployments together; what exceeds it waits in Queued (CP-420).
    max_instances: int = 1_000
    # While something is done for an instance that an autoscaler waits for (CP-399, CP-408).
    scaling_heartbeat_ms: int = 5 * 60_000
    # Instances that fetch the bundle of one deployment before their turn (D7); 0 switches it off.
    prefetch_concurrency: int = 100
    # A prefetch that was not answered by then no longer takes a place.
    prefetch_patience_ms: int = 10 * 60_000
    # Download addresses are signed anew for orders made later than this after the last signing.
    description_lifetime_ms: int = 60 * 60_000
    # Events that one decision round takes from an inbox: what waits longer goes into the next transaction.
    round_size: int = 500
    # Pauses between attempts to store a round while the database cannot be written; the last one repeats.
    retry_ms: tuple[int, ...] = (100, 300, 1_000, 3_000)
