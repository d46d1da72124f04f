"""Bundles: a large one from HTTP to a verified file beside curl, which verifies nothing, and what many leave behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ferryman_agent.bundles.child_hands import ChildHands
from ferryman_agent.bundles.fetch import fetch
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.route import Route
from ferryman_agent.bundles.transport import Transport
from ferryman_agent.bundles.wanted import Attempt
from tests.bench.harness import Figure, Options, row
from tests.support.agent_home import AgentHome
from tests.support.bundles import APPSPEC, items, make_zip
from tests.support.fake_coordinator import FakeCoordinator, run_segment

MIB = 1 << 20
SERVER = """
import asyncio, sys
from aiohttp import web

async def main():
    app = web.Application()
    app.router.add_static("/", sys.argv[1])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[str]:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(folder), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        port = int(await server.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        await server.wait()


def _made(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            block = os.urandom(MIB)
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


async def _fetched(url: str, sha256: str, place: Path) -> tuple[float, int]:
    """Seconds, the start of the child included, and the most memory that it had, in KiB."""
    hands, peak = ChildHands(), 0

    def heard(received: int, total: int | None) -> None:
        nonlocal peak
        if received == total and hands._process is not None:
            status = Path(f"/proc/{hands._process.pid}/status").read_text()
            peak = int(re.findall(r"VmHWM:\s+(\d+)", status)[0])

    wanted = Attempt(
        url=url, label="bench", destination=str(place), route=Route(), limits=BundleLimits(), sha256=sha256
    )
    started = time.perf_counter()
    try:
        await fetch(wanted, hands=hands, transport=Transport(), retry_pauses=(), on_progress=heard)
    finally:
        await hands.close()
    return time.perf_counter() - started, peak


async def _curled(url: str, place: Path) -> float:
    started = time.perf_counter()
    curl = await asyncio.create_subprocess_exec("curl", "-sS", "-o", str(place), url)
    assert await curl.wait() == 0
    return time.perf_counter() - started


@row(
    "bundle.http",
    what="1 GiB by HTTP to a verified file, in a child process; beside curl without verifying",
    unit="s",
    ratio_budget=1.5,
)
async def bundle_http(options: Options) -> Figure:
    if shutil.which("curl") is None:
        raise RuntimeError("curl is missing: install it (apt-get install curl)")
    size = (64 if options.quick else 1024) * MIB
    rounds = 1 if options.quick else 3
    with tempfile.TemporaryDirectory(prefix="bench-bundle-") as folder:
        place = Path(folder, "out")
        served = Path(folder, "served")
        served.mkdir()
        sha256, small = _made(served / "large", size), _made(served / "small", 16 * MIB)
        ours, theirs = [], []
        async with _served(served) as base:
            _, small_peak = await _fetched(f"{base}/small", small, place)
            for _ in range(rounds):
                theirs.append(await _curled(f"{base}/large", place))
                ours.append(await _fetched(f"{base}/large", sha256, place))
    return Figure(
        value=min(seconds for seconds, _ in ours),
        reference=min(theirs),
        reference_name="curl",
        details={
            "bytes": size,
            "child_peak_kib": max(peak for _, peak in ours),
            "child_peak_kib_16mib": small_peak,
        },
    )


@row(
    "bundle.memory",
    what="agent after 100 deployments of a 10 MiB bundle of 2,500 files: resident memory more than after one",
    unit="MiB",
    budget=3,
)
async def bundle_memory(options: Options) -> Figure:
    with tempfile.TemporaryDirectory(prefix="bench-bundle-") as folder:
        served = Path(folder, "served")
        served.mkdir()
        data = make_zip(items({"appspec.yml": APPSPEC, **{f"f{n}": os.urandom(4096) for n in range(2500)}}))
        (served / "bundle").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        async with _served(served) as base, FakeCoordinator() as coordinator:
            agent = AgentHome(Path(folder, "agent"))
            code, printed = await agent.enroll(coordinator)
            assert code == 0, printed
            await agent.start()
            try:
                session = await coordinator.connected()
                found = []
                for number in range(5 if options.quick else 100):
                    # A group of its own each, so that none finds the bundle of another.
                    command = run_segment(
                        f"d-{number}", f"g-{number}", events=["DownloadBundle"], download_url=f"{base}/bundle"
                    )
                    location = command.deployment.revision.bundle
                    location.sha256, location.size_bytes = sha256, len(data)
                    session.send(run_segment=command)
                    assert await coordinator.finished(command.command_id) == "SUCCEEDED"
                    place = agent.root / f"g-{number}" / f"d-{number}"
                    shutil.rmtree(place / "deployment-archive")
                    (place / "bundle.tar").unlink()
                    found.append(_resident(agent.pid))
            finally:
                await agent.close()
    return Figure(value=(found[-1] - found[0]) / 1024, details={"first_kib": found[0], "last_kib": found[-1]})


def _resident(pid: int) -> int:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
