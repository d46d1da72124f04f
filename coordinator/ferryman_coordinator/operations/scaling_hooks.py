"""Hooks of deployment groups: compared with those of an autoscaler, installed anew, switched off (CP section 21)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core import scaling_hooks
from ferryman_coordinator.core.inventory import DeploymentGroup
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.scaling_hooks import HookDifference, ScalingHook
from ferryman_coordinator.errors import ConstraintBroken, Invalid, NotFound, StoreUnavailable
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import scaling as queries
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

_EVERY_MS = 3_600_000

_Change = Callable[[DeploymentGroup, ScalingHook], ScalingHook]

_MOVED = "hooks of the group were changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOf:
    """A hook, and whose it is."""

    group: DeploymentGroup
    hook: ScalingHook


@dataclass(frozen=True, slots=True, kw_only=True)
class HookCheck:
    hooks: tuple[HookOf, ...]
    differences: tuple[HookDifference, ...]


class ScalingHooks:
    def __init__(self, store: Store, clock: Clock, ids: Ids, groups: Groups) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._groups = groups

    async def check(self, auto_scaling_group: str, theirs: Sequence[str] | None = None) -> HookCheck:
        """The hooks that there should be, and with those that the autoscaler has, how they differ (CP-405).

        Raises Invalid.
        """
        if not auto_scaling_group:
            raise Invalid(
                "InvalidAutoScalingGroupException", "the autoscaling group is missing: give its name"
            )
        async with self._store.reading() as connection:
            groups = await queries.hooked(connection, auto_scaling_group)
        found = [
            HookOf(group=group, hook=hook)
            for group in groups
            if (hook := queries.hook_in(group.hooks, auto_scaling_group)) is not None
        ]
        ours = [(f"{one.group.application_name}/{one.group.name}", one.hook) for one in found]
        differences = () if theirs is None else tuple(scaling_hooks.differences(ours, theirs))
        return HookCheck(hooks=tuple(found), differences=differences)

    async def reinstall(
        self, application_name: str, group_name: str, auto_scaling_group: str = ""
    ) -> DeploymentGroup:
        """New hooks under new names for one autoscaling group, or for all of the group's (CP-178); nothing is deployed

        for that (CP-404). Raises Invalid, NotFound.
        """
        return await self._change(application_name, group_name, auto_scaling_group, self._anew)

    async def let_pass(
        self, application_name: str, group_name: str, auto_scaling_group: str = "", *, passes: bool
    ) -> DeploymentGroup:
        """Whether new instances go into service without a deployment of this group (CP-403).

        Switched off again, the count of launches that failed begins anew. Raises Invalid, NotFound.
        """

        def change(_group: DeploymentGroup, hook: ScalingHook) -> ScalingHook:
            return replace(hook, passes=passes, abandons=hook.abandons if passes else 0)

        return await self._change(application_name, group_name, auto_scaling_group, change)

    async def run(self) -> None:
        """Look every hour whether every group has the hooks of its autoscaling groups (CP-405), until cancelled."""
        while True:
            try:
                repaired = await self.repair()
                if repaired:
                    log.info("scaling.hooks_installed", groups=repaired)
            except StoreUnavailable as error:
                log.warning("scaling.hooks_not_compared", error=str(error))
            await self._clock.sleep_until(Instant(self._clock.now() + _EVERY_MS))

    async def repair(self) -> int:
        """Install what groups lack that were saved before there were hooks; returns how many groups those were."""
        async with self._store.reading() as connection:
            lacking = await queries.unhooked(connection)
        for group in lacking:
            await self._store_hooks(group, self._groups.hooks_for(group.name, (), group.options))
        return len(lacking)

    def _anew(self, group: DeploymentGroup, hook: ScalingHook) -> ScalingHook:
        (made,) = scaling_hooks.installed(
            (),
            group.name,
            [hook.auto_scaling_group],
            with_termination=group.options.termination_hook,
            now=self._clock.now(),
            draw=self._ids.guid,
        )
        return replace(made, passes=hook.passes, abandons=hook.abandons, installed_at=hook.installed_at)

    async def _change(
        self, application_name: str, group_name: str, auto_scaling_group: str, change: _Change
    ) -> DeploymentGroup:
        while True:
            group = await self._groups.get(application_name, group_name)
            hooks = tuple(
                change(group, hook) if auto_scaling_group in ("", hook.auto_scaling_group) else hook
                for hook in group.hooks
            )
            if auto_scaling_group not in ("", *(hook.auto_scaling_group for hook in group.hooks)):
                raise NotFound(
                    "AutoScalingGroupNotAttachedException",
                    f"deployment group {group_name!r} of {application_name!r} has no autoscaling group"
                    f" {names.shown(auto_scaling_group)}: `ferryman group show {group_name}` lists those it has",
                )
            if hooks == group.hooks or await self._store_hooks(group, hooks):
                return replace(group, hooks=hooks)

    async def _store_hooks(self, group: DeploymentGroup, hooks: tuple[ScalingHook, ...]) -> bool:
        """False when somebody else was faster."""
        column = tables.deployment_groups.c.auto_scaling_hooks
        batch = Batch()
        batch.ensure(_MOVED, queries.has_hooks(group.group_id, to_json(group.hooks)))
        batch.update(tables.deployment_groups, {"group_id": group.group_id}, {column.name: to_json(hooks)})
        try:
            await self._store.write(batch)
        except ConstraintBroken:
            return False
        return True
