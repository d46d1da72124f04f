"""Which deployment of a group has its turn, and which must wait (CP-416, CP-419)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ferryman_coordinator.core.group_options import QueueMode
from ferryman_coordinator.core.model import Creator, DeploymentId, DeploymentStatus, Instant

_FIRST = (Creator.ROLLBACK, Creator.AUTO_UPDATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """An unfinished fleet deployment of a group."""

    deployment_id: DeploymentId
    status: DeploymentStatus
    creator: Creator
    created_at: Instant

    @property
    def is_queued(self) -> bool:
        return self.status is DeploymentStatus.QUEUED


def next_turn(unfinished: Sequence[Unfinished], turns: Collection[DeploymentId]) -> DeploymentId | None:
    """Who may go on now: nobody while one of the group runs, or was told to go on (`turns`).

    What the coordinator itself has made goes before what people have asked for, and that in the order of its creation.
    """
    if any(not one.is_queued or one.deployment_id in turns for one in unfinished):
        return None
    waiting = sorted(
        unfinished, key=lambda one: (one.creator not in _FIRST, one.created_at, one.deployment_id)
    )
    return waiting[0].deployment_id if waiting else None


def superseded(mode: QueueMode, unfinished: Sequence[Unfinished]) -> tuple[DeploymentId, ...]:
    """Those that a new deployment makes needless: what people have queued before it, where the newest one wins."""
    if mode is not QueueMode.NEWEST:
        return ()
    return tuple(one.deployment_id for one in unfinished if one.is_queued and one.creator is Creator.USER)
