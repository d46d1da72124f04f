"""Real agents of this machine under a real coordinator: many agents at once, and many groups of one agent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ferryman.v1 import types_pb2
from ferryman_client.bundle import Bundle, build_bundle
from ferryman_client.client import Client
from tests.bench.coordinator import deploy, until_succeeded
from tests.bench.harness import Figure, Options, row
from tests.support.fleet import HOOK_EVENTS, Fleet, write_bundle
from tests.support.process_figures import cpu_seconds, figures_of

GROUPS = 16
FILES, FILE_BYTES = 100, 3_200
SCRIPTS = 7
SLEEP_SECONDS = 0.5


def _bundle(folder: Path, name: str, scripts: dict[str, str], destination: str) -> Bundle:
    """A hundred files that differ from revision to revision, and bare scripts: they note nothing."""
    source = folder / f"source-{name}"
    write_bundle(source, {}, _files(name), destination=destination)
    for script in (source / "hooks").iterdir():
        script.write_text(f"#!/bin/sh\n{scripts.get(script.name, '')}\n")
    # Seven scripts in five events, one after the other.
    spec = (source / "appspec.yml").read_text()
    spec = spec.replace("  AfterInstall:\n", "  AfterInstall:\n" + "  - {location: hooks/AfterInstall}\n" * 2)
    (source / "appspec.yml").write_text(spec)
    return build_bundle(source, folder / f"{name}.zip")


def _files(name: str) -> dict[str, str]:
    return {f"f-{number}": f"{name} {number} ".ljust(FILE_BYTES, "x") for number in range(FILES)}


def _cpu_of_agents(fleet: Fleet) -> float:
    return sum(cpu_seconds(agent.process.pid) for agent in fleet.agents if agent.process is not None)


def _by_hand(bundle: Path, folder: Path, machines: int) -> float:
    """Seconds for the same by the shell: unpack, copy and seven scripts for each machine, two machines at a time."""
    script = folder / "bare"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    lines = [
        "import os, subprocess, sys, zipfile",
        f"place = os.path.join({str(folder)!r}, 'by-hand-' + sys.argv[1])",
        f"zipfile.ZipFile({str(bundle)!r}).extractall(place)",
        "subprocess.run(['cp', '-a', place, place + '-installed'], check=True)",
        f"for _ in range({SCRIPTS}): subprocess.run([{str(script)!r}], check=True)",
    ]
    program = folder / "by-hand.py"
    program.write_text("\n".join(lines))
    command = ["xargs", "-P", str(os.cpu_count() or 2), "-I", "{}", "python3", str(program), "{}"]
    started = time.perf_counter()
    subprocess.run(command, input="\n".join(map(str, range(machines))), text=True, check=True)
    return time.perf_counter() - started


@row(
    "fleet.fifty",
    what="100 files and 7 scripts on 50 agents of this machine, order to Succeeded; beside unpacking, cp and 7 scripts",
    unit="s",
    budget=3,
)
async def fifty(options: Options) -> Figure:
    """The CPU of the agents alone, their scripts included, per target: to be 0.06 s at most."""
    return await asyncio.to_thread(_fifty, 5 if options.quick else 50, 1 if options.quick else 3)


def _fifty(agents: int, rounds: int) -> Figure:
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as name:
        folder = Path(name)
        fleet = Fleet(folder, agents=agents)
        try:
            fleet.start()
            times, cpu, coordinator = asyncio.run(_deployed_to_all(fleet, folder, rounds))
            by_hand = min(
                _by_hand(folder / "r-0.zip", _made(folder / f"h-{n}"), agents) for n in range(rounds)
            )
        finally:
            fleet.stop()
    return Figure(
        value=sorted(times)[len(times) // 2],
        reference=by_hand,
        reference_name="s by hand",
        details={
            "agents": agents,
            "slowest_s": max(times),
            "fastest_s": min(times),
            "agent_cpu_s_per_target": min(cpu) / agents,
            "coordinator_cpu_s_per_target": min(coordinator) / agents,
        },
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def _deployed_to_all(
    fleet: Fleet, folder: Path, rounds: int
) -> tuple[Sequence[float], Sequence[float], Sequence[float]]:
    """Seconds from the order to its success, and CPU seconds of agents and coordinator; the first round warms up."""
    times, cpu, coordinator = [], [], []
    assert fleet.coordinator.process is not None
    pid = fleet.coordinator.process.pid
    async with Client(fleet.coordinator.profile) as client:
        for number in range(rounds + 1):
            bundle = _bundle(folder, f"r-{number}", {}, "/srv/app")
            revision = (await client.push("app", bundle)).location
            before, coordinator_before = _cpu_of_agents(fleet), cpu_seconds(pid)
            started = time.perf_counter()
            await until_succeeded(client, await deploy(client, revision, group="all"))
            times.append(time.perf_counter() - started)
            cpu.append(_cpu_of_agents(fleet) - before)
            coordinator.append(cpu_seconds(pid) - coordinator_before)
    return times[1:], cpu[1:], coordinator[1:]


@row(
    "agent.sixteen_groups",
    what="16 groups deploying at once on one agent, a script of 0.5 s in each; beside one group alone",
    unit="s",
    ratio_budget=3,
)
async def sixteen(options: Options) -> Figure:
    """They run side by side (D6): what 16 take is little more than what one takes, not 16 times as much."""
    return await asyncio.to_thread(_sixteen, 1 if options.quick else 3)


def _sixteen(rounds: int) -> Figure:
    with tempfile.TemporaryDirectory(prefix="bench-groups-") as name:
        fleet = Fleet(Path(name), agents=1)
        try:
            fleet.start()
            for number in range(GROUPS):
                fleet.create_group(f"g-{number}")
            alone, together = asyncio.run(_groups(fleet, Path(name), rounds))
            (agent,) = fleet.agents
            assert agent.process is not None
            figures = figures_of(agent.process.pid)
        finally:
            fleet.stop()
    return Figure(
        value=min(together),
        reference=min(alone),
        reference_name="s, one alone",
        details={"slowest_s": max(together), "rss_mib_afterwards": figures.rss_mib, "groups": GROUPS},
    )


async def _groups(fleet: Fleet, folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    alone, together = [], []
    scripts = {HOOK_EVENTS[1]: f"sleep {SLEEP_SECONDS}"}
    async with Client(fleet.coordinator.profile) as client:

        async def one_group(number: int, revision: types_pb2.RevisionLocation) -> None:
            await until_succeeded(client, await deploy(client, revision, group=f"g-{number}"))

        for step in range(rounds):
            revisions = [
                (
                    await client.push("app", _bundle(folder, f"{step}-{number}", scripts, f"/srv/{number}"))
                ).location
                for number in range(GROUPS)
            ]
            one = (await client.push("app", _bundle(folder, f"{step}-one", scripts, "/srv/0"))).location
            started = time.perf_counter()
            await one_group(0, one)
            alone.append(time.perf_counter() - started)
            started = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for number, revision in enumerate(revisions):
                    tasks.create_task(one_group(number, revision))
            together.append(time.perf_counter() - started)
    return alone, together
