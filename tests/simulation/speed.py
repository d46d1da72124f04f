"""How fast the core is: a whole rollout of orderly instances, where only the core's own processor time is counted."""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from ferryman_coordinator.core.lifecycle import event_names
from ferryman_coordinator.core.messages import (
    CommandAcked,
    Disposition,
    Event,
    EventFinished,
    EventStarted,
    Outcome,
    RunSegment,
    SegmentFinished,
)
from ferryman_coordinator.core.model import DeploymentStatus, EventStatus, Instant, MinimumHealthyHosts
from ferryman_coordinator.core.rollout import Rollout
from tests.support.clock import START
from tests.support.rollouts import OK, fleet, fleet_spec

_AT_ONCE = 2_000
"""Instances whose reports come interleaved; of the others each waits for its first."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """`handled`: calls of the core, of which a lifecycle event takes two and a command two more."""

    targets: int
    lifecycle_events: int
    handled: int
    start_seconds: float
    seconds: float
    # Of the whole process at its peak, and how much of it came since the members were there.
    peak_bytes: int
    grown_bytes: int

    @property
    def microseconds_per_call(self) -> float:
        return self.seconds / self.handled * 1e6

    @property
    def microseconds_per_lifecycle_event(self) -> float:
        return self.seconds / self.lifecycle_events * 1e6


def measure(targets: int, minimum: MinimumHealthyHosts) -> Speed:
    """Deploy to that many instances, none of which fails."""
    members = fleet(targets)
    spec = fleet_spec(minimum, max_targets=targets)
    before = _peak_bytes()
    began = time.process_time()
    rollout, outcome = Rollout.start(spec, members, START, created_at=START)
    start_seconds = time.process_time() - began
    waiting = deque(_runs(outcome))
    del outcome
    active: deque[tuple[RunSegment, int]] = deque()
    now, handled, seconds = START, 0, 0.0
    while waiting or active:
        while waiting and len(active) < _AT_ONCE:
            active.append((waiting.popleft(), 0))
        said = [(command, turn, _report(command, turn)) for command, turn in active]
        active.clear()
        now = Instant(now + 1_000)
        began = time.process_time()
        for _, _, event in said:
            outcome = rollout.handle(event, now)
            if outcome.commands:
                waiting.extend(_runs(outcome))
        seconds += time.process_time() - began
        handled += len(said)
        active.extend((command, turn + 1) for command, turn, _ in said if turn <= 2 * len(command.events))
    assert rollout.record.status is DeploymentStatus.SUCCEEDED
    peak = _peak_bytes()
    rollout.check()
    return Speed(
        targets=targets,
        lifecycle_events=targets * len(event_names(spec.path)),
        handled=handled,
        start_seconds=start_seconds,
        seconds=seconds,
        peak_bytes=peak,
        grown_bytes=peak - before,
    )


def _report(command: RunSegment, turn: int) -> Event:
    """What an orderly agent says, one word a turn: got it, then start and end of each event, then the end."""
    whose, command_id = command.instance_id, command.command_id
    if turn == 0:
        return CommandAcked(instance_id=whose, command_id=command_id, disposition=Disposition.STARTED)
    place, is_end = divmod(turn - 1, 2)
    if place == len(command.events):
        return SegmentFinished(instance_id=whose, command_id=command_id, status=EventStatus.SUCCEEDED)
    name = command.events[place]
    if not is_end:
        return EventStarted(instance_id=whose, command_id=command_id, lifecycle_event=name)
    return EventFinished(
        instance_id=whose,
        command_id=command_id,
        lifecycle_event=name,
        status=EventStatus.SUCCEEDED,
        diagnostics=OK,
    )


def _runs(outcome: Outcome) -> Iterable[RunSegment]:
    return (command for command in outcome.commands if isinstance(command, RunSegment))


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
