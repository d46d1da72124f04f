"""When each target is due, and who is due first.

A heap with lazy deletion: an entry stays when its target's deadline moves on, and is put right once it has come to
the top. So a deadline costs O(log n) however often it moves, and the heap holds few more entries than targets.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace

from ferryman_coordinator.core.model import Instant

START_TIMER = "EVENT_START_TIMER"
RUN_TIMER = "EVENT_RUN_TIMER"
AGENT_SILENT = "AGENT_SILENT"
"""Finer codes of a lifecycle event that one of the coordinator's own timers has failed."""

OWN_TIMERS = (START_TIMER, RUN_TIMER, AGENT_SILENT)


class Deadlines:
    """Deadlines of the targets 0 to `count` - 1."""

    __slots__ = ("_due", "_heap", "_queued")

    def __init__(self, count: int) -> None:
        self._due: list[Instant | None] = [None] * count
        # The time of the target's earliest entry in the heap; no entry of it is earlier than this.
        self._queued: list[Instant | None] = [None] * count
        self._heap: list[tuple[Instant, int]] = []

    def put(self, target: int, due: Instant | None) -> None:
        """Set when a target is due; None: it is not."""
        self._due[target] = due
        if due is None:
            return
        queued = self._queued[target]
        if queued is None or due < queued:
            self._queued[target] = due
            heappush(self._heap, (due, target))

    def of(self, target: int) -> Instant | None:
        return self._due[target]

    def first(self) -> tuple[Instant, int] | None:
        """The earliest deadline and whose it is; among equals the lowest target."""
        heap, queued = self._heap, self._queued
        while heap:
            when, target = heap[0]
            due = self._due[target]
            if when == due:
                return heap[0]
            if queued[target] != when or due is None:
                heappop(heap)
                if queued[target] == when:
                    queued[target] = None
            else:
                queued[target] = due
                heapreplace(heap, (due, target))
        return None
