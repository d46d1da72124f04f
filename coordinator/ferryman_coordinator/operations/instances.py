"""Instances: find, list, tag, deregister (CP sections 4 and 5). How they come to be is in `enrolment.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core import tags as core_tags
from ferryman_coordinator.core.inventory import Instance, InstanceDeploymentHealth
from ferryman_coordinator.core.tags import Selection, Tag, TagFilter
from ferryman_coordinator.errors import ConstraintBroken, Invalid, NotFound
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.scope import Departures
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.queries import instances as queries
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.store import Store

_TAGS_CHANGED = "tags changed meanwhile"
_TAG_ATTEMPTS = 20


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
        """Add and remove tags; the next deployment goes by the new ones (CP-054, CP-085 to CP-089).

        A tag that is there already, or not there, is no mistake. Raises Invalid (TagRequiredException,
        InvalidTagException), LimitExceeded (TagLimitExceededException), NotFound (InstanceNotRegisteredException).
        """
        _check_given(instance)
        if not add and not remove:
            raise Invalid(
                "TagRequiredException", f"no tag is given to add to {instance!r} or to remove from it"
            )
        added = names.check_tags(add, self._limits)
        for _ in range(_TAG_ATTEMPTS):
            found = await self._registered(instance)
            kept = [tag for tag in found.tags if tag not in remove]
            tags = tuple(dict.fromkeys([*kept, *added]))
            names.check_tag_count(found.name, tags, self._limits)
            batch = Batch()
            batch.ensure(_TAGS_CHANGED, queries.has_tags(found.instance_id, to_json(found.tags)))
            batch.update(tables.instances, {"instance_id": found.instance_id}, {"tags": to_json(tags)})
            try:
                await self._store.write(batch)
            except ConstraintBroken:
                # Somebody else changed them between our look and our write: look again.
                continue
            return await self._registered(found.instance_id)
        raise ConstraintBroken(_TAGS_CHANGED)

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

    async def _registered(self, instance: str) -> Instance:
        async with self._store.reading() as connection:
            found = await queries.find(connection, instance)
        if found is None or not found.is_registered:
            raise missing(instance)
        return found


def missing(instance: str) -> NotFound:
    """No such instance, or none that is registered."""
    return NotFound(
        "InstanceNotRegisteredException",
        f"instance {names.shown(instance)} is not registered; `ferryman instance list` shows those that are",
    )


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
