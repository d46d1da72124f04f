"""Counted since the engine was made; `observe` turns it into metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ferryman_coordinator.core.model import DeploymentStatus


@dataclass(slots=True)
class EngineStatistics:
    created: int = 0
    # By their final status.
    ended: Counter[DeploymentStatus] = field(default_factory=Counter)
    rollbacks: int = 0
    # Decision rounds that stored something, and what they took from the inboxes.
    rounds: int = 0
    events: int = 0
    orders: int = 0
    # Reports that contradict what is known of their target.
    contradictions: int = 0
    # Deployments that were given up because of a fault in the coordinator.
    broken: int = 0
    # Attempts to store a round that found no database.
    store_retries: int = 0
