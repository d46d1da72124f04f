"""The rollout core: how long an event takes it, and what a large rollout weighs."""

from __future__ import annotations

import heapq
import time

from tests.bench.harness import Figure, Options, row
from tests.simulation.speed import measure
from tests.support.rollouts import percent


@row(
    "core.event", what="rollout core, 100,000 targets × 7 lifecycle events, an event", unit="µs", budget=20.0
)
def core_event(options: Options) -> Figure:
    """The reference is the least that such an event can cost: a look-up, an attribute, a heap with deadlines."""
    speed = measure(2_000 if options.quick else 100_000, percent(50))
    return Figure(
        value=speed.microseconds_per_call,
        reference=_bare(speed.targets, speed.handled),
        reference_name="µs, dict and heap",
        details={
            "targets": speed.targets,
            "events": speed.handled,
            "us_per_lifecycle_event": speed.microseconds_per_lifecycle_event,
            "start_s": speed.start_seconds,
            "grown_mb": speed.grown_bytes / 1e6,
        },
    )


def _bare(targets: int, events: int) -> float:
    places = {f"i-{number}": [0, 0] for number in range(targets)}
    names = list(places)
    deadlines: list[tuple[int, str]] = []
    began = time.process_time()
    for number in range(events):
        name = names[number % targets]
        place = places[name]
        place[0] += 1
        place[1] = number + 3_600_000
        heapq.heappush(deadlines, (place[1], name))
        if len(deadlines) > targets:
            heapq.heappop(deadlines)
    return (time.process_time() - began) / events * 1e6
