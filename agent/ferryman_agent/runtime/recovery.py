"""After a start, once: ends what a dead agent left running, and finds out which commands go on (AG section 5.6)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from ferryman_agent.clock import Clock
from ferryman_agent.core.facts import SegmentFinished
from ferryman_agent.core.machine import SegmentRun
from ferryman_agent.core.messages import EventStatus
from ferryman_agent.errors import JournalError
from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.runtime.journal import Command, Journal

STALE_MS = 24 * 3600 * 1000
"""Older commands are not worth a report, let alone going on with (AG-Q06)."""

EndLeftovers = Callable[[ProcessMark], Awaitable[bool]]

log = structlog.stdlib.get_logger(__name__)


async def recover(journal: Journal, clock: Clock, end_leftovers: EndLeftovers) -> list[SegmentRun]:
    """Returns the runs to go on with, those begun first.

    One command that cannot be recovered does not keep the others, or the agent, from starting (AG-138, V2-010).
    Raises JournalError when the disk cannot even be flushed.
    """
    for damage in journal.damage:
        log.warning("journal.damaged", damage=damage)
    # Processes first, and all of them: nothing may be reported as over while it still runs (V2-008).
    await asyncio.gather(
        *(_end_processes(command, journal, end_leftovers) for command in journal.commands.values())
    )
    runs: list[SegmentRun] = []
    for command in [each for each in journal.commands.values() if each.end is None]:
        try:
            run = _recover_one(command, journal, clock)
        except JournalError as error:
            # It stays as it is, is neither run nor reported, and the next start tries again.
            log.error("command.not_recovered", command_id=command.command_id, error=str(error))
            continue
        if run is not None:
            runs.append(run)
    await journal.sync()
    return sorted(runs, key=lambda run: not run.is_begun)


async def _end_processes(command: Command, journal: Journal, end_leftovers: EndLeftovers) -> None:
    for process in list(command.processes):
        try:
            was_running = await end_leftovers(process)
        except OSError as error:
            log.warning("process.not_ended", command_id=command.command_id, pid=process.pid, error=str(error))
            continue
        if was_running:
            log.warning("process.ended", command_id=command.command_id, pid=process.pid)
        # If that cannot be written down, the next start looks for it in vain.
        with contextlib.suppress(JournalError):
            journal.process_gone(command.command_id, process)


def _recover_one(command: Command, journal: Journal, clock: Clock) -> SegmentRun | None:
    """Returns the run when there is something left to do."""
    if command.last_at < clock.now() - STALE_MS:
        log.warning("command.stale", command_id=command.command_id)
        journal.drop(command.command_id)
        return None
    if command.segment is None:
        # Its record is lost and only facts are left: what it was to do is not known any more.
        log.error("command.lost", command_id=command.command_id)
        journal.note(command.command_id, [SegmentFinished(status=EventStatus.FAILED)])
        return None
    run = SegmentRun.restore(command.segment, [fact for _, _, fact in command.facts])
    if run.damage:
        log.error("command.damaged", command_id=command.command_id, error=run.damage)
        journal.keep_facts(command.command_id, run.known_facts)
    facts = run.recover().facts
    if facts:
        log.warning("command.recovered", command_id=command.command_id, ended=run.is_finished)
    journal.note(command.command_id, facts)
    return None if run.is_finished else run
