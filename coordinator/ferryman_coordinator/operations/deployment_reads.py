"""Reading deployments and their targets (CP section 26)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.group_options import DeploymentType, InstanceLabel
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import (
    DeploymentId,
    DeploymentStatus,
    Instant,
    TargetRecord,
    TargetStatus,
)
from ferryman_coordinator.engine.engine import unknown
from ferryman_coordinator.engine.updates import TargetView, view
from ferryman_coordinator.errors import Conflict, Invalid, NotFound
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.batches import Found, check_size, missing_message
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.queries import instances as instance_queries
from ferryman_coordinator.store.queries.deployments import DeploymentFilter
from ferryman_coordinator.store.store import Store

_ID = re.compile(r"d-[A-Z0-9]{9}")
_TARGET_LENGTH = 1_024


class DeploymentReads:
    """What is known of deployments, as it is stored."""

    def __init__(self, store: Store, groups: Groups, limits: Limits, account: Account) -> None:
        self._store = store
        self._groups = groups
        self._limits = limits
        self._account = account

    async def get(self, deployment_id: str) -> Deployment:
        """Raises Invalid, NotFound (DeploymentDoesNotExistException)."""
        wanted = check_id(deployment_id)
        async with self._store.reading() as connection:
            found = await queries.get(connection, wanted)
        if found is None:
            raise unknown(wanted)
        return found

    async def several(self, wanted: Sequence[str]) -> tuple[Deployment, ...]:
        """Those of these ids that exist, in that order (CP-463).

        Raises Invalid, LimitExceeded (BatchLimitExceededException).
        """
        asked = list(dict.fromkeys(wanted)) or [""]
        check_size("deployments", asked, self._limits.deployments_per_batch, "deployments_per_batch")
        ids = [check_id(one) for one in asked]
        async with self._store.reading() as connection:
            found = await queries.several(connection, ids)
        return tuple(found[one] for one in ids if one in found)

    async def list(
        self,
        request: PageRequest,
        *,
        application_name: str = "",
        group_name: str = "",
        statuses: Sequence[DeploymentStatus] = (),
        created_from: Instant | None = None,
        created_until: Instant | None = None,
    ) -> Page[Deployment]:
        """Newest first; no `statuses` stand for all of them (CP-460, CP-461).

        Raises Invalid, NotFound (ApplicationDoesNotExistException, DeploymentGroupDoesNotExistException).
        """
        if created_from is not None and created_until is not None and created_from > created_until:
            raise Invalid(
                "InvalidTimeRangeException",
                f"the range of creation times begins at {created_from}, after its end at {created_until}",
            )
        group_id = None
        if application_name or group_name:
            group_id = (await self._groups.get(application_name, group_name)).group_id
        wanted = DeploymentFilter(
            group_id=group_id,
            statuses=frozenset(statuses) or None,
            created_from=created_from,
            created_until=created_until,
        )

        async def fetch(after: Key | None, limit: int) -> Sequence[Deployment]:
            async with self._store.reading() as connection:
                return await queries.before(connection, wanted, after or (), limit)

        return await self._store.cursors.page(
            ["deployments", group_id, sorted(statuses), created_from, created_until],
            request,
            fetch,
            lambda one: (one.record.created_at, one.deployment_id),
        )

    async def targets(
        self,
        deployment_id: str,
        request: PageRequest,
        statuses: Sequence[TargetStatus] = (),
        labels: Sequence[InstanceLabel] = (),
    ) -> Page[TargetView]:
        """In the order of start; no `statuses` stand for all of them. `labels` are for blue/green (CP-457).

        Raises Invalid (InvalidDeploymentInstanceTypeException and others), NotFound (DeploymentDoesNotExistException),
        Conflict (DeploymentNotStartedException).
        """
        deployment = await self._started(deployment_id)
        if labels and deployment.spec.options.style.type is DeploymentType.IN_PLACE:
            raise Invalid(
                "InvalidDeploymentInstanceTypeException",
                f"deployment {deployment_id} goes in place, so none of its instances is {' or '.join(labels)}: "
                "leave the filter out",
            )

        async def fetch(after: Key | None, limit: int) -> Sequence[TargetView]:
            behind = int(after[0]) if after else -1
            async with self._store.reading() as connection:
                records = await queries.targets_of(
                    connection,
                    deployment.deployment_id,
                    statuses=frozenset(statuses) or None,
                    after=behind,
                    limit=limit,
                )
                return await self._shown(connection, deployment, records)

        return await self._store.cursors.page(
            ["targets", deployment.deployment_id, sorted(statuses)],
            request,
            fetch,
            lambda one: (one.record.ordinal,),
        )

    async def target(self, deployment_id: str, instance: str) -> TargetView:
        """One target, by id or name of its instance.

        Raises what `targets` raises, and NotFound (DeploymentTargetDoesNotExistException).
        """
        deployment = await self._started(deployment_id)
        _check_target(instance)
        async with self._store.reading() as connection:
            record = await queries.target(connection, deployment.deployment_id, instance)
            if record is None:
                raise _no_target(deployment.deployment_id, instance)
            (shown,) = await self._shown(connection, deployment, [record])
        return shown

    async def several_targets(self, deployment_id: str, instances: Sequence[str]) -> Found[TargetView]:
        """Targets by id or name of their instance, in that order; those that are missing are named (CP-463).

        Raises what `targets` raises, and LimitExceeded (DeploymentTargetListSizeExceededException).
        """
        asked = list(dict.fromkeys(instances))
        most = self._limits.targets_per_batch
        check_size("targets", asked, most, "targets_per_batch", "DeploymentTargetListSizeExceededException")
        deployment = await self._started(deployment_id)
        for one in asked or [""]:
            _check_target(one)
        async with self._store.reading() as connection:
            found = await queries.targets_named(connection, deployment.deployment_id, asked)
            records = [found[one] for one in asked if one in found]
            shown = await self._shown(connection, deployment, records)
        return Found(
            items=tuple(shown), message=missing_message("target", [one for one in asked if one not in found])
        )

    async def _started(self, deployment_id: str) -> Deployment:
        """CP-462."""
        deployment = await self.get(deployment_id)
        if deployment.record.status in (DeploymentStatus.CREATED, DeploymentStatus.QUEUED):
            raise Conflict(
                "DeploymentNotStartedException",
                f"deployment {deployment_id} has not started, so it has no targets yet: watch it, or ask again soon",
            )
        return deployment

    async def _shown(
        self, connection: AsyncConnection, deployment: Deployment, records: Sequence[TargetRecord]
    ) -> Sequence[TargetView]:
        ids = [record.instance_id for record in records]
        events = await queries.events_of(connection, deployment.deployment_id, ids)
        instances = await instance_queries.several(connection, ids)
        return [
            replace(
                view(deployment.spec, record, events),
                arn=self._account.target_arn(instances[record.instance_id]),
            )
            for record in records
        ]


def check_id(deployment_id: str) -> DeploymentId:
    """The id itself; raises Invalid when it is missing or cannot be one (CP section 2)."""
    if not deployment_id:
        raise Invalid("DeploymentIdRequiredException", "the deployment id is missing: give one")
    if not _ID.fullmatch(deployment_id):
        raise Invalid(
            "InvalidDeploymentIdException",
            f"{names.shown(deployment_id)} is no deployment id: one is d- and nine of A-Z and 0-9",
        )
    return DeploymentId(deployment_id)


def _check_target(instance: str) -> None:
    """Raises Invalid."""
    if not instance:
        raise Invalid("DeploymentTargetIdRequiredException", "the instance is missing: give its id or name")
    if len(instance) > _TARGET_LENGTH or not instance.isprintable():
        raise Invalid(
            "InvalidDeploymentTargetIdException",
            f"{names.shown(instance)} is no id or name of an instance: one has at most {_TARGET_LENGTH} characters, all"
            " of which can be printed",
        )


def _no_target(deployment_id: DeploymentId, instance: str) -> NotFound:
    return NotFound(
        "DeploymentTargetDoesNotExistException",
        f"deployment {deployment_id} has no target {names.shown(instance)}",
    )
