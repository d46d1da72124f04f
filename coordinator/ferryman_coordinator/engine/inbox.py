"""What waits for one live deployment.

Reports wait in order. Comings and goings of instances and readings of alarms collapse to the newest one each, and ticks
to one, so neither a flapping instance nor a slow database makes the inbox grow. Reports need no bound of their own:
their senders, of which each agent's stream has a few, wait until theirs is stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ferryman_coordinator.core.alarms import AlarmReading
from ferryman_coordinator.core.messages import Event
from ferryman_coordinator.core.model import CommandId, InstanceId


@dataclass(slots=True)
class Round:
    """What one decision round takes. `stored` is set once its changes are committed."""

    stored: asyncio.Future[None]
    events: list[Event] = field(default_factory=list)
    # True: connected; False: silent. Newest knowledge only.
    presence: dict[InstanceId, bool] = field(default_factory=dict)
    # What the agents that connected have open, as they said in their Hello.
    open_commands: dict[InstanceId, tuple[CommandId, ...]] = field(default_factory=dict)
    # By name. Newest knowledge only.
    alarms: dict[str, AlarmReading] = field(default_factory=dict)
    is_due: bool = False


class Inbox:
    """Filled by the engine, emptied by the one task of its deployment."""

    def __init__(self, round_size: int) -> None:
        self._round_size = round_size
        self._rounds: deque[Round] = deque()
        self._something = asyncio.Event()
        self._refusal: BaseException | None = None
        # It may go on, if it waits in the queue of its group.
        self.has_turn = False

    def put(self, event: Event) -> asyncio.Future[None]:
        """Queue the event. The future ends when all that follows from it is stored; do not cancel it: it is shared."""
        if self._refusal is not None:
            refused = Round(asyncio.get_running_loop().create_future())
            fail(refused, self._refusal)
            return refused.stored
        if not self._rounds or len(self._rounds[-1].events) >= self._round_size:
            self._add_round()
        self._rounds[-1].events.append(event)
        self._something.set()
        return self._rounds[-1].stored

    def put_presence(
        self, instance_id: InstanceId, is_connected: bool, open_commands: Sequence[CommandId] = ()
    ) -> None:
        """Note that the instance came or went; replaces what is noted and not taken yet."""
        newest = self._newest()
        for waiting in self._rounds:
            waiting.presence.pop(instance_id, None)
            waiting.open_commands.pop(instance_id, None)
        newest.presence[instance_id] = is_connected
        if open_commands:
            newest.open_commands[instance_id] = tuple(open_commands)
        self._something.set()

    def put_alarms(self, readings: Sequence[AlarmReading]) -> None:
        """Note what was read of alarms; replaces what is noted and not taken yet."""
        newest = self._newest()
        for reading in readings:
            for waiting in self._rounds:
                waiting.alarms.pop(reading.name, None)
            newest.alarms[reading.name] = reading
        self._something.set()

    def give_turn(self) -> None:
        """Let it leave the queue of its group."""
        self.has_turn = True
        self._something.set()

    def wake(self) -> None:
        """Let the task of the deployment look at what it waits for, beside what is put here."""
        self._something.set()

    def put_tick(self) -> None:
        """Note that a deadline has come."""
        self._newest().is_due = True
        self._something.set()

    async def take(self) -> Round:
        """Wait for something, and take one round of it."""
        while not self._rounds:
            self._something.clear()
            await self._something.wait()
        return self._rounds.popleft()

    def take_alarms(self) -> tuple[AlarmReading, ...]:
        """What was read of alarms and not taken yet; the rest goes on waiting."""
        readings = [reading for waiting in self._rounds for reading in waiting.alarms.values()]
        for waiting in self._rounds:
            waiting.alarms.clear()
        return tuple(readings)

    async def changed(self) -> None:
        """Return once something is put after this call."""
        self._something.clear()
        await self._something.wait()

    def waiting(self) -> Iterator[Event]:
        """What was put and not taken yet."""
        for waiting in self._rounds:
            yield from waiting.events

    def refuse(self, because: BaseException) -> None:
        """Fail what waits, and everything that still comes, with `because`."""
        self._refusal = because
        while self._rounds:
            fail(self._rounds.popleft(), because)

    def finish(self) -> None:
        """The deployment is over: what waits has no effect any more and counts as stored."""
        while self._rounds:
            settle(self._rounds.popleft())

    def _newest(self) -> Round:
        if not self._rounds:
            self._add_round()
        return self._rounds[-1]

    def _add_round(self) -> None:
        self._rounds.append(Round(asyncio.get_running_loop().create_future()))


def settle(taken: Round) -> None:
    """Tell those who wait for the round that it is stored."""
    if not taken.stored.done():
        taken.stored.set_result(None)


def fail(taken: Round, because: BaseException) -> None:
    """Tell those who wait for the round that it was not stored."""
    if not taken.stored.done():
        taken.stored.set_exception(because)
        # Ticks and comings and goings have nobody who waits; asyncio would complain of an unseen exception.
        taken.stored.exception()
