"""What `--bundle-location` and `--type` mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.core.messages import BundleType, GitHubCommit, S3Object
from ferryman_agent.local.location import Kind, Location, Wrong, locate, type_of_name

CWD = "/home/me/app"
API = "https://api.github.com/repos"


def _locate(text: str | None, type_name: str | None = None, *stores: str) -> Location:
    return locate(text, type_name, cwd=CWD, stores=stores)


def _wrong(text: str, type_name: str | None = None, *stores: str) -> str:
    with pytest.raises(Wrong) as caught:
        _locate(text, type_name, *stores)
    return str(caught.value)


@pytest.mark.req("AG-498", "AG-O01", "V2-371")
def test_local_paths_are_resolved_against_the_current_directory() -> None:
    assert _locate(None).place == CWD
    assert _locate("bundles/a.zip").place == f"{CWD}/bundles/a.zip"
    assert _locate("../b").place == f"{CWD}/../b"
    assert _locate("/srv/a.tgz").place == "/srv/a.tgz"
    assert locate("a", None, cwd="/").place == "/a"


@pytest.mark.req("AG-489", "AG-O02", "AG-C23")
@pytest.mark.parametrize(
    "name, type_name",
    [("a.zip", "zip"), ("A.TGZ", "tgz"), ("a.tar.gz", "tgz"), ("a.tar", "tar"), ("a.rar", ""), ("zip", "")],
)
def test_the_type_is_taken_from_the_name(name: str, type_name: str) -> None:
    assert type_of_name(name) == type_name
    if type_name:
        assert _locate(f"s3://bucket/{name}").type_name == type_name
        assert _locate(f"s3://bucket/{name}", "tar").type_name == "tar"
    else:
        assert "--type tgz, tar or zip" in _wrong(f"s3://bucket/{name}")
        assert _locate(f"s3://bucket/{name}", "zip").bundle_type is BundleType.ZIP


@pytest.mark.req("AG-497", "AG-O01", "PF-334", "V2-371")
def test_objects_in_s3_with_version_and_etag() -> None:
    found = _locate("s3://amzn-s3-demo-bucket/a/bundle.zip?versionId=1234&etag=%2247e8%22", "zip")
    assert found.kind is Kind.S3
    assert found.s3 == S3Object(bucket="amzn-s3-demo-bucket", key="a/bundle.zip", version="1234", etag="47e8")
    assert found.shown == "s3://amzn-s3-demo-bucket/a/bundle.zip"
    assert _locate("s3://bucket/k.tar").s3 == S3Object(bucket="bucket", key="k.tar")


@pytest.mark.req("AG-493")
@pytest.mark.parametrize(
    "text", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key.zip", "s3://b?x/key.zip"]
)
def test_malformed_s3_locations_are_told_the_form(text: str) -> None:
    assert "write s3://BUCKET/KEY[?versionId=…&etag=…]" in _wrong(text)


def test_parameters_that_nobody_knows_are_refused() -> None:
    assert "versionid is unknown" in _wrong("s3://bucket/a.zip?versionid=1")


@pytest.mark.req("AG-495", "AG-496", "AG-O01", "PF-334", "V2-371")
@pytest.mark.parametrize(
    "text, type_name, expected",
    [
        ("https://github.com/o/r", None, "o/r/zipball/HEAD"),
        ("https://github.com/o/r/", None, "o/r/zipball/HEAD"),
        ("https://github.com/o/r.git", None, "o/r/zipball/HEAD"),
        ("https://github.com/o/r.git/", "tar", "o/r/tarball/HEAD"),
        ("https://github.com/o/r", "directory", "o/r/zipball/HEAD"),
        ("https://github.com/o/r", "tgz", "o/r/zipball/HEAD"),
        (f"{API}/o/r.x/zipball/master", "zip", "o/r.x/zipball/master"),
        (f"{API}/o/r/tarball/1a2b3c4d", None, "o/r/tarball/1a2b3c4d"),
        (f"{API}/o/r/tarball/v1", "tgz", "o/r/zipball/v1"),
        (f"{API}/o/r/zipball/feature/x%20y", None, "o/r/zipball/feature/x%20y"),
    ],
)
def test_github_repositories(text: str, type_name: str | None, expected: str) -> None:
    found = _locate(text, type_name)
    assert found.kind is Kind.GITHUB
    assert found.place == f"{API}/{expected}"
    assert found.bundle_type is (BundleType.TAR if "tarball" in expected else BundleType.ZIP)
    owner, name = expected.split("/")[:2]
    assert isinstance(found.github, GitHubCommit)
    assert found.github.repository == f"{owner}/{name}"


@pytest.mark.req("AG-493")
@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/o",
        "https://github.com/o/r/tree/main",
        "https://github.com/o/..",
        "https://github.com/o/r?ref=main",
        "https://github.com/o/r#main",
        "https://github.com/-o/r",
        f"{API}/o/r",
        f"{API}/o/r/zipball/",
        f"{API}/o/r/tgzball/main",
        f"{API}/o/r/zipball/../../../../user",
        f"{API}/o/r/zipball/%2e%2e/x",
        "https://api.github.com/o/r",
    ],
)
def test_malformed_github_locations_are_told_the_forms(text: str) -> None:
    assert "write https://github.com/OWNER/REPO or https://api.github.com/repos/" in _wrong(text)


@pytest.mark.req("AG-493", "AG-494")
@pytest.mark.parametrize(
    "host",
    [
        "evilgithub.com",
        "www.github.com",
        "github.com.evil.example",
        "api.github.com.evil.example",
        "github.com:8443",
        "s3.amazonaws.com.evil.example",
        "evils3.amazonaws.com",
        "example.com",
        "store.example:9000",
    ],
)
def test_host_names_are_compared_as_a_whole(host: str) -> None:
    found = _wrong(f"https://{host}/owner/repo.zip")
    assert f"{host} is neither GitHub nor an object store" in found


@pytest.mark.req("AG-494")
def test_host_names_have_no_case() -> None:
    assert _locate("https://GitHub.com/o/r").kind is Kind.GITHUB


@pytest.mark.req("AG-493", "AG-497")
@pytest.mark.parametrize(
    "host, path, bucket, key",
    [
        ("my.bucket.s3.eu-central-1.amazonaws.com", "/a/b%20c.zip", "my.bucket", "a/b c.zip"),
        ("bucket.s3.amazonaws.com", "/b.zip", "bucket", "b.zip"),
        ("s3.us-gov-west-1.amazonaws.com", "/bucket/b.zip", "bucket", "b.zip"),
        ("bucket.s3.dualstack.us-east-1.amazonaws.com", "/b.zip", "bucket", "b.zip"),
        ("bucket.s3.cn-north-1.amazonaws.com.cn", "/b.zip", "bucket", "b.zip"),
        ("store.example:9000", "/bucket/b.zip", "bucket", "b.zip"),
    ],
)
def test_pre_signed_addresses(host: str, path: str, bucket: str, key: str) -> None:
    query = "versionId=v7&X-Amz-Signature=abc&etag=47e8&X-Amz-Credential=a%2Fb"
    found = _locate(f"https://{host}{path}?{query}", None, "store.example:9000")
    assert found.kind is Kind.HTTPS
    assert found.s3 == S3Object(bucket=bucket, key=key, version="v7", etag="47e8")
    # Every character of a signed query counts; only what is ours is gone.
    assert found.place == f"https://{host}{path}?versionId=v7&X-Amz-Signature=abc&X-Amz-Credential=a%2Fb"
    assert "Signature" not in found.shown


def test_addresses_that_name_no_object() -> None:
    assert "names no object" in _wrong("https://s3.eu-west-1.amazonaws.com/bucket")


@pytest.mark.req("AG-490", "AG-493")
@pytest.mark.parametrize(
    "text", ["http://github.com/o/r", "ftp://x/y.zip", "file:///srv/app", "HTTPS://github.com/o/r"]
)
def test_other_schemes_are_refused(text: str) -> None:
    assert "is not accepted" in _wrong(text)


@pytest.mark.req("V2-373")
def test_a_token_in_the_address_is_refused_without_being_shown() -> None:
    found = _wrong("https://ghp_secret@github.com/o/r")
    assert "FERRYMAN_GITHUB_TOKEN" in found
    assert "ghp_secret" not in found


def test_a_directory_cannot_be_fetched() -> None:
    assert "--type: directory is for" in _wrong("s3://bucket/a.zip", "directory")


def _place_or_mistake(text: str, type_name: str | None) -> Location | str:
    try:
        return locate(text, type_name, cwd=CWD)
    except Wrong as wrong:
        return str(wrong)


@given(st.text(max_size=60), st.sampled_from([None, "tgz", "tar", "zip", "directory"]))
def test_any_text_is_a_place_or_wrong(text: str, type_name: str | None) -> None:
    found = _place_or_mistake(text, type_name)
    assert found.startswith("--") if isinstance(found, str) else "\0" not in found.place


@given(
    st.sampled_from(["https://", "s3://", "https://github.com/", "https://api.github.com/repos/"]),
    st.text(max_size=40),
)
def test_any_address_is_a_place_or_wrong(start: str, rest: str) -> None:
    found = _place_or_mistake(start + rest, "zip")
    if isinstance(found, str):
        assert found.startswith("--")
    else:
        assert found.kind in (Kind.S3, Kind.GITHUB, Kind.HTTPS)
