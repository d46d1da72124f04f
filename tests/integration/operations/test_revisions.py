from __future__ import annotations

import pytest

from ferryman_coordinator.core.model import (
    ApplicationId,
    BundleLocation,
    BundleType,
    DeploymentId,
    Instant,
    RevisionLocation,
    UrlLocation,
)
from ferryman_coordinator.errors import Invalid, NotFound
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.inventory_records import use_revision
from ferryman_coordinator.store.queries.revisions import RevisionSort
from ferryman_coordinator.store.records import succeeded_values
from tests.support.clock import START
from tests.support.coordinator_records import bundle
from tests.support.desk import BROKEN, Desk

URL = UrlLocation(url="https://example.org/web.tgz", bundle_type=BundleType.TGZ, sha256="e" * 64)


def digest(text: str) -> BundleLocation:
    return BundleLocation(sha256=text.ljust(64, "0"), size_bytes=10, bundle_type=BundleType.ZIP)


@pytest.fixture
async def web(desk: Desk) -> Desk:
    await desk.applications.create("web")
    return desk


@pytest.mark.req("CP-192", "CP-203")
@pytest.mark.parametrize("location", [bundle(), URL])
async def test_a_revision_is_registered_and_found(web: Desk, location: RevisionLocation) -> None:
    revision, warnings = await web.revisions.register("web", location, "first try")
    assert warnings == ()
    assert (revision.location, revision.description) == (location, "first try")
    assert (revision.registered_at, revision.first_used_at, revision.last_used_at) == (START, None, None)
    assert await web.revisions.get("web", location.sha256) == revision


@pytest.mark.req("CP-193")
async def test_once_more_only_changes_the_description(web: Desk) -> None:
    await web.revisions.register("web", bundle(), "first")
    web.clock.advance(1000)
    again, _ = await web.revisions.register("web", bundle(), "second")
    assert (again.description, again.registered_at) == ("second", START)
    assert len((await web.revisions.list("web", PageRequest())).items) == 1


async def test_applications_have_their_own_revisions(web: Desk) -> None:
    await web.applications.create("api")
    await web.revisions.register("web", bundle(), "of web")
    await web.revisions.register("api", bundle(), "of api")
    assert (await web.revisions.get("api", "a" * 64)).description == "of api"
    assert (await web.revisions.get("web", "a" * 64)).description == "of web"


async def test_warnings_come_from_the_bundle_and_from_a_missing_digest(web: Desk) -> None:
    _, warnings = await web.revisions.register("web", digest("3"))
    assert warnings == ("line 3: unknown key",)
    unpinned = UrlLocation(url="https://example.org/web.zip", bundle_type=BundleType.ZIP)
    _, warnings = await web.revisions.register("web", unpinned)
    assert "https://example.org/web.zip has no digest" in warnings[0]


@pytest.mark.parametrize(
    "location, reason, complaint",
    [
        (None, "RevisionRequiredException", "missing"),
        (digest("xyz"), "InvalidRevisionException", "no SHA-256"),
        (
            BundleLocation(sha256="ab", size_bytes=1, bundle_type=BundleType.ZIP),
            "InvalidRevisionException",
            "'ab'",
        ),
        (
            BundleLocation(sha256="a" * 64, size_bytes=0, bundle_type=BundleType.ZIP),
            "InvalidRevisionException",
            "0 bytes",
        ),
        (
            BundleLocation(sha256=BROKEN, size_bytes=1, bundle_type=BundleType.ZIP),
            "InvalidRevisionException",
            "appspec",
        ),
        *(
            (UrlLocation(url=url, bundle_type=BundleType.ZIP), "InvalidRevisionException", complaint)
            for url, complaint in (
                ("", "neither https"),
                ("http://example.org/x.zip", "neither https"),
                ("file://relative/x.zip", "neither https"),
                ("https:///x.zip", "names no host"),
                ("https://", "names no host"),
                ("https://[::1/x.zip", "cannot be read"),
                ("https://example.org:99999/x.zip", "cannot be read: Port out of range"),
                ("https://example.org:http/x.zip", "cannot be read: Port"),
                ("https://example.org/a b.zip", "space"),
                ("https://example.org/a\n.zip", "cannot be printed"),
                ("https://example.org/" + "x" * 2048, "at most 2048"),
            )
        ),
    ],
)
@pytest.mark.req("CP-034")
async def test_a_location_that_cannot_be_is_refused(
    web: Desk, location: RevisionLocation | None, reason: str, complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint) as refused:
        await web.revisions.register("web", location)
    assert refused.value.reason == reason
    assert (await web.revisions.list("web", PageRequest())).items == ()


async def test_digests_are_lower_case_whatever_was_given(web: Desk) -> None:
    upper = BundleLocation(sha256="A" * 64, size_bytes=1, bundle_type=BundleType.ZIP)
    revision, _ = await web.revisions.register("web", upper)
    assert revision.location.sha256 == "a" * 64
    assert (await web.revisions.get("web", "A" * 8)) == revision


async def test_a_long_description_is_refused(web: Desk) -> None:
    await web.revisions.register("web", bundle(), "x" * 256)
    with pytest.raises(Invalid, match="257 characters") as refused:
        await web.revisions.register("web", bundle("b"), "x" * 257)
    assert refused.value.reason == "DescriptionTooLongException"


