"""Reports until they are acknowledged, and the waits between two tries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.core.facts import CommandStarted
from ferryman_agent.core.messages import CommandId, Instant
from ferryman_agent.runtime.backoff import Backoff, Ending
from ferryman_agent.runtime.outbox import Outbox, Report


def a_report(number: int) -> Report:
    return Report(number=number, command_id=CommandId("c"), at=Instant(0), fact=CommandStarted())


def filled(count: int) -> Outbox:
    outbox = Outbox()
    for number in range(1, count + 1):
        outbox.put(a_report(number))
    return outbox


def numbers(outbox: Outbox, after: int = 0, limit: int = 100) -> list[int]:
    return [report.number for report in outbox.after(after, limit)]


def test_acknowledging_lets_go_of_everything_up_to_a_number() -> None:
    outbox = filled(5)
    assert outbox.acknowledge(3)
    assert numbers(outbox) == [4, 5]
    assert not outbox.acknowledge(2)
    assert outbox.acknowledged == 3
    assert outbox.acknowledge(99)
    assert (len(outbox), outbox.acknowledged) == (0, 5)
    with pytest.raises(ValueError, match="report 5 after 5"):
        outbox.put(a_report(5))


def test_what_follows_a_number() -> None:
    outbox = filled(5)
    assert numbers(outbox, 2) == [3, 4, 5]
    assert numbers(outbox, 0, 2) == [1, 2]
    assert numbers(outbox, 5) == []


def test_new_numbers_keep_the_order() -> None:
    outbox = filled(3)
    outbox.acknowledge(1)
    assert outbox.renumber(10) == {2: 10, 3: 11}
    assert numbers(outbox) == [10, 11]
    outbox.put(a_report(12))
    assert outbox.acknowledged == 9


@pytest.mark.req("AG-074")
def test_a_fleet_that_is_cut_off_at_once_comes_back_spread_over_the_whole_pause() -> None:
    for failures in range(8):
        ceiling = min(60, 0.5 * 2**failures)
        pauses = []
        for agent in range(11):
            backoff = Backoff(lambda chance=agent / 10: chance)  # type: ignore[misc] # the default binds it
            pauses.append([backoff.after(Ending.LOST, 0) for _ in range(failures + 1)][-1])
        assert pauses == pytest.approx([ceiling * agent / 10 for agent in range(11)])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_pauses_stay_within_their_ceilings(chances: list[float]) -> None:
    queue = iter(chances)
    backoff = Backoff(lambda: next(queue))
    for failures in range(len(chances)):
        assert 0 <= backoff.after(Ending.LOST, 0) <= min(60, 0.5 * 2**failures)


@pytest.mark.req("AG-103", "V2-031", "AG-T74")
def test_a_stable_stream_starts_the_series_anew_and_a_short_one_does_not() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.after(Ending.LOST, 0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.after(Ending.LOST, 29.9) == 60
    assert backoff.after(Ending.LOST, 30) == 0.5
    assert backoff.after(Ending.OURS, 0) == 0


@pytest.mark.req("AG-105", "V2-051", "V2-050")
def test_refusals_and_throttling_have_waits_of_their_own() -> None:
    chance = 0.0
    backoff = Backoff(lambda: chance)
    assert (backoff.after(Ending.REFUSED, 0), backoff.after(Ending.THROTTLED, 0)) == (150, 60)
    chance = 1.0
    assert (backoff.after(Ending.REFUSED, 0), backoff.after(Ending.THROTTLED, 0)) == (300, 75)
