"""The gate that all requests of a process share."""

from __future__ import annotations

import pytest

from ferryman_agent.core.throttle import ThrottleGate


@pytest.mark.req("V2-051")
def test_it_shuts_for_a_second_and_twice_as_long_each_time_up_to_thirty() -> None:
    gate, now, waits = ThrottleGate(), 100.0, []
    for _ in range(8):
        gate.throttled(now)
        waits.append(gate.wait(now, 0))
        now += waits[-1]
        assert gate.wait(now, 0) == 0
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.req("V2-051")
def test_answers_that_come_in_while_it_is_shut_do_not_escalate() -> None:
    gate = ThrottleGate()
    for moment in (100.0, 100.2, 100.9):
        gate.throttled(moment)
    assert gate.wait(100.9, 0) == pytest.approx(0.1)
    gate.throttled(101.0)
    assert gate.wait(101.0, 0) == 2


@pytest.mark.req("V2-052")
def test_every_wait_gets_up_to_a_quarter_more() -> None:
    gate = ThrottleGate()
    gate.throttled(100.0)
    assert gate.wait(100.0, 0.0) == 1
    assert gate.wait(100.0, 0.5) == 1.125
    assert gate.wait(100.0, 0.999) == pytest.approx(1.25, abs=0.001)
    assert gate.wait(101.0, 0.999) == 0


@pytest.mark.req("V2-053")
def test_a_success_after_the_wait_sets_it_back_and_one_before_does_not() -> None:
    gate = ThrottleGate()
    gate.throttled(100.0)
    gate.throttled(101.0)
    gate.succeeded(102.0)
    gate.throttled(103.0)
    assert gate.wait(103.0, 0) == 4
    gate.succeeded(107.0)
    gate.throttled(107.0)
    assert gate.wait(107.0, 0) == 1
