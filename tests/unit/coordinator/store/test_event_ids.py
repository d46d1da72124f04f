"""Ids of events are derived, never drawn."""

from __future__ import annotations

import uuid

import pytest

from ferryman_coordinator.core.events import EventState
from ferryman_coordinator.store.event_ids import delivery_id, event_id


@pytest.mark.req("CP-375")
def test_ids_are_derived() -> None:
    first = event_id("d-1", "i-1", EventState.START)
    assert first == event_id("d-1", "i-1", EventState.START)
    others = {
        event_id("d-2", "i-1", EventState.START),
        event_id("d-1", "i-2", EventState.START),
        event_id("d-1", "", EventState.START),
        event_id("d-1", "i-1", EventState.SUCCESS),
        event_id("d-1", "i-1", EventState.START, attempt=2),
    }
    assert len(others | {first}) == 6
    assert delivery_id(first, "trigger/a", "x") != delivery_id(first, "trigger/b", "x")
    assert all(uuid.UUID(one).version == 5 for one in others)
