"""How a long run is judged: what grew is found, what only wavers is not."""

from __future__ import annotations

import pytest

from tests.soak.growth import SAMPLES_TO_JUDGE, Figure, judge, slope
from tests.soak.work import Kind, kind_of

WAVERING = [50.0, 53.0, 50.5, 51.0] * 25


def test_what_only_wavers_is_no_growth() -> None:
    assert judge(Figure(name="RSS", samples=WAVERING, may_grow=0.5)).problem == ""


def test_a_leak_of_a_little_each_time_is_found() -> None:
    leaking = [value + 0.05 * number for number, value in enumerate(WAVERING)]
    assert "grew by 2.5" in judge(Figure(name="RSS", samples=leaking, may_grow=1)).problem
    assert "rises by 0.05" in judge(Figure(name="RSS", samples=leaking, may_rise=0.04)).problem
    assert judge(Figure(name="RSS", samples=leaking, may_rise=0.06)).problem == ""


def test_what_fills_once_while_warming_up_is_no_growth() -> None:
    filling = [float(min(number, 20)) for number in range(100)]
    found = judge(Figure(name="files", samples=filling))
    assert (found.first, found.second, found.last, found.problem) == (12.0, 20.0, 20.0, "")


def test_one_step_is_no_rise() -> None:
    """An allocator takes a MiB for good, in the middle of what is judged."""
    stepping = [value + (number >= 75) for number, value in enumerate(WAVERING)]
    found = judge(Figure(name="RSS", samples=stepping, may_rise=0.03))
    assert found.problem == ""
    assert found.last - found.second == 1


def test_caches_that_fill_in_the_first_half_are_no_rise() -> None:
    filling = [100 + min(number, 50) * 0.2 for number in range(100)]
    assert judge(Figure(name="RSS", samples=filling, may_rise=0.001)).problem == ""


def test_the_slope_is_that_of_a_line_however_single_samples_lie() -> None:
    line = [3.0 + 0.5 * number for number in range(20)]
    line[4], line[17] = 1000.0, -1000.0
    assert slope(line) == pytest.approx(0.5)
    assert slope([1, 2]) == 1


def test_what_rises_and_is_over_its_limit_is_told_both() -> None:
    found = judge(Figure(name="RSS", samples=list(range(40)), may_rise=0.5, limit=30))
    assert found.problem == "rises by 1 each time, allowed are 0.5; is over 30"


def test_a_single_descriptor_more_is_found() -> None:
    assert "grew by 1" in judge(Figure(name="descriptors", samples=[16] * 60 + [17] * 40)).problem


def test_a_limit_counts_in_a_short_run_as_well() -> None:
    short = list(range(SAMPLES_TO_JUDGE - 1))
    assert judge(Figure(name="revisions", samples=short)).problem == ""
    assert judge(Figure(name="revisions", samples=short, limit=5)).problem == "is over 5"


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="RSS: 3 samples"):
        judge(Figure(name="RSS", samples=[1, 2, 3]))


def test_every_kind_of_deployment_is_among_fifty() -> None:
    assert {kind_of(number) for number in range(50)} == set(Kind)
