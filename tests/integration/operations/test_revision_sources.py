"""Revisions in S3 and at GitHub: what identifies them, and lists of them, on both databases."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import ComputePlatform
from ferryman_coordinator.core.model import (
    BundleType,
    DeploymentId,
    GitHubLocation,
    RevisionLocation,
    S3Location,
    UrlLocation,
)
from ferryman_coordinator.errors import Invalid, NotFound
from ferryman_coordinator.operations.deployment_options import OptionChecks
from ferryman_coordinator.operations.revisions import Revisions
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.queries.revisions import RevisionFilter, RevisionSource, TargetFilter
from ferryman_coordinator.store.records import succeeded_values
from tests.support.coordinator_records import bundle
from tests.support.desk import Desk, PretendInspector

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GITHUB = GitHubLocation(repository="acme/web", commit_id=COMMIT)


def s3(key: str = "web/app.zip", bucket: str = "builds", **pins: str) -> S3Location:
    return S3Location(bucket=bucket, object_key=key, bundle_type=BundleType.ZIP, **pins)


@pytest.fixture
async def web(desk: Desk) -> Desk:
    await desk.applications.create("web")
    return desk


async def keys(revisions: Revisions, **wanted: object) -> set[str]:
    page = await revisions.list("web", PageRequest(size=100), wanted=RevisionFilter(**wanted))  # type: ignore[arg-type]  # as the test says
    return {one.label for one in page.items}


@pytest.mark.req("AG-526", "CP-192", "CP-197")
@pytest.mark.parametrize(
    "location",
    [s3(), s3(version="v1"), s3(e_tag="abc"), s3(version="v1", e_tag="abc", sha256="a" * 64), GITHUB]
    + [replace(s3(), bundle_type=kind) for kind in BundleType],
)
async def test_a_place_is_registered_without_being_reached(web: Desk, location: RevisionLocation) -> None:
    revision, warnings = await web.revisions.register("web", location, "by other means")
    assert (revision.location, revision.description, warnings) == (location, "by other means", ())
    assert await web.revisions.at("web", location) == revision
    assert await web.revisions.get("web", revision.label) == revision


@pytest.mark.req("AG-527", "CP-202", "CP-012", "T78")
async def test_version_and_etag_are_part_of_which_one_it_is(web: Desk) -> None:
    pinned = s3(version="v1", e_tag="abc")
    await web.revisions.register("web", pinned)
    for other in (s3(), s3(version="v1"), s3(e_tag="abc"), s3(version="v2", e_tag="abc"), s3("web/app.zi")):
        with pytest.raises(NotFound) as refused:
            await web.revisions.at("web", other)
        assert refused.value.reason == "RevisionDoesNotExistException"
    for text in ("s3://builds/web/app.zip", "s3://builds/web/app.zip?versionId=v1"):
        with pytest.raises(NotFound):
            await web.revisions.get("web", text)
    found = await web.revisions.get("web", "s3://builds/web/app.zip?versionId=v1&etag=abc")
    assert found.location == pinned
    await web.revisions.register("web", s3())
    assert len(await keys(web.revisions)) == 2


@pytest.mark.req("CP-201")
async def test_quotes_around_an_etag_change_nothing(web: Desk) -> None:
    await web.revisions.register("web", s3(e_tag='"abc"'))
    assert (await web.revisions.at("web", s3(e_tag="abc"))).location == s3(e_tag="abc")
    assert (await web.revisions.at("web", s3(e_tag='"abc"'))).location == s3(e_tag="abc")


@pytest.mark.req("CP-193", "AG-526")
async def test_once_more_changes_how_it_is_fetched_but_not_which_one_it_is(web: Desk) -> None:
    await web.revisions.register("web", GITHUB, "first")
    private = replace(GITHUB, token_name="acme", commit_id=COMMIT.upper())
    again, _ = await web.revisions.register("web", private, "second")
    assert again.location == replace(private, commit_id=COMMIT)
    assert again.description == "second"
    assert len(await keys(web.revisions)) == 1


@pytest.mark.req("CP-195", "CP-197", "PF-288", "AG-229", "AG-237", "V2-139", "V2-140")
@pytest.mark.parametrize(
    "location, complaint",
    [
        (s3(bucket=""), "no name of a bucket"),
        (s3(bucket="a/b"), "no name of a bucket"),
        (s3(bucket="a..b"), "no name of a bucket"),
        (s3(""), "has 1 to 1024 bytes, not 0"),
        (s3("ü" * 513), "has 1 to 1024 bytes, not 1026"),
        (s3("a\nb"), "cannot be printed"),
        (s3(version="a b"), "no version"),
        (s3(e_tag='a"b'), "no ETag"),
        (s3(sha256="abc"), "no SHA-256"),
        (replace(GITHUB, commit_id=COMMIT[:12]), "full 40 hexadecimal digits"),
        (replace(GITHUB, commit_id="main"), "full 40 hexadecimal digits"),
        (replace(GITHUB, repository="acme"), "write owner/name"),
        (replace(GITHUB, repository="acme/.."), "write owner/name"),
        (replace(GITHUB, repository="acme/web/x"), "write owner/name"),
        (replace(GITHUB, repository="acme/w?b"), "write owner/name"),
        (replace(GITHUB, bundle_type=BundleType.TGZ), "cannot be had as tgz"),
        (replace(GITHUB, token_name="../x"), "no name of a token"),
    ],
)
async def test_a_place_that_cannot_be_is_refused(
    web: Desk, location: RevisionLocation, complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint):
        await web.revisions.register("web", location)


@pytest.mark.req("CP-196", "PF-288")
async def test_commits_are_for_instances(desk: Desk) -> None:
    await desk.applications.create("function", ComputePlatform.LAMBDA)
    with pytest.raises(Invalid, match="for instances"):
        await desk.revisions.register("function", GITHUB)


@pytest.mark.req("AG-528", "CP-204", "CP-205")
async def test_lists_are_of_a_kind_a_bucket_or_a_prefix(web: Desk) -> None:
    url = UrlLocation(url="https://example.org/x.zip", bundle_type=BundleType.ZIP, sha256="a" * 64)
    # Names that begin like others, and characters that come before and behind the slash in every order.
    objects = [
        s3("web/1.zip"),
        s3("web/1.zip", version="v2"),
        s3("web-old/1.zip"),
        s3("web0.zip"),
        s3("wéb/1.zip"),
        s3("web/ %?#.zip"),
        s3("web/~.zip"),
        s3("web/1.zip", bucket="builds2"),
        s3("web/1.zip", bucket="builds-2"),
        s3("web/1.zip", bucket="build"),
    ]
    everything: list[RevisionLocation] = [bundle(), url, GITHUB, *objects]
    for location in everything:
        await web.revisions.register("web", location)

    def texts(*some: S3Location) -> set[str]:
        return {one.text for one in some}

    of = web.revisions
    assert await keys(of, source=RevisionSource.GITHUB) == {f"acme/web@{COMMIT}"}
    assert await keys(of, source=RevisionSource.URL) == {url.url}
    assert await keys(of, source=RevisionSource.BUNDLE) == {"a" * 12}
    assert await keys(of, source=RevisionSource.S3) == texts(*objects)
    assert await keys(of, bucket="builds") == texts(*objects[:7])
    assert await keys(of, bucket="builds2") == texts(objects[7])
    assert await keys(of, bucket="builds", key_prefix="web/") == texts(*objects[:2], *objects[5:7])
    assert await keys(of, bucket="builds", key_prefix="web") == texts(*objects[:4], *objects[5:7])
    assert await keys(of, bucket="builds", key_prefix="wé") == texts(objects[4])
    assert await keys(of, bucket="builds", key_prefix="web/ %?") == texts(objects[5])
    assert await keys(of, bucket="builds", source=RevisionSource.GITHUB) == set()
    assert len(await keys(of)) == len(objects) + 3
    with pytest.raises(Invalid) as refused:
        await keys(of, key_prefix="web/")
    assert refused.value.reason == "BucketNameFilterRequiredException"


@pytest.mark.req("AG-528", "CP-204")
async def test_lists_tell_targets_of_groups_from_others(web: Desk) -> None:
    await web.revisions.register("web", s3("a.zip"))
    await web.revisions.register("web", s3("b.zip"))
    group = (await web.groups.create("web", "all")).group
    batch = Batch()
    values = succeeded_values(DeploymentId("d-000000001"), s3("a.zip"))
    batch.update(tables.deployment_groups, {"group_id": group.group_id}, values)
    await web.store.write(batch)
    assert await keys(web.revisions, target=TargetFilter.INCLUDE) == {"s3://builds/a.zip"}
    assert await keys(web.revisions, target=TargetFilter.EXCLUDE) == {"s3://builds/b.zip"}
    assert len(await keys(web.revisions, target=TargetFilter.IGNORE)) == 2


async def test_a_page_of_one_list_is_none_of_another(web: Desk) -> None:
    for number in range(3):
        await web.revisions.register("web", s3(f"{number}.zip"))
    page = await web.revisions.list("web", PageRequest(size=1), wanted=RevisionFilter(bucket="builds"))
    with pytest.raises(Invalid):
        await web.revisions.list("web", PageRequest(size=1, token=page.next_token))
    rest = await web.revisions.list(
        "web", PageRequest(size=5, token=page.next_token), wanted=RevisionFilter(bucket="builds")
    )
    assert [one.label for one in rest.items] == ["s3://builds/1.zip", "s3://builds/2.zip"]


class _Told:
    """A store that says of every object what it was told to say."""

    def __init__(self, location: S3Location) -> None:
        self._location = location

    async def pin(self, location: RevisionLocation) -> tuple[RevisionLocation, tuple[str, ...]]:
        return self._location, ()


@pytest.mark.req("CP-197", "CP-201")
async def test_names_that_no_index_could_hold_are_refused(web: Desk) -> None:
    """PostgreSQL says so as late as in the middle of a deployment, and in words for its administrators."""
    longest = s3(key=secrets.token_urlsafe(1024)[:1024], bucket="b" * 200, version="v" * 500, e_tag="e" * 500)
    await web.revisions.register("web", longest)
    assert (await web.revisions.at("web", longest)).location == longest
    for location in (replace(longest, version="v" * 1024), s3(key="\N{SNOWMAN}" * 340)):
        with pytest.raises(Invalid, match="too long together") as caught:
            await web.revisions.register("web", location)
        assert caught.value.reason == "InvalidRevisionException"


@pytest.mark.req("CP-199")
@pytest.mark.parametrize("said", [{"e_tag": "x" * 60_000}, {"version": "\x1b[2J"}, {"e_tag": 'a" or "b'}])
async def test_a_store_pins_an_object_to_nothing_that_cannot_be_its_version(
    desk: Desk, said: dict[str, str]
) -> None:
    checks = OptionChecks(
        desk.applications, desk.groups, desk.configurations, PretendInspector(), _Told(s3(**said)), Limits()
    )
    with pytest.raises(Invalid, match="of an object"):
        await checks.pin(s3())
