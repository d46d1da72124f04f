"""The lifecycle events of an in-place deployment, and the path of a target as data (CP section 11.3).

A path is a tuple of steps: segments, which the agent runs by itself, and single events of the coordinator's own.
Nothing assumes how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ferryman_coordinator.core.model import (
    CoordinatorEvent,
    EventRecord,
    EventStatus,
    RolloutSpec,
    Segment,
    Step,
    TargetRecord,
)

IN_PLACE = (
    "BeforeBlockTraffic",
    "BlockTraffic",
    "AfterBlockTraffic",
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
    "BeforeAllowTraffic",
    "AllowTraffic",
    "AfterAllowTraffic",
)
"""In this order (CP-250)."""

TRAFFIC_EVENTS = frozenset(name for name in IN_PLACE if name.endswith("Traffic"))
"""Left out without a load balancer (CP-251)."""

COORDINATOR_EVENTS = frozenset({"BlockTraffic", "AllowTraffic"})
"""Run by the coordinator's traffic drivers, not by the agent."""

IGNORABLE_FAILURES = ("BeforeBlockTraffic", "AfterBlockTraffic", "ApplicationStop")
"""What `ignore_application_stop_failures` is about (CP-215)."""


def in_place_path(*, with_traffic_control: bool = False) -> tuple[Step, ...]:
    """What an in-place target goes through: one segment of seven events, or five steps around a load balancer."""
    names = [name for name in IN_PLACE if with_traffic_control or name not in TRAFFIC_EVENTS]
    path: list[Step] = []
    for is_own, run in groupby(names, COORDINATOR_EVENTS.__contains__):
        if is_own:
            path.extend(CoordinatorEvent(name) for name in run)
        else:
            path.append(Segment(tuple(run)))
    return tuple(path)


def termination_path() -> tuple[Step, ...]:
    """What is left for an instance that ends: to stop what runs there (CP-406).

    Without a load balancer there is no traffic to take away first.
    """
    return (Segment(("ApplicationStop",)),)


def event_names(path: Iterable[Step]) -> tuple[str, ...]:
    """Every lifecycle event of a path, in order."""
    return tuple(
        name for step in path for name in (step.events if isinstance(step, Segment) else (step.name,))
    )


def ignorable_failures(spec: RolloutSpec) -> tuple[str, ...]:
    """Events after whose failure a target of this deployment goes on (CP-215, CP-216)."""
    if not spec.ignore_application_stop_failures:
        return ()
    return tuple(name for name in event_names(spec.path) if name in IGNORABLE_FAILURES)


def complete(
    path: Iterable[Step], target: TargetRecord, stored: Iterable[EventRecord]
) -> tuple[EventRecord, ...]:
    """All events of a target, in order, for those who show it: the stored ones, and what follows for the others."""
    known = {record.name: record for record in stored}
    if target.status.is_terminal:
        status, ended_at = EventStatus.SKIPPED, target.completed_at
    else:
        status, ended_at = EventStatus.PENDING, None
    return tuple(
        known.get(name) or EventRecord(name=name, status=status, ended_at=ended_at)
        for name in event_names(path)
    )


class Route:
    """A path made ready for walking: the events of each step, and the place of each event.

    Raises ValueError for a path that cannot be walked: without events, with an event twice, or with an event of the
    coordinator's own, which this version represents but has no driver for.
    """

    __slots__ = ("places", "steps")

    def __init__(self, path: tuple[Step, ...]) -> None:
        self.steps = tuple(_segment_events(step) for step in path)
        self.places = {
            name: (step, place) for step, names in enumerate(self.steps) for place, name in enumerate(names)
        }
        if not self.steps or not all(self.steps):
            raise ValueError("a path needs a step, and each segment a lifecycle event")
        if len(self.places) != sum(map(len, self.steps)):
            raise ValueError("a path holds each lifecycle event once")

    def rest(self, step: int, place: int) -> tuple[str, ...]:
        """The events after this one, of later steps too."""
        later = (name for names in self.steps[step + 1 :] for name in names)
        return (*self.steps[step][place + 1 :], *later)


def _segment_events(step: Step) -> tuple[str, ...]:
    if isinstance(step, CoordinatorEvent):
        raise ValueError(f"nothing here can carry out {step.name}: leave traffic control out")
    return step.events
