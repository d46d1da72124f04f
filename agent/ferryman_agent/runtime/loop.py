"""Runs commands: one task each, those of one deployment group one after another, several groups at once (D6).

The machine of each command decides; here its facts are written down, its instructions carried out, and the end of each
is handed back to it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import structlog

from ferryman_agent.clock import Clock, is_set_within
from ferryman_agent.core.facts import (
    CancelRequested,
    EndScripts,
    Fact,
    Perform,
    WorkEnded,
)
from ferryman_agent.core.lifecycle import refusal
from ferryman_agent.core.machine import SegmentRun
from ferryman_agent.core.messages import (
    CommandId,
    DeploymentId,
    Diagnostics,
    GroupId,
    ScriptErrorCode,
    Segment,
)
from ferryman_agent.errors import INTERRUPTED, JournalError, broke
from ferryman_agent.runtime.commands import Answer, Disposition, LiveCommand
from ferryman_agent.runtime.journal import Command, Journal
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.watch import EventWatch

MAX_GROUPS = 16
JOURNAL_RETRY_SECONDS = 5.0

log = structlog.stdlib.get_logger(__name__)


class EventWork(Protocol):
    """Does the work of lifecycle events. Nothing that goes wrong in an event is raised: it is how the work ended."""

    async def perform(self, segment: Segment, perform: Perform, watch: EventWatch) -> WorkEnded: ...

    async def finish(self, segment: Segment) -> None:
        """Returns when nothing of the segment touches the machine any more."""


class CommandLoop:
    """`changed` is called, and must not block, whenever there is something new to report or to show."""

    def __init__(
        self,
        *,
        journal: Journal,
        work: EventWork,
        lines: LiveLines,
        clock: Clock,
        instance_id: str,
        changed: Callable[[], None],
        max_groups: int = MAX_GROUPS,
    ) -> None:
        self._journal = journal
        self._work = work
        self._lines = lines
        self._clock = clock
        self._instance_id = instance_id
        self._changed = changed
        self._max_groups = max_groups
        self._live: dict[CommandId, LiveCommand] = {}
        self._queues: dict[GroupId, deque[LiveCommand]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._is_draining = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._ended = asyncio.Event()

    async def run(self, recovered: Sequence[SegmentRun] = ()) -> None:
        """Runs until `end`; goes on with what the process before this one left (see core/machine.py)."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for run in recovered:
                command = self._journal.commands[run.segment.command_id]
                self._enqueue(LiveCommand(run=run, is_announced=command.is_announced and run.is_begun))
            self._start_what_may()
            await self._ended.wait()

    # What the coordinator asks for

    async def receive(self, segment: Segment) -> Answer | None:
        """Takes in a command and returns the answer once it is true; None while the agent is about to end (AG-142)."""
        command_id = segment.command_id
        known = self._journal.commands.get(command_id)
        if known is not None:
            await self._answer_known(known, segment)
            live = self._live.get(command_id)
            # That it waits is said anew each time: the coordinator's start timer stands still only once it knows.
            is_waiting = live is not None and live.is_waiting
            return Answer(command_id, Disposition.QUEUED if is_waiting else Disposition.KNOWN)
        if self._is_draining:
            return None
        reason = refusal(segment, self._instance_id)
        if reason is not None:
            return await self._refuse(segment, reason)
        try:
            live = LiveCommand(run=SegmentRun(segment), is_announced=self._may_start(segment))
            self._journal.receive(segment, is_announced=live.is_announced)
        except JournalError as error:
            log.error("command.refused", command_id=command_id, error=str(error))
            return Answer(command_id, Disposition.REFUSED, str(error))
        log.info("command.received", command_id=command_id, events=len(segment.lifecycle_events))
        self._enqueue(live)
        self._start_what_may()
        # The task just made writes down that its first event starts: one flush serves both.
        await asyncio.sleep(0)
        await self._journal.sync()
        return Answer(command_id, Disposition.STARTED if live.is_announced else Disposition.QUEUED)

    async def cancel(self, command_id: CommandId, *, reason: str, kill: bool) -> None:
        """Ends a command (D4). One that never came is remembered, so that it does not start when it comes late."""
        live = self._live.get(command_id)
        if live is not None:
            log.info("command.cancelled", command_id=command_id, reason=reason, kill=kill)
            outcome = live.run.handle(CancelRequested(reason=reason, kill=kill))
            await self._note(command_id, outcome.facts)
            if any(isinstance(instruction, EndScripts) for instruction in outcome.instructions):
                live.stop.set()
            if live.run.is_finished and not live.is_running:
                self._leave(live)
        elif command_id not in self._journal.commands:
            try:
                self._journal.cancel_ahead(command_id)
            except JournalError as error:
                log.error("cancel.not_journaled", command_id=command_id, error=str(error))
        await self._journal.sync()
        self._changed()

    def forget(self, deployment_id: DeploymentId) -> None:
        """Nothing will ask for this deployment again."""
        try:
            self._journal.forget(deployment_id)
        except JournalError as error:
            log.warning("forget.not_journaled", deployment_id=deployment_id, error=str(error))

    # What the link and the status show

    @property
    def live(self) -> Iterator[LiveCommand]:
        """Commands that have not ended, in the order of their arrival."""
        return iter(self._live.values())

    @property
    def running_ids(self) -> list[CommandId]:
        return [live.command_id for live in self._live.values() if live.is_running]

    def open_ids(self) -> list[CommandId]:
        """Commands whose end the coordinator has not acknowledged yet."""
        waits = self._journal.outbox.is_waiting
        commands = self._journal.commands.values()
        return [each.command_id for each in commands if each.end is None or waits(each.command_id)]

    # The end

    async def drain(self, seconds: float) -> bool:
        """Starts nothing more and waits for the events that run; returns whether all ended in time (AG-139)."""
        self._is_draining = True
        return await is_set_within(self._clock, seconds, self._is_idle)

    def end_scripts(self) -> None:
        """Ends what the running events have started; they fail, since nobody cancelled their deployment."""
        for live in self._live.values():
            live.stop.set()

    def end(self) -> None:
        """Lets `run` return. What still runs is waited for."""
        self._is_draining = True
        self._ended.set()

    # Inside

    async def _answer_known(self, known: Command, segment: Segment) -> None:
        """Says once more how a command ended, where the coordinator has lost what it acknowledged."""
        live = self._live.get(known.command_id)
        if live is not None:
            live.refresh_url(segment)
        elif known.end is not None and not self._journal.outbox.is_waiting(known.command_id):
            try:
                self._journal.report_again(known)
            except JournalError as error:
                log.error("report.not_journaled", command_id=known.command_id, error=str(error))
            self._changed()

    async def _refuse(self, segment: Segment, reason: str) -> Answer:
        log.error("command.refused", command_id=segment.command_id, error=reason)
        try:
            self._journal.receive(segment, is_announced=False)
        except JournalError as error:
            return Answer(segment.command_id, Disposition.REFUSED, f"{reason}; and {error}")
        diagnostics = Diagnostics(
            error_code=ScriptErrorCode.UNKNOWN_ERROR, message=reason, detail_code="COMMAND_REFUSED"
        )
        await self._note(segment.command_id, SegmentRun(segment).fail(diagnostics).facts)
        await self._journal.sync()
        self._changed()
        return Answer(segment.command_id, Disposition.REFUSED, reason)

    def _may_start(self, segment: Segment) -> bool:
        is_first = segment.deployment.deployment_group_id not in self._queues
        return self._tasks is not None and is_first and self._running_groups() < self._max_groups

    def _running_groups(self) -> int:
        return sum(queue[0].is_running for queue in self._queues.values())

    def _enqueue(self, live: LiveCommand) -> None:
        self._live[live.command_id] = live
        self._queues.setdefault(live.group, deque()).append(live)

    def _leave(self, live: LiveCommand) -> None:
        queue = self._queues.pop(live.group)
        queue.remove(live)
        if queue:
            # Behind the groups that have waited for a place while this one had one.
            self._queues[live.group] = queue
        del self._live[live.command_id]
        self._lines.finish(live.command_id)

    def _start_what_may(self) -> None:
        """Starts the first command of each group that has its turn, groups in the order in which they came to wait."""
        if self._tasks is None or self._is_draining:
            return
        running = self._running_groups()
        for queue in self._queues.values():
            if running >= self._max_groups:
                return
            if not queue[0].is_running:
                queue[0].is_running = True
                self._is_idle.clear()
                self._tasks.create_task(self._drive(queue[0]), name=f"command {queue[0].command_id}")
                running += 1

    async def _drive(self, live: LiveCommand) -> None:
        """Takes one command from its turn to its end, or to the end of the running event when the agent is ending."""
        deployment_id = live.run.segment.deployment.deployment_id
        with structlog.contextvars.bound_contextvars(command_id=live.command_id, deployment_id=deployment_id):
            outcome = live.run.begin(is_announced=live.is_announced)
            while True:
                await self._note(live.command_id, outcome.facts)
                self._changed()
                perform = next((one for one in outcome.instructions if isinstance(one, Perform)), None)
                if perform is None:
                    break
                ended = await self._perform(live, perform)
                if self._is_draining and ended.diagnostics.detail_code == INTERRUPTED:
                    # Not reported: the journal says that it goes on, and so the next process does it again (V2-055).
                    break
                outcome = live.run.handle(ended, is_pausing=self._is_draining)
            await self._work.finish(live.run.segment)
            if live.run.status is not None:
                log.info("command.ended", status=live.run.status.value)
        live.is_running = False
        if live.run.is_finished:
            self._leave(live)
        self._start_what_may()
        if not self._running_groups():
            self._is_idle.set()
        self._changed()

    async def _perform(self, live: LiveCommand, perform: Perform) -> WorkEnded:
        log.info("event.started", event_name=perform.lifecycle_event)
        watch = EventWatch(
            live.command_id,
            perform.lifecycle_event,
            stop=live.stop,
            journal=self._journal,
            lines=self._lines,
            clock=self._clock,
            changed=self._changed,
        )
        try:
            ended = await self._work.perform(live.run.segment, perform, watch)
        except JournalError:
            raise
        except Exception as error:
            # A mistake of ours must cost this event and no more (V2-035, AG-453).
            log.exception("event.broke", event_name=perform.lifecycle_event)
            ended = WorkEnded(lifecycle_event=perform.lifecycle_event, diagnostics=broke(error))
        code, message = int(ended.diagnostics.error_code), ended.diagnostics.message
        log.info("event.ended", event_name=perform.lifecycle_event, error_code=code, message=message)
        return ended

    async def _note(self, command_id: CommandId, facts: Sequence[Fact]) -> None:
        """Writes facts down, however long the disk is full: what happened must neither be lost nor told untimely."""
        while True:
            try:
                return self._journal.note(command_id, facts)
            except JournalError as error:
                log.error("journal.blocked", command_id=command_id, error=str(error))
                await self._clock.sleep(JOURNAL_RETRY_SECONDS)
