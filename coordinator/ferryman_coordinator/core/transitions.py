"""Which status may follow which, as tables (CP section 11). docs/states.md is drawn from them.

Statuses that CodeDeploy knows and this version never gives are not in the tables: Ready of a deployment, Ready and
Unknown of a target (what is outstanding is stored, so no target is ever lost sight of).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.model import DeploymentStatus, EventStatus, TargetStatus

S = TypeVar("S", DeploymentStatus, TargetStatus, EventStatus)


@dataclass(frozen=True, slots=True)
class Move(Generic[S]):
    """`before` None: how it begins. `when` says in a few words what causes the move."""

    before: S | None
    after: S
    when: str


class Machine(Generic[S]):
    """All moves of one kind of thing."""

    def __init__(self, title: str, *moves: Move[S]) -> None:
        self.title = title
        self.moves: tuple[Move[S], ...] = moves
        self._allowed: frozenset[tuple[S | None, S]] = frozenset((move.before, move.after) for move in moves)

    def allows(self, before: S | None, after: S) -> bool:
        return (before, after) in self._allowed

    def check(self, before: S | None, after: S, whose: str) -> None:
        """Raise InvariantBroken unless `whose` status may move so (CP-232, CP-245)."""
        if (before, after) not in self._allowed:
            raise InvariantBroken(f"{self.title} {whose} cannot go from {before} to {after}")


_D, _T, _E = DeploymentStatus, TargetStatus, EventStatus

DEPLOYMENT = Machine(
    "deployment",
    Move(None, _D.CREATED, "accepted"),
    Move(None, _D.QUEUED, "accepted while another one of its group is unfinished"),
    Move(_D.CREATED, _D.QUEUED, "running deployments leave no room for its instances"),
    Move(_D.QUEUED, _D.IN_PROGRESS, "its turn, room for it, and pre-flight passes"),
    Move(_D.QUEUED, _D.FAILED, "pre-flight fails, or its group is deleted"),
    Move(_D.QUEUED, _D.STOPPED, "stop, an alarm, or a newer one stands for it"),
    Move(_D.CREATED, _D.IN_PROGRESS, "pre-flight passes"),
    Move(_D.CREATED, _D.FAILED, "pre-flight fails, or its group is deleted"),
    Move(_D.CREATED, _D.STOPPED, "stop, or an alarm"),
    Move(_D.IN_PROGRESS, _D.BAKING, "zone finished, another follows, bake time"),
    Move(_D.BAKING, _D.IN_PROGRESS, "bake time over"),
    Move(_D.IN_PROGRESS, _D.SUCCEEDED, "every target final, enough healthy"),
    Move(_D.IN_PROGRESS, _D.FAILED, "too few healthy, run cap, or its group is deleted (after the drain)"),
    Move(_D.IN_PROGRESS, _D.STOPPED, "stop, or an alarm (after the drain)"),
    Move(_D.BAKING, _D.FAILED, "too few healthy, run cap, or its group is deleted"),
    Move(_D.BAKING, _D.STOPPED, "stop, or an alarm"),
)

TARGET = Machine(
    "target",
    Move(None, _T.PENDING, "targets resolved"),
    Move(_T.PENDING, _T.IN_PROGRESS, "its turn"),
    Move(_T.PENDING, _T.SKIPPED, "deployment ends before its turn"),
    Move(_T.PENDING, _T.FAILED, "instance gone before its turn"),
    Move(_T.IN_PROGRESS, _T.SUCCEEDED, "last event succeeded"),
    Move(_T.IN_PROGRESS, _T.FAILED, "event failed, timer expired, instance gone, or stopped"),
)

EVENT = Machine(
    "lifecycle event",
    Move(None, _E.PENDING, "target created"),
    Move(_E.PENDING, _E.IN_PROGRESS, "agent starts it"),
    Move(_E.PENDING, _E.SKIPPED, "earlier event failed, or target stopped or skipped"),
    Move(_E.PENDING, _E.FAILED, "start timer expired, command refused, or instance gone"),
    Move(_E.IN_PROGRESS, _E.SUCCEEDED, "scripts exited 0, or none configured"),
    Move(_E.IN_PROGRESS, _E.FAILED, "script failed, run timer expired, agent restarted, or instance gone"),
)
