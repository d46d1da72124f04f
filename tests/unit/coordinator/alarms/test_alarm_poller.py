"""One poll for all who watch, none while nobody does, and nobody is counted down within moments."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from ferryman_coordinator.alarms.book import AlarmBook
from ferryman_coordinator.alarms.poller import AlarmPoller
from ferryman_coordinator.core.alarms import AlarmReading
from ferryman_coordinator.core.model import AlarmState
from tests.support.alarm_sources import FakeSource
from tests.support.clock import START, ManualClock

OK, ALARM = AlarmState.OK, AlarmState.ALARM
POLL = 10_000


class Ear:
    """What one who watches has heard."""

    def __init__(self) -> None:
        self.heard: list[dict[str, AlarmState | None]] = []

    def tell(self, readings: Sequence[AlarmReading]) -> None:
        self.heard.append({one.name: one.state for one in readings})


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.source = FakeSource(cpu=OK, disk=OK)
        self.poller = AlarmPoller(AlarmBook([self.source]), self.clock, POLL, random.Random(1))

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def pass_time(self, milliseconds: int) -> None:
        await self.settle()
        self.clock.advance(milliseconds)
        await self.settle()


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    bench = Bench()
    task = asyncio.create_task(bench.poller.run())
    try:
        await bench.settle()
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.req("CP-363")
async def test_all_who_watch_share_a_poll_at_most_an_interval_apart() -> None:
    async with running() as it:
        first, second = Ear(), Ear()
        it.poller.watch(["cpu"], first.tell)
        it.poller.watch(["cpu", "disk"], second.tell)
        await it.settle()
        assert (first.heard, second.heard) == ([{"cpu": OK}], [{"cpu": OK, "disk": OK}])
        assert it.source.asked == [{"cpu", "disk"}]
        for polls in range(2, 6):
            await it.pass_time(POLL)
            assert len(it.source.asked) == polls
            assert len(first.heard) == len(second.heard) == polls


async def test_polls_come_a_little_early_and_never_late() -> None:
    async with running() as it:
        times: list[int] = []
        it.poller.watch(["cpu"], lambda _readings: times.append(it.clock.now() - START))
        for _ in range(60):
            await it.pass_time(500)
        assert times[:2] == [0, POLL]
        gaps = [late - early for early, late in itertools.pairwise(times[1:])]
        assert gaps
        assert all(POLL * 0.9 <= gap <= POLL for gap in gaps)


async def test_a_newcomer_is_told_at_once_and_nobody_else_hears_of_it() -> None:
    async with running() as it:
        first, second = Ear(), Ear()
        it.poller.watch(["cpu"], first.tell)
        await it.pass_time(POLL // 2)
        it.source.down = "it restarts"
        it.poller.watch(["cpu", "disk"], second.tell)
        await it.settle()
        assert first.heard == [{"cpu": OK}]
        assert second.heard == [{"cpu": None, "disk": None}]


async def test_a_push_is_told_at_once_to_whom_it_concerns_and_of_nothing_else() -> None:
    async with running() as it:
        first, second = Ear(), Ear()
        it.poller.watch(["cpu", "disk"], first.tell)
        it.poller.watch(["disk"], second.tell)
        await it.settle()
        it.source.say("cpu", ALARM)
        it.poller.pushed("fake", ["cpu"])
        it.poller.pushed("another", ["disk"])
        await it.settle()
        assert first.heard[1:] == [{"cpu": ALARM}]
        assert second.heard[1:] == []


@pytest.mark.req("CP-363")
async def test_nobody_is_asked_while_nobody_watches() -> None:
    async with running() as it:
        ear = Ear()
        watching = it.poller.watch(["cpu"], ear.tell)
        await it.settle()
        watching.close()
        watching.close()
        it.poller.pushed("fake", ["cpu"])
        for _ in range(3):
            await it.pass_time(POLL)
        assert len(it.source.asked) == 1
        assert it.poller.watched() == set()
        it.poller.watch(["cpu"], ear.tell)
        await it.settle()
        assert len(ear.heard) == 2


async def test_who_left_during_a_poll_hears_nothing() -> None:
    async with running() as it:
        it.source.hold()
        ear = Ear()
        watching = it.poller.watch(["cpu"], ear.tell)
        await it.settle()
        watching.close()
        it.source.release()
        await it.settle()
        assert ear.heard == []


async def test_a_slow_source_delays_the_poll_and_no_more() -> None:
    async with running() as it:
        ear = Ear()
        it.poller.watch(["cpu"], ear.tell)
        await it.settle()
        it.source.hold()
        await it.pass_time(POLL)
        await it.pass_time(3 * POLL)
        assert len(it.source.asked) == 2
        it.source.release()
        await it.settle()
        # What was missed meanwhile is not made up for.
        assert len(it.source.asked) == 3
        assert len(ear.heard) == 3
