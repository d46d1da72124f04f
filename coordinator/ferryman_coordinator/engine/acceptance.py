"""Takes in new deployments: exactly one unfinished one a group, whoever asks at the same time (CP-225, CP-429).

Where the group has a queue, the others wait in it (CP-419).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from ferryman_coordinator.core.group_options import QueueMode
from ferryman_coordinator.core.inventory import DeploymentGroup
from ferryman_coordinator.core.model import DeploymentId, DeploymentStatus, LastGood
from ferryman_coordinator.core.queue import Unfinished, superseded
from ferryman_coordinator.engine.creation import (
    GROUP_MOVED,
    OLD_SEQUENCE,
    QUEUE_BEFORE,
    CreateOrder,
    ensure_no_queue,
    ensure_sequence,
    ensure_unmoved,
    enter_new,
    enter_use,
    last_good,
    new_deployment,
    snapshot,
)
from ferryman_coordinator.engine.surroundings import Surroundings
from ferryman_coordinator.errors import Conflict, ConstraintBroken, LimitExceeded, NotFound, StoreUnavailable
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.database import FOREIGN_KEY
from ferryman_coordinator.store.queries import deployments, groups
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

_ATTEMPTS = 10
"""How often a group may change between reading it and storing the deployment."""

_AGAIN = frozenset(
    {
        GROUP_MOVED,
        QUEUE_BEFORE,
        tables.ONE_ACTIVE,
        tables.REQUEST_KEY,
        "pk_deployments",
        "deployments_pkey",
    }
)
"""Reasons to look once more: each is told apart by what is read then."""


class Acceptance:
    """`accept` must run to its end once it is begun: it is a task of the engine's, not of whoever asks."""

    def __init__(self, store: Store, around: Surroundings) -> None:
        self._store = store
        self._around = around

    async def accept(self, order: CreateOrder) -> DeploymentId:
        """The new deployment's id, or that of the first creation with the same request key (CP-230).

        Raises LimitExceeded (DeploymentLimitExceededException), NotFound, StoreUnavailable.
        """
        for _ in range(_ATTEMPTS):
            async with self._store.reading() as connection:
                if order.request_key:
                    known = await deployments.by_request_key(
                        connection, order.group.group_id, order.request_key
                    )
                    if known is not None:
                        return known
                unfinished = await deployments.unfinished_of(connection, order.group.group_id)
                group = await groups.get(connection, order.group.group_id)
                good = None if group is None else await last_good(connection, group)
            if group is None:
                raise _group_gone(order.group)
            self._check_room(group, unfinished)
            status = DeploymentStatus.QUEUED if unfinished else DeploymentStatus.CREATED
            accepted = await self._store_new(replace(order, group=group), good, status)
            if accepted is not None:
                for older in superseded(group.options.queue, unfinished):
                    self._around.launcher.supersede(older, accepted)
                return accepted
        raise StoreUnavailable(f"deployment group {order.group.name} keeps changing: try again")

    async def check(self, group: DeploymentGroup) -> None:
        """Raises what `accept` would raise now."""
        async with self._store.reading() as connection:
            unfinished = await deployments.unfinished_of(connection, group.group_id)
        self._check_room(group, unfinished)

    async def _store_new(
        self, order: CreateOrder, good: LastGood | None, status: DeploymentStatus
    ) -> DeploymentId | None:
        """None: something came in between, look again."""
        deployment_id = self._around.ids.deployment_id()
        spec = snapshot(order, deployment_id, good, self._around.settings)
        deployment = new_deployment(
            spec, order.group, self._around.clock.now(), status=status, description=order.description
        )
        batch = Batch()
        ensure_unmoved(batch, order.group.group_id, good)
        if status is DeploymentStatus.CREATED:
            ensure_no_queue(batch, order.group.group_id)
        if order.sequence:
            ensure_sequence(batch, order.group.group_id, order.sequence)
        enter_new(batch, deployment, request_key=order.request_key)
        enter_use(batch, deployment)
        self._around.launcher.reserve(deployment_id)
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            self._around.launcher.release(deployment_id)
            if broken.name == FOREIGN_KEY or broken.name.startswith("fk_"):
                raise _group_gone(order.group) from broken
            if broken.name == OLD_SEQUENCE:
                raise await self._overtaken(order) from broken
            if broken.name not in _AGAIN:
                raise
            return None
        except StoreUnavailable:
            self._around.launcher.spawn(lambda: self._find_out(deployment_id))
            raise
        self._around.statistics.created += 1
        self._around.bell.ring()
        log.info("deployment.created", deployment=deployment_id, group=order.group.name, status=status)
        self._around.launcher.launch(deployment_id)
        if status is DeploymentStatus.QUEUED:
            # What it waits for may have ended meanwhile.
            self._around.launcher.pass_turn(order.group.group_id)
        return deployment_id

    async def _overtaken(self, order: CreateOrder) -> Exception:
        """CP-231; or that the group is gone, which the same guard says."""
        async with self._store.reading() as connection:
            last = await groups.last_sequence(connection, order.group.group_id)
        if last is None:
            return _group_gone(order.group)
        return Conflict(
            "DeploymentSequenceTooLowException",
            f"a deployment with sequence {last} was accepted for deployment group {order.group.name!r} of"
            f" {order.group.application_name!r}, and this one has {order.sequence}: it is older than what is there, so"
            " it is refused; give a number above that, or none",
        )

    async def _find_out(self, deployment_id: DeploymentId) -> None:
        """The connection was lost over the commit: start the deployment if it was stored after all."""

        async def is_stored() -> bool:
            async with self._store.reading() as connection:
                return await deployments.get(connection, deployment_id) is not None

        if await self._around.store.insist(is_stored):
            self._around.launcher.launch(deployment_id)
        else:
            self._around.launcher.release(deployment_id)

    def _check_room(self, group: DeploymentGroup, unfinished: Sequence[Unfinished]) -> None:
        """CP-225, CP-226, CP-419."""
        if unfinished and group.options.queue is QueueMode.REFUSE:
            raise _occupied(group, _running(unfinished))
        limit = self._around.settings.max_deployments
        if self._around.launcher.count >= limit:
            raise LimitExceeded(
                "DeploymentLimitExceededException",
                f"{limit} deployments are unfinished, the most that are allowed: wait for one to end, or raise"
                " limits.concurrent_deployments in the coordinator's configuration",
            )


def _running(unfinished: Sequence[Unfinished]) -> DeploymentId:
    """The one that runs, or that has waited longest."""
    first = min(unfinished, key=lambda one: (one.is_queued, one.created_at, one.deployment_id))
    return first.deployment_id


def _occupied(group: DeploymentGroup, active: DeploymentId) -> LimitExceeded:
    return LimitExceeded(
        "DeploymentLimitExceededException",
        f"deployment group {group.name!r} of {group.application_name!r} has an unfinished deployment, {active}:"
        f" wait for it (`ferryman deployment watch {active}`) or stop it (`ferryman deployment stop {active}`)",
        deployment_id=active,
    )


def _group_gone(group: DeploymentGroup) -> NotFound:
    return NotFound(
        "DeploymentGroupDoesNotExistException",
        f"deployment group {group.name!r} of {group.application_name!r} was deleted",
    )
