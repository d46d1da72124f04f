"""Live output of running hooks, from the agents' streams to whoever follows it. Best effort; nothing is stored.

Each follower has a bounded queue. One that is too slow loses the oldest lines and is told how many; the whole log stays
on the instance, and the tail of a failed hook in its diagnostics.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ferryman_coordinator.core.model import DeploymentId, InstanceId, Instant

QUEUE_LINES = 2_000
"""Lines that may wait for one follower."""

RECENT_LINES = 200
"""Lines of a live deployment that a follower who comes later still gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a hook's output. `at` is the instance's time, for display; `dropped_before`: lines lost before it."""

    instance_id: InstanceId
    lifecycle_event: str
    script_name: str
    at: Instant
    is_stderr: bool
    text: str
    dropped_before: int = 0


class Logs:
    """What is published for a deployment that is not open, or not any more, is dropped."""

    def __init__(self, *, queue_lines: int = QUEUE_LINES, recent_lines: int = RECENT_LINES) -> None:
        self._queue_lines = queue_lines
        self._recent_lines = recent_lines
        self._recent: dict[DeploymentId, deque[LogLine]] = {}
        self._followers: dict[DeploymentId, list[_Follower]] = {}

    def open(self, deployment_id: DeploymentId) -> None:
        """The deployment is live."""
        self._recent.setdefault(deployment_id, deque(maxlen=self._recent_lines))

    def close(self, deployment_id: DeploymentId) -> None:
        """The deployment is over: followers get what waits for them, then end."""
        self._recent.pop(deployment_id, None)
        for follower in self._followers.get(deployment_id, ()):
            follower.end()

    def publish(self, deployment_id: DeploymentId, lines: Iterable[LogLine]) -> None:
        """Hand the lines to the followers; never blocks."""
        recent = self._recent.get(deployment_id)
        if recent is None:
            return
        followers = self._followers.get(deployment_id, ())
        for line in lines:
            recent.append(line)
            for follower in followers:
                follower.offer(line)

    async def follow(
        self, deployment_id: DeploymentId, instance_id: InstanceId | None = None
    ) -> AsyncGenerator[LogLine, None]:
        """Recent lines, then what follows until the deployment is over; of one instance, or of all."""
        recent = self._recent.get(deployment_id)
        if recent is None:
            return
        with self._joined(deployment_id, instance_id) as follower:
            for line in recent:
                follower.offer(line)
            while lines := await follower.take():
                for line in lines:
                    yield line

    @contextmanager
    def _joined(self, deployment_id: DeploymentId, instance_id: InstanceId | None) -> Iterator[_Follower]:
        follower = _Follower(instance_id, self._queue_lines)
        followers = self._followers.setdefault(deployment_id, [])
        followers.append(follower)
        try:
            yield follower
        finally:
            followers.remove(follower)
            if not followers:
                self._followers.pop(deployment_id, None)


class _Follower:
    def __init__(self, instance_id: InstanceId | None, queue_lines: int) -> None:
        self._instance_id = instance_id
        self._queue_lines = queue_lines
        self._waiting: deque[LogLine] = deque()
        self._dropped = 0
        self._has_ended = False
        self._something = asyncio.Event()

    def offer(self, line: LogLine) -> None:
        if self._instance_id is not None and line.instance_id != self._instance_id:
            return
        if len(self._waiting) >= self._queue_lines:
            self._dropped += 1 + self._waiting.popleft().dropped_before
        self._waiting.append(line)
        self._something.set()

    def end(self) -> None:
        self._has_ended = True
        self._something.set()

    async def take(self) -> list[LogLine]:
        """All that waits; empty at the end."""
        while not self._waiting:
            if self._has_ended:
                return []
            self._something.clear()
            await self._something.wait()
        lines = list(self._waiting)
        self._waiting.clear()
        if self._dropped:
            lines[0] = replace(lines[0], dropped_before=lines[0].dropped_before + self._dropped)
            self._dropped = 0
        return lines
