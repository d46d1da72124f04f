"""What operations need of the engine, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ferryman_coordinator.core.model import GroupId, InstanceId


class ScopeEnder(Protocol):
    """Ends the deployments of what is deleted."""

    async def end_scope(self, group_ids: Sequence[GroupId], code: str) -> None:
        """End every unfinished deployment of these groups with `code`, and return once that is stored."""
        ...


class Departures(Protocol):
    """Hears of instances that will not come back."""

    async def instance_gone(self, instance_id: InstanceId, reason: str, *, may_finish: bool = False) -> None:
        """`reason` completes "instance web-1 …"; with `may_finish` what runs on it goes on to its end."""
        ...
