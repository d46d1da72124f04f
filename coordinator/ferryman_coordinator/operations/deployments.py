"""Deployments: create, plan, get, list, stop, their targets, and following them (CP sections 10, 15, 26)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core import plan as planning
from ferryman_coordinator.core.ending import StopAnswer
from ferryman_coordinator.core.group_options import DeploymentType, InstanceLabel
from ferryman_coordinator.core.inventory import Deployment, DeploymentGroup
from ferryman_coordinator.core.model import (
    DeploymentId,
    DeploymentStatus,
    InstanceId,
    Instant,
    Member,
    RevisionLocation,
    S3Location,
    TargetRecord,
    TargetStatus,
)
from ferryman_coordinator.engine.creation import CreateOrder, last_good, snapshot
from ferryman_coordinator.engine.engine import Engine, unknown
from ferryman_coordinator.engine.logs import LogLine
from ferryman_coordinator.engine.preflight import members_for
from ferryman_coordinator.engine.updates import TargetView, Update, view
from ferryman_coordinator.errors import Conflict, Invalid, NotFound
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.batches import Found, check_size, missing_message
from ferryman_coordinator.operations.configurations import Configurations
from ferryman_coordinator.operations.deployment_options import DeploymentOptions, OptionChecks, Sources
from ferryman_coordinator.operations.deployment_styles import check_start
from ferryman_coordinator.operations.drift import Drift, Readiness
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.operations.locations import check_location
from ferryman_coordinator.operations.revisions import Inspector
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.queries import groups as group_queries
from ferryman_coordinator.store.queries import instances as instance_queries
from ferryman_coordinator.store.queries.deployments import DeploymentFilter
from ferryman_coordinator.store.store import Store

_ID = re.compile(r"d-[A-Z0-9]{9}")
_KEY_LENGTH = 256
_TARGET_LENGTH = 1_024

_PLANNED = DeploymentId("d-PLANNED00")
"""Stands for the deployment that is not there yet. Within one class of targets the order depends on the id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedDeployment:
    deployment_id: DeploymentId
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """How much of a limit is used up once the planned deployment runs (CP-422)."""

    setting: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDeployment:
    """What a creation with the same options would do, if it came now."""

    plan: planning.Plan
    config_name: str
    revision: RevisionLocation
    connected: frozenset[InstanceId]
    # Targets of which it is known whether what they run now could come back from their own disk.
    can_roll_back: Mapping[InstanceId, bool]
    warnings: tuple[str, ...]
    quotas: tuple[QuotaUse, ...] = ()


