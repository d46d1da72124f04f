"""A source of alarms that says what a test wants, and is held up or broken when a test wants that."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from ferryman_coordinator.alarms.source import Answer, Seen, Unread
from ferryman_coordinator.core.model import AlarmState
from ferryman_coordinator.errors import Unreachable
from tests.support.fake_agent import PATIENCE_SECONDS


class FakeSource:
    """Satisfies `alarms.source.AlarmSource`."""

    place = "in this test"

    def __init__(self, name: str = "fake", **states: AlarmState) -> None:
        self.name = name
        self.answers: dict[str, Answer] = {alarm: Seen(state=state) for alarm, state in states.items()}
        # Why it cannot be asked at all; empty: it can.
        self.down = ""
        # Each question, in order.
        self.asked: list[set[str]] = []
        self._asked = asyncio.Condition()
        self._open = asyncio.Event()
        self._open.set()

    def may_know(self, alarm: str) -> bool:
        return True

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        self.asked.append(set(alarms))
        async with self._asked:
            self._asked.notify_all()
        await self._open.wait()
        if self.down:
            raise Unreachable("AlarmSourceUnreachable", self.down)
        return {alarm: self.answers[alarm] for alarm in alarms if alarm in self.answers}

    async def names(self) -> Sequence[str]:
        if self.down:
            raise Unreachable("AlarmSourceUnreachable", self.down)
        return sorted(self.answers)

    # What a test does

    def say(self, alarm: str, state: AlarmState | None) -> None:
        """The alarm's state from now on; None: it cannot be had."""
        self.answers[alarm] = Unread("it is broken") if state is None else Seen(state=state)

    def hold(self) -> None:
        """Answer nobody until `release`."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def until_asked(self, times: int) -> None:
        """Wait until it was asked so many times in all."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._asked:
            await self._asked.wait_for(lambda: len(self.asked) >= times)
