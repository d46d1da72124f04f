"""Virtual time, and streams that break."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Chances of each kind of trouble: per message, per event or per instance, as the names say."""

    message_breaks_stream: float = 0.0
    message_comes_twice: float = 0.0
    message_outlives_its_stream: float = 0.0
    event_fails: float = 0.0
    event_hangs: float = 0.0
    event_kills_agent: float = 0.0
    event_kills_host: float = 0.0
    instance_is_off: float = 0.0
    command_is_queued: float = 0.0
    # How often, all in all, the coordinator dies: before, or just after, what it decided is stored.
    coordinator_deaths: int = 0
    longest_delay_ms: int = 200


CALM = Faults()

ROUGH = Faults(
    message_breaks_stream=0.01,
    message_comes_twice=0.03,
    message_outlives_its_stream=0.5,
    event_fails=0.003,
    event_hangs=0.0005,
    event_kills_agent=0.003,
    event_kills_host=0.001,
    instance_is_off=0.01,
    command_is_queued=0.1,
    coordinator_deaths=6,
    longest_delay_ms=2_000,
)


class World:
    """Time that jumps to the next thing that happens; everything by one seeded source of chance."""

    def __init__(self, seed: int, faults: Faults, start_ms: int) -> None:
        self.random = Random(seed)
        self.faults = faults
        self.now = start_ms
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._waiting, (self.now + delay_ms, next(self._numbers), action))

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def run(self, is_over: Callable[[], bool]) -> None:
        """Let things happen until it is over; running out of things to happen would be a deadlock."""
        while not is_over():
            assert self._waiting, "nothing will ever happen again, and the rollout has not ended"
            self.now, _, action = heapq.heappop(self._waiting)
            action()


class Stream:
    """One connection of an instance. What is sent arrives in order, unless the stream breaks first.

    A message may arrive twice, and some of those under way when it broke may still arrive much later, as if an
    intermediary had held them: worse than what TCP does, and the core must not mind.
    """

    def __init__(self, world: World, on_broken: Callable[[], None]) -> None:
        self._world = world
        self._on_broken = on_broken
        self._clear_at = {"up": 0, "down": 0}
        self.is_open = True

    def send(self, direction: str, deliver: Callable[[], None]) -> None:
        if not self.is_open:
            return
        world, faults = self._world, self._world.faults
        if world.chance(faults.message_breaks_stream):
            self.break_off()
            return
        arrival = max(
            world.now + world.random.randint(1, faults.longest_delay_ms), self._clear_at[direction] + 1
        )
        self._clear_at[direction] = arrival
        late = world.chance(faults.message_outlives_its_stream)
        times = 2 if world.chance(faults.message_comes_twice) else 1
        for _ in range(times):
            world.after(arrival - world.now, lambda: self._arrive(deliver, late))

    def break_off(self) -> None:
        if self.is_open:
            self.is_open = False
            self._on_broken()

    def _arrive(self, deliver: Callable[[], None], late: bool) -> None:
        if self.is_open:
            deliver()
        elif late:
            self._world.after(self._world.random.randint(1, 30_000), deliver)
