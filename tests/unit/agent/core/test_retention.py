"""Which revisions may be deleted."""

import pytest

from ferryman_agent.core.retention import RevisionDir, expired


def revisions(*names: str, size: int = 0) -> list[RevisionDir]:
    """Oldest first."""
    return [RevisionDir(name=name, modified_ns=age, size_bytes=size) for age, name in enumerate(names)]


@pytest.mark.req("AG-170", "AG-172", "AG-H34", "AG-T15", "V2-070")
def test_the_oldest_goes_when_one_is_too_many() -> None:
    prior = revisions("d1", "d2", "d3", "d4", "d5", "d6")
    assert expired(prior, current="d6", max_revisions=5, protected={"d5"}) == ("d1",)


@pytest.mark.req("AG-172", "AG-170", "V2-070")
def test_the_last_successful_stays_and_counts() -> None:
    prior = revisions("d1", "d2", "d3", "d4", "d5", "d6", "d7")
    assert expired(prior, current="d7", max_revisions=5, protected={"d1"}) == ("d2", "d3")


@pytest.mark.req("AG-171", "AG-T16", "AG-C04")
def test_a_limit_of_one_keeps_the_last_successful_and_the_current() -> None:
    prior = revisions("d1", "d2", "d3", "d4")
    assert expired(prior, current="d4", max_revisions=1, protected={"d1"}) == ("d2", "d3")


@pytest.mark.req("AG-175", "V2-071")
def test_whatever_is_in_use_stays() -> None:
    prior = revisions("d1", "d2", "d3", "d4")
    assert expired(prior, current="d4", max_revisions=2, protected={"d1", "d2", "d3"}) == ()
    assert expired(prior, current="d4", max_revisions=2, protected={"d1"}) == ("d2", "d3")


@pytest.mark.req("AG-174")
def test_a_lower_limit_brings_the_number_down() -> None:
    prior = revisions(*(f"d{number:02}" for number in range(20)))
    assert len(expired(prior, current="d19", max_revisions=3, protected=())) == 17


def test_nothing_to_do() -> None:
    assert expired([], current="d1", max_revisions=1) == ()
    assert expired(revisions("d1", "d2"), current="d3", max_revisions=5) == ()


@pytest.mark.req("V2-071")
def test_a_byte_budget_takes_more_than_the_count() -> None:
    prior = revisions("d1", "d2", "d3", "d4", size=100)
    assert expired(prior, current="d4", max_revisions=5, max_bytes=400) == ()
    assert expired(prior, current="d4", max_revisions=5, max_bytes=399) == ("d1",)
    assert expired(prior, current="d4", max_revisions=3, max_bytes=250) == ("d1", "d2")
    assert expired(prior, current="d4", max_revisions=5, max_bytes=0, protected={"d2"}) == ("d1", "d3")