async def test_an_unknown_application_is_named(desk: Desk) -> None:
    for call in (
        desk.revisions.register("nothing", bundle()),
        desk.revisions.get("nothing", "a" * 64),
        desk.revisions.list("nothing", PageRequest()),
    ):
        with pytest.raises(NotFound) as refused:
            await call
        assert refused.value.reason == "ApplicationDoesNotExistException"


async def test_a_unique_beginning_is_enough(web: Desk) -> None:
    for text in ("12345678aa", "12345678ab", "ffffffff"):
        await web.revisions.register("web", digest(text))
    assert (await web.revisions.get("web", "ffffffff")).location == digest("ffffffff")
    assert (await web.revisions.get("web", "sha256:12345678aa")).location == digest("12345678aa")
    with pytest.raises(Invalid, match="fits several revisions of 'web': sha256:12345678a") as ambiguous:
        await web.revisions.get("web", "12345678")
    assert ambiguous.value.reason == "InvalidRevisionException"
    for asked, hint in (
        ("1234567", "needs 8 digits"),
        ("fffffffe", "has no revision"),
        ("r42", "has no revision"),
    ):
        with pytest.raises(NotFound, match=hint) as refused:
            await web.revisions.get("web", asked)
        assert refused.value.reason == "RevisionDoesNotExistException"
    with pytest.raises(Invalid) as missing:
        await web.revisions.get("web", "")
    assert missing.value.reason == "RevisionRequiredException"


async def test_urls_are_found_as_registered(web: Desk) -> None:
    other = UrlLocation(url=URL.url, bundle_type=BundleType.TGZ, sha256="f" * 64)
    await web.revisions.register("web", URL)
    assert (await web.revisions.get("web", URL.url)).location == URL
    await web.revisions.register("web", other)
    with pytest.raises(Invalid, match="fits several"):
        await web.revisions.get("web", URL.url)
    assert (await web.revisions.get("web", f"{URL.url}#{'f' * 64}")).location == other
    # The same archive in the built-in store wins.
    await web.revisions.register("web", bundle("e"))
    assert (await web.revisions.get("web", "e" * 64)).location == bundle("e")


@pytest.mark.req("CP-194", "CP-203")
async def test_a_deployment_registers_what_it_uses(web: Desk) -> None:
    application = await web.applications.get("web")
    known, new = bundle("a"), bundle("b")
    await web.revisions.register("web", known, "by hand")
    for number, location in enumerate((known, new, known), start=1):
        web.clock.advance(1000)
        batch = Batch()
        use_revision(
            batch, application.application_id, location, DeploymentId(f"d-00000000{number}"), web.clock.now()
        )
        await web.store.write(batch)
    first, second = await web.revisions.get("web", "a" * 64), await web.revisions.get("web", "b" * 64)
    assert first.description == "by hand"
    assert (first.first_used_at, first.last_used_at) == (START + 1000, START + 3000)
    assert "d-000000002" in second.description
    assert (second.registered_at, second.first_used_at, second.last_used_at) == (START + 2000,) * 3


@pytest.mark.req("CP-203")
async def test_a_revision_names_the_groups_it_is_the_target_of(web: Desk) -> None:
    await web.revisions.register("web", bundle())
    for name in ("staging", "production", "other"):
        group = (await web.groups.create("web", name)).group
        if name != "other":
            batch = Batch()
            values = succeeded_values(DeploymentId("d-000000001"), bundle())
            batch.update(tables.deployment_groups, {"group_id": group.group_id}, values)
            await web.store.write(batch)
    assert (await web.revisions.get("web", "a" * 64)).deployment_groups == ("production", "staging")


@pytest.mark.req("CP-458")
@pytest.mark.parametrize("size", [1, 2, 100])
async def test_revisions_are_sorted_as_asked_page_by_page(web: Desk, size: int) -> None:
    application = ApplicationId((await web.applications.get("web")).application_id)
    for digit in "cab":
        await web.revisions.register("web", bundle(digit))
        web.clock.advance(1000)
    batch = Batch()
    use_revision(batch, application, bundle("b"), DeploymentId("d-000000001"), Instant(START + 5000))
    use_revision(batch, application, bundle("a"), DeploymentId("d-000000001"), Instant(START + 6000))
    use_revision(batch, application, bundle("b"), DeploymentId("d-000000001"), Instant(START + 7000))
    await web.store.write(batch)

    async def listed(sort_by: str, descending: bool) -> str:
        shown, request = "", PageRequest(size=size)
        while True:
            page = await web.revisions.list("web", request, sort_by=sort_by, descending=descending)
            shown += "".join(one.location.sha256[0] for one in page.items)
            if not page.next_token:
                return shown
            request = PageRequest(size=size, token=page.next_token)

    for sort_by, ascending in (
        (RevisionSort.REGISTER_TIME, "cab"),
        (RevisionSort.FIRST_USED_TIME, "bac"),
        (RevisionSort.LAST_USED_TIME, "abc"),
    ):
        assert await listed(sort_by, False) == ascending
        assert await listed(sort_by, True) == ascending[::-1]
    with pytest.raises(Invalid, match="cannot sort by 'size': use one of registerTime") as refused:
        await web.revisions.list("web", PageRequest(), sort_by="size")
    assert refused.value.reason == "InvalidSortByException"
