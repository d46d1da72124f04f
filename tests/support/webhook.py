"""A web server on loopback that takes messages, or misbehaves as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

PATIENCE_SECONDS = 20.0

OK = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


def answer(status: int, text: str = "", *headers: str) -> bytes:
    """A whole answer with that status."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(text)}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + text).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[Received], bytes | None]
"""What is answered: b"" closes the connection without a word, None leaves it hanging."""


class WebhookServer:
    """Keeps what it got. `behave` may be changed at any time."""

    def __init__(self, behave: Behaviour = lambda received: OK) -> None:
        self.behave = behave
        self.got: list[Received] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._hanging = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self) -> None:
        """Listens; on the same port as before, if it did."""
        self._hanging = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """From now on connections are refused."""
        if self._server is not None:
            self._hanging.set()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def wait_for(self, count: int) -> list[Received]:
        """Until so many requests have come; all of them."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.got) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.got

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
            body = await reader.readexactly(int(headers.get("Content-Length", "0")))
            received = Received(path=head[0].split(" ")[1], headers=headers, body=body)
            said = self.behave(received)
            self.got.append(received)
            self._changed.set()
            if said is None:
                await self._hanging.wait()
            elif said:
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def webhook_server(behave: Behaviour = lambda received: OK) -> AsyncIterator[WebhookServer]:
    """One that listens already."""
    server = WebhookServer(behave)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
