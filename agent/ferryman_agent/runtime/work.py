"""Does what the machine asks for: downloads, installs, runs hooks; each ends as one WorkEnded, whatever happens.

Every event has a limit. A download is given up at it, scripts are ended by the hooks; an install cannot be interrupted
half-way, so its event fails at the limit and the deployment group waits until it is really over.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import structlog

from ferryman_agent.clock import Clock, ends_within
from ferryman_agent.core.facts import Perform, WorkEnded
from ferryman_agent.core.lifecycle import Work
from ferryman_agent.core.messages import (
    CommandId,
    DeploymentDescription,
    DeploymentId,
    Diagnostics,
    GroupId,
    ScriptErrorCode,
    Segment,
)
from ferryman_agent.errors import EventError
from ferryman_agent.files.atomic import write_atomic
from ferryman_agent.files.layout import DeploymentDir, Layout
from ferryman_agent.hooks.contract import Background, HookRun, HookSettings, HookWatcher
from ferryman_agent.hooks.verdict import LONGEST_MESSAGE
from ferryman_agent.runtime import scripts
from ferryman_agent.runtime.chronicle import Chronicle
from ferryman_agent.runtime.destinations import DestinationTurns
from ferryman_agent.runtime.group_turns import GroupTurns
from ferryman_agent.runtime.prefetch import ArchiveTurns
from ferryman_agent.runtime.watch import EventWatch

Progress = Callable[[int, int | None], None]
Download = Callable[[DeploymentDescription, Progress], Awaitable[str]]
Install = Callable[[DeploymentDescription], Awaitable[str]]
Demand = Callable[[DeploymentDescription], Awaitable[None]]
Settle = Callable[[GroupId, DeploymentId], bool]

STOPPED = "STOPPED"
MARK_RETRY_SECONDS = (1.0, 2.0, 5.0)

log = structlog.stdlib.get_logger(__name__)


class RunHooks(Protocol):
    """`hooks.runner.run_hooks`."""

    async def __call__(
        self,
        run: HookRun,
        *,
        settings: HookSettings,
        clock: Clock,
        watcher: HookWatcher,
        cancel: asyncio.Event,
        background: Background | None,
    ) -> Diagnostics: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSettings:
    """What the configuration says about the work of events."""

    hooks: HookSettings
    fail_on_missing_previous: bool = False
    deployments_log: bool = True


class Worker:
    """Satisfies `EventWork`. `download` and `install` return the message of their success, or raise EventError.

    `demand_rights` raises EventError for a revision that asks for more than this agent may do (AG-015).
    """

    def __init__(
        self,
        *,
        layout: Layout,
        clock: Clock,
        settings: WorkSettings,
        download: Download,
        install: Install,
        run_hooks: RunHooks,
        turns: ArchiveTurns,
        groups: GroupTurns | None = None,
        chronicle: Chronicle | None = None,
        demand_rights: Demand | None = None,
        settle: Settle = lambda group_id, deployment_id: False,
    ) -> None:
        self._layout = layout
        self._clock = clock
        self._settings = settings
        self._download = download
        self._install = install
        self._demand_rights = demand_rights
        self._run_hooks = run_hooks
        self._turns = turns
        self._settle = settle
        self._chronicle = chronicle or Chronicle(layout, clock)
        self._groups = groups or GroupTurns(layout, clock)
        self._destinations = DestinationTurns()
        self._directories: dict[CommandId, DeploymentDir] = {}
        self._left: defaultdict[CommandId, list[asyncio.Future[Any]]] = defaultdict(list)

    async def perform(self, segment: Segment, perform: Perform, watch: EventWatch) -> WorkEnded:
        """See EventWork."""
        started = self._clock.monotonic()
        works = {Work.DOWNLOAD: self._do_download, Work.INSTALL: self._do_install}
        try:
            diagnostics = await works.get(perform.work, self._do_hooks)(segment, perform, watch)
        except EventError as error:
            diagnostics = error.diagnostics()
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            diagnostics = EventError("IO_ERROR", f"{error.strerror or error}{where}").diagnostics()
        if not diagnostics.duration_ms:
            duration_ms = round((self._clock.monotonic() - started) * 1000)
            diagnostics = replace(diagnostics, duration_ms=duration_ms)
        self._chronicle.ended(segment, perform.lifecycle_event, diagnostics)
        return WorkEnded(
            lifecycle_event=perform.lifecycle_event,
            diagnostics=diagnostics,
            is_stopped=diagnostics.detail_code == STOPPED,
        )

    async def finish(self, segment: Segment) -> None:
        """See EventWork."""
        self._directories.pop(segment.command_id, None)
        left = self._left.pop(segment.command_id, [])
        if left:
            log.warning("command.left_work", command_id=segment.command_id, pieces=len(left))
            await asyncio.gather(*left, return_exceptions=True)
        await self._chronicle.write(segment)
        deployment = segment.deployment
        try:
            # What its scripts did to the installed files belongs to the deployment.
            await asyncio.to_thread(self._settle, deployment.deployment_group_id, deployment.deployment_id)
        except (OSError, EventError) as error:
            log.warning("manifest.not_settled", command_id=segment.command_id, error=str(error))
        try:
            self._layout.ongoing_mark(segment.deployment.deployment_id).unlink(missing_ok=True)
        except (OSError, EventError) as error:
            log.warning("marker.not_removed", command_id=segment.command_id, error=str(error))
        self._groups.release(segment.deployment.deployment_group_id, segment.deployment.deployment_id)

    async def _do_download(self, segment: Segment, perform: Perform, watch: EventWatch) -> Diagnostics:
        await self._take_group(segment, perform, watch)
        directory = await self._prepare(segment, watch)
        deployment = segment.deployment
        async with self._turns.of(deployment.deployment_id):
            task = asyncio.ensure_future(self._download(deployment, watch.download_progress))
            stopped = asyncio.ensure_future(watch.stop.wait())
            timer = asyncio.ensure_future(self._clock.sleep(segment.event_timeout_seconds))
            try:
                await asyncio.wait({task, stopped, timer}, return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    raise _stopped(perform) if stopped.done() else _over(perform, segment)
                message = task.result()
            finally:
                for each in (task, stopped, timer):
                    each.cancel()
                await asyncio.gather(task, stopped, timer, return_exceptions=True)
        name = deployment.app_spec_file_name.encode()
        await asyncio.to_thread(write_atomic, directory.app_spec_name, name)
        # Now, while nothing of the revision has run or is in its place.
        if self._demand_rights is not None:
            await self._demand_rights(deployment)
        return Diagnostics(message=message)

    async def _do_install(self, segment: Segment, perform: Perform, watch: EventWatch) -> Diagnostics:
        await self._take_group(segment, perform, watch)
        directory = await self._prepare(segment, watch)
        task = asyncio.ensure_future(self._install_in_turn(segment.deployment, directory))
        try:
            is_over = not await ends_within(self._clock, segment.event_timeout_seconds, task)
        except asyncio.CancelledError:
            await asyncio.gather(task, return_exceptions=True)
            raise
        if is_over:
            self._left[segment.command_id].append(task)
            raise _over(perform, segment)
        return Diagnostics(message=task.result())

    async def _install_in_turn(self, deployment: DeploymentDescription, directory: DeploymentDir) -> str:
        def destinations() -> list[str]:
            previous = self._layout.last_successful(deployment.deployment_group_id)
            directories = [directory] if previous is None else [directory, DeploymentDir(previous)]
            wanted = deployment.app_spec_file_name
            return [place for each in directories for place in scripts.destinations(each, wanted)]

        written = await asyncio.to_thread(destinations)
        async with self._destinations.of(written):
            return await self._install(deployment)

    async def _do_hooks(self, segment: Segment, perform: Perform, watch: EventWatch) -> Diagnostics:
        deployment = segment.deployment
        chosen = await self._choose(segment, perform)
        if chosen.scripts and await self._take_group(segment, perform, watch):
            # Meanwhile another revision may have become the last successful one.
            chosen = await self._choose(segment, perform)
        if chosen.warning:
            log.warning("hooks.skipped", event_name=perform.lifecycle_event, reason=chosen.warning)
            message = f"Succeeded. Warning: {chosen.warning}"
            return Diagnostics(message=message, detail_code="PREVIOUS_REVISION_MISSING")
        if chosen.archive is None or not chosen.scripts:
            return Diagnostics()
        directory = await self._prepare(segment, watch)
        run = HookRun(
            deployment=deployment,
            lifecycle_event=perform.lifecycle_event,
            archive=chosen.archive,
            scripts=chosen.scripts,
            deployment_dir=directory,
            root=self._layout.root,
            previous_archive=self._previous_archive(deployment),
            event_timeout_seconds=segment.event_timeout_seconds,
            deployments_log=self._layout.deployments_log if self._settings.deployments_log else None,
        )

        def background(action: Callable[[], Awaitable[None]]) -> object:
            task: asyncio.Future[None] = asyncio.ensure_future(action())
            self._left[segment.command_id].append(task)
            return task

        found = await self._run_hooks(
            run,
            settings=self._settings.hooks,
            clock=self._clock,
            watcher=watch,
            cancel=watch.stop,
            background=background,
        )
        if chosen.remark:
            log.warning("hooks.changed", event_name=perform.lifecycle_event, reason=chosen.remark)
            found = replace(found, message=f"{found.message}. Warning: {chosen.remark}"[:LONGEST_MESSAGE])
        return replace(
            found, dropped_lines=watch.lost_lines(), revision_deployment_id=chosen.archive.parent.name
        )

    async def _choose(self, segment: Segment, perform: Perform) -> scripts.Chosen:
        return await asyncio.to_thread(
            scripts.choose,
            perform.lifecycle_event,
            segment.deployment,
            self._layout,
            fail_on_missing=self._settings.fail_on_missing_previous,
        )

    async def _take_group(self, segment: Segment, perform: Perform, watch: EventWatch) -> bool:
        """Keeps local deployments away from the group until `finish`; returns whether it had to wait for one."""
        group, deployment = segment.deployment.deployment_group_id, segment.deployment.deployment_id
        has_waited = await self._groups.take(group, deployment, watch.stop)
        if has_waited and watch.stop.is_set():
            raise _stopped(perform)
        return has_waited

    async def _prepare(self, segment: Segment, watch: EventWatch) -> DeploymentDir:
        """Sees that the event's start outlives a crash, and first that directory and marker are there (AG-114)."""
        deployment = segment.deployment
        if known := self._directories.get(segment.command_id):
            await watch.before_doing()
            return known

        def on_disk() -> DeploymentDir:
            directory = self._layout.create_deployment(
                deployment.deployment_group_id, deployment.deployment_id
            )
            marker = self._layout.ongoing_mark(deployment.deployment_id)
            if not marker.exists():
                write_atomic(marker, segment.command_id.encode())
            return directory

        async def made() -> DeploymentDir:
            for seconds in MARK_RETRY_SECONDS:
                try:
                    return await asyncio.to_thread(on_disk)
                except PermissionError as error:
                    # A backup or a virus scanner may hold the place for a moment (AG-131).
                    log.warning("marker.refused", error=str(error), retry_seconds=seconds)
                    await self._clock.sleep(seconds)
            return await asyncio.to_thread(on_disk)

        try:
            directory, _ = await asyncio.gather(made(), watch.before_doing())
        except OSError as error:
            where = error.filename or self._layout.root
            raise EventError(
                "DEPLOYMENT_DIR", f"cannot make the deployment's directory: {error.strerror} ({where})"
            ) from error
        self._directories[segment.command_id] = directory
        return directory

    def _previous_archive(self, deployment: DeploymentDescription) -> Path | None:
        pointer = self._layout.last_successful(deployment.deployment_group_id)
        if pointer is None or pointer.name == deployment.deployment_id:
            return None
        archive = DeploymentDir(pointer).archive
        return archive if archive.is_dir() else None


def _stopped(perform: Perform) -> EventError:
    return EventError(STOPPED, f"{perform.lifecycle_event} was stopped on request")


class _EventOver(EventError):
    """The event's own limit (AG-Q02)."""

    error_code = ScriptErrorCode.SCRIPT_TIMED_OUT


def _over(perform: Perform, segment: Segment) -> EventError:
    limit = segment.event_timeout_seconds
    return _EventOver(
        "EVENT_TIMED_OUT", f"{perform.lifecycle_event} did not end within its limit of {limit} seconds"
    )
