"""What an event costs does not depend on the size of the fleet (DESIGN section 5). Counted, not timed."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest

from ferryman_coordinator.core.messages import Event, EventFinished, EventStarted, Tick
from ferryman_coordinator.core.model import CommandId, EventStatus, InstanceId, MinimumHealthyHosts
from ferryman_coordinator.core.rollout import Rollout
from tests.support.clock import START
from tests.support.rollouts import OK, at_a_time, fleet, fleet_spec, percent

SMALL, LARGE = 20, 2_000


def rollout_of(size: int, minimum: MinimumHealthyHosts) -> tuple[Rollout, InstanceId]:
    """A rollout, and one of its targets in progress."""
    rollout, outcome = Rollout.start(
        fleet_spec(minimum, max_targets=size), fleet(size), START, created_at=START
    )
    return rollout, outcome.commands[0].instance_id


def calls_in(action: Callable[[], object]) -> int:
    """How many functions are called."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("minimum", [percent(0), percent(50), at_a_time(1)], ids=["all", "half", "one"])
def test_calls_an_event(minimum: MinimumHealthyHosts) -> None:
    assert cost_of(SMALL, minimum) == cost_of(LARGE, minimum)


def cost_of(size: int, minimum: MinimumHealthyHosts) -> list[int]:
    """Function calls of each event of a target that runs its first and its last lifecycle event."""
    rollout, whose = rollout_of(size, minimum)
    command = CommandId(f"d-TESTFLEET/{whose}/1/0")
    events: list[Event] = []
    for name in ("ApplicationStop", "ValidateService"):
        events += [
            EventStarted(instance_id=whose, command_id=command, lifecycle_event=name),
            EventFinished(
                instance_id=whose,
                command_id=command,
                lifecycle_event=name,
                status=EventStatus.SUCCEEDED,
                diagnostics=OK,
            ),
            Tick(),
        ]
    return [calls_in(partial(rollout.handle, event, START)) for event in events]


def test_bytes_a_target() -> None:
    """All in progress at once: 100,000 of them must stay under 200 MB."""
    members = fleet(LARGE)
    spec = fleet_spec(percent(0), max_targets=LARGE)
    gc.collect()
    tracemalloc.start()
    try:
        rollout, outcome = Rollout.start(spec, members, START, created_at=START)
        for whose in [command.instance_id for command in outcome.commands]:
            command = CommandId(f"d-TESTFLEET/{whose}/1/0")
            event = EventStarted(instance_id=whose, command_id=command, lifecycle_event="Install")
            outcome = rollout.handle(event, START)
        del outcome
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held / LARGE < 2_000
