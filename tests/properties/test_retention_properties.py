"""Retention over generated groups: what must never go, and how many stay."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman_agent.core.retention import RevisionDir, expired

names = st.integers(0, 30).map(lambda number: f"d-{number}")
groups = st.dictionaries(names, st.tuples(st.integers(0, 9), st.integers(0, 100)), max_size=15).map(
    lambda rows: [
        RevisionDir(name=name, modified_ns=age, size_bytes=size) for name, (age, size) in rows.items()
    ]
)


@pytest.mark.req("AG-170", "AG-175", "V2-070", "V2-071")
@settings(deadline=None)
@given(groups, names, st.integers(1, 8), st.sets(names, max_size=4), st.none() | st.integers(0, 500))
def test_never_the_current_one_nor_a_protected_one_and_the_oldest_first(
    group: list[RevisionDir], current: str, limit: int, protected: set[str], budget: int | None
) -> None:
    doomed = expired(group, current=current, max_revisions=limit, protected=protected, max_bytes=budget)
    ages = {one.name: one.modified_ns for one in group}
    assert current not in doomed
    assert not protected & set(doomed)
    assert len(set(doomed)) == len(doomed)
    kept = set(ages) - set(doomed) - {current} - protected
    assert all(ages[gone] <= ages[stays] for gone in doomed for stays in kept)
    others = len(set(ages) - {current})
    if budget is None:
        assert len(doomed) == min(max(0, others - limit + 1), len(set(ages) - {current} - protected))
    elif kept:
        assert sum(one.size_bytes for one in group if one.name not in doomed) <= budget


@pytest.mark.req("AG-170")
@settings(deadline=None)
@given(groups, names, st.integers(1, 8), st.sets(names, max_size=4))
def test_doing_it_again_deletes_nothing_more(
    group: list[RevisionDir], current: str, limit: int, protected: set[str]
) -> None:
    doomed = expired(group, current=current, max_revisions=limit, protected=protected)
    left = [one for one in group if one.name not in doomed]
    again = expired(left, current=current, max_revisions=limit, protected=protected)
    assert again == () or len(left) > limit
