"""Labels of applications and deployment groups themselves, by ARN: tag, untag, list (CP-146)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Invalid, NotMatched, StoreUnavailable
from ferryman_coordinator.operations import resource_tags
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.operations.resource_arns import parse
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.store import Store

_ATTEMPTS = 10
"""How often somebody else may change the tags between reading and writing them."""


@dataclass(frozen=True, slots=True)
class _Labelled:
    """Where the tags of one resource are kept, and which they are."""

    table: sa.Table
    key: Mapping[str, str]
    tags: tuple[Tag, ...]


class Resources:
    """What can be asked about the tags of resources."""

    def __init__(
        self, store: Store, limits: Limits, account: Account, applications: Applications, groups: Groups
    ) -> None:
        self._store = store
        self._limits = limits
        self._account = account
        self._applications = applications
        self._groups = groups

    async def tag(self, arn: str, tags: Sequence[Tag]) -> None:
        """Add tags; one whose key is there already gets the new value.

        Raises Invalid (ResourceArnRequired…, InvalidArn…, ArnNotSupported…, TagRequired…, InvalidTagsToAddException),
        NotFound.
        """
        wanted = parse(arn, self._account)
        if not tags:
            raise Invalid("TagRequiredException", "no tag is given: give at least one")
        added = {tag.key: tag.value for tag in resource_tags.check(tags, self._limits)}

        def merged(held: Sequence[Tag]) -> tuple[Tag, ...]:
            together = dict(held) | added
            return resource_tags.check([Tag(*one) for one in together.items()], self._limits)

        await self._change(lambda: self._find(*wanted), merged)

    async def untag(self, arn: str, keys: Sequence[str]) -> None:
        """Remove the tags with these keys; what is not there is removed successfully. Raises what `tag` raises."""
        wanted = parse(arn, self._account)
        if not keys:
            raise Invalid("TagRequiredException", "no key of a tag is given: give at least one")
        gone = frozenset(keys)
        await self._change(
            lambda: self._find(*wanted), lambda held: tuple(tag for tag in held if tag.key not in gone)
        )

    async def tags(self, arn: str, request: PageRequest) -> Page[Tag]:
        """By key. Raises what `tag` raises."""
        labelled = await self._find(*parse(arn, self._account))

        async def fetch(after: Key | None, limit: int) -> Sequence[Tag]:
            behind = str(after[0]) if after else ""
            return [tag for tag in sorted(labelled.tags) if tag.key > behind][:limit]

        return await self._store.cursors.page(["resource-tags", arn], request, fetch, lambda tag: (tag.key,))

    async def _find(self, application_name: str, group_name: str) -> _Labelled:
        if not group_name:
            application = await self._applications.get(application_name)
            key = {"application_id": application.application_id}
            return _Labelled(tables.applications, key, application.resource_tags)
        group = await self._groups.get(application_name, group_name)
        return _Labelled(tables.deployment_groups, {"group_id": group.group_id}, group.resource_tags)

    async def _change(
        self,
        find: Callable[[], Awaitable[_Labelled]],
        change: Callable[[Sequence[Tag]], tuple[Tag, ...]],
    ) -> None:
        for _ in range(_ATTEMPTS):
            labelled = await find()
            changed = change(labelled.tags)
            if changed == labelled.tags:
                return
            batch = Batch()
            unchanged = {**labelled.key, "resource_tags": to_json(labelled.tags)}
            batch.update(labelled.table, unchanged, {"resource_tags": to_json(changed)}, expect=1)
            try:
                await self._store.write(batch)
            except NotMatched:
                continue
            return
        raise StoreUnavailable("the tags of the resource keep changing: try again")
