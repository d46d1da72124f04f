"""How a long run is judged: what grew is found, what only wavers is not."""

from __future__ import annotations

import pytest

from tests.soak.growth import SAMPLES_TO_JUDGE, Figure, judge
from tests.soak.work import Kind, kind_of

WAVERING = [50.0, 53.0, 50.5, 51.0] * 25


def test_what_only_wavers_is_no_growth() -> None:
    assert judge(Figure(name="RSS", samples=WAVERING, may_grow=0.5)).problem == ""


def test_a_leak_of_a_little_each_time_is_found() -> None:
    leaking = [value + 0.05 * number for number, value in enumerate(WAVERING)]
    assert "grew by 2.5" in judge(Figure(name="RSS", samples=leaking, may_grow=1)).problem


def test_what_fills_once_while_warming_up_is_no_growth() -> None:
    filling = [float(min(number, 20)) for number in range(100)]
    found = judge(Figure(name="files", samples=filling))
    assert (found.first, found.second, found.last, found.problem) == (12.0, 20.0, 20.0, "")


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
