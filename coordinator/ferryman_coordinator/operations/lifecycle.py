"""What an autoscaler, or any other provisioner, tells us of its instances, and how it gets its answer (CP section 21).

It says that an instance is launching, in service, terminating or terminated. Where a deployment group has something to
do about that it waits: it asks, watches, or is called back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core import scaling
from ferryman_coordinator.core.inventory import DeploymentGroup, Instance, InstanceKind, LifecycleState
from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.core.provider_identity import is_provider_id
from ferryman_coordinator.core.scaling import (
    ENDED_BY_GROUP,
    ActionResult,
    ActionStep,
    LifecycleAction,
    Transition,
)
from ferryman_coordinator.errors import Conflict, ConstraintBroken, Invalid, NotFound
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.scope import Departures
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.inventory_records import instance_row
from ferryman_coordinator.store.queries import instances as instance_queries
from ferryman_coordinator.store.queries import scaling as queries
from ferryman_coordinator.store.queries.scaling import ActionFilter
from ferryman_coordinator.store.scaling_records import action_row
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

_TOKEN = 128
_ATTEMPTS = 5
_CHANGED = "instance or hooks have changed"


class Actions(Protocol):
    """Does what is to be done, until each action has its answer: the engine's."""

    def take(self, action: LifecycleAction) -> None: ...
    def listen(self, key: tuple[str, str]) -> asyncio.Event:
        """Is set when the action has changed; at once when nothing changes any more. Take it before looking."""
        ...


