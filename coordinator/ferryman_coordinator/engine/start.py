"""From the acceptance of a deployment to its first targets: its turn, the pre-flight, its alarms, room for it."""

from __future__ import annotations

from dataclasses import replace

import structlog

from ferryman_coordinator.core.alarms import AlarmWatch
from ferryman_coordinator.core.ending import end_unstarted, stopped_by
from ferryman_coordinator.core.failure import explain
from ferryman_coordinator.core.messages import Outcome, RolloutChanged, ScopeDeleted, StopRequested
from ferryman_coordinator.core.model import (
    DeploymentStatus,
    ErrorInformation,
    Instant,
    LastGood,
    RolloutRecord,
    StopRecord,
)
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.engine.creation import last_good
from ferryman_coordinator.engine.gate import alarms_read, held_back
from ferryman_coordinator.engine.inbox import Inbox
from ferryman_coordinator.engine.keeper import Keeper
from ferryman_coordinator.engine.loading import Loaded
from ferryman_coordinator.engine.preflight import Cleared, preflight
from ferryman_coordinator.engine.surroundings import Surroundings
from ferryman_coordinator.store.queries import groups

log = structlog.get_logger(__name__)


class Start:
    """Of one deployment that is Created or Queued."""

    def __init__(
        self, around: Surroundings, inbox: Inbox, keeper: Keeper, watch: AlarmWatch, loaded: Loaded
    ) -> None:
        self.loaded = loaded
        self._around = around
        self._inbox = inbox
        self._keeper = keeper
        self._watch = watch
        self._status = loaded.deployment.record.status

    async def run(self) -> tuple[Rollout | None, Outcome]:
        """The rollout with what it begins with; None where it ends before it has touched anything."""
        alarm = await self._turn()
        cleared = await self._preflight()
        if alarm is None and self._watch.is_awaited and isinstance(cleared, Cleared):
            alarm = await alarms_read(self._inbox, self._watch, self._around.clock)
            # Members may have come and gone meanwhile.
            cleared = await self._preflight()
        if alarm is None and isinstance(cleared, Cleared) and not self._has_room(cleared):
            alarm = await self._room()
            cleared = await self._preflight()
        now = self._around.clock.now()
        if (ended := self._unwanted(now)) is not None:
            return None, ended
        if alarm is not None:
            error = explain(alarm, (), self.loaded.deployment.deployment_id)
            return None, self._end(error, now)
        if isinstance(cleared, ErrorInformation):
            return None, self._end(cleared, now)
        spec, created_at = self.loaded.deployment.spec, self.loaded.deployment.record.created_at
        return Rollout.start(spec, cleared.members, now, created_at=created_at, alarms=self._watch)

    async def _turn(self) -> ErrorInformation | None:
        """Wait in the queue of its group, with what may go wrong meanwhile (CP-419)."""
        if self._status is not DeploymentStatus.QUEUED:
            return None
        alarm = await held_back(self._inbox, self._watch, self._around.clock, lambda: self._inbox.has_turn)
        if alarm is None and self._inbox.has_turn:
            await self._renew()
        return alarm

    async def _renew(self) -> None:
        """Others have succeeded since it was created: a rollback goes back to the last one of them (CP-336)."""
        deployment = self.loaded.deployment

        async def read() -> LastGood | None:
            async with self._around.store.reading() as connection:
                group = await groups.get(connection, deployment.group_id)
                return deployment.spec.last_good if group is None else await last_good(connection, group)

        good = await self._around.store.insist(read)
        if good != deployment.spec.last_good:
            spec = replace(deployment.spec, last_good=good)
            await self._keeper.renew(spec)
            self.loaded = replace(self.loaded, deployment=replace(deployment, spec=spec))

    def _has_room(self, cleared: Cleared) -> bool:
        spec, wanted = self.loaded.deployment.spec, sum(one.is_target for one in cleared.members)
        # What is too large in itself is refused, and must not wait for that.
        return wanted > spec.max_targets or self._around.room.ask(
            spec.deployment_id, wanted, self._inbox.wake
        )

    async def _room(self) -> ErrorInformation | None:
        """Wait in Queued until enough instances of other deployments are done (CP-420)."""
        room, deployment_id = self._around.room, self.loaded.deployment.deployment_id
        now = self._around.clock.now()
        self._status = DeploymentStatus.QUEUED
        waiting = RolloutRecord(
            status=self._status,
            created_at=self.loaded.deployment.record.created_at,
            alarms=self._watch.records,
            messages=(
                f"Waits until running deployments leave room for it: they have {room.taken} instances, and"
                f" {room.limit} are allowed together (limits.instances_in_running_deployments).",
            ),
        )
        log.info("deployment.queued", taken=room.taken, limit=room.limit)
        updates = await self._keeper.keep((RolloutChanged(record=waiting),), now)
        self._around.feed.publish(deployment_id, updates)
        return await held_back(self._inbox, self._watch, self._around.clock, lambda: room.has(deployment_id))

    def _unwanted(self, now: Instant) -> Outcome | None:
        """What was asked for before it began ends it at once (CP-327); the first cause wins (CP-392)."""
        for event in self._inbox.waiting():
            if isinstance(event, StopRequested):
                stop = StopRecord(by=event.by, auto_rollback=event.auto_rollback)
                return self._end(stopped_by(stop), now, stop=stop)
            if isinstance(event, ScopeDeleted):
                cause = ErrorInformation(
                    code=event.code, message="It was deleted before the deployment started."
                )
                return self._end(cause, now)
        return None

    def _end(
        self,
        error: ErrorInformation,
        now: Instant,
        *,
        stop: StopRecord | None = None,
    ) -> Outcome:
        return end_unstarted(
            self.loaded.deployment.spec,
            self.loaded.deployment.record.created_at,
            now,
            error,
            before=self._status,
            stop=stop,
            alarms=self._watch.records,
        )

    async def _preflight(self) -> Cleared | ErrorInformation:
        async def read() -> Cleared | ErrorInformation:
            async with self._around.store.reading() as connection:
                return await preflight(connection, self.loaded.deployment)

        return await self._around.store.insist(read)
