"""Ending scripts: TERM to all that belongs to one, a grace period, KILL (V2-239).

`end` is for a running child of ours, `end_leftovers` for what an agent that died left behind.

To a script belongs who is in its control group. Where there are none: its process group, and the descendants that left
the group but still hang below it; a daemon that left both, by a double fork and a session of its own, is not found.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from ferryman_agent.clock import Clock, SystemClock, is_set_within
from ferryman_agent.hooks import processes
from ferryman_agent.hooks.cgroup import NAME_START, ControlGroup
from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.hooks.posix import Child, signal_process
from ferryman_agent.hooks.processes import Process

_POLL_SECONDS = 0.05
_REAP_SECONDS = 5.0
_MARK_VARIABLE = "FERRYMAN_DEPLOYMENT_DIR"  # every script has it, and what it starts inherits it


async def end(child: Child, exited: asyncio.Event, *, grace_seconds: float, clock: Clock) -> None:
    """End a child with all that belongs to it. `exited` is set when the child itself has ended.

    The child must not be reaped yet: as long as it is a zombie, nobody else can have its group number.
    """
    family = _Family(child)
    deadline = clock.monotonic() + grace_seconds
    family.signal(signal.SIGTERM)
    await is_set_within(clock, grace_seconds, exited)
    await _until(lambda: not family.survivors(), clock, deadline - clock.monotonic())
    family.kill()
    await is_set_within(clock, _REAP_SECONDS, exited)
    await _until(lambda: not family.members(), clock, _REAP_SECONDS)


async def end_leftovers(mark: ProcessMark, *, clock: Clock | None = None, grace_seconds: float = 5) -> bool:
    """End what is left of a script of an earlier life of the agent (AG-137, V2-008); True when there was something.

    A process that merely has the recorded number is never touched: not after a reboot, not with another start time, not
    in a group whose first process is gone unless it carries a script's environment.
    """
    clock = clock or SystemClock()
    group = group_of(mark)
    if not survivors(mark):
        if group is not None:
            _remove(group)
        return False
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, _REAP_SECONDS)):
        for process in survivors(mark):
            signal_process(process, number)
        if group is not None and number == signal.SIGKILL:
            group.kill()
        await _until(lambda: not survivors(mark), clock, seconds)
    if group is not None:
        _remove(group)
    return True


def group_of(mark: ProcessMark) -> ControlGroup | None:
    """The control group of the script, if it is certainly that: no name is used twice between reboots."""
    is_hooks = os.path.basename(mark.cgroup).startswith(NAME_START)
    is_this_boot = mark.boot_id != "" and mark.boot_id == processes.boot_id()
    return ControlGroup(mark.cgroup) if is_hooks and is_this_boot else None


def survivors(mark: ProcessMark) -> list[Process]:
    """The processes that are certainly left of the script: its groups, and what hangs below them."""
    group = group_of(mark)
    members = group.members() if group is not None else []
    return list({process.pid: process for process in [*members, *_family_left(mark)]}.values())


def _family_left(mark: ProcessMark) -> list[Process]:
    if not mark.boot_id or mark.boot_id != processes.boot_id() or mark.process_group <= 1:
        return []
    running = processes.snapshot()
    group = [process for process in running if process.group == mark.process_group]
    leader = processes.read(mark.pid)
    if leader is not None and leader.started_at_ticks != mark.started_at_ticks:
        return []
    if leader is None:
        # The number of a group stays taken while it has members, but it may have been free in between.
        group = [
            process
            for process in group
            if process.session == mark.process_group
            and process.started_at_ticks >= mark.started_at_ticks
            and processes.has_variable(process.pid, _MARK_VARIABLE)
        ]
    below = processes.descendants({process.pid for process in group}, running)
    return list({process.pid: process for process in [*group, *below]}.values())


class _Family:
    """A running child's groups, and the descendants outside of them, remembered from the moment of the first signal."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._strays: dict[int, Process] = {}
        self._find_strays()

    def signal(self, number: signal.Signals) -> None:
        self._find_strays()
        self._child.signal_group(number)
        for process in self._strays.values():
            signal_process(process, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._child.group is not None:
            self._child.group.kill()

    def members(self) -> list[Process]:
        """Who is alive in its control group."""
        return self._child.group.members() if self._child.group is not None else []

    def survivors(self) -> list[Process]:
        """Who is alive of them; the child's own zombie is not."""
        running = processes.snapshot()
        return [*self.members(), *(process for process in running if self._is_ours(process))]

    def _is_ours(self, process: Process) -> bool:
        stray = self._strays.get(process.pid)
        is_stray = stray is not None and stray.started_at_ticks == process.started_at_ticks
        return is_stray or process.group == self._child.mark.process_group

    def _find_strays(self) -> None:
        running = processes.snapshot()
        roots = {process.pid for process in running if self._is_ours(process)} | {self._child.pid}
        for process in processes.descendants(roots, running):
            if process.group != self._child.mark.process_group:
                self._strays[process.pid] = process
        for process in self.members():
            if process.group != self._child.mark.process_group:
                self._strays[process.pid] = process


async def _until(is_done: Callable[[], bool], clock: Clock, seconds: float) -> None:
    """Ask now and then, at most for `seconds`: other people's processes announce nothing."""
    deadline = clock.monotonic() + seconds
    while not is_done() and clock.monotonic() < deadline:
        await clock.sleep(_POLL_SECONDS)


def _remove(group: ControlGroup) -> None:
    # What cannot be removed now is looked at again by the next agent.
    with contextlib.suppress(OSError):
        group.remove()
