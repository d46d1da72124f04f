"""Tags of instances: added to many and removed from many, all of it or nothing (CP section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import Instance
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import ConstraintBroken, Invalid, LimitExceeded, NotFound
from ferryman_coordinator.operations import names
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import instances as queries
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.store import Store

_TAGS_CHANGED = "tags changed meanwhile"
_ATTEMPTS = 20


class InstanceTags:
    """Changes tags."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits

    async def change(
        self, instances: Sequence[str], *, add: Sequence[Tag] = (), remove: Sequence[Tag] = ()
    ) -> Sequence[Instance]:
        """Each of `instances`, names or ids, as it is afterwards; the next deployment goes by it (CP-054, CP-085…090).

        A tag that is there already, or not there, is no mistake. Raises Invalid (InstanceNameRequiredException,
        TagRequiredException, InvalidTagException), LimitExceeded (InstanceLimitExceededException,
        TagLimitExceededException), NotFound (InstanceNotRegisteredException).
        """
        wanted = self._wanted(instances)
        if not add and not remove:
            raise Invalid(
                "TagRequiredException",
                f"no tag is given to add to {names.listed(wanted)} or to remove from it",
            )
        added, removed = names.check_tags(add, self._limits), frozenset(remove)
        for _ in range(_ATTEMPTS):
            batch = Batch()
            found = await self._registered(wanted)
            for one in found:
                kept = [tag for tag in one.tags if tag not in removed]
                tags = tuple(dict.fromkeys([*kept, *added]))
                names.check_tag_count(one.name, tags, self._limits)
                batch.ensure(_TAGS_CHANGED, queries.has_tags(one.instance_id, to_json(one.tags)))
                batch.update(tables.instances, {"instance_id": one.instance_id}, {"tags": to_json(tags)})
            try:
                await self._store.write(batch)
            except ConstraintBroken:
                # Somebody else changed them between our look and our write: look again.
                continue
            return await self._registered([one.instance_id for one in found])
        raise ConstraintBroken(_TAGS_CHANGED)

    def _wanted(self, instances: Sequence[str]) -> list[str]:
        wanted = list(dict.fromkeys(instances))
        if not wanted or "" in wanted:
            raise Invalid("InstanceNameRequiredException", "the instance is missing: give its name or id")
        if len(wanted) > self._limits.instances_per_call:
            raise LimitExceeded(
                "InstanceLimitExceededException",
                f"{len(wanted)} instances are named, at most {self._limits.instances_per_call} can be tagged in one"
                " call: tag them in several",
            )
        return wanted

    async def _registered(self, wanted: Sequence[str]) -> Sequence[Instance]:
        async with self._store.reading() as connection:
            found = [await queries.find(connection, one) for one in wanted]
        unknown = [
            name for name, one in zip(wanted, found, strict=True) if one is None or not one.is_registered
        ]
        if unknown:
            raise missing(*unknown)
        # One may have been named by its id and by its name.
        return list({one.instance_id: one for one in found if one is not None}.values())


def missing(*instances: str) -> NotFound:
    """No such instances, or none that are registered."""
    are = "instance {} is" if len(instances) == 1 else "instances {} are"
    return NotFound(
        "InstanceNotRegisteredException",
        f"{are.format(names.listed(instances))} not registered; `ferryman instance list` shows those that are",
    )
