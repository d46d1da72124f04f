"""Objects of S3 by a pre-signed URL: their version and ETag compared, the store's refusals in words."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.bundles.origins import identity_of
from ferryman_agent.core.messages import BundleType, DeploymentDescription, RevisionSource, S3Object
from tests.support.fetching import Fetcher
from tests.support.misbehaving_server import Server, cut_after, status
from tests.support.segments import a_deployment

MIB = 1024 * 1024
SIGNED = "/bucket/app/web.zip?X-Amz-Signature=SECRET&versionId=v7"


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    folder = tmp_path / "deployment"
    folder.mkdir()
    return Fetcher(folder)


def an_object(server: Server, **given: Any) -> DeploymentDescription:
    s3 = S3Object(
        bucket="bucket", key="app/web.zip", version=given.pop("version", ""), etag=given.pop("etag", "")
    )
    revision = RevisionSource(url=server.url(SIGNED), bundle_type=BundleType.ZIP, s3=s3, **given)
    return a_deployment(revision=revision)


@pytest.mark.req("AG-218", "V2-064")
async def test_the_signed_address_is_asked_for_to_the_letter(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x" * 1000
    server.etag = '"6c2a-2"'
    fetched = await fetcher.deployment(an_object(server, version="v7", etag="6c2a-2"))
    assert server.seen[0].raw_path == SIGNED
    assert "Authorization" not in server.seen[0].headers
    assert fetched.etag == '"6c2a-2"'
    assert fetcher.destination.read_bytes() == server.data


@pytest.mark.req("AG-219", "AG-220", "V2-064")
@pytest.mark.parametrize("told", ['"AbC"', "AbC"])
async def test_an_etag_that_fits_but_for_its_quotes_is_right(
    server: Server, fetcher: Fetcher, told: str
) -> None:
    server.data, server.etag = b"x", told
    await fetcher.deployment(an_object(server, etag="AbC"))


@pytest.mark.req("AG-219", "AG-220", "V2-064")
@pytest.mark.parametrize("told", ['"abc"', '"AbC-1"', 'W/"AbC"', '"other"'])
async def test_another_etag_names_both_and_leaves_nothing(
    server: Server, fetcher: Fetcher, told: str
) -> None:
    server.data, server.etag = b"x" * 1000, told
    error = await fetcher.refused_deployment(an_object(server, etag="AbC"))
    assert error.detail_code == "BUNDLE_ETAG_MISMATCH"
    assert repr(told.strip('"') if told[0] == '"' else told) in error.message
    assert "expected 'AbC'" in error.message
    assert len(server.seen) == 1


@pytest.mark.req("AG-219", "V2-065")
async def test_an_etag_that_is_not_told_is_no_match(server: Server, fetcher: Fetcher) -> None:
    server.answers = [status(200, b"data")]
    error = await fetcher.refused_deployment(an_object(server, etag="AbC"))
    assert "its ETag is not told" in error.message


@pytest.mark.req("AG-219")
async def test_without_an_etag_nothing_is_compared(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x"
    await fetcher.deployment(an_object(server))


@pytest.mark.req("AG-218", "V2-064")
async def test_another_version_is_refused(server: Server, fetcher: Fetcher) -> None:
    server.answers = [status(200, b"data", x_amz_version_id="v8")]
    error = await fetcher.refused_deployment(an_object(server, version="v7"))
    assert error.detail_code == "BUNDLE_VERSION_MISMATCH"
    assert "its version is 'v8', expected 'v7'" in error.message
    server.answers = [status(200, b"data", x_amz_version_id="v7")]
    await fetcher.deployment(an_object(server, version="v7"))


@pytest.mark.req("AG-222", "AG-219")
async def test_a_part_is_continued_only_with_the_same_etag(server: Server, fetcher: Fetcher) -> None:
    server.data, server.etag = bytes(3 * MIB), '"AbC"'
    server.answers = [cut_after(2 * MIB)]
    await fetcher.deployment(an_object(server, etag="AbC"))
    assert server.ranges == [None, f"bytes={2 * MIB}-"]
    assert fetcher.destination.read_bytes() == server.data


@pytest.mark.req("AG-221")
async def test_a_digest_of_the_registration_is_compared_too(server: Server, fetcher: Fetcher) -> None:
    server.data = b"not that"
    deployment = an_object(server, sha256=hashlib.sha256(b"this").hexdigest())
    error = await fetcher.refused_deployment(deployment)
    assert error.detail_code == "BUNDLE_DIGEST_MISMATCH"


@pytest.mark.req("AG-223", "AG-225", "AG-S09", "AG-X38")
@pytest.mark.parametrize(
    "code, name, detail, said",
    [
        (403, "AccessDenied", "BUNDLE_FORBIDDEN", "access denied"),
        (404, "NoSuchKey", "BUNDLE_NOT_FOUND", "no such bundle in the bucket"),
        (404, "NoSuchVersion", "BUNDLE_NOT_FOUND", "no such version"),
        (404, "NoSuchBucket", "BUNDLE_NOT_FOUND", "no such bucket"),
        (301, "PermanentRedirect", "BUNDLE_WRONG_REGION", "another region"),
        (400, "AuthorizationHeaderMalformed", "BUNDLE_WRONG_REGION", "another region"),
        (403, "SignatureDoesNotMatch", "BUNDLE_FORBIDDEN", "key for the store"),
    ],
)
async def test_each_refusal_is_told_with_bucket_key_and_endpoint(
    server: Server, fetcher: Fetcher, code: int, name: str, detail: str, said: str
) -> None:
    body = f"<Error><Code>{name}</Code><AWSAccessKeyId>SECRET</AWSAccessKeyId></Error>".encode()
    server.answers = [status(code, body)]
    error = await fetcher.refused_deployment(an_object(server, version="v7"))
    assert (error.detail_code, len(server.seen)) == (detail, 1)
    for part in (said, "s3://bucket/app/web.zip", "version v7", f"127.0.0.1:{server.port}", f"HTTP {code}"):
        assert part in error.message
    assert "SECRET" not in error.message


@pytest.mark.req("AG-224", "AG-223")
async def test_an_endpoint_that_is_not_there_is_named(fetcher: Fetcher) -> None:
    revision = RevisionSource(
        url="http://127.0.0.1:1/bucket/key?sig=SECRET",
        bundle_type=BundleType.ZIP,
        s3=S3Object(bucket="bucket", key="key"),
    )
    error = await fetcher.refused_deployment(a_deployment(revision=revision))
    assert "s3://bucket/key from 127.0.0.1:1" in error.message
    assert "SECRET" not in error.message


def test_only_a_version_or_an_etag_names_the_bytes_for_good() -> None:
    def named(**given: str) -> str:
        s3 = S3Object(bucket="b", key="k", **given)
        return identity_of(RevisionSource(url="https://s3/b/k?x=1", bundle_type=BundleType.ZIP, s3=s3))

    assert named() == ""
    texts = {named(version="1"), named(version="2"), named(etag="1"), named(version="1", etag="1")}
    assert len(texts) == 4
    assert all("x=1" not in text for text in texts)
