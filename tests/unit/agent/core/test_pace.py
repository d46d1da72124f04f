"""The bound of a download's rate."""

from __future__ import annotations

import pytest

from ferryman_agent.core.pace import Pace


def test_without_a_bound_nothing_waits() -> None:
    pace = Pace()
    assert pace.piece(1000) == 1000
    assert pace.took(10**12, 5.0) == 0


@pytest.mark.parametrize("rate", [5_000.0, 100_000.0, 10_000_000.0])
def test_over_time_it_is_as_fast_as_it_may_be_and_no_faster(rate: float) -> None:
    pace, now, taken = Pace(rate), 100.0, 0
    while now < 160:
        piece = pace.piece(256 * 1024)
        taken += piece
        pause = pace.took(piece, now)
        assert pause < 1, "nobody could interrupt or hear of it in time"
        now += pause
    assert taken / 60 == pytest.approx(rate, rel=0.02)


def test_what_was_not_used_is_not_saved_up() -> None:
    pace = Pace(1000.0)
    pace.took(250, 100.0)
    assert pace.took(2000, 500.0) == pytest.approx(2 - 0.25)


def test_a_new_bound_counts_at_once() -> None:
    pace = Pace(1000.0)
    pace.took(1000, 100.0)
    pace.bytes_per_second = 1_000_000.0
    assert pace.took(1000, 101.0) == 0
