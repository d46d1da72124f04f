"""When the next heartbeat is due and what it says. One timer for all that is sent at times (AG-100)."""

from __future__ import annotations

from collections.abc import Callable

from ferryman.v1 import agents_pb2 as pb
from ferryman_agent.clock import Clock
from ferryman_agent.core.messages import CommandId

DEFAULT_SECONDS = 15.0
LEAST_SECONDS, MOST_SECONDS = 1.0, 300.0


class Heartbeat:
    """`running` and `waiting` are asked when one is built: commands that run, reports not acknowledged."""

    def __init__(
        self,
        clock: Clock,
        *,
        running: Callable[[], list[CommandId]],
        waiting: Callable[[], int],
        disk_free: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._running = running
        self._waiting = waiting
        self._disk_free = disk_free
        self._seconds = DEFAULT_SECONDS
        self._next = clock.monotonic()

    def start(self, interval_ms: int) -> None:
        """A stream stands; the coordinator wants a heartbeat this often. Its Hello was the first sign of life."""
        wanted = interval_ms / 1000 if interval_ms else DEFAULT_SECONDS
        self._seconds = min(MOST_SECONDS, max(LEAST_SECONDS, wanted))
        self._next = self._clock.monotonic() + self._seconds

    @property
    def due_in(self) -> float:
        """Seconds until the next one, 0 when it is due."""
        return max(0.0, self._next - self._clock.monotonic())

    def build(self) -> pb.ConnectRequest:
        """Returns one heartbeat and counts it as sent."""
        self._next = self._clock.monotonic() + self._seconds
        beat = pb.Heartbeat(
            running_command_ids=self._running(),
            disk_free_bytes=self._disk_free(),
            reports_waiting=self._waiting(),
        )
        return pb.ConnectRequest(heartbeat=beat)
