"""Whose turn it is in a group, and which deployments a newer one makes needless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_coordinator.core.group_options import QueueMode
from ferryman_coordinator.core.model import Creator, DeploymentId, DeploymentStatus, Instant
from ferryman_coordinator.core.queue import Unfinished, next_turn, superseded


def one(
    name: str,
    status: DeploymentStatus = DeploymentStatus.QUEUED,
    creator: Creator = Creator.USER,
    at: int = 0,
) -> Unfinished:
    return Unfinished(
        deployment_id=DeploymentId(name), status=status, creator=creator, created_at=Instant(at)
    )


UNFINISHED = st.lists(
    st.builds(
        one,
        st.text("abcdefgh", min_size=3, max_size=3),
        st.sampled_from([status for status in DeploymentStatus if not status.is_terminal]),
        st.sampled_from(Creator),
        st.integers(0, 9),
    ),
    max_size=6,
    unique_by=lambda made: made.deployment_id,
)


@pytest.mark.req("CP-416")
@given(UNFINISHED)
def test_nobody_has_a_turn_beside_another_one(unfinished: list[Unfinished]) -> None:
    chosen = next_turn(unfinished, ())
    if any(not waiting.is_queued for waiting in unfinished):
        assert chosen is None
    else:
        assert (chosen is None) == (not unfinished)


@pytest.mark.req("CP-419")
def test_the_one_that_waited_longest_is_next_but_rollbacks_go_first() -> None:
    old, new = one("d-B", at=1), one("d-A", at=2)
    assert next_turn([new, old], ()) == "d-B"
    rollback = one("d-Z", creator=Creator.ROLLBACK, at=3)
    assert next_turn([new, old, rollback], ()) == "d-Z"


def test_who_was_told_to_go_on_is_waited_for() -> None:
    waiting = [one("d-A"), one("d-B")]
    assert next_turn(waiting, [DeploymentId("d-B")]) is None


@pytest.mark.req("CP-419")
def test_the_newest_stands_for_those_that_people_have_queued_before_it() -> None:
    unfinished = [
        one("d-A", DeploymentStatus.IN_PROGRESS),
        one("d-B"),
        one("d-C", creator=Creator.ROLLBACK),
        one("d-D"),
    ]
    assert superseded(QueueMode.NEWEST, unfinished) == ("d-B", "d-D")
    assert superseded(QueueMode.FIFO, unfinished) == ()
