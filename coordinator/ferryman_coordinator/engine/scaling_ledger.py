"""Stores what becomes of actions, with what follows from it: hooks, instances, and who is told (CP section 21)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa
import structlog

from ferryman_coordinator.core import scaling_hooks
from ferryman_coordinator.core.audit import Decision
from ferryman_coordinator.core.group_options import TriggerEventType
from ferryman_coordinator.core.inventory import DeploymentGroup, LifecycleState
from ferryman_coordinator.core.model import Creator, GroupId, Instant
from ferryman_coordinator.core.scaling import LifecycleAction, StepStatus
from ferryman_coordinator.core.scaling_hooks import ScalingHook
from ferryman_coordinator.engine.scaling_notices import Notice, loop_notice, notice_of
from ferryman_coordinator.engine.scaling_view import End, View
from ferryman_coordinator.engine.surroundings import Surroundings
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.event_records import delivery_row
from ferryman_coordinator.store.queries import events as event_queries
from ferryman_coordinator.store.queries import scaling as queries
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.scaling_records import action_row

log = structlog.get_logger(__name__)

MOVED = "autoscaling: somebody changed it meanwhile"
"""Guard: what the decision was made from is still so."""

LAUNCH_LOOP = "LaunchLoopDetected"
"""Name of the decision in the audit log."""


class ScalingLedger:
    """Every write raises ConstraintBroken (MOVED) when something was changed that must be looked at again."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        # Called when there is something to deliver.
        self.wake: Callable[[], None] = _nobody
        self.loops_told = 0

    async def keep(self, action: LifecycleAction, *, told: str = "") -> None:
        """Store it as it is now; with `told`, its callback hears of it."""
        batch = Batch()
        self.enter(batch, action)
        await self._write(batch, [notice_of(action, told, self._now)] if told and action.callback else [])

    def enter(self, batch: Batch, action: LifecycleAction) -> None:
        batch.put(tables.lifecycle_actions, action_row(action))

    async def step_ended(self, action: LifecycleAction, number: int, view: View, counted: End | None) -> None:
        """A step's deployment is over; `counted` when it says something about a loop of launches (CP-403)."""
        batch, notices = Batch(), list[Notice]()
        self.enter(batch, action)
        hook = group = None
        if counted is not None and view.situation is not None:
            group = view.situation.group
            present = queries.hook_in(group.hooks, action.auto_scaling_group)
            if present is not None:
                hook = scaling_hooks.after_launch(present, succeeded=counted.succeeded)
                if hook != present:
                    enter_hook(batch, group, hook)
        is_new_loop = hook is not None and hook.abandons == scaling_hooks.LOOP and not _succeeded(counted)
        if is_new_loop and group is not None and counted is not None:
            for trigger in group.options.triggers:
                if TriggerEventType.DEPLOYMENT_FAILURE in trigger.events:
                    notices.append(loop_notice(action, number, trigger, counted, self._now))
        await self._write(batch, notices)
        if is_new_loop and group is not None and counted is not None:
            self._raise_alert(action, group, counted)

    async def answer(
        self, action: LifecycleAction, state: LifecycleState | None, newest: Mapping[GroupId, str]
    ) -> None:
        """The autoscaler may go on, with the instance in `state`, if the groups have still deployed `newest` last."""
        batch = Batch()
        for step in action.steps:
            if step.status is StepStatus.SUCCEEDED and action.is_launch and step.group_id in newest:
                batch.ensure(MOVED, _still_newest(step.group_id, newest[step.group_id]))
        self.enter(batch, action)
        if state is not None:
            launching = tables.instances.c.lifecycle_state == LifecycleState.LAUNCHING.value
            batch.update(
                tables.instances,
                {"instance_id": action.instance_id},
                {"lifecycle_state": state.value},
                where=[launching],
            )
        await self._write(batch, [notice_of(action, "complete", self._now)] if action.callback else [])

    @property
    def _now(self) -> Instant:
        return self._around.clock.now()

    async def _write(self, batch: Batch, notices: list[Notice]) -> None:
        if notices:

            async def read() -> int:
                async with self._around.store.reading() as connection:
                    return await event_queries.newest_position(connection)

            position = await self._around.store.insist(read)
            for notice in notices:
                batch.add(tables.deliveries, delivery_row(notice.delivery(position)))
        await self._around.store.write(batch)
        if notices:
            self.wake()

    def _raise_alert(self, action: LifecycleAction, group: DeploymentGroup, end: End) -> None:
        self.loops_told += 1
        log.error(
            "scaling.launch_loop",
            group=group.name,
            application=group.application_name,
            launches=scaling_hooks.LOOP,
            error=end.message,
            remedy="deploy a revision that works, or let instances in without one: `ferryman autoscaling pass`",
        )
        self._around.witness.decision(
            Decision(
                event=LAUNCH_LOOP,
                deployment_id=end.deployment_id,
                creator=Creator.AUTO_SCALING,
                cause=f"{scaling_hooks.LOOP} launches in a row were abandoned: {end.message}",
                details={
                    "autoScalingGroupName": action.auto_scaling_group,
                    "deploymentGroupName": group.name,
                    "applicationName": group.application_name,
                },
            )
        )


def enter_hook(batch: Batch, group: DeploymentGroup, hook: ScalingHook) -> None:
    """Change one hook of a group, whose hooks must still be those of `group`."""
    batch.ensure(MOVED, queries.has_hooks(group.group_id, to_json(group.hooks)))
    hooks = scaling_hooks.changed(group.hooks, hook.auto_scaling_group, lambda _before: hook)
    batch.update(
        tables.deployment_groups, {"group_id": group.group_id}, {"auto_scaling_hooks": to_json(hooks)}
    )


def _still_newest(group_id: GroupId, revision_key: str) -> sa.ColumnElement[bool]:
    table = tables.deployment_groups.c
    moved = sa.exists().where(table.group_id == group_id, table.target_revision_key != revision_key)
    return ~moved


def _succeeded(end: End | None) -> bool:
    return end is not None and end.succeeded


def _nobody() -> None:
    """Nothing is delivered here."""