class Deployments:
    """What can be asked about deployments."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        links: Links,
        applications: Applications,
        groups: Groups,
        configurations: Configurations,
        inspector: Inspector,
        sources: Sources,
        account: Account,
        drift: Drift,
        limits: Limits,
        on_premises_in_place_only: bool = False,
    ) -> None:
        self._on_premises_in_place_only = on_premises_in_place_only
        self._store = store
        self._limits = limits
        self._engine = engine
        self._links = links
        self._groups = groups
        self._account = account
        self._drift = drift
        self._checks = OptionChecks(applications, groups, configurations, inspector, sources, limits)

    # Begin and end ----------------------------------------------------------------------------------------------------

    async def create(self, options: DeploymentOptions, request_key: str = "") -> CreatedDeployment:
        """A new deployment, in status Created; it starts by itself (CP-223).

        A repetition with the same `request_key` gets the first one's id, whatever has become of that deployment
        (CP-230). Raises the first mistake in the order of CP-227: Invalid, NotFound, LimitExceeded
        (DeploymentLimitExceededException, with the `deployment_id` that stands in the way), Conflict
        (IdempotentParameterMismatchException: the key was used for another revision).
        """
        if len(request_key) > _KEY_LENGTH:
            raise Invalid(
                "InvalidInputException",
                f"the request key has {len(request_key)} characters, at most {_KEY_LENGTH} are allowed",
            )
        application, group = await self._checks.scope(options)
        if request_key and (known := await self._known(group, options, request_key)) is not None:
            return CreatedDeployment(deployment_id=known)
        order = await self._checks.check(application, group, options, request_key)
        await self._check_start(group, options)
        pinned, warnings = await self._checks.pin(order.revision)
        ready = await self._ready(order, ask=True)
        deployment_id = await self._engine.create(replace(order, revision=pinned, warnings=ready.warnings))
        return CreatedDeployment(deployment_id=deployment_id, warnings=(*warnings, *ready.warnings))

    async def plan(self, options: DeploymentOptions) -> PlannedDeployment:
        """What `create` would do now, and why; changes nothing (CP-422).

        Raises what `create` raises, but the archive need not be there yet: it is not looked at.
        """
        application, group = await self._checks.scope(options)
        order = await self._checks.check(application, group, options, "")
        await self._check_start(group, options)
        await self._engine.check(group)
        async with self._store.reading() as connection:
            good = await last_good(connection, group)
            spec = snapshot(order, _PLANNED, good, self._engine.settings)
            members = await members_for(connection, group, spec)
        planned = planning.plan(spec, members)
        ready = await self._ready(order, ask=False)
        return PlannedDeployment(
            plan=planned,
            config_name=spec.config_name,
            revision=spec.revision,
            connected=self._links.connected(),
            can_roll_back=ready.can_roll_back,
            warnings=(*planned.warnings, *ready.warnings),
            quotas=self._quotas(planned),
        )

    async def stop(self, deployment_id: str, by: str, auto_rollback: bool | None = None) -> StopAnswer:
        """Let no further lifecycle event start (CP-321 to CP-331); `by` says who asked.

        Raises Invalid, NotFound (DeploymentDoesNotExistException), Conflict (DeploymentAlreadyCompletedException).
        """
        return await self._engine.stop(check_id(deployment_id), by, auto_rollback)

    # Reads ------------------------------------------------------------------------------------------------------------

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

    # Following --------------------------------------------------------------------------------------------------------

    async def watch(self, deployment_id: str, after_sequence: int = 0) -> AsyncGenerator[Update, None]:
        """See `Feed.watch`. Raises Invalid, NotFound (DeploymentDoesNotExistException)."""
        async with aclosing(self._engine.feed.watch(check_id(deployment_id), after_sequence)) as updates:
            async for update in updates:
                yield update

    async def follow_logs(
        self, deployment_id: str, instance: str = ""
    ) -> AsyncGenerator[tuple[LogLine, str], None]:
        """Live lines with the name of their instance, until the deployment is over; of one instance, or of all.

        Raises Invalid, NotFound (DeploymentDoesNotExistException, DeploymentTargetDoesNotExistException).
        """
        deployment = await self.get(deployment_id)
        wanted = None
        if instance:
            wanted = (await self.target(deployment_id, instance)).record.instance_id
        known: dict[InstanceId, str] = {}
        async with aclosing(self._engine.logs.follow(deployment.deployment_id, wanted)) as lines:
            async for line in lines:
                if line.instance_id not in known:
                    known[line.instance_id] = await self._name(deployment.deployment_id, line.instance_id)
                yield line, known[line.instance_id]

    async def _known(
        self, group: DeploymentGroup, options: DeploymentOptions, request_key: str
    ) -> DeploymentId | None:
        async with self._store.reading() as connection:
            known = await queries.by_request_key(connection, group.group_id, request_key)
            first = None if known is None else await queries.get(connection, known)
        if first is None:
            return None
        if options.revision is not None and not _is_same(
            check_location(options.revision), first.spec.revision
        ):
            raise Conflict(
                "IdempotentParameterMismatchException",
                f"the request key was used for another revision, by deployment {first.deployment_id}: "
                "draw a new key for a new deployment",
                deployment_id=first.deployment_id,
            )
        return first.deployment_id

    async def _check_start(self, group: DeploymentGroup, options: DeploymentOptions) -> None:
        async with self._store.reading() as connection:
            await check_start(
                connection,
                group,
                options.target_instances,
                on_premises_in_place_only=self._on_premises_in_place_only,
            )

    def _quotas(self, planned: planning.Plan) -> tuple[QuotaUse, ...]:
        limits = self._limits
        return (
            QuotaUse("limits.instances_per_deployment", planned.targeted, limits.instances_per_deployment),
            QuotaUse(
                "limits.instances_in_running_deployments",
                self._engine.instances + planned.targeted,
                limits.instances_in_running_deployments,
            ),
            QuotaUse("limits.concurrent_deployments", self._engine.count + 1, limits.concurrent_deployments),
        )

    async def _ready(self, order: CreateOrder, *, ask: bool) -> Readiness:
        """What is known of the targets' ways back (AG-558)."""

        async def members() -> Sequence[Member]:
            outdated_for = order.revision.key if order.update_outdated_instances_only else None
            async with self._store.reading() as connection:
                return await group_queries.members(connection, order.group, outdated_for=outdated_for)

        return await self._drift.ready(order.group.group_id, members, ask=ask)

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

    async def _name(self, deployment_id: DeploymentId, instance_id: InstanceId) -> str:
        async with self._store.reading() as connection:
            found = await queries.target(connection, deployment_id, instance_id)
        return instance_id if found is None else found.instance_name


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


def _is_same(asked: RevisionLocation, deployed: RevisionLocation) -> bool:
    """An object that was asked for without its version was pinned since."""
    if isinstance(asked, S3Location):
        return asked.covers(deployed)
    return asked.key == deployed.key


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
