"""Who is connected, who fell silent, and that both are told once and cheaply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from ferryman_coordinator.core.model import CommandId, InstanceId, Instant
from ferryman_coordinator.links.orders import DrainOrder
from ferryman_coordinator.links.registry import Links, LinkSettings
from tests.support.clock import ManualClock

A, B, C = InstanceId("mi-a"), InstanceId("mi-b"), InstanceId("mi-c")
HEARTBEAT = 15_000


class Recorder:
    """Keeps what the registry says, as a Presence and as a SeenKeeper."""

    def __init__(self) -> None:
        self.told: list[tuple[str, InstanceId]] = []
        self.open_commands: dict[InstanceId, tuple[CommandId, ...]] = {}
        self.kept: list[dict[InstanceId, Instant]] = []
        self.fails = False
        self._news = asyncio.Event()

    def instance_connected(self, instance_id: InstanceId, open_commands: Sequence[CommandId] = ()) -> None:
        self.told.append(("connected", instance_id))
        self.open_commands[instance_id] = tuple(open_commands)
        self._news.set()

    def instance_silent(self, instance_id: InstanceId) -> None:
        self.told.append(("silent", instance_id))
        self._news.set()

    async def keep(self, seen: Mapping[InstanceId, Instant]) -> None:
        if self.fails:
            self._news.set()
            raise OSError("disk full")
        self.kept.append(dict(seen))
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._news.clear()
                await self._news.wait()


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.recorder = Recorder()
        self.links = Links(self.clock, self.recorder, LinkSettings(heartbeat_interval_ms=HEARTBEAT))
        self.links.report_to(self.recorder)

    async def sleeping(self, count: int = 2) -> None:
        """Wait until the registry's tasks sleep on the clock."""
        for _ in range(20):
            await asyncio.sleep(0)
        assert self.clock.next_wake is not None


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    runner = asyncio.create_task(bench.links.run())
    await bench.sleeping()
    yield bench
    runner.cancel()
    await asyncio.wait([runner])


async def test_attach_and_detach_are_told_once(bench: Bench) -> None:
    link = bench.links.attach(A, bench.clock.now(), [CommandId("d-1/mi-a/1/0")])
    assert bench.links.get(A) is link
    assert bench.links.connected() == {A}
    assert bench.recorder.open_commands[A] == ("d-1/mi-a/1/0",)
    bench.links.detach(link, bench.clock.now())
    bench.links.detach(link, bench.clock.now())
    assert bench.links.get(A) is None
    assert bench.recorder.told == [("connected", A), ("silent", A)]


async def test_a_newer_stream_closes_the_older_which_then_says_nothing(bench: Bench) -> None:
    older = bench.links.attach(A, bench.clock.now())
    newer = bench.links.attach(A, bench.clock.now())
    assert older.is_closed
    assert "superseded" in older.close_reason
    # The door notices the dead stream only now.
    bench.links.heard(older, bench.clock.now())
    bench.links.detach(older, bench.clock.now())
    assert bench.links.get(A) is newer
    assert bench.recorder.told == [("connected", A), ("connected", A)]


@pytest.mark.req("AG-144", "AG-X08", "AG-S14", "AG-Q04")
async def test_an_instance_that_misses_three_heartbeats_is_silent(bench: Bench) -> None:
    link_a = bench.links.attach(A, bench.clock.now())
    link_b = bench.links.attach(B, bench.clock.now())
    for _ in range(2):
        bench.clock.advance(HEARTBEAT)
        bench.links.heard(link_b, bench.clock.now())
        await bench.sleeping()
    assert bench.links.connected() == {A, B}
    bench.clock.advance(HEARTBEAT)
    await bench.recorder.until(lambda: ("silent", A) in bench.recorder.told)
    assert LinkSettings().silent_after_ms == 45_000, "unless somebody sets it otherwise"
    assert link_a.is_closed
    assert bench.links.connected() == {B}
    bench.clock.advance(HEARTBEAT)
    await bench.sleeping()
    assert bench.links.connected() == {B}
    bench.clock.advance(HEARTBEAT)
    await bench.recorder.until(lambda: ("silent", B) in bench.recorder.told)


async def test_an_instance_that_attaches_to_an_empty_registry_is_watched_too(bench: Bench) -> None:
    bench.clock.advance(HEARTBEAT)
    await bench.sleeping()
    bench.links.attach(A, bench.clock.now())
    bench.clock.advance(3 * HEARTBEAT - 1)
    await bench.sleeping()
    assert bench.links.connected() == {A}
    bench.clock.advance(1)
    await bench.recorder.until(lambda: ("silent", A) in bench.recorder.told)


async def test_silent_since_looks_only_at_those_that_are_silent(bench: Bench) -> None:
    start = bench.clock.now()
    bench.links.attach(A, start)
    bench.links.attach(B, start)
    fresh = bench.links.attach(C, start)
    bench.links.heard(fresh, Instant(start + 3 * HEARTBEAT))
    silent = bench.links.silent_since(Instant(start + 3 * HEARTBEAT))
    assert [link.instance_id for link in silent] == [A, B]


async def test_last_seen_is_stored_once_a_minute_in_one_batch(bench: Bench) -> None:
    start = bench.clock.now()
    link_a = bench.links.attach(A, start)
    link_b = bench.links.attach(B, start)
    gone = bench.links.attach(C, start)
    bench.links.detach(gone, start)
    for _ in range(3):
        bench.clock.advance(HEARTBEAT)
        bench.links.heard(link_a, bench.clock.now())
        bench.links.heard(link_b, bench.clock.now())
        await bench.sleeping()
    assert bench.recorder.kept == []
    bench.clock.advance(HEARTBEAT)
    await bench.recorder.until(lambda: bool(bench.recorder.kept))
    heard = Instant(start + 3 * HEARTBEAT)
    assert bench.recorder.kept == [{A: heard, B: heard, C: start}]
    # Nothing was heard since: nothing is stored again.
    await bench.sleeping()
    bench.links.detach(link_b, bench.clock.now())
    bench.links.heard(link_a, bench.clock.now())
    bench.clock.advance(60_000)
    await bench.recorder.until(lambda: len(bench.recorder.kept) == 2)
    assert bench.recorder.kept[1] == {A: start + 4 * HEARTBEAT, B: heard}


async def test_a_store_that_fails_does_not_end_the_registry(bench: Bench) -> None:
    bench.links.attach(A, bench.clock.now())
    bench.recorder.fails = True
    bench.clock.advance(60_000)
    await bench.recorder.until(lambda: ("silent", A) in bench.recorder.told)
    await bench.sleeping()
    bench.recorder.fails = False
    bench.links.attach(B, bench.clock.now())
    bench.clock.advance(60_000)
    await bench.recorder.until(lambda: bool(bench.recorder.kept))
    assert B in bench.recorder.kept[0]


async def test_what_was_heard_last_is_stored_at_the_end() -> None:
    bench = Bench()
    runner = asyncio.create_task(bench.links.run())
    await bench.sleeping()
    bench.links.attach(A, bench.clock.now())
    runner.cancel()
    await asyncio.wait([runner])
    assert bench.recorder.kept == [{A: bench.clock.now()}]


async def test_drain_asks_everybody_and_ends_the_streams(bench: Bench) -> None:
    link = bench.links.attach(A, bench.clock.now())
    bench.links.drain(5_000, "the coordinator ends")
    assert await link.next_orders() == [DrainOrder(within_ms=5_000, reason="the coordinator ends")]
    assert await link.next_orders() == []
