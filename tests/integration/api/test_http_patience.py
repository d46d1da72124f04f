"""Peers who open connections to the HTTP door and let it wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ferryman_coordinator.config import Address
from ferryman_coordinator.http import patience
from ferryman_coordinator.http.app import make_app
from ferryman_coordinator.http.server import HttpServer

GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


class Door:
    def __init__(self, port: int) -> None:
        self.port = port
        self.may_answer = asyncio.Event()
        self.is_asked = asyncio.Event()

    async def get_bundle(self, _request: Request) -> Response:
        self.is_asked.set()
        await self.may_answer.wait()
        return PlainTextResponse("at last")

    async def connect(self, *parts: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"".join(parts))
        return reader, writer


@pytest.fixture
async def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    monkeypatch.setattr(patience, "REQUEST_S", 0.2)
    found = Door(0)
    app = make_app(found.get_bundle, {}, lambda: (b"up 1\n", "text/plain"))
    server = HttpServer(app, tmp_path / "none", tmp_path / "none")
    found.port = server.listen(Address("127.0.0.1", 0)).port
    running = asyncio.create_task(server.run())
    yield found
    server.stop()
    await running


async def is_ended(reader: asyncio.StreamReader) -> bool:
    """Waits for the end of a connection; True when nothing was said before it."""
    try:
        return await asyncio.wait_for(reader.read(), 20) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /healthz", GET[:-2], GET.replace(b"\r\n\r\n", b"\r\ncontent-length: 9\r\n\r\n")[:40]],
)
async def test_a_request_that_does_not_come(door: Door, sent: bytes) -> None:
    reader, writer = await door.connect(sent)
    assert await is_ended(reader)
    writer.close()


async def test_a_request_that_comes_drop_by_drop(door: Door) -> None:
    """Each drop would begin uvicorn's own patience anew."""
    reader, writer = await door.connect(GET)
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
    ended = asyncio.ensure_future(reader.read())
    ticks = 0
    while not ended.done():
        writer.write(GET[ticks : ticks + 1] if ticks < 20 else b"")
        ticks += 1
        await asyncio.wait({ended}, timeout=0.02)
        assert ticks < 500
    assert ended.exception() is not None or ended.result() == b""
    writer.close()


async def test_a_body_that_nobody_wants_and_that_never_ends(door: Door) -> None:
    reader, writer = await door.connect(
        GET.replace(b"\r\n\r\n", b"\r\ncontent-length: 99999999\r\n\r\n"), b"x"
    )
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
    assert await is_ended(reader)
    writer.close()


async def test_an_answer_has_all_time(door: Door) -> None:
    reader, writer = await door.connect(GET.replace(b"/healthz", b"/bundles/x"))
    await door.is_asked.wait()
    later, other = await door.connect(b"GET")
    assert await is_ended(later)
    door.may_answer.set()
    assert (await reader.readuntil(b"at last")).startswith(b"HTTP/1.1 200")
    # And the connection is good for more.
    writer.write(GET)
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
    writer.close()
    other.close()


async def test_requests_one_after_another_without_a_pause(door: Door) -> None:
    reader, writer = await door.connect(GET * 3)
    for _ in range(3):
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
    assert await is_ended(reader)
    writer.close()


async def test_connections_are_counted(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(patience, "REQUEST_S", 60)
    first = [await door.connect(GET) for _ in range(2)]
    for reader, _ in first:
        await reader.readuntil(b"}")
    reader, writer = await door.connect()
    assert await is_ended(reader)
    for _, one in [*first, (reader, writer)]:
        one.close()


async def test_nonsense_costs_no_line_of_the_log(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    for nonsense in (b"\x16\x03\x01\x02\r\n\r\n", b"NO HTTP\r\n\r\n"):
        reader, writer = await door.connect(nonsense)
        await reader.read()
        writer.close()
    assert caplog.records == []
