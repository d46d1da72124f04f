"""One script that has been started: its limits, its exit, its outputs, and its end when it does not end by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ferryman_agent.clock import Clock
from ferryman_agent.core.messages import ResourceUsage
from ferryman_agent.hooks import verdict
from ferryman_agent.hooks.contract import Background, HookRun, HookSettings, HookWatcher, OutputsLeftOpen
from ferryman_agent.hooks.environment import Refusal
from ferryman_agent.hooks.native import ExitStatus, Follower, end
from ferryman_agent.hooks.native_processes import processes
from ferryman_agent.hooks.output import ScriptOutput, ScriptsLog
from ferryman_agent.hooks.verdict import Prepared, Verdict
from ferryman_agent.threads import to_its_end

if TYPE_CHECKING:
    from ferryman_agent.hooks.cgroup_maker import GroupMaker

_LATE = 0.8  # of its limit, from which on a script is said to be slow (AG-412)
_LATE_FROM_SECONDS = 60.0  # shorter limits are not worth a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all scripts of one event share. `event_deadline` is by the clock's monotonic time."""

    run: HookRun
    settings: HookSettings
    clock: Clock
    watcher: HookWatcher
    cancel: asyncio.Event
    background: Background | None
    log: ScriptsLog
    event_deadline: float
    groups: GroupMaker | None = None


class Supervisor:
    """Watches over one child from its start to its end."""

    def __init__(
        self, each: Prepared, follower: Follower, output: ScriptOutput, around: Surroundings
    ) -> None:
        self._each = each
        self._follower = follower
        self._output = output
        self._around = around
        left = around.event_deadline - around.clock.monotonic()
        self._limit = min(float(each.script.timeout_seconds), left)
        self._is_events_limit = left < each.script.timeout_seconds
        self._deadline = around.clock.monotonic() + self._limit
        self._is_closed = False
        self._usage: ResourceUsage | None = None

    async def watch(self) -> Verdict:
        """Returns how the script ended, and what it took until then.

        Then it is gone and has left at most background processes of its own behind, or it is over its limit and being
        ended in the background.
        """
        found = await self._watch()
        # One that is being ended in the background is measured now: it is reported now (AG-410).
        usage = self._usage or self._follower.child.usage()
        groups = self._around.groups
        return verdict.with_memory(self._each, found, usage, groups.limits.memory_bytes if groups else None)

    async def _watch(self) -> Verdict:
        try:
            self._around.watcher.script_started(self._each.script.location, self._follower.child.mark)
            if await self._exits():
                return await self._exited()
            if self._around.cancel.is_set():
                await self._end()
                return Verdict(failure=self._stopped())
        except BaseException:
            # Whatever ends us must not leave a script behind that nobody follows.
            await self._end()
            raise
        await self._end_behind()
        return Verdict(failure=self._over_limit())

    async def _exits(self) -> bool:
        """Wait for the exit within the limit, with a remark when most of the limit is used."""
        has_exited = self._follower.exited.is_set
        if self._limit >= _LATE_FROM_SECONDS:
            if await self._wait(has_exited, self._limit * _LATE) or self._around.cancel.is_set():
                return has_exited()
            self._output.remark(
                f"Warning - {self._each.script.location} has used {_LATE:.0%} of its {self._limit:g} seconds"
            )
        return await self._wait(has_exited, self._deadline - self._around.clock.monotonic())

    async def _exited(self) -> Verdict:
        """Judge an exit, once the outputs are closed or have been waited for."""
        status = self._follower.child.exit_status() or ExitStatus()
        failure = verdict.exited(self._each, status)
        self._follower.drain()
        if self._follower.open_outputs and not failure:
            # A failure is reported at once, whatever is held open (AG-417).
            await self._wait(lambda: not self._follower.open_outputs, self._outputs_grace())
            if self._around.cancel.is_set() and self._follower.open_outputs:
                await self._end()
                return Verdict(failure=self._stopped(), status=status)
        if not self._follower.open_outputs:
            self._close()
            return Verdict(failure=failure, status=status)
        return await self._left_open(Verdict(failure=failure, status=status))

    async def _left_open(self, found: Verdict) -> Verdict:
        outputs = self._follower.open_outputs
        holders = await asyncio.to_thread(processes.holders, outputs.values())
        note = verdict.left_open(self._each, outputs, holders)
        self._output.remark(f"Warning - {note}")
        if self._around.settings.outputs_left_open is OutputsLeftOpen.FAIL:
            await self._end_behind()
            return Verdict(failure=found.failure or verdict.outputs_failed(note), status=found.status)
        self._follower.hand_over()
        self._close()
        return Verdict(failure=found.failure, status=found.status, note=note)

    async def _end_behind(self) -> None:
        """End all that belongs to the script, in the background where there is one."""
        if self._around.background is None:
            await self._end()
        else:
            self._around.background(self._end)

    async def _end(self) -> None:
        """End all that belongs to the script; not even a cancellation keeps this from coming to its end."""
        if self._is_closed:
            return
        await to_its_end(self._end_and_close())

    async def _end_and_close(self) -> None:
        await end(
            self._follower.child,
            self._follower.exited,
            grace_seconds=self._around.settings.kill_grace_seconds,
            clock=self._around.clock,
        )
        self._follower.drain()
        self._close()
        self._around.log.close()

    def _close(self) -> None:
        self._is_closed = True
        self._follower.close()
        child = self._follower.child
        self._usage = child.usage()
        if child.group is not None and self._around.groups is not None:
            self._around.groups.free(child.group)
        self._around.watcher.script_ended(self._each.script.location, self._follower.child.mark)

    def _outputs_grace(self) -> float:
        left = self._deadline - self._around.clock.monotonic()
        return max(0.0, min(self._around.settings.outputs_grace_seconds, left))

    def _over_limit(self) -> Refusal:
        if self._is_events_limit:
            run = self._around.run
            return verdict.event_over(
                self._each, run.lifecycle_event, run.event_timeout_seconds, is_running=True
            )
        return verdict.timed_out(self._each, self._limit)

    def _stopped(self) -> Refusal:
        return verdict.stopped(self._each, self._around.run.lifecycle_event, is_running=True)

    async def _wait(self, is_done: Callable[[], bool], seconds: float) -> bool:
        return await self._follower.wait(is_done, seconds, self._around.clock, self._around.cancel)
