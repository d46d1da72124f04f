"""Deployments to one instance that an autoscaler launches or ends, beside what its group does (CP-397, CP-401, CP-406).

Nobody asks for them but the coordinator itself, and what they need was looked at before; so there is no refusal here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ferryman_coordinator.core.group_options import AlarmConfiguration
from ferryman_coordinator.core.inventory import Deployment, DeploymentGroup
from ferryman_coordinator.core.lifecycle import in_place_path, termination_path
from ferryman_coordinator.core.model import (
    AutoRollback,
    Creator,
    DeploymentId,
    FileExistsBehavior,
    HealthyHostsType,
    InstanceId,
    LastGood,
    MinimumHealthyHosts,
    RevisionLocation,
    RolloutSpec,
)
from ferryman_coordinator.engine.creation import enter_new, enter_use, new_deployment
from ferryman_coordinator.engine.surroundings import Surroundings
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import deployments

CONFIG = "CodeDeployDefault.OneAtATime"
"""What is shown: the group's own configuration has no say here (CP-304)."""

_NONE_NEEDED = MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=0)
"""There is one, it may be taken out, and it must succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleOrder:
    """`good` is the group's last successful deployment, if there is one."""

    group: DeploymentGroup
    instance_id: InstanceId
    creator: Creator
    revision: RevisionLocation
    good: LastGood | None


class Singles:
    """The way in for them."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    async def begin(
        self, order: SingleOrder, enter: Callable[[Batch, DeploymentId], None]
    ) -> DeploymentId | None:
        """Store the deployment with what `enter` adds, all or nothing, and start it.

        None when as many deployments are unfinished as may be: each of these counts as well (CP-401, PF-114).
        """
        around = self._around
        if around.launcher.count >= around.settings.max_deployments:
            return None
        deployment_id = await self._unused_id()
        deployment = new_deployment(
            self._spec(order, deployment_id),
            order.group,
            around.clock.now(),
            description=_description(order),
        )
        batch = Batch()
        enter_new(batch, deployment, is_retried=True)
        if order.creator is Creator.AUTO_SCALING:
            enter_use(batch, deployment)
        enter(batch, deployment_id)
        around.launcher.reserve(deployment_id)
        try:
            await around.store.write(batch)
        except BaseException:
            around.launcher.release(deployment_id)
            raise
        around.statistics.created += 1
        around.bell.ring()
        around.launcher.launch(deployment_id)
        return deployment_id

    def _spec(self, order: SingleOrder, deployment_id: DeploymentId) -> RolloutSpec:
        """Without alarms and rollback: the answer to the autoscaler is all that follows from how it ends."""
        settings, is_launch = self._around.settings, order.creator is Creator.AUTO_SCALING
        behavior = order.good.file_exists_behavior if order.good else FileExistsBehavior.DISALLOW
        return RolloutSpec(
            deployment_id=deployment_id,
            application_name=order.group.application_name,
            group_name=order.group.name,
            creator=order.creator,
            revision=order.revision,
            config_name=CONFIG,
            minimum=_NONE_NEEDED,
            zonal=None,
            path=in_place_path() if is_launch else termination_path(),
            ignore_application_stop_failures=False,
            file_exists_behavior=behavior,
            update_outdated_instances_only=False,
            auto_rollback=AutoRollback(),
            last_good=order.good,
            timers=settings.timers,
            max_targets=settings.max_targets,
            selection=order.group.selection,
            options=replace(order.group.options, alarms=AlarmConfiguration()),
            only_instance=order.instance_id,
        )

    async def _unused_id(self) -> DeploymentId:
        """Asked for here, since the batch overwrites rows of that id: it may be stored twice."""
        while True:
            drawn = self._around.ids.deployment_id()

            async def find(wanted: DeploymentId = drawn) -> Deployment | None:
                async with self._around.store.reading() as connection:
                    return await deployments.get(connection, wanted)

            if await self._around.store.insist(find) is None:
                return drawn


def _description(order: SingleOrder) -> str:
    if order.creator is Creator.AUTO_SCALING:
        return f"Deploys to instance {order.instance_id}, which its autoscaling group launches"
    return f"Stops what runs on instance {order.instance_id}, which its autoscaling group ends"
