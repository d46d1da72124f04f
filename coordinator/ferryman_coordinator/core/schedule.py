"""Who is deployed to next, and how many at once (CP section 13).

A sliding window, not batches: whenever a target ends, as many of the next ones start as the minimum of healthy
instances allows. Everything is kept in running tallies, so that a decision does not depend on the number of targets.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ferryman_coordinator.core.model import (
    Creator,
    DeploymentId,
    HealthyHostsType,
    InstanceHealth,
    Instant,
    Member,
    MinimumHealthyHosts,
    RevisionHealth,
    RolloutSpec,
    TargetStatus,
    ZonalConfig,
)
from ferryman_coordinator.core.target import Target

_REVISION_RANK = {RevisionHealth.UNKNOWN: 1, RevisionHealth.OLD: 2, RevisionHealth.CURRENT: 3}


def resolve_minimum(minimum: MinimumHealthyHosts, counted: int) -> int:
    """M for that many counted instances; percentages round up (CP-266, CP-267, CP-268)."""
    if minimum.type is HealthyHostsType.HOST_COUNT:
        return minimum.value
    if minimum.type is HealthyHostsType.FLEET_PERCENT:
        return -(-counted * minimum.value // 100)
    return max(counted - minimum.value, 0)


def minimum_for(spec: RolloutSpec, counted: int) -> int:
    """M of the fleet: that of the configuration, or 0 for a fleet of one that asks to be deployed to anyway (A7)."""
    if counted == 1 and spec.options.single_as_one_at_a_time:
        return 0
    return resolve_minimum(spec.minimum, counted)


def rank(member: Member) -> int:
    """Class in the order of start: Unhealthy first, then by revision Unknown, Old, Current (CP-277)."""
    if member.instance_health is InstanceHealth.UNHEALTHY:
        return 0
    return _REVISION_RANK[member.revision_health]


def start_order(members: Iterable[Member], deployment_id: DeploymentId, *, by_zone: bool) -> list[Member]:
    """Members in the order of start; inside a class a shuffle that depends on the deployment alone (CP-278, CP-297)."""

    def key(member: Member) -> tuple[str, int, bytes]:
        mixed = hashlib.sha256(f"{deployment_id}/{member.instance_id}".encode()).digest()
        return (member.zone if by_zone else "", rank(member), mixed)

    return sorted(members, key=key)


class Tally:
    """Counts of the fleet, or of one of its zones; `counted` (N) and `minimum` (M) never change.

    With `requires_all` a single failure is too many (K6); how many go at once is still a matter of M.
    """

    __slots__ = ("available", "by_status", "counted", "minimum", "requires_all")

    def __init__(self, counted: int, minimum: int, requires_all: bool = False) -> None:
        self.counted = counted
        self.minimum = minimum
        self.requires_all = requires_all
        # Counted, healthy and not in progress (avail).
        self.available = 0
        self.by_status = dict.fromkeys(TargetStatus, 0)

    @property
    def pending(self) -> int:
        return self.by_status[TargetStatus.PENDING]

    @property
    def in_progress(self) -> int:
        return self.by_status[TargetStatus.IN_PROGRESS]

    @property
    def succeeded(self) -> int:
        return self.by_status[TargetStatus.SUCCEEDED]

    @property
    def failed(self) -> int:
        return self.by_status[TargetStatus.FAILED]

    @property
    def concurrency(self) -> int:
        """C: most targets in progress at once (CP-269)."""
        return max(self.counted - self.minimum, 0)

    @property
    def is_exhausted(self) -> bool:
        """Work is left, and no more failures can be afforded: the abort test (CP-281, CP-282)."""
        return self.pending > 0 and (self.is_spoilt or self.counted - self.failed <= self.minimum)

    @property
    def is_kept(self) -> bool:
        """The minimum holds if nothing else fails: the final test is about this (CP-284)."""
        return self.counted - self.failed >= self.minimum and not self.is_spoilt

    @property
    def is_spoilt(self) -> bool:
        """One has failed, and all had to succeed."""
        return self.requires_all and self.failed > 0

    def may_start(self, is_healthy: bool) -> bool:
        """Whether one more may go in progress; an unhealthy one takes nothing from what is available (CP-272)."""
        if self.counted - self.failed - self.in_progress - 1 < self.minimum:
            return False
        return not is_healthy or self.available - 1 >= self.minimum

    def count(self, status: TargetStatus, was_healthy: bool, by: int) -> None:
        """One target of this status and start health more, or with -1 less."""
        self.by_status[status] += by
        if status is TargetStatus.SUCCEEDED or (
            was_healthy and (status is TargetStatus.PENDING or status is TargetStatus.SKIPPED)
        ):
            self.available += by


class Schedule:
    """The targets in the order of start, how far they have been started, and the tallies.

    `zones` is empty where zones do not matter; else targets start only in zone number `zone`.
    """

    __slots__ = ("_next", "fleet", "order", "zone", "zones")

    def __init__(
        self, spec: RolloutSpec, order: Sequence[Target], counted: int, zone_counted: Sequence[int]
    ) -> None:
        """`counted` and `zone_counted`: N and Nz; members that are no targets count as healthy (CP-302)."""
        self.order = order
        minimum = minimum_for(spec, counted)
        # Who rolls back wants as many instances as possible to have the old revision again.
        requires_all = spec.options.require_all and spec.creator is not Creator.ROLLBACK
        self.fleet = Tally(counted, minimum, requires_all)
        self.zones: list[Tally] = []
        self.zone = 0
        self._next = 0
        if spec.zonal is not None:
            per_zone = spec.zonal.minimum_per_zone
            alone = counted == 1 and spec.options.single_as_one_at_a_time
            self.zones = [
                Tally(count, 0 if alone else resolve_minimum(per_zone, count)) for count in zone_counted
            ]
        for tally in (self.fleet, *self.zones):
            tally.available = tally.counted
        for target in order:
            for tally in self._tallies(target):
                tally.available -= 1
                tally.count(target.status, target.was_healthy, 1)

    def moved(self, target: Target, before: TargetStatus) -> None:
        """A target has left status `before` for its present one."""
        for tally in self._tallies(target):
            tally.count(before, target.was_healthy, -1)
            tally.count(target.status, target.was_healthy, 1)

    def next_target(self) -> Target | None:
        """The first candidate, if it may start; the ones behind it wait even if they could (CP section 13.2)."""
        candidate = self.first_pending()
        if candidate is None or not self.fleet.may_start(candidate.was_healthy):
            return None
        if self.zones and not (
            candidate.zone_index == self.zone and self.zones[self.zone].may_start(candidate.was_healthy)
        ):
            return None
        return candidate

    def first_pending(self) -> Target | None:
        """The first target that has not started, of whatever zone."""
        order = self.order
        while self._next < len(order) and order[self._next].status is not TargetStatus.PENDING:
            self._next += 1
        return order[self._next] if self._next < len(order) else None

    def pending(self) -> Iterator[Target]:
        """All that have not started."""
        while (target := self.first_pending()) is not None:
            yield target
            self._next += 1

    def bake_seconds(self, zonal: ZonalConfig | None) -> int:
        """How long to watch the present zone before the next one starts (CP-140)."""
        if zonal is None:
            return 0
        first = zonal.first_zone_monitor_seconds
        if self.zone == 0 and first is not None:
            return first
        return zonal.monitor_seconds or 0

    def _tallies(self, target: Target) -> tuple[Tally, ...]:
        return (self.fleet, self.zones[target.zone_index]) if self.zones else (self.fleet,)


def line_up(spec: RolloutSpec, members: Sequence[Member], now: Instant) -> tuple[Schedule, tuple[str, ...]]:
    """The schedule before anything has started, and the zones in their order (CP-296, CP-301)."""
    chosen = start_order(
        (member for member in members if member.is_target), spec.deployment_id, by_zone=spec.zonal is not None
    )
    zones = tuple(sorted({member.zone for member in chosen})) if spec.zonal is not None else ()
    places = {zone: place for place, zone in enumerate(zones)}
    order = [
        Target(member, ordinal, places.get(member.zone, 0), now) for ordinal, member in enumerate(chosen)
    ]
    in_zone = Counter(member.zone for member in members)
    return Schedule(spec, order, len(members), [in_zone[zone] for zone in zones]), zones
