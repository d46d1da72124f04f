"""A real HTTP server on loopback that misbehaves to order."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

Answer = Callable[["Server", web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """Serves `data` at every path. `answers` are used up first, one a request; `seen` are the requests."""

    data: bytes = b""
    etag: str = '"v1"'
    port: int = 0
    answers: list[Answer] = field(default_factory=list)
    seen: list[web.Request] = field(default_factory=list)

    def url(self, path: str = "/bundle") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def ranges(self) -> list[str | None]:
        return [request.headers.get("Range") for request in self.seen]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        answer = self.answers.pop(0) if self.answers else whole
        return await answer(self, request)


async def whole(server: Server, request: web.Request) -> web.StreamResponse:
    """What a good server answers, Range and If-Range included."""
    begin = 0
    wanted = request.http_range.start
    if wanted and request.headers.get("If-Range") in (None, server.etag):
        begin = wanted
    if begin >= len(server.data) > 0:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(server.data)}"})
    headers = {"ETag": server.etag}
    if begin:
        headers["Content-Range"] = f"bytes {begin}-{len(server.data) - 1}/{len(server.data)}"
    return web.Response(status=206 if begin else 200, body=server.data[begin:], headers=headers)


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    async def answer(server: Server, request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=code, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return answer


def cut_after(count: int, *, reset: bool = False) -> Answer:
    """Announces everything, sends `count` bytes of it, and hangs up: politely, or by a reset."""

    async def answer(server: Server, request: web.Request) -> web.StreamResponse:
        good = await whole(server, request)
        assert isinstance(good, web.Response)
        body = good.body
        assert isinstance(body, bytes)
        response = web.StreamResponse(status=good.status, headers=good.headers)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[:count])
        transport = request.transport
        assert transport is not None
        if reset:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            transport.abort()
        else:
            transport.close()
        return response

    return answer


def stalls() -> Answer:
    """Sends a little and then nothing."""

    async def answer(server: Server, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(server.data)
        await response.prepare(request)
        await response.write(server.data[:10])
        await asyncio.Event().wait()
        return response

    return answer
