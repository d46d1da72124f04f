"""The life of one deployment in this process, from its reservation to its end, and what keeps its faults to itself."""

from __future__ import annotations

import structlog

from ferryman_coordinator.alarms.poller import Watching
from ferryman_coordinator.core.alarms import AlarmWatch
from ferryman_coordinator.core.decisions import taken_over
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.messages import InstanceGone, Outcome
from ferryman_coordinator.core.model import (
    Creator,
    DeploymentId,
    DeploymentStatus,
    InstanceId,
    Instant,
)
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.core.scaling import ENDED_BY_GROUP
from ferryman_coordinator.engine import abandon
from ferryman_coordinator.engine.dispatch import Dispatch
from ferryman_coordinator.engine.driver import Driver
from ferryman_coordinator.engine.inbox import Inbox, Round, fail, settle
from ferryman_coordinator.engine.keeper import Keeper
from ferryman_coordinator.engine.loading import Loaded, load
from ferryman_coordinator.engine.start import Start
from ferryman_coordinator.engine.surroundings import Surroundings
from ferryman_coordinator.errors import StoreUnavailable

log = structlog.get_logger(__name__)

_BEFORE_START = (DeploymentStatus.CREATED, DeploymentStatus.QUEUED)


class LiveDeployment:
    """Takes events from its reservation on; `run` is called once it is stored."""

    def __init__(self, deployment_id: DeploymentId, around: Surroundings) -> None:
        self.deployment_id = deployment_id
        self.inbox = Inbox(around.settings.round_size)
        self._around = around
        self._keeper: Keeper | None = None
        self._driver: Driver | None = None
        self._taken: Round | None = None
        self._watching: Watching | None = None
        self._is_over = False

    @property
    def deployment(self) -> Deployment | None:
        """As it is stored now; None before it was loaded, and when there is no such deployment any more."""
        return None if self._keeper is None else self._keeper.deployment

    @property
    def is_for_an_end(self) -> bool:
        """Whether it is there because its instance ends."""
        deployment = self.deployment
        return deployment is not None and deployment.spec.creator is Creator.AUTO_SCALING_TERMINATION

    async def run(self) -> None:
        """Until the deployment is final, or the coordinator ends."""
        # Not with what is bound where it was created: a call that is over long since.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(deployment=self.deployment_id)
        self._around.logs.open(self.deployment_id)
        try:
            await self._run()
        except Exception as error:
            # Whatever it is, the other deployments go on.
            await self._give_up(error)
        finally:
            self._leave()

    def note_absentees(self) -> None:
        """After a restart: those who have not come back are silent."""
        if self._driver is not None:
            for target in self._driver.running():
                if self._around.post.links.get(target.instance_id) is None:
                    self.inbox.put_presence(target.instance_id, is_connected=False)

    def prefetched(self, instance_id: InstanceId) -> None:
        """An instance answered to a Prefetch."""
        if self._driver is not None:
            self._driver.prefetched(instance_id)

    # Its course -------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loaded = await self._load()
        if loaded is None or loaded.deployment.record.status.is_terminal:
            self._is_over = True
            return
        self._keeper = Keeper(self._around, loaded)
        watch = AlarmWatch(loaded.deployment.spec, loaded.deployment.record.alarms)
        if watch.names:
            self._watching = self._around.alarms.watch(watch.names, self.inbox.put_alarms)
        if loaded.deployment.record.status in _BEFORE_START:
            await self._start(loaded, self._keeper, watch)
        else:
            self._resume(loaded, self._keeper)
        while not self._is_over:
            self._taken = await self.inbox.take()
            if self._driver is not None:
                await self._driver.round(self._taken)
                self._is_over = self._driver.is_over

    def _resume(self, loaded: Loaded, keeper: Keeper) -> None:
        """Go on where it was; what is outstanding is sent to each instance as it connects, or has already."""
        rollout = Rollout.restore(
            loaded.rollout.spec, loaded.rollout.record, loaded.rollout.targets, loaded.rollout.events
        )
        self._driver = Driver(self._around, rollout, keeper, self._dispatch(loaded))
        self._driver.join()
        self._around.room.hold(self.deployment_id, len(loaded.rollout.targets))
        for target in self._driver.running():
            if self._around.post.links.get(target.instance_id) is not None:
                self.inbox.put_presence(target.instance_id, is_connected=True)
        if not self.is_for_an_end:
            for instance_id in loaded.ending:
                self.inbox.put(
                    InstanceGone(instance_id=instance_id, reason=ENDED_BY_GROUP, is_reachable=True)
                )
        self._around.witness.decision(taken_over(loaded.deployment))
        log.info("deployment.resumed", status=loaded.rollout.record.status)

    async def _start(self, loaded: Loaded, keeper: Keeper, watch: AlarmWatch) -> None:
        start = Start(self._around, self.inbox, keeper, watch, loaded)
        rollout, outcome = await start.run()
        now = self._around.clock.now()
        if rollout is None:
            await self._end_early(outcome, keeper, now)
        else:
            self._driver = Driver(self._around, rollout, keeper, self._dispatch(start.loaded))
            await self._driver.begin(outcome, now)
            self._is_over = self._driver.is_over

    async def _end_early(self, outcome: Outcome, keeper: Keeper, now: Instant) -> None:
        self._around.feed.publish(self.deployment_id, await keeper.keep(outcome.changes, now))
        self._is_over = True

    async def _load(self) -> Loaded | None:
        async def read() -> Loaded | None:
            async with self._around.store.reading() as connection:
                return await load(connection, self.deployment_id)

        return await self._around.store.insist(read)

    def _dispatch(self, loaded: Loaded) -> Dispatch:
        return Dispatch(self._around.post, loaded.deployment, loaded.most_recent)

    # Its end ----------------------------------------------------------------------------------------------------------

    async def _give_up(self, error: Exception) -> None:
        """End it as Failed, INTERNAL_ERROR, from what is stored; or let go of it when nothing is stored any more."""
        try:
            loaded = await self._load()
            if loaded is None:
                self._let_go()
            elif not loaded.deployment.record.status.is_terminal:
                await self._end_broken(loaded, error)
            self._is_over = True
        except Exception:
            log.critical("deployment.stuck", until="the coordinator is started again", exc_info=True)

    async def _end_broken(self, loaded: Loaded, error: Exception) -> None:
        log.error("deployment.broken", story=getattr(error, "story", ()), exc_info=error)
        self._around.statistics.broken += 1
        self._keeper = Keeper(self._around, loaded)
        now = self._around.clock.now()
        fault = f"{type(error).__name__}: {getattr(error, 'message', error)}"
        updates = await self._keeper.keep(abandon.give_up(loaded.rollout, fault, now), now)
        self._around.feed.publish(self.deployment_id, updates)
        dispatch = self._dispatch(loaded)
        for command in abandon.cancellations(loaded.rollout):
            dispatch.send(command)

    def _let_go(self) -> None:
        log.info("deployment.deleted")
        self._keeper = None
        self._around.feed.close(self.deployment_id)
        if self._driver is not None:
            self._driver.withdraw()

    def _leave(self) -> None:
        """Nothing of it stays behind; those who wait for it are answered."""
        around = self._around
        if self._watching is not None:
            self._watching.close()
        around.timers.set(self.deployment_id, None)
        around.logs.close(self.deployment_id)
        around.concerned.leave_all(self.deployment_id)
        around.room.free(self.deployment_id)
        if self._is_over:
            around.launcher.release(self.deployment_id)
            if self._taken is not None:
                settle(self._taken)
            self.inbox.finish()
            self._conclude()
            return
        ends = StoreUnavailable(
            "the coordinator ends, or cannot go on with this deployment: nothing was stored"
        )
        if self._taken is not None:
            fail(self._taken, ends)
        self.inbox.refuse(ends)

    def _conclude(self) -> None:
        """Count and tell its end, and start the rollback that was stored with it."""
        deployment = self.deployment
        if deployment is None:
            return
        record = deployment.record
        self._around.statistics.ended[record.status] += 1
        log.info(
            "deployment.ended",
            status=record.status,
            code=record.error.code if record.error else None,
            rollback=deployment.rollback_deployment_id,
        )
        if self._keeper is not None and self._keeper.successor_id is not None:
            self._around.launcher.launch(self._keeper.successor_id)
        self._around.launcher.pass_turn(deployment.group_id)
