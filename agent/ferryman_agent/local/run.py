"""Drives the agent's own engine for one local deployment: machine, worker, journal, hooks and install are the same.

What a coordinator and the agent's loop do around them for many commands is not needed for one: it starts at once, or
is refused because somebody works for the deployment group.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import structlog

from ferryman_agent.clock import Clock
from ferryman_agent.config import Config
from ferryman_agent.core.facts import CancelRequested, Outcome, Perform, WorkEnded
from ferryman_agent.core.lifecycle import Work
from ferryman_agent.core.machine import SegmentRun
from ferryman_agent.core.messages import Diagnostics, EventStatus, Segment
from ferryman_agent.errors import AgentError, EventError, JournalError, broke
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.manifest import settle
from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.hooks.native import end_leftovers
from ferryman_agent.hooks.runner import run_hooks
from ferryman_agent.local.screen import Screen
from ferryman_agent.runtime import scripts
from ferryman_agent.runtime.downloads import Downloads
from ferryman_agent.runtime.group_turns import GroupTurns
from ferryman_agent.runtime.installs import Installs
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.prefetch import ArchiveTurns
from ferryman_agent.runtime.recovery import recover
from ferryman_agent.runtime.watch import EventWatch
from ferryman_agent.runtime.work import Worker
from ferryman_agent.system import own, signal
from ferryman_agent.wiring import work_settings

_NO_LIMIT = 1 << 40
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log = structlog.stdlib.get_logger(__name__)


class CannotStart(AgentError):
    """The deployment cannot even begin; nothing has been changed."""


class LocalDeployment:
    """One segment on this machine, from the lock of its group to its end."""

    def __init__(
        self, config: Config, layout: Layout, clock: Clock, segment: Segment, screen: Screen
    ) -> None:
        self._layout = layout
        self._clock = clock
        downloads = Downloads(config, layout, lambda: None, lambda: _source(segment, layout), may_spawn=False)
        # As with what a coordinator sends: no header that is secret gets into the journal.
        self._segment = replace(segment, deployment=downloads.learn(segment.deployment))
        self._screen = screen
        self._run = SegmentRun(self._segment)
        self._stop = asyncio.Event()
        self.ended_by: signal.Signals | None = None
        self._lines = LiveLines()
        self._groups = GroupTurns(layout, clock)
        self._journal = Journal(layout.local_journal(segment.deployment.deployment_group_id), clock)
        settings = work_settings(config)
        # The terminal is as fast as people want it to be; a link to a coordinator is not.
        hooks = replace(settings.hooks, live_lines_per_second=_NO_LIMIT, live_bytes_per_second=_NO_LIMIT)
        installs = Installs(config, layout, clock)
        self._worker = Worker(
            layout=layout,
            clock=clock,
            settings=replace(settings, hooks=hooks),
            download=downloads.download,
            install=installs.install,
            demand_rights=installs.demand_rights,
            run_hooks=run_hooks,
            turns=ArchiveTurns(),
            groups=self._groups,
            settle=partial(settle, layout),
        )

    async def run(self) -> EventStatus:
        """Runs it to its end. Raises GroupBusy, CannotStart, JournalError."""
        deployment = self._segment.deployment
        try:
            self._layout.prepare()
            self._groups.hold(deployment.deployment_group_id, deployment.deployment_id)
        except OSError as error:
            where = error.filename or self._layout.root
            raise CannotStart(f"cannot prepare {where}: {error.strerror}") from error
        try:
            self._journal.open()
            await self._tidy_up()
            with self._signals():
                return await self._drive()
        finally:
            self._journal.close()
            if self._run.is_finished:
                # Nobody will ask for it again.
                self._layout.local_journal(deployment.deployment_group_id).unlink(missing_ok=True)
            self._groups.release(deployment.deployment_group_id, deployment.deployment_id)

    async def _tidy_up(self) -> None:
        """Ends what an earlier local deployment of the group has left running when it was killed (D5)."""
        commands = self._journal.commands
        if not commands:
            return
        open_ones = [each.deployment_id for each in commands.values() if each.end is None]
        await recover(self._journal, self._clock, end_leftovers)
        for deployment_id in open_ones:
            self._screen.warn(f"the earlier deployment {deployment_id} was killed before its end")
        for command_id in list(commands):
            self._journal.drop(command_id)

    async def _drive(self) -> EventStatus:
        self._journal.receive(self._segment, is_announced=True)
        outcome = self._run.begin(is_announced=True)
        while True:
            self._note(outcome)
            perform = next((each for each in outcome.instructions if isinstance(each, Perform)), None)
            if perform is None:
                break
            outcome = self._run.handle(await self._perform(perform))
        await self._worker.finish(self._segment)
        status = self._run.status or EventStatus.FAILED
        log.info("deployment.ended", status=status.value)
        return status

    async def _perform(self, perform: Perform) -> WorkEnded:
        if perform.work is Work.NOT_OURS:
            message = "Succeeded (simulated: there is no load balancer here)"
            return WorkEnded(
                lifecycle_event=perform.lifecycle_event, diagnostics=Diagnostics(message=message)
            )
        watch = _ShownWatch(
            self._screen,
            self._segment.command_id,
            perform.lifecycle_event,
            stop=self._stop,
            journal=self._journal,
            lines=self._lines,
            clock=self._clock,
            changed=self._show_lines,
        )
        log.info("event.started", event_name=perform.lifecycle_event)
        try:
            ended = await self._worker.perform(self._segment, perform, watch)
        except JournalError:
            raise
        except Exception as error:
            # A mistake of ours costs the event, as it does in the agent (V2-035).
            log.exception("event.broke", event_name=perform.lifecycle_event)
            ended = WorkEnded(lifecycle_event=perform.lifecycle_event, diagnostics=broke(error))
        found = ended.diagnostics
        log.info("event.ended", event_name=perform.lifecycle_event, error_code=int(found.error_code))
        if found.script_name and not found.is_success:
            self._screen.failed_script(await asyncio.to_thread(self._script_path, perform, found.script_name))
        return ended

    def _script_path(self, perform: Perform, script_name: str) -> Path:
        """Returns where a script lies that this event has run (AG-503)."""
        deployment = self._segment.deployment
        with contextlib.suppress(EventError):
            chosen = scripts.choose(perform.lifecycle_event, deployment, self._layout, fail_on_missing=False)
            if chosen.archive is not None:
                return chosen.archive / script_name
        directory = self._layout.deployment(deployment.deployment_group_id, deployment.deployment_id)
        return directory.archive / script_name

    def _note(self, outcome: Outcome) -> None:
        self._journal.note(self._segment.command_id, outcome.facts)
        for fact in outcome.facts:
            self._screen.fact(fact)

    def _show_lines(self) -> None:
        # At once, and so in order with all else: who stops the terminal stops the deployment.
        while (lines := self._lines.take()) is not None:
            self._screen.lines(lines)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and its like end what runs and skip the rest; scripts do not get them by themselves."""
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            own.add_signal_handler(loop, number, self._end, number)
        try:
            yield
        finally:
            for number in _ENDING:
                own.remove_signal_handler(loop, number)

    def _end(self, number: signal.Signals) -> None:
        self.ended_by = number
        self._note(self._run.handle(CancelRequested(reason=f"{number.name} at the terminal", kill=True)))
        self._stop.set()


class _ShownWatch(EventWatch):
    """An event whose scripts are named on the screen as they start."""

    def __init__(self, screen: Screen, *arguments: Any, **around: Any) -> None:
        super().__init__(*arguments, **around)
        self._screen = screen

    @property
    def before_doing(self) -> Callable[[], Awaitable[None]]:
        """What is written down outlives this process; whether it outlives the machine, nobody would ask after that."""
        return _at_once

    def script_started(self, script_name: str, process: ProcessMark) -> None:
        """See HookWatcher."""
        self._screen.script(script_name)
        super().script_started(script_name, process)


def _source(segment: Segment, layout: Layout) -> frozenset[str]:
    """The earlier deployment that the revision is taken from, if any: it must not be pruned while it is (AG-473)."""
    url, group = segment.deployment.revision.url, layout.group(segment.deployment.deployment_group_id)
    place = Path(own.local_path(unquote(url.removeprefix("file://"), errors="surrogateescape")))
    return frozenset(place.relative_to(group).parts[:1]) if place.is_relative_to(group) else frozenset()


async def _at_once() -> None:
    """Returns at once."""
