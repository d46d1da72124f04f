"""The agent as a process and bundles that it must fetch: stopped, killed, restarted; what it keeps, and what never."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import signal
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import types_pb2 as types
from tests.support.agent_home import AgentHome
from tests.support.fake_coordinator import FakeCoordinator, run_segment
from tests.support.misbehaving_server import Server, stalls, status

COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"
EVENTS = ("DownloadBundle", "BeforeInstall")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


def a_bundle(top: str = "", padding: int = 0) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        bundle.writestr(f"{top}appspec.yml", "version: 0.0\nos: linux\n")
        bundle.writestr(f"{top}padding", os.urandom(padding))
    return packed.getvalue()


def from_store(server: Server, deployment: str = "d-1") -> pb.RunSegment:
    """A command whose bundle has a digest and a size, as the coordinator's own have."""
    command = run_segment(deployment, events=EVENTS, download_url=server.url("/bundles/x"))
    command.deployment.revision.bundle.sha256 = hashlib.sha256(server.data).hexdigest()
    command.deployment.revision.bundle.size_bytes = len(server.data)
    command.deployment.revision.bundle.bundle_type = types.BUNDLE_TYPE_ZIP
    return command


def from_github(server: Server) -> pb.RunSegment:
    command = run_segment(events=EVENTS, download_url=server.url("/tarball"))
    command.deployment.revision.github.CopyFrom(
        types.GitHubLocation(
            repository="acme/web", commit_id=COMMIT, bundle_type=types.BUNDLE_TYPE_ZIP, token_name="ci"
        )
    )
    command.deployment.download_headers["Authorization"] = "token SECRET-TOKEN"
    return command


async def seen(server: Server, count: int) -> None:
    async with asyncio.timeout(30):
        while len(server.seen) < count:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.02)


def everything_written(agent: AgentHome) -> bytes:
    return b"".join(path.read_bytes() for path in agent.home.rglob("*") if path.is_file())


@pytest.mark.req("V2-055", "AG-139")
async def test_a_stop_does_not_wait_for_an_address_that_cannot_be_reached(
    coordinator: FakeCoordinator, agent: AgentHome, server: Server
) -> None:
    server.data = a_bundle()
    server.answers = [status(503)] * 20
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=from_store(server))
    await seen(server, 2)
    asked = time.monotonic()
    assert agent.process is not None
    agent.process.send_signal(signal.SIGTERM)
    assert await agent.ended() == 0
    assert time.monotonic() - asked < 10, "the retries go on for 108 seconds"
    assert coordinator.story() == ["start DownloadBundle"]
    server.answers = []
    await agent.start()
    session = await coordinator.connected(2)
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
    ended = [word for word in coordinator.story() if "DownloadBundle" in word and "start" not in word]
    assert ended == ["SUCCEEDED DownloadBundle"]


async def test_a_small_bundle_comes_over_the_stream_and_loads_no_http_client(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    """The coordinator serves no HTTP here: its Welcome names a port where nobody listens."""
    content = a_bundle(padding=30_000)
    coordinator.archives["/bundles/x?signature=s"] = content
    command = run_segment("d-1", events=(*EVENTS, "Install"), download_url="/bundles/x?signature=s")
    command.deployment.revision.bundle.sha256 = hashlib.sha256(content).hexdigest()
    command.deployment.revision.bundle.size_bytes = len(content)
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=command)
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED", coordinator.story()
    assert coordinator.fetched == ["/bundles/x?signature=s"]
    archive = agent.root / "g-1" / "d-1"
    assert (archive / "bundle.tar").read_bytes() == content
    assert (archive / "deployment-archive" / "padding").stat().st_size == 30_000
    mapped = (Path("/proc") / str(agent.pid) / "maps").read_text()
    for library in ("/_ssl.", "libcrypto", "/_hashlib."):
        assert library not in mapped


async def test_a_small_bundle_that_the_stream_does_not_bring_comes_by_http(
    coordinator: FakeCoordinator, agent: AgentHome, server: Server
) -> None:
    server.data = a_bundle()
    coordinator.http_port = server.port
    coordinator.http_host = "127.0.0.1"
    command = from_store(server)
    command.deployment.download_url = "/bundles/x"
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=command)
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED", coordinator.story()
    assert (coordinator.fetched, len(server.seen)) == (["/bundles/x"], 1)


@pytest.mark.req("V2-141", "AG-231", "V2-001", "AG-236")
async def test_a_token_survives_no_crash_and_its_download_does(
    coordinator: FakeCoordinator, agent: AgentHome, server: Server
) -> None:
    server.data = a_bundle("acme-web-3f78685/")
    server.answers = [stalls()]
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=from_github(server))
    await seen(server, 1)
    await agent.kill()
    assert b"SECRET-TOKEN" not in everything_written(agent)
    await agent.start()
    session = await coordinator.connected(2)
    # Nothing is asked for with half of what it takes.
    await agent.until(lambda: "download.waits" in agent.log())
    assert len(server.seen) == 1
    session.send(run_segment=from_github(server))
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
    assert [one.headers.get("Authorization") for one in server.seen] == ["token SECRET-TOKEN"] * 2
    assert (agent.root / "g-1" / "d-1" / "deployment-archive" / "appspec.yml").exists()
    assert b"SECRET-TOKEN" not in everything_written(agent)


@pytest.mark.req("V2-001", "AG-222", "AG-114")
async def test_killed_while_a_child_fetches_it_goes_on_from_there(
    coordinator: FakeCoordinator, agent: AgentHome, server: Server
) -> None:
    server.data = a_bundle(padding=4 << 20)

    async def half(one: Server, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": one.etag})
        response.content_length = len(one.data)
        await response.prepare(request)
        await response.write(one.data[: 2 << 20])
        await asyncio.Event().wait()
        return response

    server.answers = [half]
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=from_store(server))
    part = agent.root / "g-1" / "d-1" / "bundle.tar.part"
    await agent.until(lambda: part.stat().st_size >= 1 << 20)
    await agent.kill()
    size = part.stat().st_size
    await agent.start()
    await coordinator.connected(2)
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
    assert server.ranges == [None, f"bytes={size}-"]
    assert not part.exists()
    assert coordinator.story().count("SUCCEEDED DownloadBundle") == 1
