"""Who does the blocking work on a bundle: a thread of this process, or a child process that takes its memory along.

The work is the same either way (`attempt.py`, `archive.py`); docs/adr/0005 has the measurements.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from ferryman_agent.bundles.building import Build, Built
from ferryman_agent.bundles.halt import Halt
from ferryman_agent.core.pace import Pace
from ferryman_agent.threads import in_thread

if TYPE_CHECKING:
    from ferryman_agent.bundles.wanted import Attempt, Outcome, Progress


class Hands(Protocol):
    """Both are cancelled cleanly: nothing touches the disk once they have returned or raised."""

    async def fetch(self, wanted: Attempt, on_progress: Progress) -> Outcome:
        """Does `attempt.attempt`."""
        ...

    async def build(self, wanted: Build) -> Built:
        """Does `archive.build_archive`."""
        ...

    def set_rate(self, bytes_per_second: float | None) -> None:
        """Sets how fast `fetch` may go on, now and later."""
        ...

    async def close(self) -> None:
        """Ends whatever was kept for the next piece of work."""
        ...


class ThreadHands:
    """Works in a thread."""

    def __init__(self) -> None:
        self._pace = Pace()

    async def fetch(self, wanted: Attempt, on_progress: Progress) -> Outcome:
        """See Hands."""
        # Only now: what lies on this machine is not fetched.
        from ferryman_agent.bundles.attempt import attempt

        loop, halt = asyncio.get_running_loop(), Halt()

        def tell(received: int, total: int | None) -> None:
            loop.call_soon_threadsafe(on_progress, received, total)

        return await in_thread(
            lambda: attempt(wanted, halt=halt, pace=self._pace, on_progress=tell), stop=halt
        )

    async def build(self, wanted: Build) -> Built:
        """See Hands."""
        # Only now: the readers of archives are not needed while nothing is unpacked.
        from ferryman_agent.bundles.archive import build

        halt = Halt()
        return await in_thread(lambda: build(wanted, halt), stop=halt)

    @property
    def rate(self) -> float | None:
        """Bytes a second; None without a limit."""
        return self._pace.bytes_per_second

    def set_rate(self, bytes_per_second: float | None) -> None:
        """See Hands."""
        self._pace.bytes_per_second = bytes_per_second

    async def close(self) -> None:
        """See Hands."""
