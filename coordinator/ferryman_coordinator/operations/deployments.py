"""Deployments: create, plan, stop, and following them (CP sections 10 and 15); reading is in `deployment_reads.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core import plan as planning
from ferryman_coordinator.core.ending import StopAnswer
from ferryman_coordinator.core.inventory import DeploymentGroup
from ferryman_coordinator.core.model import (
    DeploymentId,
    InstanceId,
    Member,
    RevisionLocation,
    S3Location,
)
from ferryman_coordinator.engine.creation import CreateOrder, last_good, snapshot
from ferryman_coordinator.engine.engine import Engine
from ferryman_coordinator.engine.logs import LogLine
from ferryman_coordinator.engine.preflight import members_for
from ferryman_coordinator.engine.updates import Update
from ferryman_coordinator.errors import Conflict, Invalid
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.configurations import Configurations
from ferryman_coordinator.operations.deployment_options import DeploymentOptions, OptionChecks, Sources
from ferryman_coordinator.operations.deployment_reads import DeploymentReads, check_id
from ferryman_coordinator.operations.deployment_styles import check_start
from ferryman_coordinator.operations.drift import Drift, Readiness
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.operations.locations import check_location
from ferryman_coordinator.operations.revisions import Inspector
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.queries import groups as group_queries
from ferryman_coordinator.store.store import Store

_KEY_LENGTH = 256

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


class Deployments(DeploymentReads):
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
        super().__init__(store, groups, limits, account)
        self._on_premises_in_place_only = on_premises_in_place_only
        self._engine = engine
        self._links = links
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

    async def _name(self, deployment_id: DeploymentId, instance_id: InstanceId) -> str:
        async with self._store.reading() as connection:
            found = await queries.target(connection, deployment_id, instance_id)
        return instance_id if found is None else found.instance_name


def _is_same(asked: RevisionLocation, deployed: RevisionLocation) -> bool:
    """An object that was asked for without its version was pinned since."""
    if isinstance(asked, S3Location):
        return asked.covers(deployed)
    return asked.key == deployed.key
