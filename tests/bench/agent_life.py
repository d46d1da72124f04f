"""The agent while nothing happens: what it takes to have one on every machine."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.bench.harness import Figure, Options, row
from tests.support.agent_home import AgentHome
from tests.support.fake_coordinator import FakeCoordinator, run_segment

MIB = 1024.0
SETTLE_SECONDS = 2.0


@asynccontextmanager
async def _idle_agent(deployments: int) -> AsyncIterator[tuple[AgentHome, float]]:
    """A connected agent that has run so many commands; and the seconds from its start to its Hello."""
    with tempfile.TemporaryDirectory(prefix="bench-agent-") as folder:
        async with FakeCoordinator() as coordinator:
            agent = AgentHome(Path(folder))
            code, printed = await agent.enroll(coordinator)
            assert code == 0, printed
            started = time.perf_counter()
            await agent.start()
            try:
                session = await coordinator.connected()
                seconds = time.perf_counter() - started
                for number in range(deployments):
                    agent.place({"BeforeInstall": "echo said"}, f"d-{number}")
                    session.send(run_segment=run_segment(f"d-{number}"))
                    await coordinator.finished(f"d-{number}/i-1/1/0")
                await asyncio.sleep(SETTLE_SECONDS)
                yield agent, seconds
            finally:
                await agent.close()


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
    what="idle agent after 100 deployments of one hook: resident memory",
    unit="MiB",
    budget=45,
)
async def idle_memory_after_work(options: Options) -> Figure:
    async with _idle_agent(5 if options.quick else 100) as (agent, _):
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
