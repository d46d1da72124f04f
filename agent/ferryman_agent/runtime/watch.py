"""What the work of one lifecycle event tells while it goes on: scripts, processes, output, bytes received."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from ferryman_agent.clock import Clock
from ferryman_agent.core.facts import DownloadProgress, Fact, ScriptStarted
from ferryman_agent.core.messages import CommandId
from ferryman_agent.errors import JournalError
from ferryman_agent.hooks.contract import OutputLine, ProcessMark
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.live_lines import LiveLines

PROGRESS_SECONDS = 2.0

log = structlog.stdlib.get_logger(__name__)


class EventWatch:
    """One running event. Satisfies `HookWatcher`: its methods neither block nor raise.

    `stop` is set when the work is to be ended before its own end.
    """

    def __init__(
        self,
        command_id: CommandId,
        lifecycle_event: str,
        *,
        stop: asyncio.Event,
        journal: Journal,
        lines: LiveLines,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self.stop = stop
        self._command_id = command_id
        self._lifecycle_event = lifecycle_event
        self._journal = journal
        self._lines = lines
        self._clock = clock
        self._changed = changed
        self._next_progress = 0.0

    @property
    def before_doing(self) -> Callable[[], Awaitable[None]]:
        """To be awaited before the first deed that cannot be taken back: the event's start is on disk then."""
        return self._journal.sync

    def script_started(self, script_name: str, process: ProcessMark) -> None:
        """See HookWatcher."""
        try:
            self._journal.process_began(self._command_id, process)
        except JournalError as error:
            # The script runs already. After a crash of the agent it could then not be found and ended.
            log.warning("process.not_journaled", script=script_name, pid=process.pid, error=str(error))
        self._note(ScriptStarted(lifecycle_event=self._lifecycle_event, script_name=script_name))

    def script_ended(self, script_name: str, process: ProcessMark) -> None:
        """See HookWatcher."""
        try:
            self._journal.process_gone(self._command_id, process)
        except JournalError as error:
            log.warning("process.not_journaled", script=script_name, pid=process.pid, error=str(error))

    def lines(self, script_name: str, lines: Sequence[OutputLine], dropped: int) -> None:
        """See HookWatcher."""
        was_empty = not self._lines
        self._lines.put(self._command_id, self._lifecycle_event, script_name, lines, dropped)
        if was_empty:
            self._changed()

    def lost_lines(self) -> int:
        """Returns how many lines of output the coordinator was not sent; asked once, when the scripts are over."""
        lost = self._lines.lost(self._command_id, self._lifecycle_event)
        if lost:
            log.warning("hook.lines_dropped", lifecycle_event=self._lifecycle_event, lines=lost)
        return lost

    def download_progress(self, received: int, total: int | None) -> None:
        """Tells the coordinator, at most once in two seconds."""
        if self._clock.monotonic() < self._next_progress:
            return
        self._next_progress = self._clock.monotonic() + PROGRESS_SECONDS
        self._note(DownloadProgress(received_bytes=received, total_bytes=total or 0))

    def _note(self, fact: Fact) -> None:
        try:
            self._journal.note(self._command_id, [fact])
        except JournalError as error:
            # Worth knowing, not worth stopping the work for.
            log.warning("fact.not_journaled", command_id=self._command_id, error=str(error))
        self._changed()
