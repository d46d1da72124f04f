from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ferryman_coordinator.core.deadlines import Deadlines
from ferryman_coordinator.core.model import Instant


def test_first_is_the_earliest_and_among_equals_the_lowest() -> None:
    deadlines = Deadlines(3)
    assert deadlines.first() is None
    for target, due in ((2, 10), (1, 10), (0, 20)):
        deadlines.put(target, Instant(due))

    assert deadlines.first() == (10, 1)
    deadlines.put(1, None)
    assert deadlines.first() == (10, 2)
    deadlines.put(2, Instant(30))
    assert deadlines.first() == (20, 0)
    deadlines.put(0, Instant(5))
    assert deadlines.first() == (5, 0)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.none() | st.integers(0, 30).map(Instant), st.booleans()), max_size=60
    )
)
def test_first_is_that_of_a_plain_table(puts: list[tuple[int, Instant | None, bool]]) -> None:
    """Whatever moves, earlier or later, asked for in between or not."""
    deadlines = Deadlines(5)
    table: dict[int, Instant] = {}
    for target, due, asks in puts:
        deadlines.put(target, due)
        assert deadlines.of(target) == due
        if due is None:
            table.pop(target, None)
        else:
            table[target] = due
        if asks:
            assert deadlines.first() == min(((when, who) for who, when in table.items()), default=None)
    assert deadlines.first() == min(((when, who) for who, when in table.items()), default=None)


def test_deadlines_that_move_on_leave_little_behind() -> None:
    """One entry a target however often its deadline moves to a later time."""
    deadlines = Deadlines(10)
    for time in range(1_000):
        for target in range(10):
            deadlines.put(target, Instant(time * 10 + target))

    assert len(deadlines._heap) == 10
