"""Does what is to be done for the instances that autoscalers launch and end, until each has its answer (CP section 21).

One task for each action that is open. All that it knows is stored with the action, in the transactions that start its
deployments and that give its answer; so after a restart it goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from ferryman_coordinator.core import scaling
from ferryman_coordinator.core.inventory import LifecycleState
from ferryman_coordinator.core.model import Creator, DeploymentId, InstanceId, Instant
from ferryman_coordinator.core.scaling import ENDED_BY_GROUP, ActionResult, LifecycleAction, StepStatus
from ferryman_coordinator.engine.scaling_ledger import MOVED, ScalingLedger
from ferryman_coordinator.engine.scaling_view import SituationOf, View, look
from ferryman_coordinator.engine.singles import SingleOrder, Singles
from ferryman_coordinator.engine.surroundings import Surroundings
from ferryman_coordinator.errors import ConstraintBroken
from ferryman_coordinator.notices.bell import Bell
from ferryman_coordinator.notices.waiting import rung_or
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import scaling as queries

log = structlog.get_logger(__name__)

_AGAIN_MS = 10_000
"""After a fault of our own."""

Key = tuple[str, str]
"""Autoscaling group and token of an action."""

Terminating = Callable[[InstanceId, str], Awaitable[None]]


class Scaling:
    """`run` owns the tasks; `take` gives it an action that was just stored."""

    def __init__(self, around: Surroundings, terminating: Terminating) -> None:
        """`terminating` ends what else runs on an instance."""
        self._around = around
        self._terminating = terminating
        self._singles = Singles(around)
        self.ledger = ScalingLedger(around)
        self._bells: dict[Key, Bell] = {}
        self._instances: dict[Key, InstanceId] = {}
        self._deployments: dict[DeploymentId, Key] = {}
        # Actions that wait until there may be one more deployment.
        self._crowded: set[Key] = set()

    @property
    def waiting(self) -> int:
        """Actions without an answer."""
        return len(self._instances)

    async def run(self) -> None:
        """Go on with every open action. Its tasks are the engine's."""

        async def read() -> Sequence[LifecycleAction]:
            async with self._around.store.reading() as connection:
                return await queries.open_actions(connection)

        for action in await self._around.store.insist(read):
            self.take(action)

    def take(self, action: LifecycleAction) -> None:
        """Do what is to be done about an action that is stored and open; safe to call again."""
        if action.key in self._bells or action.result is not None:
            return
        self._bells[action.key] = Bell()
        self._instances[action.key] = action.instance_id
        self._around.launcher.spawn(lambda: self._serve(action.key))

    def over(self, deployment_id: DeploymentId) -> None:
        """A deployment has ended, of whatever kind."""
        key = self._deployments.pop(deployment_id, None)
        crowded, self._crowded = self._crowded, set()
        for one in {*crowded, *([] if key is None else [key])}:
            self._ring(one)

    def listen(self, key: Key) -> asyncio.Event:
        """Is set when the action has changed; at once when nothing changes any more. Take it before looking."""
        bell = self._bells.get(key)
        if bell is not None:
            return bell.listen()
        heard = asyncio.Event()
        heard.set()
        return heard

    # One action -------------------------------------------------------------------------------------------------------

    async def _serve(self, key: Key) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(auto_scaling_group=key[0], instance=self._instances[key])
        try:
            await self._make_way(key)
            while await self._live(key):
                pass
        finally:
            instance_id = self._instances.pop(key)
            self._bells.pop(key).ring()
            for other, of in tuple(self._instances.items()):
                if of == instance_id:
                    self._ring(other)

    async def _make_way(self, key: Key) -> None:
        """What runs on an instance that ends is ended, its launch too: nothing of it stands in the way (CP-409)."""
        view = await look(self._around, key)
        if view is not None and not view.action.is_launch:
            await self._terminating(view.action.instance_id, ENDED_BY_GROUP)

    async def _live(self, key: Key) -> bool:
        """One step of its life; False once it has its answer."""
        heard = self._bells[key].listen()
        try:
            view = await look(self._around, key)
            if view is None or view.action.result is not None:
                return False
            if await self._advance(view):
                return True
            now = self._around.clock.now()
            if now >= view.action.heartbeat_at:
                interval = self._around.settings.scaling_heartbeat_ms
                await self.ledger.keep(scaling.heartbeat(view.action, now, interval), told="heartbeat")
                self._ring(key)
                return True
            until = view.action.heartbeat_at
        except Exception:
            # Whatever it is, the other actions go on, and so does this one after a while.
            log.exception("scaling.broken")
            until = Instant(self._around.clock.now() + _AGAIN_MS)
        await rung_or(heard, self._around.clock, until)
        return True

    async def _advance(self, view: View) -> bool:
        """Do what can be done now; False when there is nothing but to wait."""
        if not view.is_its_turn:
            return False
        try:
            changed = await self._done(view)
        except ConstraintBroken as broken:
            if broken.name != MOVED:
                raise
            # Somebody else changed what was looked at: look again.
            return True
        if changed:
            self._ring(view.action.key)
        return changed

    async def _done(self, view: View) -> bool:
        action = view.action
        number = scaling.current(action)
        if number is None:
            await self._answer(view)
            return True
        step = action.steps[number]
        if step.status is StepStatus.RUNNING:
            return await self._follow(view, number)
        return await self._begin(view, number)

    async def _begin(self, view: View, number: int) -> bool:
        action, situation = view.action, view.situation
        if action.is_launch and view.state in (LifecycleState.TERMINATING, LifecycleState.TERMINATED):
            await self.ledger.keep(
                scaling.given_up(action, f"instance {action.instance_id} {ENDED_BY_GROUP}")
            )
            return True
        if situation is None or situation.revision is None:
            why = "the deployment group is gone" if situation is None else situation.why_not
            log.warning("scaling.not_deployed", group=action.steps[number].group_name, reason=why)
            await self.ledger.keep(scaling.skipped(action, number, why))
            return True
        return await self._start(view, number, situation)

    async def _start(self, view: View, number: int, situation: SituationOf) -> bool:
        action, revision = view.action, situation.revision
        if revision is None:
            return False
        creator = Creator.AUTO_SCALING if action.is_launch else Creator.AUTO_SCALING_TERMINATION

        def enter(batch: Batch, deployment_id: DeploymentId) -> None:
            self._deployments[deployment_id] = action.key
            self.ledger.enter(batch, scaling.begun(action, number, deployment_id, revision.key))

        order = SingleOrder(
            group=situation.group,
            instance_id=action.instance_id,
            creator=creator,
            revision=revision,
            good=situation.good,
        )
        deployment_id = await self._singles.begin(order, enter)
        if deployment_id is None:
            self._crowded.add(action.key)
            return False
        log.info("scaling.deploying", deployment=deployment_id, group=situation.group.name, creator=creator)
        return True

    async def _follow(self, view: View, number: int) -> bool:
        action, end = view.action, view.end
        step = action.steps[number]
        if end is None:
            if step.deployment_id is not None:
                self._deployments[step.deployment_id] = action.key
            return False
        changed = scaling.ended(action, number, succeeded=end.succeeded, why=end.message)
        # An instance that is being ended says nothing about what it was launched for.
        counts = action.is_launch and view.state is LifecycleState.LAUNCHING
        await self.ledger.step_ended(changed, number, view, end if counts else None)
        return True

    async def _answer(self, view: View) -> None:
        action = scaling.behind(view.action, view.newest)
        result = scaling.verdict(action)
        if result is None:
            await self.ledger.keep(action)
            return
        now = self._around.clock.now()
        state = _state_after(action, result, view.state)
        await self.ledger.answer(scaling.answered(action, result, now), state, view.newest)
        log.info("scaling.answered", transition=action.transition, result=result)

    def _ring(self, key: Key) -> None:
        if (bell := self._bells.get(key)) is not None:
            bell.ring()


def _state_after(
    action: LifecycleAction, result: ActionResult, state: LifecycleState | None
) -> LifecycleState | None:
    """Where the instance stands once the autoscaler has its answer; None where that is known already."""
    if not action.is_launch or state is not LifecycleState.LAUNCHING:
        return None
    return LifecycleState.IN_SERVICE if result is ActionResult.CONTINUE else LifecycleState.TERMINATING
