"""Revisions of an application: register, find, list (CP section 9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from ferryman.locations import LocationError, is_s3, parse_commit, parse_s3
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import Application, ComputePlatform, RegisteredRevision
from ferryman_coordinator.core.model import (
    BundleLocation,
    BundleType,
    GitHubLocation,
    RevisionLocation,
    S3Location,
    UrlLocation,
)
from ferryman_coordinator.errors import ConstraintBroken, Invalid, NotFound
from ferryman_coordinator.operations import applications, names
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.batches import Found, check_size, missing_message
from ferryman_coordinator.operations.locations import check_filter, check_location, invalid_location
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.inventory_records import revision_row
from ferryman_coordinator.store.queries import revisions as queries
from ferryman_coordinator.store.queries.revisions import RevisionFilter, RevisionSort
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.store import Store

SHORTEST_PREFIX = 8
"""Digits of a digest that are enough to look a revision up, if no other one begins with them."""

_DIGITS = re.compile(r"[0-9a-f]{8,64}")
_SHOWN = 5


class Inspector(Protocol):
    """Looks into bundles of the built-in store."""

    async def inspect(self, location: BundleLocation) -> Sequence[str]:
        """Warnings about the bundle; raises Refused when it cannot be deployed."""
        ...


class Revisions:
    """What can be asked about revisions."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: Limits,
        known_applications: Applications,
        inspector: Inspector,
    ) -> None:
        self._limits = limits
        self._store = store
        self._clock = clock
        self._applications = known_applications
        self._inspector = inspector

    async def register(
        self, application_name: str, location: RevisionLocation | None, description: str = ""
    ) -> tuple[RegisteredRevision, tuple[str, ...]]:
        """The registered revision, and warnings. Once more with the same location: the new description (CP-193).

        Raises Invalid (RevisionRequiredException, InvalidRevisionException, DescriptionTooLongException), NotFound
        (ApplicationDoesNotExistException), and what the inspector refuses.
        """
        application = await self._applications.get(application_name)
        location = check_location(location)
        check_platform(application, location)
        names.check_description(description)
        warnings = await self._inspect(location)
        now = self._clock.now()
        revision = RegisteredRevision(
            application_id=application.application_id,
            application_name=application.name,
            location=location,
            description=description,
            registered_at=now,
        )
        key = {"application_id": revision.application_id, "revision_key": location.key}
        batch = Batch()
        batch.add(tables.revisions, revision_row(revision))
        # What says how it is fetched, such as the name of a token, may have changed; which one it is has not.
        batch.update(
            tables.revisions,
            key,
            {"description": description, "location": to_json(location), "sha256": location.sha256},
        )
        try:
            await self._store.write(batch)
        except ConstraintBroken as gone:
            raise applications.missing(application_name) from gone
        async with self._store.reading() as connection:
            stored = await queries.get(connection, application.application_id, location.key)
        return stored or revision, warnings

    async def get(self, application_name: str, revision: str) -> RegisteredRevision:
        """By digest, by a unique beginning of one, or by URL as registered (`URL#digest` for one of several).

        Or by s3://bucket/key with version and ETag as registered, no more and no less, or by owner/name@commit.
        Raises Invalid (RevisionRequiredException, InvalidRevisionException when it fits several), NotFound
        (ApplicationDoesNotExistException, RevisionDoesNotExistException).
        """
        application = await self._applications.get(application_name)
        if not revision:
            raise Invalid("RevisionRequiredException", "the revision is missing: give a digest or a URL")
        text = revision.strip()
        if (named := _named(text)) is not None:
            return await self.at(application_name, named)
        digits = text.lower().removeprefix("sha256:")
        if not _DIGITS.fullmatch(digits):
            return await self._by_url(application, text)
        async with self._store.reading() as connection:
            found = await queries.by_digest(connection, application.application_id, digits, _SHOWN)
        # The archive in the built-in store wins over the same archive elsewhere.
        kept = [one for one in found if isinstance(one.location, BundleLocation)] or found
        return _only(application, revision, kept)

    async def at(self, application_name: str, location: RevisionLocation | None) -> RegisteredRevision:
        """Exactly the one that was registered there, version and ETag included (AG-527, CP-202).

        Raises Invalid (RevisionRequiredException, InvalidRevisionException), NotFound
        (ApplicationDoesNotExistException, RevisionDoesNotExistException).
        """
        application = await self._applications.get(application_name)
        location = check_location(location)
        async with self._store.reading() as connection:
            found = await queries.get(connection, application.application_id, location.key)
        if found is None:
            raise missing(application.name, location.key)
        return found

    async def several(
        self, application_name: str, locations: Sequence[RevisionLocation | None]
    ) -> Found[RegisteredRevision]:
        """Revisions registered at exactly these places, in that order; those that are missing are named (CP-463).

        Raises Invalid, LimitExceeded (BatchLimitExceededException), NotFound (ApplicationDoesNotExistException).
        """
        application = await self._applications.get(application_name)
        asked = locations or [None]
        check_size("revisions", asked, self._limits.revisions_per_batch, "revisions_per_batch")
        keys = list(dict.fromkeys(check_location(one).key for one in asked))
        async with self._store.reading() as connection:
            found = await queries.several(connection, application.application_id, keys)
        return Found(
            items=tuple(found[key] for key in keys if key in found),
            message=missing_message("revision", [key for key in keys if key not in found]),
        )

    async def list(
        self,
        application_name: str,
        request: PageRequest,
        *,
        wanted: RevisionFilter | None = None,
        sort_by: RevisionSort | str = RevisionSort.REGISTER_TIME,
        descending: bool = False,
    ) -> Page[RegisteredRevision]:
        """Revisions in the order asked for (CP-204); those that were never used count as the latest.

        Raises Invalid (InvalidSortByException, BucketNameFilterRequiredException, InvalidBucketNameFilterException,
        InvalidKeyPrefixFilterException), NotFound (ApplicationDoesNotExistException).
        """
        wanted = wanted or RevisionFilter()
        check_filter(wanted.bucket, wanted.key_prefix)
        application = await self._applications.get(application_name)
        order = _sort(sort_by)

        async def fetch(after: Key | None, limit: int) -> Sequence[tuple[int, RegisteredRevision]]:
            async with self._store.reading() as connection:
                return await queries.after(
                    connection,
                    application.application_id,
                    after or (),
                    limit,
                    wanted=wanted,
                    sort_by=order,
                    descending=descending,
                )

        page = await self._store.cursors.page(
            ["revisions", application.application_id, order, descending, *wanted.as_words],
            request,
            fetch,
            lambda item: (item[0], item[1].location.key),
        )
        return Page(items=tuple(item[1] for item in page.items), next_token=page.next_token)

    async def _by_url(self, application: Application, text: str) -> RegisteredRevision:
        async with self._store.reading() as connection:
            found = await queries.by_url(connection, application.application_id, text, _SHOWN)
            if not found:
                exact = await queries.get(connection, application.application_id, f"url:{text}")
                found = [exact] if exact else []
        return _only(application, text, found)

    async def _inspect(self, location: RevisionLocation) -> tuple[str, ...]:
        if isinstance(location, BundleLocation):
            return tuple(await self._inspector.inspect(location))
        return unpinned_warnings(location)


