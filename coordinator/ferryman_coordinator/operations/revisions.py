"""Revisions of an application: register, find, list (CP section 9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlsplit

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.inventory import Application, RegisteredRevision
from ferryman_coordinator.core.model import BundleLocation, RevisionLocation, UrlLocation
from ferryman_coordinator.errors import ConstraintBroken, Invalid, NotFound
from ferryman_coordinator.operations import applications, names
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.inventory_records import revision_row
from ferryman_coordinator.store.queries import revisions as queries
from ferryman_coordinator.store.queries.revisions import RevisionSort
from ferryman_coordinator.store.store import Store

SHORTEST_PREFIX = 8
"""Digits of a digest that are enough to look a revision up, if no other one begins with them."""

_URL_LENGTH = 2048
_DIGEST = re.compile(r"[0-9a-f]{64}")
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
        self, store: Store, clock: Clock, known_applications: Applications, inspector: Inspector
    ) -> None:
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
        batch.update(tables.revisions, key, {"description": description})
        try:
            await self._store.write(batch)
        except ConstraintBroken as gone:
            raise applications.missing(application_name) from gone
        async with self._store.reading() as connection:
            stored = await queries.get(connection, application.application_id, location.key)
        return stored or revision, warnings

    async def get(self, application_name: str, revision: str) -> RegisteredRevision:
        """By digest, by a unique beginning of one, or by URL as registered (`URL#digest` for one of several).

        Raises Invalid (RevisionRequiredException, InvalidRevisionException when it fits several), NotFound
        (ApplicationDoesNotExistException, RevisionDoesNotExistException).
        """
        application = await self._applications.get(application_name)
        if not revision:
            raise Invalid("RevisionRequiredException", "the revision is missing: give a digest or a URL")
        text = revision.strip()
        digits = text.lower().removeprefix("sha256:")
        if not _DIGITS.fullmatch(digits):
            return await self._by_url(application, text)
        async with self._store.reading() as connection:
            found = await queries.by_digest(connection, application.application_id, digits, _SHOWN)
        # The archive in the built-in store wins over the same archive elsewhere.
        kept = [one for one in found if isinstance(one.location, BundleLocation)] or found
        return _only(application, revision, kept)

    async def list(
        self,
        application_name: str,
        request: PageRequest,
        *,
        sort_by: RevisionSort | str = RevisionSort.REGISTER_TIME,
        descending: bool = False,
    ) -> Page[RegisteredRevision]:
        """Revisions in the order asked for (CP-204); those that were never used count as the latest.

        Raises Invalid (InvalidSortByException), NotFound (ApplicationDoesNotExistException).
        """
        application = await self._applications.get(application_name)
        order = _sort(sort_by)

        async def fetch(after: Key | None, limit: int) -> Sequence[tuple[int, RegisteredRevision]]:
            async with self._store.reading() as connection:
                return await queries.after(
                    connection,
                    application.application_id,
                    after or (),
                    limit,
                    sort_by=order,
                    descending=descending,
                )

        page = await self._store.cursors.page(
            ["revisions", application.application_id, order, descending],
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
        if location.sha256:
            return ()
        return (
            f"{location.url} has no digest: instances take whatever is there when they fetch it; "
            "register it with its SHA-256 to be sure that all of them get the same",
        )


def check_location(location: RevisionLocation | None) -> RevisionLocation:
    """`location` with its digest in lower case; raises Invalid (RevisionRequired…, InvalidRevisionException)."""
    if location is None:
        raise Invalid("RevisionRequiredException", "the revision is missing: give a bundle or a URL")
    location = replace(location, sha256=location.sha256.lower())
    if isinstance(location, BundleLocation):
        if not _DIGEST.fullmatch(location.sha256):
            raise _invalid(f"{names.shown(location.sha256)} is no SHA-256: it has 64 hexadecimal digits")
        if location.size_bytes <= 0:
            raise _invalid(
                f"bundle {location.sha256[:12]} has {location.size_bytes} bytes: no archive is that small"
            )
        return location
    if location.sha256 and not _DIGEST.fullmatch(location.sha256):
        raise _invalid(f"{names.shown(location.sha256)} is no SHA-256: it has 64 hexadecimal digits")
    problem = _url_problem(location)
    if problem:
        raise _invalid(f"URL {names.shown(location.url)} {problem}")
    return location


def _url_problem(location: UrlLocation) -> str:
    url = location.url
    if not url.startswith(("https://", "file:///")):
        return "is neither https:// nor file:///: instances fetch from nothing else"
    if len(url) > _URL_LENGTH:
        return f"has {len(url)} characters, at most {_URL_LENGTH} are allowed"
    if not url.isprintable() or " " in url:
        return "holds a space or a character that cannot be printed: write it as %20 or the like"
    try:
        parts = urlsplit(url)
        # A port that is none shows only when it is asked for.
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        return f"cannot be read: {problem}"
    return "" if host or url.startswith("file://") else "names no host"


def _only(application: Application, asked: str, found: Sequence[RegisteredRevision]) -> RegisteredRevision:
    if len(found) == 1:
        return found[0]
    if not found:
        raise missing(application.name, asked)
    several = ", ".join(one.location.key for one in found)
    raise _invalid(
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


def _invalid(message: str) -> Invalid:
    return Invalid("InvalidRevisionException", message)
