"""Real HTTP servers on loopback that misbehave to order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.support.misbehaving_server import Server


@asynccontextmanager
async def a_server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with a_server() as found:
        yield found


@pytest.fixture
async def elsewhere() -> AsyncIterator[Server]:
    """Another host, as far as credentials are concerned."""
    async with a_server() as found:
        yield found