def unpinned_warnings(location: RevisionLocation) -> tuple[str, ...]:
    """What leaves it open which bytes instances will get. A commit names them, and S3 pins them (CP-199)."""
    if not isinstance(location, UrlLocation) or location.sha256:
        return ()
    return (
        f"{location.url} has no digest: instances take whatever is there when they fetch it; "
        "register it with its SHA-256 to be sure that all of them get the same",
    )


def check_platform(application: Application, location: RevisionLocation) -> None:
    """Commits are for instances only (CP-196, PF-288). Raises Invalid."""
    if isinstance(location, GitHubLocation) and application.compute_platform is not ComputePlatform.SERVER:
        raise Invalid(
            "InvalidRevisionException",
            f"application {application.name!r} is on {application.compute_platform}: revisions from GitHub are for "
            "instances (Server) only",
        )


def _named(text: str) -> RevisionLocation | None:
    """The place that the text names, if it names one of S3 or GitHub; the bundle type is not part of what it names."""
    try:
        if is_s3(text):
            name = parse_s3(text)
            return S3Location(
                bucket=name.bucket,
                object_key=name.key,
                version=name.version,
                e_tag=name.e_tag,
                bundle_type=BundleType.ZIP,
            )
        if "@" in text and "://" not in text:
            commit = parse_commit(text)
            return GitHubLocation(repository=commit.repository, commit_id=commit.commit_id)
    except LocationError as problem:
        raise invalid_location(str(problem)) from problem
    return None


def _only(application: Application, asked: str, found: Sequence[RegisteredRevision]) -> RegisteredRevision:
    if len(found) == 1:
        return found[0]
    if not found:
        raise missing(application.name, asked)
    several = ", ".join(one.location.key for one in found)
    raise invalid_location(
        f"{names.shown(asked)} fits several revisions of {application.name!r}: {several}; give more of one"
    )


def missing(application_name: str, asked: str) -> NotFound:
    """The application has no such revision."""
    hint = ""
    if len(asked) < SHORTEST_PREFIX:
        hint = f" (a beginning of a digest needs {SHORTEST_PREFIX} digits)"
    return NotFound(
        "RevisionDoesNotExistException",
        f"application {application_name!r} has no revision {names.shown(asked)}{hint}; "
        f"`ferryman revision list --application {application_name}` shows those it has",
    )


def _sort(sort_by: RevisionSort | str) -> RevisionSort:
    try:
        return RevisionSort(sort_by)
    except ValueError:
        known = ", ".join(RevisionSort)
        raise Invalid("InvalidSortByException", f"cannot sort by {sort_by!r}: use one of {known}") from None
