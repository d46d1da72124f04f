"""Deployments as control operations in a world of pretended agents (`engine_world`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.model import BundleLocation, RevisionLocation
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.configurations import Configurations
from ferryman_coordinator.operations.deployment_options import DeploymentOptions
from ferryman_coordinator.operations.deployments import Deployments
from ferryman_coordinator.operations.drift import Drift
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.operations.instances import Instances
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World

OPTIONS = DeploymentOptions(
    application_name="web",
    group_name="production",
    revision=bundle("a"),
    config_name="CodeDeployDefault.AllAtOnce",
)
MISSING = bundle("f")
"""Not in the store."""

LIMITS = Limits()


class Shelf:
    """Pretends to look into bundles: all are there but one."""

    async def inspect(self, location: BundleLocation) -> Sequence[str]:
        if location == MISSING:
            raise Invalid("InvalidRevisionException", "the bundle is not in the coordinator's store")
        return ["line 3: unknown key"] if location == bundle("3") else []


class Elsewhere:
    """Pretends to look at what is in no store of the coordinator's."""

    async def pin(self, location: RevisionLocation) -> tuple[RevisionLocation, Sequence[str]]:
        return location, []


class DeploymentDesk:
    """The operations of a world."""

    def __init__(self, world: World, limits: Limits = LIMITS, **options: Any) -> None:
        """`options` of Deployments."""
        self.world = world
        parts = (world.store, world.clock, world.ids, limits)
        self.applications = Applications(*parts, world.engine)
        self.configurations = Configurations(*parts, run_cap_ms=12 * 3_600_000)
        self.groups = Groups(*parts, self.applications, self.configurations, world.engine)
        self.deployments = Deployments(
            world.store,
            world.engine,
            world.links,
            self.applications,
            self.groups,
            self.configurations,
            Shelf(),
            Elsewhere(),
            Account(account_id="123456789012", region="eu-1"),
            Drift(
                world.store,
                world.clock,
                world.links,
                Instances(world.store, world.clock, limits, world.engine),
            ),
            limits,
            **options,
        )

    async def create(self, **changes: Any) -> str:
        return (await self.deployments.create(replace(OPTIONS, **changes))).deployment_id

    async def done(self, **changes: Any) -> str:
        deployment_id = await self.create(**changes)
        await self.ended(deployment_id)
        return deployment_id

    async def ended(self, deployment_id: str) -> None:
        async with aclosing(self.deployments.watch(deployment_id)) as updates:
            async for _ in updates:
                pass
