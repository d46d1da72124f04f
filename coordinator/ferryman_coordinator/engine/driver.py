"""Drives the rollout of one live deployment: decide, store, and only then tell (D2)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import structlog

from ferryman_coordinator.core.messages import CancelSegment, Outcome
from ferryman_coordinator.core.model import CommandPhase, InstanceId, Instant, TargetRecord, TargetStatus
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.engine.deciding import Decision, decide
from ferryman_coordinator.engine.dispatch import Dispatch
from ferryman_coordinator.engine.inbox import Round, settle
from ferryman_coordinator.engine.keeper import Keeper
from ferryman_coordinator.engine.prefetch import Prefetch
from ferryman_coordinator.engine.surroundings import Surroundings
from ferryman_coordinator.engine.updates import TargetUpdate, Update

log = structlog.get_logger(__name__)

_SENT_AT_ONCE = 500
"""Instances that are told between two turns of the loop, so that streams are written while a large fan-out goes on."""


class Driver:
    """Made once the rollout is there, started or restored."""

    def __init__(self, around: Surroundings, rollout: Rollout, keeper: Keeper, dispatch: Dispatch) -> None:
        self._around = around
        self._rollout = rollout
        self._keeper = keeper
        self._dispatch = dispatch
        self._deployment_id = rollout.spec.deployment_id
        self._prefetch = Prefetch(
            dispatch.prefetch,
            limit=around.settings.prefetch_concurrency,
            patience_ms=around.settings.prefetch_patience_ms,
        )
        self.is_over = False

    async def begin(self, outcome: Outcome, now: Instant) -> None:
        """Store the start of the rollout and let its first targets begin."""
        updates = await self._keeper.keep(outcome.changes, now)
        self.join()
        decision = Decision()
        decision.take(outcome)
        await self._go_on(decision, updates, now)

    def join(self) -> None:
        """Hear of the instances of all targets that are not final, and let those that wait fetch the bundle."""
        unfinished = [target for target in self._rollout.targets.values() if not target.status.is_terminal]
        self._around.concerned.join(self._deployment_id, (target.instance_id for target in unfinished))
        self._prefetch.wait(
            target.instance_id for target in unfinished if target.status is TargetStatus.PENDING
        )
        self._around.timers.set(self._deployment_id, self._rollout.wake_at)

    async def round(self, taken: Round) -> None:
        """Handle all that was taken, store it as one, then answer and tell everybody."""
        now = self._around.clock.now()
        decision = decide(self._rollout, taken, now, self._around.statistics)
        updates = await self._keeper.keep(decision.changes, now)
        settle(taken)
        self._note_presence(taken.presence)
        await self._go_on(decision, updates, now)

    def running(self) -> Iterable[TargetRecord]:
        """Targets in progress."""
        for target in self._rollout.targets.values():
            if target.status is TargetStatus.IN_PROGRESS:
                yield target

    def prefetched(self, instance_id: InstanceId) -> None:
        """The instance has the bundle, or gave it up; either way another one may fetch."""
        self._prefetch.done(instance_id)
        self._prefetch.fill(self._around.clock.now())

    def withdraw(self) -> None:
        """Tell every agent that is at it to stop: the deployment is gone, with all that was stored of it."""
        for target in self._rollout.targets.values():
            if target.phase is not CommandPhase.NONE:
                for command in self._rollout.outstanding(target.instance_id):
                    self._dispatch.send(
                        CancelSegment(
                            instance_id=target.instance_id,
                            command_id=command.command_id,
                            reason="the deployment was deleted",
                        )
                    )

    async def _go_on(self, decision: Decision, updates: Sequence[Update], now: Instant) -> None:
        """After the commit. Nothing in here is stored; a coordinator that dies in the middle does it all again."""
        self.is_over = self._rollout.record.status.is_terminal
        if updates:
            self._around.statistics.rounds += 1
            self._around.feed.publish(self._deployment_id, updates)
        for update in updates:
            if isinstance(update, TargetUpdate):
                self._note_target(update.target)
        self._around.timers.set(self._deployment_id, self._rollout.wake_at)
        await self._tell(decision)
        if self.is_over:
            self._forget()
        else:
            self._prefetch.fill(now)

    async def _tell(self, decision: Decision) -> None:
        for number, instance_id in enumerate(decision.told, start=1):
            for command in self._rollout.outstanding(instance_id):
                self._around.statistics.orders += self._dispatch.send(command)
            if number % _SENT_AT_ONCE == 0:
                await asyncio.sleep(0)
        for instance_id, command_id in decision.strays:
            reason = "nobody waits for it any more"
            self._dispatch.send(CancelSegment(instance_id=instance_id, command_id=command_id, reason=reason))

    def _note_target(self, target: TargetRecord) -> None:
        if target.status is not TargetStatus.PENDING:
            self._prefetch.drop(target.instance_id)
        if target.status.is_terminal:
            self._around.concerned.leave(self._deployment_id, target.instance_id)
        if target.status is TargetStatus.FAILED:
            log.info("target.failed", instance=target.instance_id, lifecycle_event=target.lifecycle_event)

    def _note_presence(self, presence: Mapping[InstanceId, bool]) -> None:
        for instance_id, is_connected in presence.items():
            if is_connected:
                self._prefetch.connected(instance_id)
            else:
                self._prefetch.silent(instance_id)

    def _forget(self) -> None:
        """Instances that still have to be told to stop are not told to forget: they might answer too late."""
        for target in self._rollout.targets.values():
            if target.phase is CommandPhase.NONE:
                self._dispatch.forget(target.instance_id)
