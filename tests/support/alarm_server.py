"""A real HTTP server on loopback, plain or TLS, that answers each path as a test wants, also badly."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class AlarmServer:
    """`answers` by path; `seen` are the requests."""

    base: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[web.BaseRequest] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        answer = self.answers.get(request.path)
        return web.Response(status=404, text="no such path") if answer is None else await answer(request)

    def says(self, path: str, body: Any, status: int = 200) -> None:
        """JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def answer(_request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(body=content, status=status)

        self.answers[path] = answer

    def hangs(self, path: str) -> None:
        """Takes the request and says nothing."""

        async def answer(_request: web.BaseRequest) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        self.answers[path] = answer

    def pours(self, path: str, size: int) -> None:
        """A body of that size, in pieces."""

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(size // 65_536):
                await response.write(b"x" * 65_536)
            return response

        self.answers[path] = answer

    def leads(self, path: str, to: str) -> None:
        async def answer(_request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": to})

        self.answers[path] = answer

    def breaks(self, path: str, times: int) -> None:
        """Ends the connection without an answer so many times; then what was there before."""
        then, left = self.answers[path], [None] * times

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            if not left:
                return await then(request)
            left.pop()
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        self.answers[path] = answer


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[AlarmServer]:
    """A server while the block lasts."""
    server = AlarmServer()
    runner = web.ServerRunner(web.Server(server.handle), handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        opened = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, opened, ssl_context=tls).start()
        scheme = "https" if tls else "http"
        server.base = f"{scheme}://127.0.0.1:{opened.getsockname()[1]}"
        yield server
    finally:
        await runner.cleanup()


def closed_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])
