"""An outside autoscaler for a world of pretended agents (`engine_world`): it launches and ends instances, and waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.group_options import GroupOptions
from ferryman_coordinator.core.inventory import Instance
from ferryman_coordinator.core.model import InstanceId
from ferryman_coordinator.core.scaling import LifecycleAction, Transition
from ferryman_coordinator.core.scaling_hooks import ScalingHook
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.lifecycle import Lifecycle, LifecycleNotice
from ferryman_coordinator.store.queries import instances
from tests.support.clock import START
from tests.support.engine_world import World, fresh_world
from tests.support.fake_agent import PATIENCE_SECONDS, FakeAgent

FLEET = "fleet"
SCALED = GroupOptions(auto_scaling_groups=(FLEET,), termination_hook=True)
HOOK = ScalingHook(
    auto_scaling_group=FLEET,
    launch="CodeDeploy-managed-automatic-launch-deployment-hook-production-1",
    termination="CodeDeploy-managed-automatic-termination-deployment-hook-production-1",
    installed_at=START,
)


class Autoscaler:
    """Of one group of instances. The world may be started again under it."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def lifecycle(self) -> Lifecycle:
        return self.made()

    def made(self, *, on_premises_in_place_only: bool = False) -> Lifecycle:
        """The operations, with these settings."""
        account = Account(account_id="123456789012", region="eu-1")
        heartbeat = self.world.settings.scaling_heartbeat_ms
        return Lifecycle(
            self.world.store,
            self.world.clock,
            Limits(),
            account,
            self.world.engine,
            lambda name: name == "scaler",
            heartbeat,
            on_premises_in_place_only=on_premises_in_place_only,
        )

    async def launch(self, name: str, *, connects: bool = True, **options: Any) -> LifecycleAction:
        """Say so; with `connects` its agent comes right after."""
        notice = LifecycleNotice(
            auto_scaling_group=FLEET, instance=name, transition=Transition.LAUNCHING, **options
        )
        action = await self.lifecycle.notify(notice)
        if connects:
            self.boot(name)
        return action

    def boot(self, name: str) -> FakeAgent:
        """The instance's agent is there."""
        agent = self.world.agents.setdefault(name, FakeAgent(name))
        self.world.connect(name)
        return agent

    async def end(self, name: str, **options: Any) -> LifecycleAction:
        """Say that the instance is to be terminated."""
        notice = LifecycleNotice(
            auto_scaling_group=FLEET, instance=name, transition=Transition.TERMINATING, **options
        )
        return await self.lifecycle.notify(notice)

    async def answer(self, action: LifecycleAction) -> LifecycleAction:
        """Wait for it."""
        async with asyncio.timeout(PATIENCE_SECONDS), aclosing(self.seen(action)) as seen:
            async for action in seen:
                if action.result is not None:
                    return action
        raise AssertionError("the watch ended without an answer")

    def seen(self, action: LifecycleAction) -> AsyncGenerator[LifecycleAction, None]:
        """What a watcher sees of it."""
        return self.lifecycle.watch(action.auto_scaling_group, action.token)

    async def instance(self, name: str) -> Instance:
        async with self.world.store.reading() as connection:
            found = await instances.get(connection, InstanceId(name))
        assert found is not None
        return found


@asynccontextmanager
async def scaled_world(
    directory: Path, url: str = "", *, hooks: Sequence[ScalingHook] = (HOOK,), count: int = 1, **options: Any
) -> AsyncIterator[Autoscaler]:
    """A world whose group has an autoscaling group; `options` of World, or of its group."""
    of_world = {name: options.pop(name) for name in ("clock", "settings", "seed") if name in options}
    async with fresh_world(directory, **of_world) as world:
        world.url = url or world.url
        await world.start()
        await world.populate(count, hooks=tuple(hooks), **{"options": SCALED, **options})
        world.connect()
        yield Autoscaler(world)
