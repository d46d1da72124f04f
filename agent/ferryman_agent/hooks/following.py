"""What following a script is on every system: its open outputs, its exit, and waiting for either."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ferryman_agent.clock import Clock
from ferryman_agent.hooks.contract import Stream
from ferryman_agent.hooks.output import ScriptOutput


class Reapable(Protocol):
    """A started process that is kept until somebody lets it go."""

    def reap(self) -> None:
        """Let the ended process go."""


C = TypeVar("C", bound=Reapable)


class Following(ABC, Generic[C]):
    """Sees a child exit and its outputs end. How blocks of output come in is the system's own way."""

    def __init__(self, child: C, reading: dict[Stream, int], output: ScriptOutput) -> None:
        self.child = child
        self.exited = asyncio.Event()
        self._output = output
        self._open = dict(reading)
        self._changed = asyncio.Event()
        self._is_abandoned = False
        self._loop = asyncio.get_running_loop()

    @property
    def open_outputs(self) -> dict[Stream, int]:
        """The streams whose end has not come, with their descriptors."""
        return dict(self._open)

    async def wait(
        self, is_done: Callable[[], bool], seconds: float, clock: Clock, cancel: asyncio.Event
    ) -> bool:
        """Wait until `is_done`, at most `seconds`, or until `cancel` is set; returns whether it is done.

        `is_done` is asked whenever an output ends and when the child exits.
        """
        if is_done():
            return True
        over = asyncio.Event()

        def end() -> None:
            over.set()
            self._changed.set()

        timer = clock.after(seconds, end)
        cancelled = asyncio.ensure_future(cancel.wait())
        try:
            cancelled.add_done_callback(lambda _: self._changed.set())
            while not is_done() and not over.is_set() and not cancelled.done():
                self._changed.clear()
                await self._changed.wait()
            return is_done()
        finally:
            timer.cancel()
            cancelled.cancel()
            await asyncio.wait([cancelled])

    @abstractmethod
    def drain(self) -> None:
        """Take what is in the pipes now, and no more: somebody may be writing without end."""

    @abstractmethod
    def hand_over(self) -> None:
        """Leave open outputs to somebody else, so that who writes there is not ended by a broken pipe."""

    @abstractmethod
    def _end(self, stream: Stream) -> None:
        """Stop reading an output."""

    def close(self) -> None:
        """Stop reading; whoever still writes gets SIGPIPE. Reaps the child, now or when it ends at last."""
        for stream in self.open_outputs:
            self._end(stream)
        self._output.finish()
        if self.exited.is_set():
            self.child.reap()
        self._is_abandoned = True

    def _on_exit(self) -> None:
        self.exited.set()
        self._changed.set()
        if self._is_abandoned:
            self.child.reap()
