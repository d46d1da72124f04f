from __future__ import annotations

from typing import Any

import pytest

from docs.draw_states import PAGE, page
from ferryman_coordinator.core import transitions
from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.model import DeploymentStatus, EventStatus, TargetStatus
from ferryman_coordinator.core.transitions import Machine

MACHINES = (transitions.DEPLOYMENT, transitions.TARGET, transitions.EVENT)


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run docs/draw_states.py"


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.title)
def test_labels_hold_nothing_that_mermaid_takes_for_its_own(machine: Machine[Any]) -> None:
    assert not [move.when for move in machine.moves if set(move.when) & set(";:#")]


@pytest.mark.req("CP-232", "CP-245", "CP-241")
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.title)
def test_exactly_the_final_statuses_are_never_left(machine: Machine[Any]) -> None:
    left = {move.before for move in machine.moves}
    reached = {move.after for move in machine.moves}

    assert {status for status in reached if status not in left} == {
        status for status in reached if status.is_terminal
    }


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.title)
def test_every_status_can_be_reached_once_it_has_begun(machine: Machine[Any]) -> None:
    reached: set[object] = set()
    grown: set[object] = {move.after for move in machine.moves if move.before is None}
    assert grown
    while grown - reached:
        reached |= grown
        grown = {move.after for move in machine.moves if move.before in reached}

    assert reached == {move.after for move in machine.moves}


def test_forbidden_move_is_told_with_its_subject() -> None:
    assert transitions.TARGET.allows(TargetStatus.PENDING, TargetStatus.SKIPPED)
    assert not transitions.TARGET.allows(TargetStatus.SUCCEEDED, TargetStatus.FAILED)
    with pytest.raises(InvariantBroken, match=r"deployment d-1 cannot go from Stopped to Succeeded"):
        transitions.DEPLOYMENT.check(DeploymentStatus.STOPPED, DeploymentStatus.SUCCEEDED, "d-1")
    with pytest.raises(InvariantBroken, match="lifecycle event Install cannot go from Skipped to InProgress"):
        transitions.EVENT.check(EventStatus.SKIPPED, EventStatus.IN_PROGRESS, "Install")
