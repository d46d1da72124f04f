"""What the coordinator asks an object store, and the addresses that it signs: against moto as a process."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ferryman_coordinator.bundles.s3 import PUT_LIMIT, S3Store
from ferryman_coordinator.config import load
from ferryman_coordinator.config.schema import S3
from ferryman_coordinator.core.model import BundleType, S3Location
from ferryman_coordinator.errors import Denied, Invalid, NotFound, Unreachable
from tests.support.clock import ManualClock
from tests.support.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server


def settings(given: Mapping[str, str]) -> S3:
    return load(None, {}, {"data_dir": "/nowhere", **given}).s3


def at(bucket: str, key: str = "web/app.zip", *, version: str = "", e_tag: str = "") -> S3Location:
    return S3Location(bucket=bucket, object_key=key, bundle_type=BundleType.ZIP, version=version, e_tag=e_tag)


def get(url: str) -> tuple[int, bytes, str]:
    """Status, body and version of what is at an address."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers.get("x-amz-version-id", "")
    finally:
        connection.close()


@pytest.fixture
def store(s3_server: S3Server, tmp_path: Path) -> S3Store:
    return S3Store(settings(s3_server.settings(tmp_path)), ManualClock())


@pytest.fixture
def bucket(s3_server: S3Server, tmp_path: Path) -> str:
    """One that keeps versions."""
    name = f"versioned-{abs(hash(tmp_path)):x}"
    s3_server.make_bucket(name, versioned=True)
    return name


@pytest.mark.req("CP-199", "PF-301", "TS-77", "AG-218")
async def test_what_is_newest_is_pinned_and_stays(store: S3Store, s3_server: S3Server, bucket: str) -> None:
    version, e_tag = s3_server.put(bucket, "web/app.zip", b"first")
    pinned = await store.pin(at(bucket))
    assert (pinned.version, pinned.e_tag) == (version, e_tag)
    s3_server.put(bucket, "web/app.zip", b"second")
    assert get(store.address(pinned)) == (200, b"first", version)
    newest = await store.pin(at(bucket))
    assert get(store.address(newest))[1] == b"second"
    assert (await store.pin(at(bucket, version=version))).e_tag == e_tag


async def test_a_bucket_without_versions_pins_the_etag(
    store: S3Store, s3_server: S3Server, tmp_path: Path
) -> None:
    name = f"plain-{abs(hash(tmp_path)):x}"
    s3_server.make_bucket(name)
    _, e_tag = s3_server.put(name, "a.zip", b"x")
    pinned = await store.pin(at(name, "a.zip"))
    assert (pinned.version, pinned.e_tag) == ("", e_tag)


@pytest.mark.req("TS-78", "CP-198", "AG-219")
async def test_another_etag_is_refused_with_both(store: S3Store, s3_server: S3Server, bucket: str) -> None:
    _, e_tag = s3_server.put(bucket, "web/app.zip", b"first")
    with pytest.raises(Invalid, match=f"'{e_tag}', not '0123'"):
        await store.pin(at(bucket, e_tag="0123"))
    assert (await store.pin(at(bucket, e_tag=e_tag))).e_tag == e_tag
    assert (await store.pin(at(bucket))).e_tag == e_tag, "no ETag means no check"


@pytest.mark.req("PF-304", "AG-223")
async def test_what_is_not_there_is_told_apart(store: S3Store, s3_server: S3Server, bucket: str) -> None:
    s3_server.put(bucket, "web/app.zip", b"first")
    with pytest.raises(NotFound, match=f"no object s3://{bucket}/other.zip at {s3_server.url}"):
        await store.pin(at(bucket, "other.zip"))
    with pytest.raises(NotFound, match="no object s3://no-such-bucket/web/app.zip"):
        await store.pin(at("no-such-bucket"))
    gone, _ = s3_server.put(bucket, "web/app.zip", b"second")
    s3_server.client().delete_object(Bucket=bucket, Key="web/app.zip", VersionId=gone)
    with pytest.raises(NotFound, match=f"has no version '{gone}'"):
        await store.pin(at(bucket, version=gone))


