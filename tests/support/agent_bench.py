"""A command loop with work in a test's hand: each event stands until the test says how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ferryman_agent.core.facts import EventFinished, EventStarted, Perform, SegmentFinished, WorkEnded
from ferryman_agent.core.messages import CommandId, Diagnostics, ScriptErrorCode, Segment
from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.loop import CommandLoop
from ferryman_agent.runtime.recovery import recover
from ferryman_agent.runtime.watch import EventWatch
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import INSTANCE

OK = Diagnostics()
BAD = Diagnostics(error_code=ScriptErrorCode.SCRIPT_FAILED, message="exit 9")


class FakeWork:
    """Satisfies `EventWork`. What runs stands in `running`; `end` lets it end."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[Diagnostics]] = {}
        self.performed: list[str] = []
        self.finished: list[CommandId] = []
        self.watches: dict[str, EventWatch] = {}
        self.is_quick = False
        self.changed = asyncio.Event()

    async def perform(self, segment: Segment, perform: Perform, watch: EventWatch) -> WorkEnded:
        await watch.before_doing()
        key = f"{segment.deployment.deployment_id} {perform.lifecycle_event}"
        self.performed.append(key)
        self.watches[key] = watch
        ending: asyncio.Future[Diagnostics] = asyncio.get_running_loop().create_future()
        if self.is_quick:
            ending.set_result(OK)
        self.running[key] = ending
        self.changed.set()
        stopped = asyncio.ensure_future(watch.stop.wait())
        waiting: set[asyncio.Future[Any]] = {ending, stopped}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            del self.running[key]
        diagnostics = ending.result() if ending.done() else BAD
        return WorkEnded(
            lifecycle_event=perform.lifecycle_event, diagnostics=diagnostics, is_stopped=not ending.done()
        )

    async def finish(self, segment: Segment) -> None:
        self.finished.append(segment.command_id)

    async def started(self, key: str) -> None:
        """Returns when the event runs."""
        await self.until(lambda: key in self.running)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def end(self, key: str, diagnostics: Diagnostics = OK) -> None:
        """Ends a running event; one that is about to end already stays as it is."""
        if not self.running[key].done():
            self.running[key].set_result(diagnostics)


class LoopBench:
    """A loop over a real journal. `restart` is what a crash and a new process do to it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualAgentClock()
        self.path = folder / "journal"
        self.ended_processes: list[ProcessMark] = []
        self.max_groups = 16

    async def start(self) -> None:
        self.work = FakeWork()
        self.journal = Journal(self.path, self.clock)
        self.journal.open()
        self.loop = CommandLoop(
            journal=self.journal,
            work=self.work,
            lines=LiveLines(),
            clock=self.clock,
            instance_id=INSTANCE,
            changed=self.work.changed.set,
            max_groups=self.max_groups,
        )
        recovered = await recover(self.journal, self.clock, self._end_leftovers)
        self.task = asyncio.create_task(self.loop.run(recovered))
        await asyncio.sleep(0)

    async def _end_leftovers(self, mark: ProcessMark) -> bool:
        self.ended_processes.append(mark)
        return True

    async def crash(self) -> None:
        """Ends it as a kill would: nothing more is written down."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.journal.close()

    async def restart(self) -> None:
        await self.crash()
        await self.start()

    async def ended(self, command_id: CommandId) -> str:
        """Waits for the end of a command; returns its status."""
        await self.work.until(lambda: self.journal.commands[command_id].end)
        end = self.journal.commands[command_id].end
        assert end is not None
        return end.status.value

    def story(self, command_id: CommandId | None = None) -> list[str]:
        """The waiting reports, in order."""
        words = []
        for report in self.journal.outbox.after(0, 10_000):
            if command_id not in (None, report.command_id):
                continue
            match report.fact:
                case EventStarted(lifecycle_event=name):
                    words.append(f"start {name}")
                case EventFinished(lifecycle_event=name, status=status):
                    words.append(f"{status.value} {name}")
                case SegmentFinished(status=status):
                    words.append(f"end {status.value}")
                case _:
                    words.append(type(report.fact).__name__)
        return words
