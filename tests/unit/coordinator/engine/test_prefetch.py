"""Fetching ahead: in the order of start, so many at a time, and nobody blocks the others."""

from __future__ import annotations

from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.engine.prefetch import Prefetch

A, B, C, D = (InstanceId(f"mi-{letter}") for letter in "abcd")


class Bench:
    def __init__(self, limit: int = 2, absent: tuple[InstanceId, ...] = ()) -> None:
        self.absent = set(absent)
        self.asked: list[InstanceId] = []
        self.prefetch = Prefetch(self.ask, limit=limit, patience_ms=1_000)

    def ask(self, instance_id: InstanceId) -> bool:
        if instance_id in self.absent:
            return False
        self.asked.append(instance_id)
        return True

    def fill(self, now: int = 0) -> list[InstanceId]:
        self.prefetch.fill(Instant(now))
        return self.asked


def test_so_many_fetch_at_a_time_in_the_order_of_start() -> None:
    bench = Bench()
    bench.prefetch.wait([C, A, B])
    assert bench.fill() == [C, A]
    bench.prefetch.done(A)
    assert bench.fill() == [C, A, B]
    assert bench.prefetch.fetching == {C, B}


def test_nothing_is_fetched_ahead_when_it_is_switched_off() -> None:
    bench = Bench(limit=0)
    bench.prefetch.wait([A])
    assert bench.fill() == []


def test_whoever_has_its_turn_is_not_asked_any_more() -> None:
    bench = Bench()
    bench.prefetch.wait([A, B, C])
    bench.prefetch.drop(A)
    assert bench.fill() == [B, C]


def test_the_absent_are_asked_when_they_come() -> None:
    bench = Bench(absent=(A,))
    bench.prefetch.wait([A, B])
    assert bench.fill() == [B]
    bench.absent.clear()
    assert bench.fill() == [B]
    bench.prefetch.connected(A)
    assert bench.fill() == [B, A]


def test_one_that_falls_silent_gives_up_its_place_and_gets_another() -> None:
    bench = Bench(limit=1)
    bench.prefetch.wait([A, B])
    bench.fill()
    bench.prefetch.silent(A)
    assert bench.fill() == [A, B]
    bench.prefetch.connected(A)
    bench.prefetch.done(B)
    assert bench.fill() == [A, B, A]


def test_one_that_had_its_turn_while_it_was_away_is_not_asked() -> None:
    bench = Bench(absent=(A,))
    bench.prefetch.wait([A])
    bench.fill()
    bench.prefetch.drop(A)
    bench.absent.clear()
    bench.prefetch.connected(A)
    assert bench.fill() == []


def test_one_that_never_answers_keeps_its_place_for_a_while_only() -> None:
    bench = Bench(limit=1)
    bench.prefetch.wait([A, B])
    bench.fill(0)
    assert bench.fill(999) == [A]
    assert bench.fill(1_000) == [A, B]
