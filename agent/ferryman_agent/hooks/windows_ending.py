"""Ending scripts on Windows, with all that they started: by their jobs, and after a crash of the agent by descent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ferryman_agent.clock import Clock, SystemClock, is_set_within
from ferryman_agent.hooks import windows_processes
from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.hooks.processes import Process
from ferryman_agent.hooks.windows import Child

_POLL_SECONDS = 0.05
_GONE_SECONDS = 5.0


async def end(child: Child, exited: asyncio.Event, *, grace_seconds: float, clock: Clock) -> None:
    """End a child with all that belongs to it, at once: nothing could be told it before, so there is nothing to wait
    for (AG-536)."""
    child.end_all()
    await is_set_within(clock, _GONE_SECONDS, exited)
    await _until(lambda: not child.is_anybody_left(), clock)


async def end_leftovers(mark: ProcessMark, *, clock: Clock | None = None, grace_seconds: float = 5) -> bool:
    """End what is left of a script of an earlier life of the agent (AG-137, V2-008); True when there was something.

    The job of a script has no name and went with the agent. So it is the script's process, if it is still that one, and
    what hangs below it; where it has ended, nobody can tell whose the others are, and they are left alone.
    """
    family = survivors(mark)
    for process in family:
        windows_processes.end(process)
    if family:
        await _until(lambda: not survivors(mark), clock or SystemClock())
    return bool(family)


def survivors(mark: ProcessMark) -> list[Process]:
    """The processes that are certainly left of the script."""
    if mark.boot_id != windows_processes.boot_id():
        return []
    first = windows_processes.read(mark.pid)
    if first is None or not first.is_alive or first.started_at_ticks != mark.started_at_ticks:
        return []
    return [first, *windows_processes.below(mark.pid)]


async def _until(is_done: Callable[[], bool], clock: Clock) -> None:
    deadline = clock.monotonic() + _GONE_SECONDS
    while not is_done() and clock.monotonic() < deadline:
        await clock.sleep(_POLL_SECONDS)
