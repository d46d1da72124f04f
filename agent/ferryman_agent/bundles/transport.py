"""What all downloads of an agent share: the way out, the throttle gate, the rate, and that the agent is ending."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ferryman_agent.bundles.route import Route
from ferryman_agent.bundles.uses import Uses
from ferryman_agent.core.throttle import ThrottleGate

if TYPE_CHECKING:
    from ferryman_agent.bundles.asking import Ask

Sleep = Callable[[float], Awaitable[None]]

SMALL_BYTES = 1024 * 1024
"""Bundles up to this size are fetched and unpacked in a thread; a child process would cost more than they do."""


class Paced(Protocol):
    """Somebody who downloads and can be told how fast."""

    def set_rate(self, bytes_per_second: float | None) -> None: ...


class SharedRate:
    """Divides the rate of all downloads evenly among those that go on."""

    def __init__(self, bytes_per_second: float | None = None) -> None:
        self._whole = bytes_per_second
        self._users: list[Paced] = []

    @contextmanager
    def share(self, user: Paced) -> Iterator[None]:
        """Gives `user` a share for the body; everybody else's gets smaller."""
        self._users.append(user)
        self._divide()
        try:
            yield
        finally:
            self._users.remove(user)
            self._divide()

    def change(self, bytes_per_second: float | None) -> None:
        """Sets the rate of all together anew, also for those that go on; None is no limit."""
        self._whole = bytes_per_second
        self._divide()

    def _divide(self) -> None:
        for user in self._users:
            user.set_rate(self._whole / len(self._users) if self._whole else None)


@dataclass(slots=True, kw_only=True)
class Transport:
    """One for each agent. `is_ending` is set when the agent ends: what goes on may finish, nothing is tried again.

    `small_bytes`: up to which size a bundle is worked on in this process; every one is where it may not spawn.
    `ask`: how the coordinator is asked for a small one of its own; None where there is no stream to it.
    `sleep`, `monotonic` and `random_number` are for tests to replace.
    """

    route: Route = field(default_factory=Route)
    rate: SharedRate = field(default_factory=SharedRate)
    gate: ThrottleGate = field(default_factory=ThrottleGate)
    uses: Uses = field(default_factory=Uses)
    is_ending: asyncio.Event = field(default_factory=asyncio.Event)
    small_bytes: int = SMALL_BYTES
    may_spawn: bool = True
    ask: Ask | None = None
    sleep: Sleep = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic
    random_number: Callable[[], float] = random.random

    async def pass_gate(self) -> None:
        """Returns once no server's throttling keeps requests waiting (V2-051)."""
        while (seconds := self.gate.wait(self.monotonic(), self.random_number())) > 0:
            if not await self.pause(seconds):
                return

    async def pause(self, seconds: float) -> bool:
        """Waits, but not longer than the agent lives; returns whether it waited to the end (V2-055)."""
        if self.is_ending.is_set():
            return False
        waiting = asyncio.ensure_future(self.sleep(seconds))
        ending = asyncio.ensure_future(self.is_ending.wait())
        try:
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            ending.cancel()
        return not self.is_ending.is_set()
