"""How many instances running deployments have together, and who gets room first."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.model import DeploymentId
from ferryman_coordinator.engine.room import Room

A, B, C, D = (DeploymentId(name) for name in "ABCD")


@pytest.mark.req("CP-420")
def test_what_exceeds_the_limit_waits_until_there_is_room() -> None:
    room, woken = Room(10), []
    assert room.ask(A, 6, lambda: None)
    assert not room.ask(B, 5, lambda: woken.append("B"))
    assert room.taken == 6
    room.free(A)
    assert woken == ["B"]
    assert room.has(B)


def test_nobody_overtakes_one_that_needs_more() -> None:
    room, woken = Room(10), []
    assert room.ask(A, 6, lambda: None)
    assert not room.ask(B, 8, lambda: woken.append("B"))
    assert not room.ask(C, 1, lambda: woken.append("C"))
    room.free(A)
    assert woken == ["B", "C"]


def test_one_that_gives_up_waiting_lets_those_behind_it_go_on() -> None:
    room, woken = Room(10), []
    assert room.ask(A, 6, lambda: None)
    assert not room.ask(B, 8, lambda: woken.append("B"))
    assert not room.ask(C, 4, lambda: woken.append("C"))
    room.free(B)
    assert woken == ["C"]


def test_one_that_is_larger_than_the_limit_runs_alone() -> None:
    room = Room(10)
    assert room.ask(A, 50, lambda: None)
    assert not room.ask(B, 1, lambda: None)


def test_what_runs_already_is_counted_whatever_the_limit() -> None:
    room = Room(10)
    room.hold(A, 8)
    room.hold(B, 8)
    assert room.taken == 16
    assert not room.ask(D, 1, lambda: None)
