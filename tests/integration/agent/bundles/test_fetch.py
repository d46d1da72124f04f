"""Downloads over a real connection: resumed, retried, verified, or clearly refused."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from ferryman_agent.bundles.address import shown_url
from ferryman_agent.bundles.fetch import Fetched
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.route import Route
from tests.support.fetching import Fetcher
from tests.support.misbehaving_server import Server, cut_after, stalls, status, whole
from tests.support.small_disk import small_disk

MIB = 1024 * 1024


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    folder = tmp_path / "deployment"
    folder.mkdir()
    return Fetcher(folder)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.req("AG-221", "AG-226", "V2-062", "V2-063", "V2-065", "AG-216")
async def test_a_bundle_arrives_verified_and_private(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(3 * MIB + 17)
    fetched = await fetcher(server.url(), sha256=digest(server.data), size=len(server.data))
    assert fetched == Fetched(len(server.data), digest(server.data), '"v1"')
    assert fetcher.destination.read_bytes() == server.data
    assert stat.S_IMODE(fetcher.destination.stat().st_mode) == 0o600
    assert fetcher.progress[0] == (0, len(server.data))
    assert fetcher.progress[-1] == (len(server.data), len(server.data))
    received = [count for count, _ in fetcher.progress]
    assert received == sorted(received)
    assert os.listdir(fetcher.destination.parent) == ["bundle.tar"]


@pytest.mark.req("AG-222", "AG-T08")
@pytest.mark.parametrize("reset", [True, False])
async def test_a_broken_transfer_goes_on_where_it_stopped(
    server: Server, fetcher: Fetcher, reset: bool
) -> None:
    server.data = os.urandom(5 * MIB)
    server.answers = [cut_after(2 * MIB, reset=reset), cut_after(2 * MIB, reset=reset)]
    await fetcher(server.url(), sha256=digest(server.data))
    assert fetcher.destination.read_bytes() == server.data
    assert server.ranges[0] is None
    # A reset takes what the kernel had not handed over yet with it, perhaps all of it.
    assert reset or server.ranges[1:] == [f"bytes={2 * MIB}-", f"bytes={4 * MIB}-"]
    assert len(server.seen) == 3


@pytest.mark.req("AG-222")
async def test_without_a_digest_it_resumes_only_the_same_version(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(3 * MIB)

    async def changed(one: Server, request: web.Request) -> web.StreamResponse:
        one.data, one.etag = b"new " * MIB, '"v2"'
        return await whole(one, request)

    server.answers = [cut_after(2 * MIB), changed]
    await fetcher(server.url())
    assert fetcher.destination.read_bytes() == b"new " * MIB
    assert server.seen[1].headers["If-Range"] == '"v1"'


@pytest.mark.req("AG-222")
async def test_without_a_digest_and_a_strong_etag_it_begins_again(server: Server, fetcher: Fetcher) -> None:
    server.data, server.etag = os.urandom(3 * MIB), 'W/"weak"'
    server.answers = [cut_after(2 * MIB)]
    await fetcher(server.url())
    assert server.ranges == [None, None]
    assert fetcher.destination.read_bytes() == server.data


@pytest.mark.req("AG-222", "V2-065")
async def test_a_resumed_file_that_is_wrong_is_fetched_once_more(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(2 * MIB)
    part = fetcher.destination.with_name("bundle.tar.part")
    part.write_bytes(b"x" * MIB)
    await fetcher(server.url(), sha256=digest(server.data))
    assert fetcher.destination.read_bytes() == server.data
    assert server.ranges == [f"bytes={MIB}-", None]


@pytest.mark.req("AG-222")
async def test_what_a_killed_agent_had_is_used(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(2 * MIB)
    part = fetcher.destination.with_name("bundle.tar.part")
    part.write_bytes(server.data[:MIB])
    await fetcher(server.url(), sha256=digest(server.data))
    assert server.ranges == [f"bytes={MIB}-"]
    assert fetcher.progress[0] == (MIB, 2 * MIB)
    server.seen.clear()
    fetcher.destination.rename(part)
    await fetcher(server.url(), sha256=digest(server.data))
    assert server.seen == []


async def test_a_range_that_does_not_exist_starts_over(server: Server, fetcher: Fetcher) -> None:
    server.data = b"short"
    fetcher.destination.with_name("bundle.tar.part").write_bytes(b"longer than that")
    await fetcher(server.url(), sha256=digest(b"short"))
    assert fetcher.destination.read_bytes() == b"short"


async def test_a_server_that_ignores_ranges_is_fine(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(2 * MIB)

    async def ignorant(one: Server, request: web.Request) -> web.StreamResponse:
        return web.Response(body=one.data)

    server.answers = [cut_after(MIB), ignorant]
    await fetcher(server.url(), sha256=digest(server.data))
    assert fetcher.destination.read_bytes() == server.data


async def test_a_server_that_sends_another_part_is_not_believed(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(2 * MIB)
    wrong = status(206, server.data[5:], Content_Range=f"bytes 5-{len(server.data) - 1}/{len(server.data)}")
    server.answers = [cut_after(MIB), wrong]
    await fetcher(server.url(), sha256=digest(server.data))
    assert fetcher.destination.read_bytes() == server.data


@pytest.mark.req("V2-065", "AG-221")
async def test_another_digest_names_both_and_is_not_retried(server: Server, fetcher: Fetcher) -> None:
    server.data = b"not what was registered"
    error = await fetcher.refused(server.url(), sha256=digest(b"registered"))
    assert error.detail_code == "BUNDLE_DIGEST_MISMATCH"
    assert digest(server.data) in error.message
    assert digest(b"registered") in error.message
    assert len(server.seen) == 1


@pytest.mark.req("V2-066")
async def test_another_size_is_refused_before_anything_is_read(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x" * 100
    error = await fetcher.refused(server.url(), size=99)
    assert error.detail_code == "BUNDLE_SIZE_MISMATCH"
    assert "100 bytes, expected 99" in error.message


@pytest.mark.req("V2-066", "AG-222")
async def test_a_transfer_that_is_always_cut_short_fails(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(MIB)
    server.answers = [cut_after(1000)] * 9
    error = await fetcher.refused(server.url())
    assert error.detail_code == "BUNDLE_UNREACHABLE"
    assert "4 attempts failed" in error.message
    assert error.message.count("ended early") == 1
    assert len(server.seen) == 4


async def test_progress_earns_new_tries(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(12 * MIB)
    server.answers = [cut_after(int(1.5 * MIB))] * 7
    await fetcher(server.url(), sha256=digest(server.data))
    assert len(server.seen) == 8


@pytest.mark.req("AG-223", "AG-T07", "AG-233", "V2-057")
@pytest.mark.parametrize(
    "code, detail, fact",
    [
        (401, "BUNDLE_FORBIDDEN", "access denied"),
        (403, "BUNDLE_FORBIDDEN", "access denied"),
        (404, "BUNDLE_NOT_FOUND", "no such bundle"),
        (410, "BUNDLE_NOT_FOUND", "no such bundle"),
        (422, "BUNDLE_HTTP", "HTTP 422"),
        (301, "BUNDLE_HTTP", "HTTP 301"),
    ],
)
async def test_what_trying_again_cannot_help_fails_at_once(
    server: Server, fetcher: Fetcher, code: int, detail: str, fact: str
) -> None:
    server.answers = [status(code)]
    error = await fetcher.refused(server.url("/a/b?X-Signature=SECRET"))
    assert (error.detail_code, len(server.seen)) == (detail, 1)
    assert fact in error.message
    assert f"127.0.0.1:{server.port}/a/b" in error.message
    assert "SECRET" not in error.message


@pytest.mark.req("AG-223")
async def test_the_stores_own_code_is_shown_and_nothing_else_of_its_answer(
    server: Server, fetcher: Fetcher
) -> None:
    body = b"<Error><Code>NoSuchKey</Code><StringToSign>SECRET</StringToSign></Error>"
    server.answers = [status(404, body)]
    error = await fetcher.refused(server.url())
    assert "NoSuchKey" in error.message
    assert "SECRET" not in error.message


@pytest.mark.req("AG-222", "AG-232")
@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_what_may_pass_is_tried_again_and_all_answers_are_listed(
    server: Server, fetcher: Fetcher, code: int
) -> None:
    server.data = b"here"
    server.answers = [status(code), status(code)]
    await fetcher(server.url())
    assert len(server.seen) == 3
    server.answers, server.seen = [status(code), status(503)] * 2, []
    fetcher.destination.unlink()
    error = await fetcher.refused(server.url())
    expected = "HTTP 503 (4 times)" if code == 503 else f"HTTP {code}; HTTP 503; HTTP {code}; HTTP 503"
    assert expected in error.message
    assert error.is_retryable


@pytest.mark.req("AG-233")
async def test_the_server_says_how_long_to_wait(server: Server, fetcher: Fetcher) -> None:
    server.data = b"here"
    server.answers = [status(503, Retry_After="7"), status(503, Retry_After="soon")]
    await fetcher(server.url())
    assert fetcher.pauses == [7, 0]


@pytest.mark.req("AG-233")
async def test_a_wait_that_is_longer_than_the_event_fails_at_once(server: Server, fetcher: Fetcher) -> None:
    server.answers = [status(503, Retry_After="99999")]
    error = await fetcher.refused(server.url())
    assert error.detail_code == "BUNDLE_TIMEOUT"
    assert "asks to wait 99999 s" in error.message
    assert fetcher.pauses == []


@pytest.mark.req("AG-224")
async def test_a_server_that_is_not_there_is_named(fetcher: Fetcher) -> None:
    error = await fetcher.refused("http://127.0.0.1:1/bundle?token=SECRET")
    assert error.detail_code == "BUNDLE_UNREACHABLE"
    assert "cannot connect to 127.0.0.1:1" in error.message
    assert "SECRET" not in error.message
    assert fetcher.pauses == [0, 0, 0]


async def test_a_server_that_falls_silent_counts_as_failed(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x" * 1000
    server.answers = [stalls()]
    limits = BundleLimits(retry_pauses=(0,), stall_seconds=0.1, disk_reserve_bytes=0)
    await fetcher(server.url(), limits=limits, sha256=digest(server.data))
    assert len(server.seen) == 2


@pytest.mark.req("AG-222")
async def test_the_budget_ends_everything(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x" * 1000
    server.answers = [stalls()] * 5
    limits = BundleLimits(budget_seconds=0.2, disk_reserve_bytes=0)
    error = await fetcher.refused(server.url(), limits=limits)
    assert error.detail_code == "BUNDLE_TIMEOUT"


async def test_too_large_is_refused_with_and_without_a_length(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x" * 1000

    async def chunked(one: Server, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(one.data)
        return response

    limits = BundleLimits(max_bundle_bytes=999, disk_reserve_bytes=0)
    server.answers = [whole, chunked]
    for _ in range(2):
        assert (await fetcher.refused(server.url(), limits=limits)).detail_code == "BUNDLE_TOO_LARGE"


@pytest.mark.req("AG-231")
async def test_credentials_and_queries_are_never_shown() -> None:
    assert shown_url("https://me:pw@host:8443/a?X-Amz-Signature=1#f") == "https://host:8443/a"


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "gopher://x", "/relative", "http://[bad/x", "https://host:99999/x", "https://host:x/x"],
)
async def test_other_addresses_are_refused(fetcher: Fetcher, url: str) -> None:
    assert (await fetcher.refused(url)).detail_code == "BUNDLE_URL"


async def test_plain_http_from_elsewhere_needs_a_digest(fetcher: Fetcher) -> None:
    error = await fetcher.refused("http://example.invalid/x")
    assert error.detail_code == "BUNDLE_UNVERIFIED"


async def test_a_cancelled_download_keeps_its_part_for_the_next(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(4 * MIB)
    task: asyncio.Task[Fetched]

    async def cancels(one: Server, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": one.etag})
        response.content_length = len(one.data)
        await response.prepare(request)
        await response.write(one.data[: 2 * MIB])
        await fetcher.has(2 * MIB)
        task.cancel()
        return response

    server.answers = [cancels]
    task = asyncio.create_task(fetcher(server.url(), sha256=digest(server.data)))
    with pytest.raises(asyncio.CancelledError):
        await task
    part = fetcher.destination.with_name("bundle.tar.part")
    assert part.read_bytes() == server.data[: 2 * MIB]
    await fetcher(server.url(), sha256=digest(server.data))
    assert server.ranges[1] == f"bytes={2 * MIB}-"


async def test_two_downloads_to_one_place_do_not_mix(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(3 * MIB)
    both = [fetcher(server.url(), sha256=digest(server.data)) for _ in range(2)]
    await asyncio.gather(*both)
    assert fetcher.destination.read_bytes() == server.data
    assert os.listdir(fetcher.destination.parent) == ["bundle.tar"]


@pytest.mark.req("V2-063")
async def test_a_link_in_the_place_of_the_part_is_not_written_through(
    server: Server, fetcher: Fetcher, tmp_path: Path
) -> None:
    server.data = b"data"
    (tmp_path / "precious").write_bytes(b"precious")
    fetcher.destination.with_name("bundle.tar.part").symlink_to(tmp_path / "precious")
    fetcher.destination.symlink_to(tmp_path / "precious")
    await fetcher(server.url())
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert fetcher.destination.read_bytes() == b"data"
    assert not fetcher.destination.is_symlink()


# TLS


@pytest.fixture
async def tls(server: Server) -> AsyncIterator[tuple[trustme.CA, str]]:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield authority, f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.req("AG-234")
async def test_an_untrusted_certificate_is_refused_at_once(
    server: Server, fetcher: Fetcher, tls: Any
) -> None:
    error = await fetcher.refused(f"{tls[1]}/b?sig=SECRET")
    assert error.detail_code == "BUNDLE_CERTIFICATE"
    assert "SECRET" not in error.message
    assert fetcher.pauses == []
    assert server.seen == []


@pytest.mark.req("AG-234")
async def test_redirects_are_followed_but_never_from_https_to_http(
    server: Server, fetcher: Fetcher, tls: Any
) -> None:
    authority, base = tls
    fetcher.route = Route(ca_certificates=authority.cert_pem.bytes().decode())
    server.data = b"data"
    server.answers = [status(302, Location="/elsewhere")]
    await fetcher(f"{base}/b")
    assert [request.path for request in server.seen] == ["/b", "/elsewhere"]
    fetcher.destination.unlink()
    server.answers = [status(302, Location=server.url("/plain"))]
    assert (await fetcher.refused(f"{base}/b")).detail_code == "BUNDLE_REDIRECT"


@pytest.mark.req("AG-234", "AG-H15")
@pytest.mark.parametrize("is_child", [False, True])
async def test_what_the_system_trusts_is_trusted(
    server: Server, tmp_path: Path, tls: Any, monkeypatch: pytest.MonkeyPatch, is_child: bool
) -> None:
    authority, base = tls
    server.data = b"data"
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    folder = tmp_path / "deployment"
    folder.mkdir()
    await Fetcher(folder, is_child=is_child)(f"{base}/b")
    assert (folder / "bundle.tar").read_bytes() == b"data"


# Disk


@pytest.mark.req("AG-215", "V2-074")
async def test_too_little_room_is_said_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    server.data = b"x" * (2 * MIB)
    with small_disk(tmp_path / "disk", MIB) as disk:
        error = await Fetcher(disk).refused(server.url())
    assert error.detail_code == "BUNDLE_DISK_FULL"
    assert str(2 * MIB) in error.message


@pytest.mark.req("AG-249", "AG-T12")
async def test_a_disk_that_fills_up_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.data = b"x" * (2 * MIB)

    async def chunked(one: Server, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(one.data)
        return response

    server.answers = [chunked]
    with small_disk(tmp_path / "disk", MIB) as disk:
        error = await Fetcher(disk).refused(server.url())
    assert error.detail_code == "BUNDLE_DISK_FULL"
    assert "was full" in error.message
