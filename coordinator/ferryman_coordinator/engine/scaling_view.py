"""What is to be known to take an action one step further, read at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core import scaling
from ferryman_coordinator.core.inventory import Deployment, DeploymentGroup, LifecycleState
from ferryman_coordinator.core.model import (
    DeploymentId,
    DeploymentStatus,
    GroupId,
    LastGood,
    RevisionLocation,
)
from ferryman_coordinator.core.scaling import ActionStep, LifecycleAction, StepStatus
from ferryman_coordinator.engine.creation import last_good
from ferryman_coordinator.engine.surroundings import Surroundings
from ferryman_coordinator.store.queries import deployments, groups, instances
from ferryman_coordinator.store.queries import scaling as queries


@dataclass(frozen=True, slots=True, kw_only=True)
class SituationOf:
    """A deployment group that is concerned. Without a `revision` nothing is deployed, and `why_not` says why."""

    group: DeploymentGroup
    good: LastGood | None
    revision: RevisionLocation | None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How the deployment of a step ended."""

    deployment_id: DeploymentId
    succeeded: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    action: LifecycleAction
    # Nothing is done for one instance while an older action for it is open.
    is_its_turn: bool
    # Of the instance; None when it is not registered.
    state: LifecycleState | None
    # Of the present step; None when its group is gone, or all steps are done.
    situation: SituationOf | None = None
    # Of the present step's deployment; None while it runs.
    end: End | None = None
    # Key of the revision that each group of a step has deployed successfully last.
    newest: Mapping[GroupId, str] = field(default_factory=dict)


async def look(around: Surroundings, key: tuple[str, str]) -> View | None:
    """None when there is no such action."""

    async def read() -> View | None:
        async with around.store.reading() as connection:
            action = await queries.get(connection, *key)
            return None if action is None else await _look(connection, action)

    return await around.store.insist(read)


async def _look(connection: AsyncConnection, action: LifecycleAction) -> View:
    queue = await queries.open_of(connection, action.instance_id)
    instance = await instances.get(connection, action.instance_id)
    state = instance.lifecycle_state if instance is not None and instance.is_registered else None
    number = scaling.current(action)
    situation, end, newest = None, None, {}
    if number is None:
        for step in action.steps:
            group = await groups.get(connection, step.group_id)
            if group is not None and group.target_revision is not None:
                newest[step.group_id] = group.target_revision.key
    else:
        step = action.steps[number]
        if step.status is StepStatus.RUNNING:
            end = await _end(connection, step)
        group = await groups.get(connection, step.group_id)
        if group is not None:
            situation = await _situation(connection, action, group, is_there=state is not None)
    return View(
        action=action,
        is_its_turn=not queue or queue[0].key == action.key,
        state=state,
        situation=situation,
        end=end,
        newest=newest,
    )


async def _end(connection: AsyncConnection, step: ActionStep) -> End | None:
    found: Deployment | None = None
    if step.deployment_id is not None:
        found = await deployments.get(connection, step.deployment_id)
    if found is None:
        return End(
            deployment_id=step.deployment_id or DeploymentId(""),
            succeeded=False,
            message="the deployment was deleted with its application",
        )
    record = found.record
    if not record.status.is_terminal:
        return None
    return End(
        deployment_id=found.deployment_id,
        succeeded=record.status is DeploymentStatus.SUCCEEDED,
        message=record.error.message if record.error else "",
    )


async def _situation(
    connection: AsyncConnection, action: LifecycleAction, group: DeploymentGroup, *, is_there: bool
) -> SituationOf:
    good = await last_good(connection, group)
    hook = queries.hook_in(group.hooks, action.auto_scaling_group)
    revision: RevisionLocation | None = None
    why_not = ""
    if hook is None:
        why_not = "the autoscaling group was taken from the deployment group"
    elif not is_there:
        why_not = f"instance {action.instance_id} is not registered any more"
    elif not action.is_launch:
        was_tried, revision = await queries.installed(connection, group.group_id, action.instance_id)
        if was_tried and revision is None and good is not None:
            # Half replaced: what ran there before may still run, and is stopped all the same (CP-409).
            revision = good.revision
        why_not = "" if revision else "the deployment group has nothing on the instance"
    elif hook.passes:
        why_not = "new instances go into service without a deployment, as `ferryman autoscaling pass` says"
    elif good is None:
        why_not = "the deployment group has no successful deployment yet, so there is nothing to bring"
    else:
        revision = good.revision
    return SituationOf(group=group, good=good, revision=revision, why_not=why_not)
