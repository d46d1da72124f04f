from __future__ import annotations

import asyncio

import pytest

from ferryman_coordinator.clock import SystemClock
from ferryman_coordinator.core.model import Instant
from tests.support.clock import START, ManualClock


class Times:
    """A wall clock and a monotonic one, in seconds, that a test moves."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.monotonic = 50.0

    def clock(self) -> SystemClock:
        return SystemClock(wall=lambda: self.wall, monotonic=lambda: self.monotonic)

    def pass_seconds(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def test_the_clock_starts_at_the_wall_clock_and_goes_with_it() -> None:
    times = Times()
    clock = times.clock()
    assert clock.now() == 1_000_000_000
    times.pass_seconds(12.5)
    assert clock.now() == 1_000_012_500


@pytest.mark.req("CP-431")
@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_moves_no_deadline(step: float) -> None:
    times = Times()
    clock = times.clock()
    times.wall += step
    assert clock.now() == 1_000_000_000
    times.pass_seconds(100)
    # Five per cent of what passed, towards the wall clock.
    assert clock.now() == 1_000_000_000 + 100_000 + (5_000 if step > 0 else -5_000)


def test_the_clock_catches_up_in_the_end() -> None:
    times = Times()
    clock = times.clock()
    times.wall += 10
    for _ in range(300):
        times.pass_seconds(1)
        clock.now()
    assert clock.now() == int(times.wall * 1000)


def test_the_clock_never_goes_back() -> None:
    times = Times()
    clock = times.clock()
    seen = []
    for step in (0.5, -3.0, 0.0, 7.0, -100.0, 0.001):
        times.wall += step
        times.monotonic += 0.01
        seen.append(clock.now())
    assert seen == sorted(seen)


async def test_sleeping_until_the_past_returns_at_once() -> None:
    clock = SystemClock()
    async with asyncio.timeout(1):
        await clock.sleep_until(Instant(clock.now() - 10_000))


async def test_sleepers_wake_no_earlier_than_asked() -> None:
    clock = SystemClock()
    until = Instant(clock.now() + 30)
    async with asyncio.timeout(5):
        await clock.sleep_until(until)
    assert clock.now() >= until


async def test_a_manual_clock_wakes_sleepers_in_order_and_only_when_due() -> None:
    clock = ManualClock()
    woken: list[int] = []

    async def sleeper(milliseconds: int) -> None:
        await clock.sleep_until(Instant(START + milliseconds))
        woken.append(milliseconds)

    async with asyncio.TaskGroup() as tasks:
        for milliseconds in (300, 100, 200, 0):
            tasks.create_task(sleeper(milliseconds))
        for _ in range(3):
            await asyncio.sleep(0)
        assert (woken, clock.next_wake) == ([0], START + 100)
        clock.advance(99)
        await asyncio.sleep(0)
        assert woken == [0]
        clock.advance(1)
        await asyncio.sleep(0)
        assert woken == [0, 100]
        clock.advance(1000)
    assert woken == [0, 100, 200, 300]
    assert clock.next_wake is None


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep_until(Instant(START + 5)))
    await asyncio.sleep(0)
    sleeper.cancel()
    await asyncio.gather(sleeper, return_exceptions=True)
    assert clock.next_wake is None
    clock.advance(10)
