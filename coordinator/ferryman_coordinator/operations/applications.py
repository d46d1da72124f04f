"""Applications: create, get, list, rename, delete (CP section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import Application, ComputePlatform
from ferryman_coordinator.core.model import ApplicationId, GroupId
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import (
    Conflict,
    ConstraintBroken,
    Invalid,
    LimitExceeded,
    NotFound,
    NotMatched,
)
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import names, resource_tags
from ferryman_coordinator.operations.batches import check_size
from ferryman_coordinator.operations.locations import check_token_name
from ferryman_coordinator.operations.scope import ScopeEnder
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.inventory_records import application_row
from ferryman_coordinator.store.queries import applications as queries
from ferryman_coordinator.store.queries import groups
from ferryman_coordinator.store.store import Store

_QUOTA = "applications"
_DELETE_ATTEMPTS = 3


class Applications:
    """What can be asked about applications."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, limits: Limits, running: ScopeEnder) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._running = running

    async def create(
        self, name: str, platform: ComputePlatform | str = ComputePlatform.SERVER, tags: Sequence[Tag] = ()
    ) -> Application:
        """A new application, on `Server` unless told otherwise; `tags` are its own labels (CP-003, CP-144).

        Raises Invalid, Conflict (ApplicationAlreadyExistsException), LimitExceeded.
        """
        application = Application(
            application_id=ApplicationId(self._ids.guid()),
            name=names.APPLICATION.check(name, self._limits),
            compute_platform=check_platform(platform),
            created_at=self._clock.now(),
            resource_tags=resource_tags.check(tags, self._limits),
        )
        batch = Batch()
        batch.ensure(_QUOTA, queries.fewer_than(self._limits.applications))
        batch.insert(tables.applications, application_row(application))
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            raise await self._refused(name, broken) from broken
        return application

    async def get(self, name: str) -> Application:
        """Raises Invalid, NotFound (ApplicationDoesNotExistException)."""
        names.APPLICATION.check(name, self._limits)
        async with self._store.reading() as connection:
            application = await queries.find(connection, name)
        if application is None:
            raise missing(name)
        return application

    async def several(self, wanted: Sequence[str]) -> tuple[Application, ...]:
        """Applications by name, in that order; all of them or none (CP-463).

        Raises Invalid, LimitExceeded (BatchLimitExceededException), NotFound (ApplicationDoesNotExistException).
        """
        asked = list(dict.fromkeys(wanted)) or [""]
        check_size("applications", asked, self._limits.applications_per_batch, "applications_per_batch")
        for name in asked:
            names.APPLICATION.check(name, self._limits)
        async with self._store.reading() as connection:
            found = await queries.several(connection, asked)
        if gone := [name for name in asked if name not in found]:
            raise missing(gone[0])
        return tuple(found[name] for name in asked)

    async def list(self, request: PageRequest) -> Page[Application]:
        """Applications by name; raises Invalid for a bad page."""

        async def fetch(after: Key | None, limit: int) -> list[Application]:
            async with self._store.reading() as connection:
                return [*await queries.after(connection, str(after[0]) if after else "", limit)]

        return await self._store.cursors.page(["applications"], request, fetch, lambda item: (item.name,))

    async def rename(self, name: str, new_name: str) -> Application:
        """The same application under another name; everything in it moves along (CP-148, CP-149).

        Raises Invalid, NotFound, Conflict (ApplicationAlreadyExistsException).
        """
        application = await self.get(name)
        names.APPLICATION.check(new_name, self._limits)
        batch = Batch()
        key = {"application_id": application.application_id, "name": name}
        batch.update(tables.applications, key, {"name": new_name}, expect=1)
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            raise exists(new_name) from broken
        except NotMatched as gone:
            raise missing(name) from gone
        return await self.get(new_name)

    async def link(self, name: str, token_name: str) -> Application:
        """Say which stored token its GitHub revisions are fetched with; an empty name: none any more (CP-156).

        The token need not be there yet. Raises Invalid, NotFound.
        """
        application = await self.get(name)
        if token_name:
            check_token_name(token_name)
        batch = Batch()
        key = {"application_id": application.application_id}
        batch.update(tables.applications, key, {"github_account_name": token_name}, expect=1)
        try:
            await self._store.write(batch)
        except NotMatched as gone:
            raise missing(name) from gone
        return replace(application, github_account_name=token_name)

    async def delete(self, name: str) -> None:
        """Remove it with its groups, revisions and history; nothing on any instance changes (CP-150, CP-151).

        Running deployments are ended first (CP-153). Deleting what is not there succeeds (CP-152). Raises Invalid, and
        Conflict (InvalidOperationException) when deployments keep being started meanwhile.
        """
        names.APPLICATION.check(name, self._limits)
        for _ in range(_DELETE_ATTEMPTS):
            async with self._store.reading() as connection:
                application = await queries.find(connection, name)
                if application is None:
                    return
                group_ids = await groups.ids(connection, application.application_id)
            await self._running.end_scope(group_ids, "APPLICATION_MISSING")
            try:
                await self._store.write(_deletion(application, group_ids))
            except ConstraintBroken:
                continue
            return
        raise Conflict(
            "InvalidOperationException",
            f"application {name!r} cannot be deleted while its deployments are still ending: "
            "`ferryman deployment list` shows them; try again when none is left",
        )

    async def _refused(self, name: str, broken: ConstraintBroken) -> Exception:
        if broken.name == tables.APPLICATION_NAME:
            return exists(name)
        if broken.name != _QUOTA:
            return broken
        # Of two mistakes the name is the one that the caller can mend.
        async with self._store.reading() as connection:
            if await queries.find(connection, name) is not None:
                return exists(name)
        return LimitExceeded(
            "ApplicationLimitExceededException",
            f"there are {self._limits.applications} applications, the most that are allowed: "
            "delete one, or raise limits.applications in the coordinator's configuration",
        )


def _deletion(application: Application, group_ids: Sequence[GroupId]) -> Batch:
    batch = Batch()
    batch.ensure("unfinished deployments", queries.is_at_rest(application.application_id))
    for group_id in group_ids:
        batch.delete(tables.installations, {"group_id": group_id})
        batch.delete(tables.installed_states, {"group_id": group_id})
    batch.delete(tables.applications, {"application_id": application.application_id})
    return batch


def check_platform(platform: ComputePlatform | str) -> ComputePlatform:
    """Raises Invalid (InvalidComputePlatformException)."""
    try:
        return ComputePlatform(platform)
    except ValueError:
        known = ", ".join(ComputePlatform)
        raise Invalid(
            "InvalidComputePlatformException",
            f"compute platform {platform!r} is not known: use one of {known}",
        ) from None


def missing(name: str) -> NotFound:
    """Nothing has that name."""
    return NotFound(
        "ApplicationDoesNotExistException",
        f"application {names.shown(name)} does not exist; `ferryman application list` shows those that do",
    )


def exists(name: str) -> Conflict:
    """The name is taken."""
    return Conflict(
        "ApplicationAlreadyExistsException",
        f"application {name!r} exists already: choose another name, or use the one that is there",
    )