@pytest.mark.req("AG-227", "V2-140")
async def test_an_address_is_good_for_one_object_and_a_while(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    store = S3Store(settings(s3_server.settings(tmp_path) | {"s3.url_lifetime": "10m"}), ManualClock())
    s3_server.put(bucket, "web/app.zip", b"first")
    pinned = await store.pin(at(bucket))
    url = store.address(pinned)
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Expires"] == ["600"]
    assert query["X-Amz-SignedHeaders"] == ["host"], "a plain GET must do"
    assert query["X-Amz-Credential"][0].endswith(f"/{REGION}/s3/aws4_request")
    assert SECRET_KEY not in url
    assert ACCESS_KEY in url, "the name of the key is public, its secret is not"


async def test_nothing_is_signed_before_the_keys_are_read(
    store: S3Store, s3_server: S3Server, bucket: str
) -> None:
    assert store.address(at(bucket)) == ""
    assert store.generation == 0
    await store.prepare()
    assert store.address(at(bucket)).startswith(f"{s3_server.url}/{bucket}/web/app.zip?")
    assert store.generation == 1


async def test_changed_keys_are_taken_within_a_minute(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    import asyncio

    clock = ManualClock()
    given = s3_server.settings(tmp_path)
    store = S3Store(settings(given), clock)
    await store.prepare()
    running = asyncio.create_task(store.run())
    file = Path(given["s3.credentials_file"])
    file.write_text(file.read_text().replace(ACCESS_KEY, "AKIAROTATED0000000002"))
    try:
        async with asyncio.timeout(10):
            while store.generation == 1:
                clock.advance(60_000)
                await asyncio.sleep(0)
        assert "AKIAROTATED0000000002" in store.address(at(bucket))
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.mark.req("AG-517")
async def test_an_upload_needs_no_key(store: S3Store, s3_server: S3Server, bucket: str) -> None:
    upload = await store.prepare_upload(at(bucket, "new.zip"), 7)
    assert "X-Amz-Signature" not in repr(upload)
    parts = urlsplit(upload.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("PUT", f"{parts.path}?{parts.query}", b"content", dict(upload.headers))
    assert connection.getresponse().status == 200
    connection.close()
    pinned = await store.pin(at(bucket, "new.zip"))
    assert get(store.address(pinned))[1] == b"content"


async def test_an_upload_that_cannot_be_is_refused_before(store: S3Store, bucket: str) -> None:
    with pytest.raises(NotFound, match="no bucket s3://no-such-bucket at"):
        await store.prepare_upload(at("no-such-bucket"), 1)
    with pytest.raises(Invalid, match=f"more than the {PUT_LIMIT}"):
        await store.prepare_upload(at(bucket), PUT_LIMIT + 1)


# A store that answers what it is told to


class Grumpy:
    """Answers every request with one status and headers."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        grumpy = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(grumpy.status)
                for name, value in grumpy.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def grumpy() -> Iterator[Grumpy]:
    made = Grumpy()
    yield made
    made.server.shutdown()
    made.server.server_close()


def grumpy_settings(url: str, tmp_path: Path) -> S3:
    return settings(S3Server(url).settings(tmp_path))


@pytest.mark.req("PF-304", "AG-223")
@pytest.mark.parametrize(
    "status, headers, kind, words",
    [
        (403, {}, Denied, "does not let the coordinator read s3://b-1/web/app.zip"),
        (301, {"x-amz-bucket-region": "us-west-2"}, Invalid, "is in region us-west-2: set s3.region"),
        (405, {}, NotFound, "was deleted"),
        (503, {}, Unreachable, "cannot tell about s3://b-1/web/app.zip now"),
        (418, {}, Invalid, "answers 418"),
    ],
)
async def test_a_refusal_says_whose_fault_it_is(
    grumpy: Grumpy, tmp_path: Path, status: int, headers: dict[str, str], kind: type[Exception], words: str
) -> None:
    grumpy.status, grumpy.headers = status, headers
    store = S3Store(grumpy_settings(grumpy.url, tmp_path), ManualClock())
    with pytest.raises(kind, match=words) as refused:
        await store.pin(at("b-1"))
    assert SECRET_KEY not in str(refused.value)


@pytest.mark.req("AG-225", "CP-206", "PF-302", "K30")
async def test_a_bucket_in_another_region_just_works(grumpy: Grumpy, tmp_path: Path) -> None:
    grumpy.headers = {"x-amz-bucket-region": "ap-south-1", "ETag": '"abc"', "Content-Length": "5"}
    store = S3Store(grumpy_settings(grumpy.url, tmp_path), ManualClock())

    async def scope() -> str:
        query = parse_qs(urlsplit(store.address(at("b-1"))).query)
        return query["X-Amz-Credential"][0].split("/")[2]

    await store.prepare()
    assert await scope() == REGION, "nobody has asked yet"
    assert (await store.pin(at("b-1"))).e_tag == "abc"
    assert await scope() == "ap-south-1"
    grumpy.status, grumpy.headers = 400, {"x-amz-bucket-region": "us-west-2"}
    with pytest.raises(Invalid, match="is in region us-west-2"):
        await store.pin(at("b-2"))


@pytest.mark.req("AG-224", "PF-302")
async def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    url = f"http://127.0.0.1:{server.server_port}"
    server.server_close()
    store = S3Store(grumpy_settings(url, tmp_path), ManualClock())
    with pytest.raises(Unreachable, match=f"cannot ask {url} about s3://b-1/web/app.zip"):
        await store.pin(at("b-1"))


async def test_missing_keys_are_named(tmp_path: Path) -> None:
    store = S3Store(settings({"s3.credentials_file": str(tmp_path / "none")}), ManualClock())
    with pytest.raises(Unreachable, match=r"no file .*none, which s3\.credentials_file names"):
        await store.pin(at("b-1"))


async def test_keys_come_from_the_file_that_is_named_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFSOMEBODYELSE001")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    given = S3Server("http://127.0.0.1:1").settings(tmp_path)
    store = S3Store(settings(given), ManualClock())
    await store.prepare()
    assert ACCESS_KEY in store.address(at("b-1"))
    del given["s3.credentials_file"]
    store = S3Store(settings(given), ManualClock())
    await store.prepare()
    assert "AKIAOFSOMEBODYELSE001" in store.address(at("b-1"))


async def test_without_keys_addresses_are_those_of_public_objects(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("[other]\n")
    given = {"s3.endpoint_url": "http://127.0.0.1:1", "s3.credentials_file": str(file)}
    store = S3Store(settings(given), ManualClock())
    await store.prepare()
    assert store.address(at("b-1")) == "http://127.0.0.1:1/b-1/web/app.zip"


@pytest.mark.parametrize(
    "content, given, complaint",
    [
        ("[other]\naws_access_key_id = a\n", {"s3.profile": "gone"}, "gone"),
        ("no keys at all\n", {}, "cannot read the keys"),
        ("[default]\naws_access_key_id = a\n", {}, "cannot read the keys"),
        (
            "[default]\naws_access_key_id = a\naws_secret_access_key = b\n",
            {"s3.region": "eu/west"},
            "eu/west",
        ),
    ],
)
async def test_settings_that_cannot_be_used_are_named(
    tmp_path: Path, content: str, given: dict[str, str], complaint: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    store = S3Store(settings({"s3.credentials_file": str(file), **given}), ManualClock())
    with pytest.raises(Unreachable, match=complaint):
        await store.prepare()
    assert store.address(at("b-1")) == ""


@pytest.mark.req("AG-224")
@pytest.mark.parametrize(
    "given, host",
    [
        ({"s3.region": "us-east-1"}, "b-1.s3.amazonaws.com"),
        ({"s3.region": "eu-west-1"}, "b-1.s3.eu-west-1.amazonaws.com"),
        ({"s3.addressing": "path", "s3.region": "eu-west-1"}, "s3.eu-west-1.amazonaws.com"),
        ({"s3.endpoint_url": "https://minio.example.org:9000"}, "minio.example.org:9000"),
        (
            {"s3.endpoint_url": "https://minio.example.org:9000", "s3.addressing": "virtual"},
            "b-1.minio.example.org:9000",
        ),
    ],
)
async def test_addresses_have_the_bucket_where_it_is_wanted(
    tmp_path: Path, given: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    keys = {"s3.credentials_file": S3Server("http://127.0.0.1:1").settings(tmp_path)["s3.credentials_file"]}
    store = S3Store(settings(keys | given), ManualClock())
    await store.prepare()
    parts = urlsplit(store.address(at("b-1", version="v1")))
    assert parts.netloc == host
    assert parts.path == ("/web/app.zip" if host.startswith("b-1.") else "/b-1/web/app.zip")
    assert parse_qs(parts.query)["versionId"] == ["v1"]
    # No certificate of Amazon's fits a name with a dot in front of it.
    if not given.get("s3.endpoint_url"):
        assert urlsplit(store.address(at("b.1"))).path == "/b.1/web/app.zip"
