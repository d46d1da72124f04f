"""Answers that no honest server gives: each costs its download at most, in words, and never a wrong bundle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from ferryman_agent.bundles.route import Proxy, Route
from tests.support.connect_proxy import ConnectProxy
from tests.support.fetching import Fetcher
from tests.support.misbehaving_server import Server, cut_after, status


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    folder = tmp_path / "deployment"
    folder.mkdir()
    return Fetcher(folder)


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    """Says these bytes to whoever asks; gives the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/bundle"


def part(data: bytes, *, begin: int, total: int, etag: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A piece of the whole, whatever was asked for."""

    async def answer(server: Server, request: web.Request) -> web.StreamResponse:
        end = begin + len(data) - 1
        headers = {"ETag": etag, "Content-Range": f"bytes {begin}-{end}/{total}"}
        return web.Response(status=206, body=data, headers=headers)

    return answer


@pytest.mark.req("AG-222", "V2-064")
async def test_the_rest_of_another_version_is_never_put_behind_the_first(
    server: Server, fetcher: Fetcher
) -> None:
    """Many a server knows ranges and has never heard of If-Range."""
    old, new = b"a" * 2_000_000, b"b" * 2_000_000
    server.data = old
    server.answers = [
        cut_after(1_200_000),
        part(new[1_200_000:], begin=1_200_000, total=len(new), etag='"v2"'),
    ]
    fetched = await fetcher(server.url())
    content = fetcher.destination.read_bytes()
    assert content in (old, new)
    assert fetched.size_bytes == len(content)


@pytest.mark.req("AG-222", "V2-064")
async def test_a_piece_is_not_taken_for_the_whole(server: Server, fetcher: Fetcher) -> None:
    """A server may send less than was asked for; without digest and size only it says how much there is."""
    data = bytes(range(256)) * 100
    server.data = data
    server.answers = [part(data[:1000], begin=0, total=len(data), etag='"v1"')]
    fetched = await fetcher(server.url())
    assert fetcher.destination.read_bytes() == data
    assert fetched.size_bytes == len(data)
    assert server.ranges == [None, "bytes=1000-"]


@pytest.mark.req("AG-222")
async def test_a_part_with_an_endless_number_is_no_part(server: Server, fetcher: Fetcher) -> None:
    endless = "9" * 5000
    server.data = b"good"
    server.answers = [status(206, b"x", Content_Range=f"bytes {endless}-{endless}/{endless}")]
    await fetcher(server.url())
    assert fetcher.destination.read_bytes() == b"good"


@pytest.mark.req("AG-231")
@pytest.mark.parametrize("location", ["http://[", "//[::1", "https://a]b/", "http://h:port/"])
async def test_a_redirect_to_nowhere_is_said(fetcher: Fetcher, location: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(answer.encode()) as url:
        problem = await fetcher.refused(url, sha256="0" * 64)
    assert problem.detail_code == "BUNDLE_URL"


@pytest.mark.req("AG-231")
@pytest.mark.parametrize("host", [".evil.example", f"{'a' * 70}.example"])
async def test_a_redirect_to_a_name_that_is_none_is_said_behind_a_proxy_too(
    fetcher: Fetcher, host: str
) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: https://{host}/b\r\nContent-Length: 0\r\n\r\n"
    async with ConnectProxy() as proxy, raw_server(answer.encode()) as url:
        fetcher.route = Route(proxy=Proxy(host="127.0.0.1", port=proxy.port))
        problem = await fetcher.refused(url, sha256="0" * 64, pauses=())
    assert problem.detail_code in ("BUNDLE_URL", "BUNDLE_UNREACHABLE")
