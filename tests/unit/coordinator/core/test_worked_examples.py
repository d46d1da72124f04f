"""The worked examples of CP sections 13.3 and 13.4, row by row, and the rounding table."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from ferryman_coordinator.core import configs
from ferryman_coordinator.core.model import (
    DeploymentStatus,
    HealthyHostsType,
    InstanceId,
    Instant,
    Member,
    MinimumHealthyHosts,
    TargetStatus,
    ZonalConfig,
)
from ferryman_coordinator.core.plan import plan
from ferryman_coordinator.core.schedule import Tally, resolve_minimum
from tests.support.clock import START
from tests.support.rollouts import Drive, count, fleet, fleet_spec, member, percent


def setting(text: str) -> MinimumHealthyHosts:
    """`95 %`, `count 9`, or the name of a predefined configuration."""
    if text.endswith("%"):
        return percent(int(text[:-1]))
    if text.startswith("count"):
        return count(int(text.split()[1]))
    minimum = configs.PREDEFINED[configs.PREDEFINED_PREFIX + text].minimum
    assert minimum is not None
    return minimum


@dataclass(frozen=True, kw_only=True)
class Zones:
    """`minimum` of each zone (None: not given), and the bakes in seconds."""

    sizes: tuple[int, ...]
    minimum: str | None
    first_bake: int | None = None
    bake: int | None = None

    @property
    def config(self) -> ZonalConfig:
        if self.minimum is None:
            return ZonalConfig(first_zone_monitor_seconds=self.first_bake, monitor_seconds=self.bake)
        return ZonalConfig(
            first_zone_monitor_seconds=self.first_bake,
            monitor_seconds=self.bake,
            minimum_per_zone=setting(self.minimum),
        )


@dataclass(frozen=True, kw_only=True)
class Example:
    """Targets are numbered in the order in which they start; all take one second unless `run_times` say otherwise.

    `course`: how many start at once, time after time, and the bakes. `result` as the table words it.
    """

    name: str
    n: int
    unhealthy: int = 0
    setting: str
    m: int
    c: int
    fails: tuple[int, ...] = ()
    course: str
    result: str
    run_times: tuple[float, ...] = ()
    starts: tuple[float, ...] = ()
    ends: float | None = None
    avail_never_below: int | None = None
    zones: Zones | None = None
    also: tuple[str, ...] = ()


def row(
    name: str,
    n: int,
    setting: str,
    m: int,
    c: int,
    course: str,
    result: str,
    *,
    fails: Sequence[int] = (),
    also: str = "",
    **more: Any,
) -> Example:
    """A row of the table; `also`: what else it shows."""
    return Example(
        name=name,
        n=n,
        setting=setting,
        m=m,
        c=c,
        course=course,
        result=result,
        fails=tuple(fails),
        also=tuple(also.split()),
        **more,
    )


ONES_10 = "1 1 1 1 1 1 1 1 1 1"

# fmt: off
EXAMPLES = (
    #    name   N   setting      M  C  course, then result
    row("W1", 10, "95 %", 10, 0, "", "HEALTH_CONSTRAINTS_INVALID", also="T31 CP-270"),
    row("W2", 10, "85 %", 9, 1, "1", "Failed: 0 ok, 1 failed, 9 skipped", fails=(1,), also="T30"),
    row("W3", 10, "count 9", 9, 1, ONES_10, "Succeeded: 10 ok"),
    row("W4", 10, "count 9", 9, 1, "1 1 1", "Failed: 2 ok, 1 failed, 7 skipped",
        fails=(3,), also="T33 CP-281 A2"),
    row("W5", 10, "count 9", 9, 1, ONES_10, "Succeeded: 9 ok, 1 failed", fails=(10,), also="T32 CP-282 A3"),
    row("W6", 10, "count 8", 8, 2, "2 1 1 1 1", "Failed: 4 ok, 2 failed, 4 skipped",
        fails=(2, 6), also="T34 CP-275"),
    row("W7", 10, "count 8", 8, 2, "2 1 1 1 1 1 1 1 1", "Succeeded: 8 ok, 2 failed",
        fails=(1, 10), also="T35"),
    row("W8", 10, "count 8", 8, 2, "2 2 2 2 2", "Succeeded: 8 ok, 2 failed", fails=(9, 10)),
    row("W9", 10, "count 3", 3, 7, "7 3", "Succeeded: 10 ok", also="T36 CP-265 CP-269 CP-273 CP-274 A5"),
    row("W10", 10, "count 3", 3, 7, "7", "Failed: 0 ok, 7 failed, 3 skipped",
        fails=range(1, 8), also="CP-265"),
    row("W11", 10, "count 0", 0, 10, "10", "Succeeded: 1 ok, 9 failed",
        fails=range(1, 10), also="T37 CP-271"),
    row("W12", 10, "count 0", 0, 10, "10", "Failed: 0 ok, 10 failed", fails=range(1, 11), also="T37 CP-271"),
    row("W13", 9, "HalfAtATime", 5, 4, "4 4 1", "Succeeded: 9 ok", also="T38"),
    row("W13", 9, "HalfAtATime", 5, 4, "4 4 1", "Succeeded: 5 ok, 4 failed",
        fails=(6, 7, 8, 9), also="T38 CP-284 A4"),
    row("W14", 9, "HalfAtATime", 5, 4, "4 1 1 1 1 1", "Succeeded: 6 ok, 3 failed", fails=(1, 2, 3)),
    row("W15", 9, "HalfAtATime", 5, 4, "4", "Failed: 0 ok, 4 failed, 5 skipped",
        fails=(1, 2, 3, 4), also="T38"),
    row("W16", 9, "40 %", 4, 5, "5 4", "Succeeded: 9 ok"),
    row("W16", 9, "40 %", 4, 5, "5 4", "Succeeded: 4 ok, 5 failed", fails=range(5, 10)),
    row("W16", 9, "40 %", 4, 5, "5 3", "Failed: 3 ok, 5 failed, 1 skipped", fails=range(4, 9)),
    row("W17", 9, "count 6", 6, 3, "3 3 3", "Succeeded: 9 ok"),
    row("W17", 9, "count 6", 6, 3, "3 3 3", "Succeeded: 6 ok, 3 failed", fails=(7, 8, 9)),
    row("W17", 9, "count 6", 6, 3, "3 3 2", "Failed: 5 ok, 3 failed, 1 skipped", fails=(6, 7, 8)),
    row("W18", 9, "OneAtATime", 8, 1, "1 1 1 1 1 1 1 1 1", "Succeeded: 8 ok, 1 failed",
        fails=(9,), also="T39 CP-268 A1 A3"),
    row("W19", 9, "OneAtATime", 8, 1, "1 1 1 1 1 1 1 1", "Failed: 7 ok, 1 failed, 1 skipped",
        fails=(8,), also="T39"),
    row("W20", 1, "OneAtATime", 0, 1, "1", "Failed: 0 ok, 1 failed", fails=(1,), also="T40"),
    row("W21", 1, "HalfAtATime", 1, 0, "", "HEALTH_CONSTRAINTS_INVALID"),
    row("W22", 2, "50 %", 1, 1, "1", "Failed: 0 ok, 1 failed, 1 skipped", fails=(1,)),
    row("W22", 2, "50 %", 1, 1, "1 1", "Succeeded: 1 ok, 1 failed", fails=(2,)),
    row("W23", 10, "count 8", 8, 2, "2 2 2 2 2", "Succeeded: 10 ok",
        unhealthy=3, avail_never_below=7, also="T43 CP-272 CP-279"),
    row("W24", 10, "count 8", 8, 2, "2 1 1 1 1 1 1 1 1", "Succeeded: 9 ok, 1 failed",
        unhealthy=3, fails=(1,), also="CP-280"),
    row("W25", 10, "count 8", 8, 2, "2", "Failed: 0 ok, 2 failed, 8 skipped",
        unhealthy=3, fails=(1, 2), also="T44"),
    row("W26", 4, "OneAtATime", 3, 1, "1 1 1 1", "Succeeded: 4 ok", unhealthy=4, also="T42 CP-269"),
    row("W27", 4, "OneAtATime", 3, 1, "1", "Failed: 0 ok, 1 failed, 3 skipped",
        unhealthy=4, fails=(1,), also="T42 CP-283 A6"),
    row("W28", 3, "75 %", 3, 0, "", "HEALTH_CONSTRAINTS_INVALID"),
    row("W29", 100, "99 %", 99, 1, " ".join("1" * 100), "Succeeded: 100 ok"),
    row("W30", 10, "count 7", 7, 3, "3 1 1 1 1 1 1 1", "Succeeded: 10 ok",
        run_times=(1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5),
        starts=(0, 0, 0, 1, 1.5, 2, 3.5, 4.5, 5.5, 7.5), ends=13, also="CP-274"),
    row("Z1", 200, "count 160", 160, 40, "40 40 20 bake 3600 40 40 20", "Succeeded: 200 ok",
        zones=Zones(sizes=(100, 100), minimum="count 50", first_bake=None, bake=3600),
        also="T46 CP-288 CP-289 CP-294 CP-295 A17"),
    row("Z2", 12, "50 %", 6, 6, "1 1 1 1 bake 600 1 1 1 1 bake 60 1 1 1 1", "Succeeded: 12 ok",
        zones=Zones(sizes=(4, 4, 4), minimum="75 %", first_bake=600, bake=60), also="T47 CP-140 CP-291"),
    row("Z3", 12, "50 %", 6, 6, "1 1", "Failed: 1 ok, 1 failed, 10 skipped",
        fails=(2,), zones=Zones(sizes=(4, 4, 4), minimum="75 %", first_bake=600, bake=60),
        also="T48 CP-290 CP-292"),
    row("Z4", 12, "50 %", 6, 6, "4 4 4", "Succeeded: 12 ok",
        zones=Zones(sizes=(4, 4, 4), minimum=None, first_bake=None, bake=None), also="CP-139"),
)
# fmt: on


@dataclass
class Play:
    """What was seen while an example ran."""

    drive: Drive
    begun: list[float] = field(default_factory=list)
    course: list[str] = field(default_factory=list)
    lowest_avail: int = 0
    ended: float = 0

    def result(self) -> str:
        drive = self.drive
        if drive.code == "HEALTH_CONSTRAINTS_INVALID":
            return drive.code
        counts = {
            "ok": len(drive.with_status(TargetStatus.SUCCEEDED)),
            "failed": len(drive.with_status(TargetStatus.FAILED)),
            "skipped": len(drive.with_status(TargetStatus.SKIPPED)),
        }
        shown = [f"{number} {word}" for word, number in counts.items() if number or word == "ok"]
        return f"{drive.status}: {', '.join(shown)}"


def members_of(example: Example) -> list[Member]:
    if example.zones is None:
        return fleet(example.n, unhealthy=example.unhealthy)
    zones = [f"zone-{index}" for index, size in enumerate(example.zones.sizes) for _ in range(size)]
    return [member(number, zone=zone) for number, zone in enumerate(zones)]


def play(example: Example) -> Play:
    """Run an example; targets that end at the same time end in the order in which they started."""
    spec = fleet_spec(setting(example.setting), zonal=example.zones.config if example.zones else None)
    members = members_of(example)
    healthy = {one.instance_id for one in members if one.instance_health.value == "Healthy"}
    seen = Play(Drive(spec, members))
    drive = seen.drive
    seen.lowest_avail = avail(drive, healthy)
    running: list[tuple[float, int]] = []
    while True:
        now = (drive.now - START) / 1000
        fresh = len(drive.started) - len(seen.begun)
        if fresh:
            if seen.begun and now == seen.begun[-1]:
                seen.course[-1] = str(int(seen.course[-1]) + fresh)
            else:
                seen.course.append(str(fresh))
        for _ in range(fresh):
            number = len(seen.begun) + 1
            seen.begun.append(now)
            heapq.heappush(
                running, (now + (example.run_times[number - 1] if example.run_times else 1), number)
            )
        if drive.status.is_terminal:
            seen.ended = now
            return seen
        if drive.status is DeploymentStatus.BAKING:
            assert drive.rollout.wake_at is not None
            seconds = (drive.rollout.wake_at - drive.now) // 1000
            seen.course.append(f"bake {seconds}")
            drive.pass_time(seconds)
            continue
        end, number = heapq.heappop(running)
        drive.now = Instant(START + round(end * 1000))
        if number in example.fails:
            drive.fail(drive.id_of(number))
        else:
            drive.succeed(drive.id_of(number))
        seen.lowest_avail = min(seen.lowest_avail, avail(drive, healthy))


def avail(drive: Drive, healthy: set[InstanceId]) -> int:
    """Counted instances that are healthy and not in progress."""
    rest = (TargetStatus.PENDING, TargetStatus.SKIPPED)
    return sum(
        one.status is TargetStatus.SUCCEEDED or (one.status in rest and one.instance_id in healthy)
        for one in drive.rollout.targets.values()
    )


def as_params(examples: Sequence[Example]) -> list[object]:
    return [
        pytest.param(
            one,
            id=f"{one.name}-{'-'.join(map(str, one.fails)) or 'ok'}",
            marks=pytest.mark.req(one.name, *one.also),
        )
        for one in examples
    ]


@pytest.mark.parametrize("example", as_params(EXAMPLES))
def test_worked_example(example: Example) -> None:
    seen = play(example)

    record = seen.drive.rollout.record
    assert (record.counted, record.minimum, record.concurrency) == (example.n, example.m, example.c)
    assert " ".join(seen.course) == example.course
    assert seen.result() == example.result
    if example.starts:
        assert tuple(seen.begun) == example.starts
        assert seen.ended == example.ends
    if example.avail_never_below is not None:
        assert seen.lowest_avail == example.avail_never_below


@pytest.mark.parametrize("example", [pytest.param(one, id=one.name) for one in EXAMPLES if not one.fails])
@pytest.mark.req("CP-422")
def test_plan_foretells_the_example(example: Example) -> None:
    """Same order, same waves as the rollout that runs without a failure and with equal run times."""
    spec = fleet_spec(setting(example.setting), zonal=example.zones.config if example.zones else None)

    foretold = plan(spec, members_of(example))

    assert (foretold.counted, foretold.minimum, foretold.concurrency) == (example.n, example.m, example.c)
    if example.result == "HEALTH_CONSTRAINTS_INVALID":
        assert foretold.error is not None
        assert foretold.error.code == example.result
        assert not foretold.targets
        return
    seen = play(example if not example.run_times else Example(**{**vars(example), "run_times": ()}))
    assert [one.member.instance_id for one in foretold.targets] == seen.drive.started
    waves = [
        sum(1 for one in foretold.targets if one.wave == wave)
        for wave in range(1, foretold.targets[-1].wave + 1)
    ]
    sizes = [int(word) for step in seen.course if not step.startswith("bake") for word in step.split()]
    assert waves == sizes


ROUNDING = """
| N | 1 % | 25 % | 33 % | 50 % | 75 % | 85 % | 90 % | 95 % | 99 % |
| 1 | 1 (0) | 1 (0) | 1 (0) | 1 (0) | 1 (0) | 1 (0) | 1 (0) | 1 (0) | 1 (0) |
| 2 | 1 (1) | 1 (1) | 1 (1) | 1 (1) | 2 (0) | 2 (0) | 2 (0) | 2 (0) | 2 (0) |
| 3 | 1 (2) | 1 (2) | 1 (2) | 2 (1) | 3 (0) | 3 (0) | 3 (0) | 3 (0) | 3 (0) |
| 5 | 1 (4) | 2 (3) | 2 (3) | 3 (2) | 4 (1) | 5 (0) | 5 (0) | 5 (0) | 5 (0) |
| 9 | 1 (8) | 3 (6) | 3 (6) | 5 (4) | 7 (2) | 8 (1) | 9 (0) | 9 (0) | 9 (0) |
| 10 | 1 (9) | 3 (7) | 4 (6) | 5 (5) | 8 (2) | 9 (1) | 9 (1) | 10 (0) | 10 (0) |
| 33 | 1 (32) | 9 (24) | 11 (22) | 17 (16) | 25 (8) | 29 (4) | 30 (3) | 32 (1) | 33 (0) |
| 100 | 1 (99) | 25 (75) | 33 (67) | 50 (50) | 75 (25) | 85 (15) | 90 (10) | 95 (5) | 99 (1) |
"""


def cells() -> list[tuple[int, int, str]]:
    """(N, percentage, `M (C)`) of every cell of the table."""
    head, *rows = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in ROUNDING.split("\n") if line
    ]
    percents = [int(cell.split()[0]) for cell in head[1:]]
    return [(int(row[0]), value, cell) for row in rows for value, cell in zip(percents, row[1:], strict=True)]


@pytest.mark.parametrize("n, value, expected", cells())
@pytest.mark.req("CP-267")
def test_rounding(n: int, value: int, expected: str) -> None:
    minimum = resolve_minimum(MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=value), n)

    assert f"{minimum} ({Tally(n, minimum).concurrency})" == expected
