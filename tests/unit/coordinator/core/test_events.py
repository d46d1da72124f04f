"""Which changes of status are events: each once, in order, and always under the same id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_coordinator.core.events import (
    EventKind,
    EventState,
    Happening,
    happenings,
    state_of,
    trigger_type,
    waiting_triggers,
)
from ferryman_coordinator.core.group_options import Trigger, TriggerEventType
from ferryman_coordinator.core.messages import Change, EventChanged, RolloutChanged, TargetChanged
from ferryman_coordinator.core.model import (
    DeploymentStatus,
    EventRecord,
    EventStatus,
    InstanceId,
    Instant,
    RolloutRecord,
    TargetRecord,
    TargetStatus,
)

NOW = Instant(1_700_000_000_000)
CREATED = DeploymentStatus.CREATED


def rollout(status: DeploymentStatus) -> RolloutChanged:
    return RolloutChanged(record=RolloutRecord(status=status, created_at=NOW))


def target(name: str, status: TargetStatus) -> TargetChanged:
    record = TargetRecord(
        instance_id=InstanceId(name),
        instance_name=name,
        zone="",
        ordinal=0,
        status=status,
        was_healthy=True,
        updated_at=NOW,
    )
    return TargetChanged(record=record)


def told(found: Sequence[Happening]) -> list[tuple[str, EventState | None]]:
    return [
        ("", state_of(one.record.status)) if isinstance(one, RolloutChanged) else (one[0].instance_id, one[1])
        for one in found
    ]


def events(*changes: Change, before: DeploymentStatus = CREATED) -> list[tuple[str, EventState | None]]:
    return told(list(happenings(changes, before, {})))


@pytest.mark.req("CP-382")
def test_every_state_of_a_deployment_has_its_event() -> None:
    status = DeploymentStatus
    found = [events(rollout(one)) for one in status if one is not status.CREATED]
    assert found == [
        [("", EventState.QUEUED)],
        [("", EventState.START)],
        [],
        [("", EventState.READY)],
        [("", EventState.SUCCESS)],
        [("", EventState.FAILURE)],
        [("", EventState.STOP)],
    ]


@pytest.mark.req("CP-383", "CP-373")
def test_every_state_of_an_instance_has_its_event() -> None:
    found = {one: events(target("a", one)) for one in TargetStatus}
    assert {one: states[0][1] for one, states in found.items() if states} == {
        TargetStatus.IN_PROGRESS: EventState.START,
        TargetStatus.READY: EventState.READY,
        TargetStatus.SUCCEEDED: EventState.SUCCESS,
        TargetStatus.FAILED: EventState.FAILURE,
    }


@pytest.mark.req("CP-381")
def test_what_passes_within_one_round_is_told_and_the_end_comes_last() -> None:
    assert events(
        rollout(DeploymentStatus.IN_PROGRESS),
        target("a", TargetStatus.IN_PROGRESS),
        rollout(DeploymentStatus.FAILED),
        target("a", TargetStatus.FAILED),
        EventChanged(
            instance_id=InstanceId("a"), record=EventRecord(name="Install", status=EventStatus.FAILED)
        ),
        target("b", TargetStatus.SKIPPED),
    ) == [
        ("", EventState.START),
        ("a", EventState.START),
        ("a", EventState.FAILURE),
        ("", EventState.FAILURE),
    ]


def test_a_record_that_changed_without_its_status_tells_nothing() -> None:
    known = {InstanceId("a"): TargetStatus.IN_PROGRESS}
    again: list[Change] = [target("a", TargetStatus.IN_PROGRESS), rollout(DeploymentStatus.IN_PROGRESS)]
    assert not list(happenings(again, DeploymentStatus.IN_PROGRESS, known))


@pytest.mark.parametrize("before", [DeploymentStatus.BAKING, DeploymentStatus.READY])
def test_a_deployment_that_goes_on_has_started_once(before: DeploymentStatus) -> None:
    assert events(rollout(DeploymentStatus.IN_PROGRESS), before=before) == []


@given(st.lists(st.sampled_from(list(TargetStatus)), max_size=12), st.integers(1, 12))
def test_rounds_can_be_cut_anywhere(statuses: list[TargetStatus], size: int) -> None:
    changes = [target("a", status) for status in statuses]
    whole = told(list(happenings(changes, CREATED, {})))
    known: dict[InstanceId, TargetStatus] = {}
    in_pieces = []
    for first in range(0, len(changes), size):
        piece = changes[first : first + size]
        in_pieces += told(list(happenings(piece, CREATED, known)))
        known[InstanceId("a")] = piece[-1].record.status
    assert in_pieces == whole


@pytest.mark.req("CP-369")
def test_a_trigger_hears_of_all_that_it_names_and_nothing_else() -> None:
    one = Trigger(
        name="a",
        target_arn="x",
        events=(TriggerEventType.DEPLOYMENT_ROLLBACK, TriggerEventType.INSTANCE_FAILURE),
    )
    every = replace(one, name="b", events=tuple(TriggerEventType))
    assert waiting_triggers([one, every], EventKind.DEPLOYMENT, EventState.ROLLBACK) == (one, every)
    assert waiting_triggers([one, every], EventKind.INSTANCE, EventState.FAILURE) == (one, every)
    assert waiting_triggers([one, every], EventKind.DEPLOYMENT, EventState.FAILURE) == (every,)
    # Which triggers do not know.
    assert waiting_triggers([one, every], EventKind.DEPLOYMENT, EventState.QUEUED) == ()


def test_every_type_of_event_belongs_to_a_state() -> None:
    pairs = [(kind, state) for kind in EventKind for state in EventState]
    assert {trigger_type(*pair) for pair in pairs} - {None} == set(TriggerEventType)