class Engine(Departures, Protocol):
    @property
    def scaling(self) -> Actions: ...
    async def instance_terminating(self, instance_id: InstanceId, reason: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleNotice:
    """What a provisioner says. Without a `token` the instance and what happens to it stand for one.

    `hook`: the one that it waits for; without it, it waits for all deployment groups of the autoscaling group.
    `callback` names a sink of the settings.
    """

    auto_scaling_group: str
    instance: str
    transition: Transition
    token: str = ""
    hook: str = ""
    callback: str = ""
    zone: str = ""


class Lifecycle:
    """What can be said and asked about instances that come and go."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: Limits,
        account: Account,
        engine: Engine,
        has_sink: Callable[[str], bool],
        heartbeat_ms: int,
        *,
        on_premises_in_place_only: bool = False,
    ) -> None:
        """`has_sink`: whether the settings have a sink of that name."""
        self._store = store
        self._clock = clock
        self._limits = limits
        self._account = account
        self._engine = engine
        self._has_sink = has_sink
        self._heartbeat_ms = heartbeat_ms
        self._on_premises_in_place_only = on_premises_in_place_only

    async def notify(self, notice: LifecycleNotice) -> LifecycleAction:
        """Take the notice in; the action may have its answer at once. The same notice again changes nothing.

        Raises Invalid (InvalidAutoScalingGroupException, InvalidInstanceIdException, InvalidLifecycleTokenException,
        UnknownCallbackException), NotFound (LifecycleHookDoesNotExistException, InstanceNotRegisteredException),
        Conflict (LifecycleTokenInUseException, InstanceDeregisteredException, OnPremisesInstanceException).
        """
        self._check(notice)
        for _ in range(_ATTEMPTS):
            action = await self._take_in(notice)
            if action is not None:
                break
        else:
            raise Conflict(
                "LifecycleConflictException",
                f"instance {notice.instance} or the hooks of {notice.auto_scaling_group} keep changing: try again",
            )
        if action.transition is Transition.TERMINATING and action.result is not ActionResult.ABANDON:
            await self._engine.instance_terminating(action.instance_id, ENDED_BY_GROUP)
        self._engine.scaling.take(action)
        return action

    async def in_service(self, auto_scaling_group: str, instance: str, zone: str = "") -> Instance:
        """It is a member from now on, and nothing is deployed to it for that (CP-404).

        Raises Invalid, NotFound and Conflict as `notify` does.
        """
        self._check_place(auto_scaling_group, instance)
        return await self._place(auto_scaling_group, instance, zone, LifecycleState.IN_SERVICE)

    async def terminated(self, auto_scaling_group: str, instance: str) -> None:
        """It is gone: whatever still runs on it fails now, and its identity ends. Unknown ones succeed.

        Raises Invalid.
        """
        self._check_place(auto_scaling_group, instance)
        async with self._store.reading() as connection:
            found = await instance_queries.find(connection, instance)
        if found is None or not found.is_registered:
            return
        now, key = self._clock.now(), {"instance_id": found.instance_id}
        batch = Batch()
        batch.update(
            tables.instances,
            key,
            {"deregistered_at": now, "lifecycle_state": LifecycleState.TERMINATED.value},
        )
        is_valid = tables.certificates.c.revoked_at.is_(None)
        batch.update(tables.certificates, key, {"revoked_at": now}, where=[is_valid])
        await self._store.write(batch)
        await self._engine.instance_gone(found.instance_id, ENDED_BY_GROUP, may_finish=False)

    async def get(self, auto_scaling_group: str, token: str) -> LifecycleAction:
        """Raises NotFound (LifecycleActionDoesNotExistException)."""
        async with self._store.reading() as connection:
            found = await queries.get(connection, auto_scaling_group, token)
        if found is None:
            raise NotFound(
                "LifecycleActionDoesNotExistException",
                f"autoscaling group {names.shown(auto_scaling_group)} told us of no action with token"
                f" {names.shown(token)}: `ferryman autoscaling list` shows those that are known",
            )
        return found

    async def watch(self, auto_scaling_group: str, token: str) -> AsyncGenerator[LifecycleAction, None]:
        """The action as it is, then again whenever it has changed, each heartbeat included, until its answer.

        Raises NotFound.
        """
        seen: LifecycleAction | None = None
        while seen is None or seen.result is None:
            heard = self._engine.scaling.listen((auto_scaling_group, token))
            found = await self.get(auto_scaling_group, token)
            if found != seen:
                seen = found
                yield found
            else:
                await heard.wait()

    async def list(self, wanted: ActionFilter, request: PageRequest) -> Page[LifecycleAction]:
        """Actions, newest first. Raises Invalid for a bad page."""

        async def fetch(after: Key | None, limit: int) -> Sequence[LifecycleAction]:
            async with self._store.reading() as connection:
                return await queries.before(connection, wanted, after or (), limit)

        return await self._store.cursors.page(
            ["lifecycle-actions", wanted],
            request,
            fetch,
            lambda one: (one.created_at, one.auto_scaling_group, one.token),
        )

    # Inside -----------------------------------------------------------------------------------------------------------

    def _check(self, notice: LifecycleNotice) -> None:
        self._check_place(notice.auto_scaling_group, notice.instance)
        if len(notice.token) > _TOKEN or not notice.token.isprintable():
            raise Invalid(
                "InvalidLifecycleTokenException",
                f"token {names.shown(notice.token)} is not valid: at most {_TOKEN} characters that can be printed",
            )
        if notice.callback and not self._has_sink(notice.callback):
            raise Invalid(
                "UnknownCallbackException",
                f"no sink is called {names.shown(notice.callback)}: give it one under `sinks` in the coordinator's"
                " settings, or leave the callback out and ask for the answer",
            )

    def _check_place(self, auto_scaling_group: str, instance: str) -> None:
        if not auto_scaling_group or len(auto_scaling_group) > 255 or not auto_scaling_group.isprintable():
            raise Invalid(
                "InvalidAutoScalingGroupException",
                f"autoscaling group {names.shown(auto_scaling_group)} is not valid: give 1 to 255 characters that can"
                " be printed",
            )
        if not instance:
            raise Invalid("InvalidInstanceIdException", "the instance is missing: give its id")

    async def _take_in(self, notice: LifecycleNotice) -> LifecycleAction | None:
        """None: something has changed while it was looked at."""
        token = notice.token or f"{notice.instance}:{notice.transition.value.rpartition('_')[2].lower()}"
        async with self._store.reading() as connection:
            known = await queries.get(connection, notice.auto_scaling_group, token)
            present = await instance_queries.find(connection, notice.instance)
            concerned = await queries.hooked(connection, notice.auto_scaling_group)
        if known is not None:
            return _the_same(known, notice, present)
        instance = self._instance(notice.auto_scaling_group, notice.instance, notice.zone, present)
        is_launch = notice.transition is Transition.LAUNCHING
        state = LifecycleState.LAUNCHING if is_launch else LifecycleState.TERMINATING
        action = self._action(notice, token, instance.instance_id, concerned)
        if action.result is not None and is_launch:
            state = LifecycleState.IN_SERVICE
        batch = Batch()
        self._enter_instance(batch, replace(instance, lifecycle_state=state), present)
        batch.insert(tables.lifecycle_actions, action_row(action))
        try:
            await self._store.write(batch)
        except ConstraintBroken:
            return None
        for message in action.messages:
            log.warning(
                "scaling.noted",
                auto_scaling_group=action.auto_scaling_group,
                instance=action.instance_id,
                note=message,
            )
        return action

    def _action(
        self,
        notice: LifecycleNotice,
        token: str,
        instance_id: InstanceId,
        concerned: Sequence[DeploymentGroup],
    ) -> LifecycleAction:
        now = self._clock.now()
        steps = _steps(notice, concerned)
        messages = []
        if len(steps) > 1:
            labels = [f"{step.application_name}/{step.group_name}" for step in steps]
            messages.append(scaling.shared_warning(notice.auto_scaling_group, labels))
        action = LifecycleAction(
            auto_scaling_group=notice.auto_scaling_group,
            token=token,
            instance_id=instance_id,
            transition=notice.transition,
            created_at=now,
            callback=notice.callback,
            steps=steps,
            heartbeat_at=Instant(now + self._heartbeat_ms),
            messages=tuple(messages),
        )
        # With nobody to wait for, the answer to the notice is the answer: no callback follows.
        return scaling.answered(action, ActionResult.CONTINUE, now) if not steps else action

    def _instance(
        self, auto_scaling_group: str, instance: str, zone: str, present: Instance | None
    ) -> Instance:
        """The instance as it belongs there; a new one whose machine is still to come, where it is not known yet."""
        if present is not None:
            if not present.is_registered:
                raise Conflict(
                    "InstanceDeregisteredException",
                    f"{names.shown(instance)} was deregistered: an instance that was ended does not come back, and"
                    " another one needs another id",
                )
            if self._on_premises_in_place_only and present.kind is InstanceKind.ON_PREMISES:
                raise Conflict(
                    "OnPremisesInstanceException",
                    f"instance {present.name!r} is on premises, and deployments.on_premises_in_place_only is set: such"
                    " instances take no part in autoscaling",
                )
            return replace(present, auto_scaling_group=auto_scaling_group, zone=present.zone or zone)
        if not is_provider_id(instance):
            raise NotFound(
                "InstanceNotRegisteredException",
                f"no instance is called {names.shown(instance)}: give the id that its provider issued, such as"
                " i-0abc123, or the name or id of one that has enrolled",
            )
        instance_id = InstanceId(instance)
        return Instance(
            instance_id=instance_id,
            name=instance,
            kind=InstanceKind.CLOUD,
            arn=self._account.cloud_arn(instance_id),
            tags=(),
            zone=zone,
            registered_at=self._clock.now(),
            auto_scaling_group=auto_scaling_group,
        )

    def _enter_instance(self, batch: Batch, instance: Instance, present: Instance | None) -> None:
        if present is None:
            batch.insert(tables.instances, instance_row(instance, None))
            return
        still_there = instance_queries.is_registered(instance.instance_id)
        batch.ensure(_CHANGED, still_there)
        values = {
            "auto_scaling_group": instance.auto_scaling_group,
            "lifecycle_state": instance.lifecycle_state.value,
            "zone": instance.zone,
        }
        batch.update(tables.instances, {"instance_id": instance.instance_id}, values)

    async def _place(
        self, auto_scaling_group: str, instance: str, zone: str, state: LifecycleState
    ) -> Instance:
        for _ in range(_ATTEMPTS):
            async with self._store.reading() as connection:
                present = await instance_queries.find(connection, instance)
            found = self._instance(auto_scaling_group, instance, zone, present)
            batch = Batch()
            self._enter_instance(batch, replace(found, lifecycle_state=state), present)
            try:
                await self._store.write(batch)
            except ConstraintBroken:
                continue
            return replace(found, lifecycle_state=state)
        raise Conflict("LifecycleConflictException", f"instance {instance} keeps changing: try again")


def _the_same(known: LifecycleAction, notice: LifecycleNotice, present: Instance | None) -> LifecycleAction:
    instance_id = notice.instance if present is None else present.instance_id
    if (known.instance_id, known.transition) != (instance_id, notice.transition):
        raise Conflict(
            "LifecycleTokenInUseException",
            f"token {names.shown(known.token)} stands for {known.instance_id} {known.transition}, not for"
            f" {instance_id} {notice.transition}: give each action a token of its own",
        )
    return known


def _steps(notice: LifecycleNotice, concerned: Sequence[DeploymentGroup]) -> tuple[ActionStep, ...]:
    """One for each deployment group with a hook for what happens, or for the one whose hook it is (CP-397)."""
    is_launch = notice.transition is Transition.LAUNCHING
    steps = []
    for group in concerned:
        hook = queries.hook_in(group.hooks, notice.auto_scaling_group)
        name = "" if hook is None else hook.launch if is_launch else hook.termination
        if name and notice.hook in ("", name):
            steps.append(
                ActionStep(
                    group_id=group.group_id,
                    application_name=group.application_name,
                    group_name=group.name,
                    hook=name,
                )
            )
    if notice.hook and not steps:
        raise NotFound(
            "LifecycleHookDoesNotExistException",
            f"no deployment group has a hook {names.shown(notice.hook)} for {notice.transition} in autoscaling group"
            f" {names.shown(notice.auto_scaling_group)}: compare them with `ferryman autoscaling check`",
        )
    return tuple(steps)
