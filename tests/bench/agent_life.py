"""The agent while nothing happens: what it takes to have one on every machine."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from ferryman.v1 import agents_pb2 as pb
from tests.bench.harness import Figure, Options, row
from tests.support.agent_home import AgentHome
from tests.support.fake_coordinator import FakeCoordinator, run_segment

MIB = 1024.0
SETTLE_SECONDS = 2.0
_AGENTS_OWN = ("DownloadBundle", "Install")
_EVENTS = ("DownloadBundle", "BeforeInstall", "Install", "AfterInstall", "ValidateService")


@asynccontextmanager
async def _idle_agent(
    deployments: int, *, is_packaged: bool = False
) -> AsyncIterator[tuple[AgentHome, float]]:
    """A connected agent that has carried out so many deployments; and the seconds from its start to its Hello.

    is_packaged: all is compiled, without docstrings, as an installer does it (`ferryman_agent.lean`).
    """
    with tempfile.TemporaryDirectory(prefix="bench-agent-") as folder:
        async with FakeCoordinator() as coordinator:
            agent = AgentHome(Path(folder))
            code, printed = await agent.enroll(coordinator)
            assert code == 0, printed
            if is_packaged:
                agent.environ.pop("PYTHONDONTWRITEBYTECODE", None)
                agent.environ |= {"PYTHONOPTIMIZE": "2", "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
                await _deployed(agent, coordinator, 1)
                await agent.close()
            started = time.perf_counter()
            await agent.start()
            try:
                await coordinator.connected(len(coordinator.sessions) + 1)
                seconds = time.perf_counter() - started
                for number in range(deployments):
                    await _deploy(coordinator, number, Path(folder, "target"))
                await asyncio.sleep(SETTLE_SECONDS)
                yield agent, seconds
            finally:
                await agent.close()


async def _deployed(agent: AgentHome, coordinator: FakeCoordinator, deployments: int) -> None:
    await agent.start()
    await coordinator.connected()
    for number in range(deployments):
        await _deploy(coordinator, -1 - number, agent.home / "target")


async def _deploy(coordinator: FakeCoordinator, number: int, target: Path) -> None:
    """A bundle of 20 files from the coordinator's store, unlike any before, and scripts for three events."""
    bundle = _bundle(number, target)
    coordinator.archives[f"/bundles/{number}"] = bundle
    command = run_segment(f"d-{number}", events=_EVENTS, download_url=f"/bundles/{number}")
    command.deployment.revision.bundle.sha256 = hashlib.sha256(bundle).hexdigest()
    command.deployment.revision.bundle.size_bytes = len(bundle)
    coordinator.session.send(run_segment=command)
    status = await coordinator.finished(f"d-{number}/i-1/1/0")
    if status != "SUCCEEDED":
        raise RuntimeError(f"the deployment ended as {status}: {coordinator.story()}")
    # As the real one does when the deployment is over.
    coordinator.session.send(forget=pb.Forget(deployment_id=f"d-{number}"))


def _bundle(number: int, target: Path) -> bytes:
    hooks = {event: [{"location": "say.sh", "timeout": 60}] for event in _EVENTS if event not in _AGENTS_OWN}
    spec = {
        "version": 0.0,
        "os": "linux",
        "files": [{"source": "files", "destination": str(target)}],
        "file_exists_behavior": "OVERWRITE",
        "hooks": hooks,
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("appspec.yml", yaml.safe_dump(spec))
        archive.writestr("say.sh", "#!/bin/sh\necho said\n")
        for name in range(20):
            archive.writestr(f"files/file-{name}", f"{name} of {number}\n" * 50)
    return packed.getvalue()


def _memory(pid: int) -> dict[str, float]:
    """MiB: resident, private (written to or not), and private that was written to."""
    found: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        found[name.rstrip(":")] = int(value) / MIB
    return {
        "rss_mib": found["Rss"],
        "private_mib": found["Private_Clean"] + found["Private_Dirty"],
        "private_dirty_mib": found["Private_Dirty"],
    }


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@row("agent.idle_memory", what="idle agent, connected: resident memory", unit="MiB", budget=45)
async def idle_memory(options: Options) -> Figure:
    async with _idle_agent(0) as (agent, _):
        found = _memory(agent.pid)
        return Figure(value=found["rss_mib"], details={**found})


@row(
    "agent.idle_memory_after_100",
    what="idle agent after 100 deployments of 20 files and three scripts: resident memory",
    unit="MiB",
    budget=45,
)
async def idle_memory_after_work(options: Options) -> Figure:
    async with _idle_agent(5 if options.quick else 100) as (agent, _):
        found = _memory(agent.pid)
        return Figure(value=found["rss_mib"], details={**found})


@row(
    "agent.packaged_memory",
    what="idle agent compiled without docstrings, as packages have it: resident memory",
    unit="MiB",
    budget=45,
)
async def packaged_memory(options: Options) -> Figure:
    async with _idle_agent(0, is_packaged=True) as (agent, seconds):
        found = _memory(agent.pid)
        return Figure(value=found["rss_mib"], details={**found, "start_s": seconds})


@row(
    "agent.packaged_memory_after_100",
    what="the same after 100 deployments of 20 files and three scripts",
    unit="MiB",
    budget=45,
)
async def packaged_memory_after_work(options: Options) -> Figure:
    async with _idle_agent(5 if options.quick else 100, is_packaged=True) as (agent, _):
        found = _memory(agent.pid)
        return Figure(value=found["rss_mib"], details={**found})


@row("agent.idle_private", what="idle agent: memory that it alone has written to", unit="MiB", budget=20)
async def idle_private(options: Options) -> Figure:
    async with _idle_agent(0) as (agent, _):
        found = _memory(agent.pid)
        return Figure(value=found["private_dirty_mib"], details={**found})


@row("agent.idle_cpu", what="idle agent: share of one core", unit="%", budget=0.1)
async def idle_cpu(options: Options) -> Figure:
    seconds = 5.0 if options.quick else 60.0
    async with _idle_agent(0) as (agent, _):
        before = _cpu_seconds(agent.pid)
        await asyncio.sleep(seconds)
        return Figure(value=100 * (_cpu_seconds(agent.pid) - before) / seconds)


@row("agent.start", what="agent: from its start to its Hello", unit="s", budget=0.4)
async def start(options: Options) -> Figure:
    taken = []
    for _ in range(1 if options.quick else 5):
        async with _idle_agent(0) as (_, seconds):
            taken.append(seconds)
    return Figure(value=min(taken), details={"slowest_s": max(taken)})
