"""One HTTP request of a sink, against real servers on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from ferryman_coordinator.notices.post import Request, post
from tests.support.webhook import answer, webhook_server


def request(url: str, **settings: Any) -> Request:
    return Request(**{"url": url, "body": b"{}", "headers": {}, "timeout_ms": 5_000, **settings})


@asynccontextmanager
async def tls_server(authority: trustme.CA) -> AsyncIterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/"


async def test_the_other_end_must_have_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    async with tls_server(authority) as url:
        assert await post(request(url, ca_file=str(trusted))) is None
        failure = await post(request(url))
        assert failure is not None
        assert "certificate verify failed" in failure.reason
        failure = await post(request(url, ca_file=str(tmp_path / "none.pem")))
        assert failure is not None
        assert "cannot read the certificates" in failure.reason


async def test_a_name_that_leads_to_a_metadata_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lookup(*_given: object, **_options: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]

    # What a hostile name server would say.
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)
    failure = await post(request("http://innocent.example.org/latest/meta-data"))
    assert failure is not None
    assert "innocent.example.org is refused: 169.254.169.254 is a link-local or metadata address" in (
        failure.reason
    )


async def test_a_metadata_address_itself_is_refused_unseen() -> None:
    for url in ("http://169.254.169.254/", "http://[fe80::1]/", "http://0.0.0.0:1/"):
        failure = await post(request(url))
        assert failure is not None
        assert "cannot send to" in failure.reason


async def test_a_proxy_gets_the_request() -> None:
    async with webhook_server() as proxy:
        proxied = request("http://sink.example.org/hook", proxy=f"http://127.0.0.1:{proxy.port}")
        assert await post(proxied) is None
        assert proxy.got[0].path == "http://sink.example.org/hook"


async def test_an_answer_is_read_no_further_than_is_needed() -> None:
    async with webhook_server(lambda received: answer(500, "x" * 1_000_000)) as server:
        failure = await post(request(server.url))
        assert failure is not None
        assert len(failure.reason) < 300


async def test_one_time_out_covers_everything() -> None:
    async with webhook_server(lambda received: None) as server:
        failure = await post(request(server.url, timeout_ms=200))
        assert failure is not None
        assert failure.reason == "127.0.0.1 did not answer within 0.2 s"


async def test_an_answer_can_ask_for_patience() -> None:
    async with webhook_server(lambda received: answer(429, "", "Retry-After: 30")) as server:
        failure = await post(request(server.url))
        assert failure is not None
        assert (failure.is_sink_down, failure.retry_after_ms) == (True, 30_000)
        server.behave = lambda received: answer(503, "", "Retry-After: 999999999999")
        failure = await post(request(server.url))
        assert failure is not None
        assert failure.retry_after_ms == 3_600_000
        server.behave = lambda received: answer(503, "", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT")
        failure = await post(request(server.url))
        assert failure is not None
        assert failure.retry_after_ms == 0


@pytest.mark.parametrize("status, is_sink_down", [(400, False), (413, False), (401, True), (404, True)])
async def test_what_an_answer_says_about_other_messages(status: int, is_sink_down: bool) -> None:
    async with webhook_server(lambda received: answer(status)) as server:
        failure = await post(request(server.url))
        assert failure is not None
        assert failure.is_sink_down is is_sink_down
