"""Builds every object of the running agent, starts its tasks, and sees it to its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from ferryman_agent import __version__
from ferryman_agent.clock import Clock
from ferryman_agent.config import Config, Loaded
from ferryman_agent.config.reload import reloadable_difference
from ferryman_agent.core.messages import CommandId, DeploymentDescription, DeploymentId, GroupId, Segment
from ferryman_agent.errors import AgentError, ConfigError
from ferryman_agent.files.check import check_group
from ferryman_agent.files.manifest import distrust, settle
from ferryman_agent.hooks.native import end_leftovers
from ferryman_agent.hooks.runner import run_hooks
from ferryman_agent.host import facts, identity, memory, service_manager, version
from ferryman_agent.host.renewal import Renewal
from ferryman_agent.host.service_manager import notify
from ferryman_agent.host.shutdown import is_host_going_down
from ferryman_agent.log import set_coordinator_wire, set_verbose
from ferryman_agent.runtime.bundle_calls import BundleCalls
from ferryman_agent.runtime.chronicle import Chronicle
from ferryman_agent.runtime.commands import Answer
from ferryman_agent.runtime.downloads import Downloads
from ferryman_agent.runtime.drift import Drift
from ferryman_agent.runtime.heartbeat import Heartbeat
from ferryman_agent.runtime.installs import Installs
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.link import Link
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.loop import CommandLoop
from ferryman_agent.runtime.prefetch import ArchiveTurns, Prefetches
from ferryman_agent.runtime.proxies import coordinator_proxy
from ferryman_agent.runtime.recovery import recover
from ferryman_agent.runtime.status import AgentStatus, StatusFile, commands_of, results_of
from ferryman_agent.runtime.whole_logs import LogPiece, read_piece
from ferryman_agent.runtime.work import Worker
from ferryman_agent.wiring import (
    drift_settings,
    layout,
    script_groups,
    work_settings,
)

FORCED_SECONDS = 30.0

log = structlog.stdlib.get_logger(__name__)


class Agent:
    """One agent: made, run once, and over."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        random_number: Callable[[], float],
        warnings: tuple[str, ...] = (),
        load_again: Callable[[], Loaded] | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._groups, unkept = script_groups(config)
        self._warnings = (*warnings, *unkept)
        for warning in unkept:
            log.warning("hooks.limit_not_kept", reason=warning)
        self._load_again = load_again
        self._started_at = self._configured_at = clock.now()
        self._installed_version = version.installed(config.root)
        self._instance_id = identity.load(config.identity_path).instance_id
        self._layout = layout(config)
        self._relief = memory.Relief()
        self._journal = Journal(config.journal_path, clock)
        lines = LiveLines()
        turns = ArchiveTurns()
        bundle_calls = BundleCalls()
        self._downloads = downloads = Downloads(
            config,
            self._layout,
            lambda: identity.load(config.identity_path),
            self._deployments_in_use,
            ask=bundle_calls.ask,
        )
        self._installs = installs = Installs(config, self._layout, clock)
        self._worker = Worker(
            layout=self._layout,
            clock=clock,
            settings=work_settings(config),
            download=downloads.download,
            install=installs.install,
            demand_rights=installs.demand_rights,
            run_hooks=partial(run_hooks, groups=self._groups),
            turns=turns,
            settle=partial(settle, self._layout),
            chronicle=Chronicle(
                self._layout, clock, Path(config.metrics_file) if config.metrics_file else None
            ),
        )
        self._loop = CommandLoop(
            journal=self._journal,
            work=self._worker,
            lines=lines,
            clock=clock,
            instance_id=self._instance_id,
            changed=self._changed,
            max_groups=config.commands.max_concurrent,
        )
        heartbeat = Heartbeat(
            clock,
            running=lambda: self._loop.running_ids,
            waiting=lambda: len(self._journal.outbox),
            disk_free=lambda: facts.disk_space(config.root)[0],
        )
        self._link = Link(
            load_identity=lambda: identity.load(config.identity_path),
            gather_facts=lambda: facts.gather(config.root),
            open_commands=self._loop.open_ids,
            orders=self,
            journal=self._journal,
            lines=lines,
            heartbeat=heartbeat,
            clock=clock,
            random=random_number,
            changed=self._shown,
            bundles=bundle_calls,
            began=lambda: self._drift.stream_began(),
            distrusts=lambda: self._renewal.hasten(),
            proxy_for=lambda host: coordinator_proxy(self._config, host),
            throttled_seconds=config.coordinator.throttle_wait.seconds,
        )
        self._drift = self._new_drift(config, random_number)
        self._prefetches = Prefetches(downloads.prefetch, self._link.prefetch_done, turns)
        self._renewal = Renewal(
            config.identity_path,
            clock,
            random_number,
            self._link.reconnect,
            proxy_for=lambda host: coordinator_proxy(self._config, host),
            call_seconds=config.coordinator.call_timeout.seconds,
        )
        self._status = StatusFile(config.status_path, clock, self._current_status)
        self._stops = 0
        self._stop = asyncio.Event()
        self._force = asyncio.Event()
        self._is_draining = False
        self._was_busy = False

    def _new_drift(self, config: Config, random_number: Callable[[], float]) -> Drift:
        return Drift(
            check=partial(check_group, self._layout),
            groups=self._layout.installed_groups,
            busy=lambda: frozenset(live.group for live in self._loop.live),
            send=self._link.installed_state,
            distrust=partial(distrust, self._layout),
            settings=drift_settings(config),
            clock=self._clock,
            random=random_number,
            relieve=self._relief.soon,
        )

    async def run(self) -> None:
        """Runs until it is asked to stop. Raises ConfigError, JournalError."""
        try:
            self._layout.prepare()
        except OSError as error:
            where = error.filename or self._layout.root
            raise ConfigError(
                f"cannot prepare the agent's directories: {error.strerror} ({where})"
            ) from error
        self._journal.open()
        try:
            await self._installs.recover()
            recovered = await recover(self._journal, self._clock, end_leftovers)
            self._end_abandoned()
            self._clear_markers({run.segment.deployment.deployment_id for run in recovered})
            if self._stop.is_set():
                # Nothing was begun here, so nothing is waited for (AG-025).
                return
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._loop.run(recovered), name="loop")
                tasks.create_task(self._prefetches.run(), name="prefetches")
                link = tasks.create_task(self._link.run(), name="link")
                beside = [
                    tasks.create_task(self._renewal.run(), name="renewal"),
                    tasks.create_task(self._status.run(), name="status"),
                    tasks.create_task(self._drift.run(), name="drift"),
                    tasks.create_task(self._show_life(), name="watchdog"),
                ]
                memory.settle()
                log.info("agent.started", version=__version__, instance_id=self._instance_id)
                notify("READY=1")
                await self._stop.wait()
                await self._wind_up(link)
                for task in beside:
                    task.cancel()
        finally:
            self._journal.close()
            self._status.remove()
            if self._groups is not None:
                self._groups.close()
            log.info("agent.ended")

    def stop(self) -> None:
        """Ends the agent: what runs may finish its lifecycle event. Asked a second time, it is ended as well."""
        self._stops += 1
        self._stop.set()
        if self._stops > 1:
            self._force.set()

    def reload(self) -> None:
        """Reads the configuration again: what can change without a restart does (AG-067), one with mistakes nothing."""
        if self._load_again is None:
            return
        service_manager.notify_reloading()
        try:
            loaded = self._load_again()
        except AgentError as error:
            log.error("config.not_reloaded", error=str(error))
        else:
            self._reconfigure(loaded)
        notify("READY=1")

    # What the link hands on (Orders)

    async def run_segment(self, segment: Segment) -> Answer | None:
        """See Orders."""
        deployment = self._downloads.learn(segment.deployment)
        return await self._loop.receive(replace(segment, deployment=deployment))

    async def cancel(self, command_id: CommandId, *, reason: str, kill: bool) -> None:
        """See Orders."""
        await self._loop.cancel(command_id, reason=reason, kill=kill)

    def prefetch(self, deployment: DeploymentDescription) -> None:
        """See Orders."""
        self._prefetches.request(self._downloads.learn(deployment))

    def forget(self, deployment_id: DeploymentId) -> None:
        """See Orders."""
        self._prefetches.forget(deployment_id)
        self._downloads.forget(deployment_id)
        self._loop.forget(deployment_id)

    def check_installed(self, check_id: str, group_ids: Sequence[GroupId], *, with_digests: bool) -> None:
        """See Orders."""
        self._drift.ask(check_id, group_ids, with_digests=with_digests)

    async def read_script_log(self, group_id: str, deployment_id: str, offset: int) -> LogPiece:
        """See Orders."""
        return await asyncio.to_thread(
            read_piece,
            self._layout,
            group_id,
            deployment_id,
            offset,
            masks=work_settings(self._config).hooks.masks,
        )

    # Inside

    def _reconfigure(self, loaded: Loaded) -> None:
        before, difference = self._config, reloadable_difference(self._config, loaded.config)
        self._config = difference.config
        self._downloads.reconfigure(self._config)
        set_verbose(self._config.log.verbose)
        set_coordinator_wire(self._config.log.coordinator_wire)
        if self._config.proxy != before.proxy:
            self._link.reconnect()
        log.info("config.reloaded", settings=", ".join(difference.reloaded) or "none changed")
        if difference.needs_restart:
            log.warning("config.needs_restart", settings=", ".join(difference.needs_restart))
        self._configured_at = self._clock.now()
        self._shown()

    async def _show_life(self) -> None:
        """Signs of life for systemd's watchdog, from the loop that everything depends on (V2-301)."""
        seconds = service_manager.watchdog_seconds()
        while seconds is not None:
            notify("WATCHDOG=1")
            await self._clock.sleep(seconds)

    async def _wind_up(self, link: asyncio.Task[None]) -> None:
        notify("STOPPING=1")
        is_down = await is_host_going_down()
        self._is_draining = True
        self._changed()
        running = self._loop.running_ids
        log.info("agent.stopping", running=len(running), host_going_down=is_down)
        self._prefetches.end()
        self._downloads.end()
        drained = asyncio.ensure_future(self._loop.drain(self._config.commands.drain_timeout.seconds))
        forced = asyncio.ensure_future(self._force.wait())
        await asyncio.wait({drained, forced}, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        if not (drained.done() and drained.result()):
            drained.cancel()
            log.warning("agent.ends_scripts", commands=", ".join(self._loop.running_ids))
            self._loop.end_scripts()
            await self._loop.drain(FORCED_SECONDS)
        self._loop.end()
        await self._link.close("the agent was stopped", is_host_going_down=is_down)
        await asyncio.wait({link})

    def _end_abandoned(self) -> None:
        """Scripts that were started a moment before an agent died, too late for its journal (V2-008)."""
        if self._groups is None:
            return
        try:
            if ended := self._groups.end_abandoned():
                log.warning("scripts.abandoned_ended", scripts=ended)
        except OSError as error:
            log.warning("scripts.abandoned_not_looked_for", error=error.strerror)

    def _clear_markers(self, kept: set[DeploymentId]) -> None:
        """Markers of commands that are over (AG-130, V2-005); the journal is what counts."""
        for deployment_id in self._layout.ongoing_deployments() - kept:
            try:
                (self._layout.ongoing / deployment_id).unlink(missing_ok=True)
            except OSError as error:
                log.warning("marker.not_removed", deployment_id=deployment_id, error=str(error))

    def _deployments_in_use(self) -> frozenset[str]:
        return frozenset(live.run.segment.deployment.deployment_id for live in self._loop.live)

    def _changed(self) -> None:
        self._link.wake()
        self._drift.commands_changed()
        self._shown()
        if not self._loop.running_ids and self._was_busy:
            self._relief.soon()
        self._was_busy = bool(self._loop.running_ids)

    def _shown(self) -> None:
        self._status.changed()

    def _current_status(self) -> AgentStatus:
        return AgentStatus(
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            written_at=self._clock.now(),
            instance_id=self._instance_id,
            link=self._link.status,
            commands=commands_of(self._loop.live, self._journal.commands),
            results=results_of(self._journal.results.values()),
            reports_waiting=len(self._journal.outbox),
            is_draining=self._is_draining,
            configured_at=self._configured_at,
            service_manager=service_manager.name(),
            installed_version=self._installed_version,
            warnings=tuple(self._all_warnings()),
        )

    def _all_warnings(self) -> Iterator[str]:
        yield from self._warnings
        if remark := version.remark(self._installed_version):
            yield remark
