"""The HTTP door over real sockets: signed bundle addresses, ranges, slow clients, health."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.requests import Request
from starlette.responses import Response

from ferryman_coordinator.bundles.storage import BundleStorage, UploadHeader
from ferryman_coordinator.bundles.urls import BundleUrls
from ferryman_coordinator.config import Address
from ferryman_coordinator.core.model import BundleType, Instant
from ferryman_coordinator.errors import NotFound, SetupError
from ferryman_coordinator.http.app import make_app
from ferryman_coordinator.http.bundles import BundleDoor
from ferryman_coordinator.http.server import HttpServer
from ferryman_coordinator.identity.authority import Authority
from ferryman_coordinator.identity.server_certificate import ServerCertificate
from ferryman_coordinator.store.store import Store
from tests.support.clock import ManualClock

CONTENT = os.urandom(1024) * 3_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Door:
    base: str
    address: Address
    urls: BundleUrls
    clock: ManualClock
    problems: dict[str, str]
    storage: BundleStorage
    client: aiohttp.ClientSession

    def url(self, sha256: str = DIGEST) -> str:
        return self.base + self.urls.sign(sha256, self.clock.now())


async def content(size: int = len(CONTENT)) -> AsyncIterator[bytes]:
    yield CONTENT


async def no_bundle(_request: Request) -> Response:
    raise NotFound("BundleDoesNotExist", "there is none here")


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    store = await Store.open(f"sqlite+aiosqlite:///{tmp_path}/ferryman.db")
    clock = ManualClock()
    storage = BundleStorage(tmp_path / "bundles", store, clock, size_limit=1 << 40)
    storage.prepare()
    await storage.receive(
        UploadHeader(sha256=DIGEST, size_bytes=len(CONTENT), bundle_type=BundleType.ZIP), content()
    )
    urls = BundleUrls(os.urandom(32), lifetime_ms=60_000)
    problems: dict[str, str] = {}

    async def check() -> str:
        if problems.get("engine") == "raise":
            raise RuntimeError("secret detail")
        return problems.get("engine", "")

    app = make_app(BundleDoor(storage, urls, clock).get, {"engine": check}, lambda: (b"up 1\n", "text/plain"))
    server = HttpServer(app, tmp_path / "none", tmp_path / "none")
    address = server.listen(Address("127.0.0.1", 0))
    running = asyncio.create_task(server.run())
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        yield Door(f"{server.scheme}://{address}", address, urls, clock, problems, storage, client)
    server.stop()
    await running
    await store.close()


async def fetch(door: Door, url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with door.client.request(method, url, headers=names) as response:
        return response.status, await response.read(), response.headers


async def test_a_bundle_comes_whole_with_its_digest_as_etag(door: Door) -> None:
    status, body, headers = await fetch(door, door.url())
    assert (status, body) == (200, CONTENT)
    assert headers["etag"] == f'"{DIGEST}"'
    assert headers["content-type"] == "application/zip"
    assert headers["accept-ranges"] == "bytes"


async def test_head_tells_size_and_etag_without_the_content(door: Door) -> None:
    status, body, headers = await fetch(door, door.url(), "HEAD")
    assert (status, body) == (200, b"")
    assert headers["content-length"] == str(len(CONTENT))
    assert headers["etag"] == f'"{DIGEST}"'


@pytest.mark.parametrize(
    "asked,start,end",
    [
        ("bytes=0-", 0, len(CONTENT)),
        ("bytes=1000000-", 1_000_000, len(CONTENT)),
        ("bytes=10-19", 10, 20),
        ("bytes=-5", len(CONTENT) - 5, len(CONTENT)),
    ],
)
async def test_a_download_can_be_resumed_anywhere(door: Door, asked: str, start: int, end: int) -> None:
    status, body, headers = await fetch(door, door.url(), range=asked, if_range=f'"{DIGEST}"')
    assert (status, body) == (206, CONTENT[start:end])
    assert headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


async def test_a_resume_of_other_content_gets_the_whole(door: Door) -> None:
    status, body, _ = await fetch(door, door.url(), range="bytes=10-", if_range='"another"')
    assert (status, body) == (200, CONTENT)


async def test_a_range_behind_the_end_cannot_be_served(door: Door) -> None:
    status, _, headers = await fetch(door, door.url(), range=f"bytes={len(CONTENT)}-")
    assert status == 416
    assert headers["content-range"] == f"bytes */{len(CONTENT)}"


async def test_what_the_client_has_is_not_sent_again(door: Door) -> None:
    status, body, _ = await fetch(door, door.url(), if_none_match=f'"{DIGEST}"')
    assert (status, body) == (304, b"")


@pytest.mark.parametrize(
    "spoil", [lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"), lambda url: url.split("?")[0]]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_forged_address_is_refused(door: Door, spoil: Any, method: str) -> None:
    status, body, _ = await fetch(door, spoil(door.url()), method)
    assert status == 403
    if method == "GET":
        assert b'"InvalidSignature"' in body
        assert b"not made by this coordinator" in body


async def test_an_expired_address_is_refused_in_words(door: Door) -> None:
    url = door.url()
    door.clock.advance(60_000)
    status, body, _ = await fetch(door, url)
    assert status == 403
    assert b'"UrlExpired"' in body
    assert b"brings a fresh one" in body


async def test_a_bundle_that_is_gone_is_told(door: Door) -> None:
    status, body, _ = await fetch(door, door.url("cd" * 32))
    assert status == 404
    assert b"not in the coordinator's store any more" in body


@pytest.mark.parametrize("path", ["/bundles/", "/bundles/..%2f..%2fferryman.db", "/nothing", "/bundles/a/b"])
async def test_other_paths_lead_nowhere(door: Door, path: str) -> None:
    status, _, _ = await fetch(door, door.base + path)
    assert status in (403, 404)


async def test_a_request_with_a_large_body_is_answered_without_reading_it(door: Door) -> None:
    reader, writer = await asyncio.open_connection(door.address.host, door.address.port)
    writer.write(
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n" + bytes(100_000)
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 405")
    writer.close()


async def test_live_ready_and_metrics(door: Door) -> None:
    status, body, _ = await fetch(door, door.base + "/healthz")
    assert (status, body) == (200, b'{"status":"ok"}')
    status, body, _ = await fetch(door, door.base + "/readyz")
    assert (status, body) == (200, b'{"status":"ready"}')
    status, body, _ = await fetch(door, door.base + "/metrics")
    assert (status, body) == (200, b"up 1\n")


@pytest.mark.parametrize(
    "problem,shown", [("is recovering", b"is recovering"), ("raise", b"failed; see the log")]
)
async def test_not_ready_says_why_but_no_secret(door: Door, problem: str, shown: bytes) -> None:
    door.problems["engine"] = problem
    status, body, _ = await fetch(door, door.base + "/readyz")
    assert status == 503
    assert shown in body
    assert b"secret" not in body


async def test_slow_clients_hold_nobody_up(door: Door) -> None:
    stalled = []
    for _ in range(50):
        reader, writer = await asyncio.open_connection(door.address.host, door.address.port, limit=1)
        path = door.urls.sign(DIGEST, door.clock.now())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(1)
        stalled.append(writer)
    async with asyncio.timeout(10):
        status, body, _ = await fetch(door, door.url())
    assert (status, body) == (200, CONTENT)
    for writer in stalled:
        writer.transport.abort()


async def test_a_large_bundle_takes_no_memory(door: Door) -> None:
    size = 1 << 30
    digest = "ef" * 32
    path = door.storage.path(digest)
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(size)
    await remember(door, digest, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    received = 0
    async with door.client.get(door.url(digest)) as response:
        async for chunk in response.content.iter_chunked(1 << 20):
            received += len(chunk)
    assert received == size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


async def remember(door: Door, digest: str, size: int) -> None:
    header = UploadHeader(sha256=digest, size_bytes=size, bundle_type=BundleType.TAR)
    await door.storage._remember(header)


async def test_a_port_that_is_taken_is_named(door: Door, tmp_path: Path) -> None:
    second = HttpServer(make_app(no_bundle, {}, lambda: (b"", "")), tmp_path, tmp_path)
    with pytest.raises(SetupError, match=f"cannot listen on {door.address} for HTTP: another process"):
        second.listen(door.address)


@pytest.mark.req("CP-441")
async def test_other_machines_get_https_with_our_certificate(tmp_path: Path) -> None:
    now = Instant(1_700_000_000_000)
    authority = Authority.open(tmp_path, now, 20 * 365 * 86_400_000)
    certificate = ServerCertificate(authority, tmp_path, ["localhost", "127.0.0.1"], 18 * 365 * 86_400_000)
    certificate.renew_if_due(now)
    server = HttpServer(
        make_app(no_bundle, {}, lambda: (b"up 1\n", "text/plain")),
        certificate.certificate_path,
        certificate.key_path,
    )
    address = server.listen(Address("0.0.0.0", 0))
    assert server.scheme == "https"
    running = asyncio.create_task(server.run())
    trusting = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    async with aiohttp.ClientSession() as client:
        url = f"https://127.0.0.1:{address.port}/metrics"
        async with client.get(url, ssl=trusting) as response:
            assert await response.text() == "up 1\n"
        with pytest.raises(aiohttp.ClientError):
            await client.get(url.replace("https", "http"))
        weak = ssl.create_default_context(cadata=authority.certificate_pem.decode())
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers("AES128-GCM-SHA256")
        with pytest.raises(aiohttp.ClientError):
            await client.get(url, ssl=weak)
    server.stop()
    await running
