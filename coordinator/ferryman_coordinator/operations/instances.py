"""Instances: find, list, tag, deregister (CP sections 4 and 5). How they come to be is in `enrolment.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core import tags as core_tags
from ferryman_coordinator.core.inventory import Instance, InstanceDeploymentHealth
from ferryman_coordinator.core.model import InstanceId
from ferryman_coordinator.core.tags import Selection, Tag, TagFilter
from ferryman_coordinator.errors import Invalid, LimitExceeded
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.instance_tags import InstanceTags, missing
from ferryman_coordinator.operations.scope import Departures
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.queries import instance_history
from ferryman_coordinator.store.queries import instances as queries
from ferryman_coordinator.store.queries.instance_history import InstanceDeployment
from ferryman_coordinator.store.store import Store


class RegistrationStatus(StrEnum):
    """API:RegistrationStatus."""

    REGISTERED = "Registered"
    DEREGISTERED = "Deregistered"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownInstance:
    """An instance, and how it stands in each deployment group that it was deployed to (CP-114)."""

    instance: Instance
    health: tuple[InstanceDeploymentHealth, ...]


class Instances:
    """What can be asked about instances."""

    def __init__(self, store: Store, clock: Clock, limits: Limits, departures: Departures) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._departures = departures
        self._tags = InstanceTags(store, limits)

    async def get(self, instance: str) -> KnownInstance:
        """By id or name; of a name that was used again and again, the registered or else the latest one.

        Raises Invalid (InstanceNameRequiredException), NotFound (InstanceNotRegisteredException).
        """
        _check_given(instance)
        async with self._store.reading() as connection:
            found = await queries.find(connection, instance)
            if found is None:
                raise missing(instance)
            health = await queries.health_of(connection, found.instance_id)
        return KnownInstance(instance=found, health=tuple(health))

    async def list(
        self,
        request: PageRequest,
        *,
        status: RegistrationStatus | str = "",
        tag_filters: Sequence[TagFilter] = (),
    ) -> Page[Instance]:
        """Instances by name, registered and not unless `status` says which, with any of `tag_filters` (CP-097, CP-098).

        Raises Invalid (InvalidRegistrationStatusException, InvalidTagFilterException).
        """
        is_registered = _is_registered(status)
        selection = Selection(tag_filters=tuple(tag_filters))
        try:
            core_tags.validate(selection, limits=names.tag_limits(self._limits))
        except core_tags.SelectionProblem as problem:
            raise Invalid("InvalidTagFilterException", problem.message) from problem

        def wanted(held: Sequence[Tag]) -> bool:
            return selection.is_empty or core_tags.matches(selection, held)

        async def fetch(after: Key | None, limit: int) -> Sequence[Instance]:
            async with self._store.reading() as connection:
                return await queries.after(
                    connection, after or (), limit, is_registered=is_registered, wanted=wanted
                )

        return await self._store.cursors.page(
            ["instances", is_registered, selection], request, fetch, lambda one: (one.name, one.instance_id)
        )

    async def tag(self, instance: str, *, add: Sequence[Tag] = (), remove: Sequence[Tag] = ()) -> Instance:
        """`tag_several` with one."""
        (tagged,) = await self._tags.change([instance], add=add, remove=remove)
        return tagged

    async def tag_several(
        self, instances: Sequence[str], *, add: Sequence[Tag] = (), remove: Sequence[Tag] = ()
    ) -> Sequence[Instance]:
        """See `InstanceTags.change`."""
        return await self._tags.change(instances, add=add, remove=remove)

    async def several(self, instances: Sequence[str]) -> Sequence[KnownInstance]:
        """Those of these names and ids that are known, in their order; unknown ones are left out (CP-100).

        Raises Invalid (InstanceNameRequiredException), LimitExceeded (BatchLimitExceededException).
        """
        wanted = list(dict.fromkeys(instances))
        if not wanted or "" in wanted:
            raise Invalid("InstanceNameRequiredException", "the instances are missing: give names or ids")
        if len(wanted) > self._limits.instances_per_call:
            raise LimitExceeded(
                "BatchLimitExceededException",
                f"{len(wanted)} instances are named, at most {self._limits.instances_per_call} can be read in one call:"
                " read them in several",
            )
        known: dict[InstanceId, KnownInstance] = {}
        async with self._store.reading() as connection:
            for one in wanted:
                found = await queries.find(connection, one)
                if found is not None and found.instance_id not in known:
                    health = await queries.health_of(connection, found.instance_id)
                    known[found.instance_id] = KnownInstance(instance=found, health=tuple(health))
        return list(known.values())

    async def deployments(self, instance: str, request: PageRequest) -> Page[InstanceDeployment]:
        """What was deployed to it, or is to be, newest first. Raises what `get` raises, and Invalid for a bad page."""
        _check_given(instance)
        async with self._store.reading() as connection:
            found = await queries.find(connection, instance)
        if found is None:
            raise missing(instance)
        instance_id = found.instance_id

        async def fetch(after: Key | None, limit: int) -> Sequence[InstanceDeployment]:
            async with self._store.reading() as connection:
                return await instance_history.before(connection, instance_id, after or (), limit)

        return await self._store.cursors.page(
            ["instance-deployments", instance_id],
            request,
            fetch,
            lambda one: (one.created_at, one.deployment_id),
        )

    async def deregister(self, instance: str) -> None:
        """Drop it from all future deployments, free its name, and end its identity (CP-091).

        What runs on it goes on to its end (CP-095). Unknown and deregistered ones succeed (CP-092). Raises Invalid
        (InstanceNameRequiredException).
        """
        _check_given(instance)
        async with self._store.reading() as connection:
            found = await queries.find(connection, instance)
        if found is None or not found.is_registered:
            return
        now = self._clock.now()
        key = {"instance_id": found.instance_id}
        batch = Batch()
        is_registered = tables.instances.c.deregistered_at.is_(None)
        batch.update(tables.instances, key, {"deregistered_at": now}, where=[is_registered])
        is_valid = tables.certificates.c.revoked_at.is_(None)
        batch.update(tables.certificates, key, {"revoked_at": now}, where=[is_valid])
        await self._store.write(batch)
        async with self._store.reading() as connection:
            is_busy = await queries.is_busy(connection, found.instance_id)
        await self._departures.instance_gone(found.instance_id, "was deregistered", may_finish=is_busy)


def _check_given(instance: str) -> None:
    if not instance:
        raise Invalid("InstanceNameRequiredException", "the instance is missing: give its name or id")


def _is_registered(status: RegistrationStatus | str) -> bool | None:
    if not status:
        return None
    try:
        return RegistrationStatus(status) is RegistrationStatus.REGISTERED
    except ValueError:
        raise Invalid(
            "InvalidRegistrationStatusException",
            f"registration status {status!r} is not known: use Registered, Deregistered, or none for both",
        ) from None
