"""One heap for the deadlines of all deployments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ferryman_coordinator.core.model import DeploymentId, Instant
from ferryman_coordinator.engine.timers import Timers
from tests.support.clock import START, ManualClock

ONE, TWO = DeploymentId("d-ONE"), DeploymentId("d-TWO")


def at(milliseconds: int) -> Instant:
    return Instant(START + milliseconds)


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.rung: list[tuple[DeploymentId, int]] = []
        self.timers = Timers(self.clock, lambda name: self.rung.append((name, self.clock.now() - START)))

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def advance(self, milliseconds: int) -> None:
        await self.settle()
        self.clock.advance(milliseconds)
        await self.settle()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    task = asyncio.create_task(bench.timers.run())
    await bench.settle()
    yield bench
    task.cancel()
    await asyncio.wait([task])


async def test_each_time_rings_once(bench: Bench) -> None:
    bench.timers.set(ONE, at(100))
    bench.timers.set(TWO, at(200))
    await bench.advance(99)
    assert bench.rung == []
    await bench.advance(1)
    assert bench.rung == [(ONE, 100)]
    await bench.advance(500)
    assert bench.rung == [(ONE, 100), (TWO, 600)]


async def test_a_sooner_time_wakes_the_sleeper(bench: Bench) -> None:
    bench.timers.set(ONE, at(1_000))
    await bench.settle()
    bench.timers.set(ONE, at(50))
    await bench.advance(50)
    assert bench.rung == [(ONE, 50)]
    await bench.advance(2_000)
    assert bench.rung == [(ONE, 50)]


async def test_a_later_time_and_none_replace_the_earlier(bench: Bench) -> None:
    bench.timers.set(ONE, at(100))
    bench.timers.set(TWO, at(100))
    bench.timers.set(ONE, at(300))
    bench.timers.set(TWO, None)
    await bench.advance(200)
    assert bench.rung == []
    await bench.advance(100)
    assert bench.rung == [(ONE, 300)]


async def test_a_time_that_has_passed_rings_at_once(bench: Bench) -> None:
    bench.timers.set(ONE, at(-5))
    await bench.settle()
    assert bench.rung == [(ONE, 0)]


async def test_moving_a_time_again_and_again_does_not_grow_the_heap(bench: Bench) -> None:
    for step in range(10_000):
        bench.timers.set(ONE, at(1_000 + step))
    assert len(bench.timers._heap) < 100
    await bench.advance(20_000)
    assert bench.rung == [(ONE, 20_000)]
