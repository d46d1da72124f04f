"""Owner of all live deployments: takes in what happens and hands it to the inbox of the deployment concerned."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup

from ferryman_coordinator.alarms.book import AlarmBook
from ferryman_coordinator.alarms.poller import AlarmPoller
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.ending import StopAnswer, stop_answer
from ferryman_coordinator.core.inventory import DeploymentGroup
from ferryman_coordinator.core.messages import (
    CommandAcked,
    CommandStarted,
    EventFinished,
    EventStarted,
    InstanceGone,
    ScopeDeleted,
    SegmentFinished,
    StopRequested,
)
from ferryman_coordinator.core.model import (
    CommandId,
    DeploymentId,
    DeploymentStatus,
    GroupId,
    InstanceId,
    Instant,
    TargetStatus,
)
from ferryman_coordinator.engine.acceptance import Acceptance
from ferryman_coordinator.engine.concerned import Concerned
from ferryman_coordinator.engine.creation import CreateOrder
from ferryman_coordinator.engine.dispatch import Downloads, Post
from ferryman_coordinator.engine.feed import Feed
from ferryman_coordinator.engine.live import LiveDeployment
from ferryman_coordinator.engine.logs import LogLine, Logs
from ferryman_coordinator.engine.room import Room
from ferryman_coordinator.engine.scaling import Scaling
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.engine.statistics import EngineStatistics
from ferryman_coordinator.engine.surroundings import DrawsDeploymentIds, NoWitness, Surroundings, Witness
from ferryman_coordinator.engine.timers import Timers
from ferryman_coordinator.engine.turns import Turns
from ferryman_coordinator.engine.writing import PatientStore
from ferryman_coordinator.errors import Conflict, NotFound, StoreUnavailable
from ferryman_coordinator.links.orders import CancelOrder
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.notices.bell import Bell
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

Report = CommandAcked | CommandStarted | EventStarted | EventFinished | SegmentFinished


class Engine:
    """`run` owns every task; the other methods are called in the same loop, between `ready` and the end of `run`."""

    def __init__(
        self,
        store: Store,
        links: Links,
        clock: Clock,
        ids: DrawsDeploymentIds,
        downloads: Downloads,
        settings: EngineSettings | None = None,
        alarms: AlarmPoller | None = None,
        witness: Witness | None = None,
    ) -> None:
        """Without `alarms` there is no source of them, so none can be read."""
        self.alarms = alarms or AlarmPoller(AlarmBook(()), clock)
        self.settings = settings or EngineSettings()
        self.statistics = EngineStatistics()
        self.feed = Feed(store)
        self.logs = Logs()
        self.bell = Bell()
        self._store = store
        self._links = links
        self._clock = clock
        self._timers = Timers(clock, self._due)
        self._concerned = Concerned(self._part_with)
        # Instances that are gone but for what still runs on them, with the reason.
        self._departing: dict[InstanceId, str] = {}
        self._live: dict[DeploymentId, LiveDeployment] = {}
        self._tasks: TaskGroup | None = None
        self._is_ready = asyncio.Event()
        # What instances that connected before `ready` have open.
        self._early: dict[InstanceId, tuple[CommandId, ...]] = {}
        self._around = Surroundings(
            store=PatientStore(store, clock, self.settings, self.statistics),
            clock=clock,
            ids=ids,
            settings=self.settings,
            post=Post(links, downloads, clock, self.settings),
            feed=self.feed,
            logs=self.logs,
            timers=self._timers,
            concerned=self._concerned,
            statistics=self.statistics,
            launcher=self,
            alarms=self.alarms,
            room=Room(self.settings.max_instances),
            bell=self.bell,
            witness=witness or NoWitness(),
        )
        self._acceptance = Acceptance(store, self._around)
        self._turns = Turns(self._around.store, self._live)
        self.scaling = Scaling(self._around, self.instance_terminating)
        links.report_to(self)

    async def run(self) -> None:
        """Go on with every unfinished deployment, then drive them, and those to come, until cancelled.

        When cancelled it takes nothing in any more, finishes the commits in flight, and ends.
        """
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                await self._recover()
                tasks.start_soon(self._timers.run)
                tasks.start_soon(self._note_absentees)
                tasks.start_soon(self.alarms.run)
                tasks.start_soon(self.scaling.run)
                self._is_ready.set()
                self._admit_early()
                await anyio.sleep_forever()
            finally:
                self._is_ready.clear()
                self._tasks = None

    async def ready(self) -> None:
        """Return once everything that is stored is live again: from then on the doors may open."""
        await self._is_ready.wait()

    # What people ask for ----------------------------------------------------------------------------------------------

    async def create(self, order: CreateOrder) -> DeploymentId:
        """Store the deployment as Created and answer; it starts by itself (CP-223). See `Acceptance.accept`."""
        return await self._owned(lambda: self._acceptance.accept(order))

    async def check(self, group: DeploymentGroup) -> None:
        """Raise the LimitExceeded that a creation for `group` would meet now."""
        await self._acceptance.check(group)

    async def stop(
        self, deployment_id: DeploymentId, by: str, auto_rollback: bool | None = None
    ) -> StopAnswer:
        """Let no further lifecycle event start; returns once that is stored (CP-321 to CP-331).

        Raises NotFound (DeploymentDoesNotExistException), Conflict (DeploymentAlreadyCompletedException).
        """
        live = self._live.get(deployment_id)
        if live is None:
            raise await self._cannot_stop(deployment_id)
        await asyncio.shield(live.inbox.put(StopRequested(by=by, auto_rollback=auto_rollback)))
        deployment = live.deployment
        if deployment is None:
            raise unknown(deployment_id)
        if deployment.record.stop is None:
            # It was over before the stop had its turn (CP-330).
            raise completed(deployment_id, deployment.record.status)
        return stop_answer(deployment.record, deployment.overview.get(TargetStatus.IN_PROGRESS, 0))

    async def end_scope(self, group_ids: Sequence[GroupId], code: str) -> None:
        """End the unfinished deployments of deleted groups with `code`; returns once that is decided and stored."""
        async with self._store.reading() as connection:
            found = await queries.live_in(connection, group_ids)
        lives = [self._live[deployment_id] for deployment_id in found if deployment_id in self._live]
        for stored in [live.inbox.put(ScopeDeleted(code=code)) for live in lives]:
            await asyncio.shield(stored)

    # What agents say --------------------------------------------------------------------------------------------------

    async def deliver(self, report: Report) -> None:
        """Queue the report and return once all that follows from it is stored: then it may be acknowledged.

        It is queued before this waits for anything, so calls that begin in order are handled in order. A report on a
        deployment that is over, or unknown, has no effect. Raises StoreUnavailable when the coordinator ends, or has
        not begun: the agent will report again.
        """
        if not self._is_ready.is_set():
            raise StoreUnavailable("the coordinator is starting or ending")
        live = self._live.get(_deployment_of(report.command_id))
        if live is not None:
            await asyncio.shield(live.inbox.put(report))

    def prefetched(self, deployment_id: DeploymentId, instance_id: str, error: str = "") -> None:
        """The instance has the deployment's bundle, or says why not: then it tries again when its turn comes."""
        if error:
            log.info("prefetch.failed", deployment=deployment_id, instance=instance_id, error=error)
        if (live := self._live.get(deployment_id)) is not None:
            live.prefetched(InstanceId(instance_id))

    def script_started(
        self, command_id: CommandId, instance_id: str, lifecycle_event: str, script_name: str
    ) -> None:
        """For those who watch; nothing of it is stored."""
        deployment_id = _deployment_of(command_id)
        self.feed.hint(
            deployment_id, InstanceId(instance_id), lifecycle_event, script_name, self._clock.now()
        )

    def log_lines(self, deployment_id: DeploymentId, lines: Iterable[LogLine]) -> None:
        """Live output of a hook, for those who follow it."""
        self.logs.publish(deployment_id, lines)

    # Comings and goings (links.registry.Presence) ---------------------------------------------------------------------

    def instance_connected(self, instance_id: InstanceId, open_commands: Sequence[CommandId] = ()) -> None:
        """It is told what is outstanding, and to leave what nobody waits for. Only deployments concerned hear of it."""
        if not self._is_ready.is_set():
            self._early[instance_id] = tuple(open_commands)
            return
        concerned: dict[DeploymentId, list[CommandId]] = {one: [] for one in self._concerned.of(instance_id)}
        for command_id in open_commands:
            deployment_id = _deployment_of(command_id)
            if deployment_id in self._live:
                concerned.setdefault(deployment_id, []).append(command_id)
            elif (link := self._links.get(instance_id)) is not None:
                link.offer(CancelOrder(command_id=command_id, reason="its deployment has ended"))
        for deployment_id, of_it in concerned.items():
            self._live[deployment_id].inbox.put_presence(instance_id, is_connected=True, open_commands=of_it)

    def instance_silent(self, instance_id: InstanceId) -> None:
        """Its stream has ended, or nothing was heard on it for too long."""
        for deployment_id in self._concerned.of(instance_id):
            self._live[deployment_id].inbox.put_presence(instance_id, is_connected=False)

    async def instance_gone(self, instance_id: InstanceId, reason: str, *, may_finish: bool = True) -> None:
        """It will take part in nothing new; returns once that is stored. `reason` completes "instance web-1 …".

        What runs on it goes on, as after a deregistration (CP-095), and its stream ends after that. Not so without
        `may_finish`: then it is not there any more (CP-306).
        """
        gone = InstanceGone(instance_id=instance_id, reason=reason, may_finish=may_finish)
        lives = [self._live[deployment_id] for deployment_id in self._concerned.of(instance_id)]
        for stored in [live.inbox.put(gone) for live in lives]:
            await asyncio.shield(stored)
        self._departing[instance_id] = reason
        if not may_finish or not self._concerned.of(instance_id):
            self._part_with(instance_id)

    async def instance_terminating(self, instance_id: InstanceId, reason: str) -> None:
        """Its autoscaling group ends it: what runs on it may end its lifecycle event, and nothing else begins (CP-409).

        Returns once that is stored. Deployments that are there for its end go on.
        """
        gone = InstanceGone(instance_id=instance_id, reason=reason, is_reachable=True)
        lives = [self._live[deployment_id] for deployment_id in self._concerned.of(instance_id)]
        for stored in [live.inbox.put(gone) for live in lives if not live.is_for_an_end]:
            await asyncio.shield(stored)

    # Tasks of deployments (surroundings.Launcher) ---------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Unfinished deployments."""
        return len(self._live)

    @property
    def instances(self) -> int:
        """Targets of the deployments that run (CP-420)."""
        return self._around.room.taken

    def reserve(self, deployment_id: DeploymentId) -> None:
        """Take events for a deployment that is about to be stored."""
        self._live[deployment_id] = LiveDeployment(deployment_id, self._around)

    def launch(self, deployment_id: DeploymentId) -> None:
        """Start the task of a reserved deployment."""
        live = self._live.get(deployment_id)
        if live is not None:
            self.spawn(live.run)

    def release(self, deployment_id: DeploymentId) -> None:
        """It is over, or was not stored after all."""
        self._live.pop(deployment_id, None)
        self.scaling.over(deployment_id)

    def supersede(self, deployment_id: DeploymentId, by: DeploymentId) -> None:
        """A newer one stands for a queued deployment."""
        if (live := self._live.get(deployment_id)) is not None and not live.inbox.has_turn:
            live.inbox.put(StopRequested(by=f"deployment {by}, which is newer", auto_rollback=False))

    def pass_turn(self, group_id: GroupId) -> None:
        """Let the next queued deployment of the group go on, if nothing of it runs."""
        self.spawn(functools.partial(self._turns.pass_on, group_id))

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` as one of the engine's tasks; not when it ends, then recovery will find what is left to do."""
        if self._tasks is not None:
            self._tasks.start_soon(work)

    # Inside -----------------------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Every unfinished deployment lives on; those that were only Created start (CP-430)."""

        async def read() -> tuple[Sequence[DeploymentId], Sequence[GroupId]]:
            async with self._store.reading() as connection:
                return await queries.live(connection), await queries.queueing_groups(connection)

        unfinished, queueing = await self._around.store.insist(read)
        for deployment_id in unfinished:
            self.reserve(deployment_id)
            self.launch(deployment_id)
        for group_id in queueing:
            self.pass_turn(group_id)

    def _admit_early(self) -> None:
        early, self._early = self._early, {}
        for instance_id, open_commands in early.items():
            if self._links.get(instance_id) is not None:
                self.instance_connected(instance_id, open_commands)

    async def _note_absentees(self) -> None:
        """Give a fleet as long to come back after a restart as any instance may be quiet."""
        patience = self._links.settings.silent_after_ms
        await self._clock.sleep_until(Instant(self._clock.now() + patience))
        for live in tuple(self._live.values()):
            live.note_absentees()

    def _part_with(self, instance_id: InstanceId) -> None:
        """No deployment needs the instance any more; if it was to go, it may go now."""
        reason = self._departing.pop(instance_id, None)
        if reason is not None and (link := self._links.get(instance_id)) is not None:
            link.close(f"the instance {reason}")

    def _due(self, deployment_id: DeploymentId) -> None:
        if (live := self._live.get(deployment_id)) is not None:
            live.inbox.put_tick()

    async def _cannot_stop(self, deployment_id: DeploymentId) -> Exception:
        async with self._store.reading() as connection:
            found = await queries.get(connection, deployment_id)
        if found is None:
            return unknown(deployment_id)
        if found.record.status.is_terminal:
            return completed(deployment_id, found.record.status)
        return StoreUnavailable("the coordinator is starting or ending")

    async def _owned(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer of `work`, which goes on to its end even if the caller goes away."""
        if self._tasks is None or not self._is_ready.is_set():
            raise StoreUnavailable("the coordinator is starting or ending")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                answer.set_result(await work())
            except Exception as error:
                answer.set_exception(error)
                # Whoever asked may be gone.
                answer.exception()
            finally:
                if not answer.done():
                    answer.set_exception(StoreUnavailable("the coordinator ends: ask again"))
                    answer.exception()

        self._tasks.start_soon(run)
        return await asyncio.shield(answer)


def unknown(deployment_id: DeploymentId) -> NotFound:
    """There is no such deployment."""
    return NotFound("DeploymentDoesNotExistException", f"deployment {deployment_id} does not exist")


def completed(deployment_id: DeploymentId, status: DeploymentStatus) -> Conflict:
    """It has ended, so there is nothing to stop."""
    return Conflict(
        "DeploymentAlreadyCompletedException", f"deployment {deployment_id} has ended already, as {status}"
    )


def _deployment_of(command_id: CommandId) -> DeploymentId:
    return DeploymentId(command_id.partition("/")[0])
