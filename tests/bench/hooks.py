"""Hooks: what it costs to run trivial ones, and to take in what a talkative one prints."""

from __future__ import annotations

import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ferryman_agent.clock import SystemClock
from ferryman_agent.files.layout import DeploymentDir
from ferryman_agent.hooks.cgroup_find import find
from ferryman_agent.hooks.cgroup_maker import GroupMaker
from ferryman_agent.hooks.contract import HookSettings, OutputLine, ProcessMark
from ferryman_agent.hooks.runner import run_hooks
from ferryman_agent.log import LogSettings, set_up
from tests.bench.harness import Figure, Options, row
from tests.support.hook_runs import HookBench

EVENTS = 7


class _Deaf:
    """A watcher that costs nothing."""

    def script_started(self, script_name: str, process: ProcessMark) -> None: ...

    def script_ended(self, script_name: str, process: ProcessMark) -> None: ...

    def lines(self, script_name: str, lines: Sequence[OutputLine], dropped: int) -> None: ...


async def _run(bench: HookBench, text: str, *, times: int) -> float:
    """Seconds for so many events of one script each, logs included."""
    script = bench.script("a.sh", text)
    clock = SystemClock()
    set_up(LogSettings(log_dir=bench.root), clock)
    run = bench.run_of(
        script,
        deployments_log=bench.deployments_log,
        deployment_dir=DeploymentDir(bench.place.path),
    )
    started = time.perf_counter()
    for _ in range(times):
        found = await run_hooks(
            run,
            settings=HookSettings(),
            clock=clock,
            watcher=_Deaf(),
            cancel=asyncio.Event(),
            groups=bench.groups,
        )
        assert found.is_success, found
    return time.perf_counter() - started


def _bare(path: Path, *, times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        pid = os.posix_spawn(path, [str(path)], {}, setsid=True)
        os.waitpid(pid, 0)
    return time.perf_counter() - started


@row("hooks.seven_events", what="7 events of one trivial script each", unit="ms", budget=20, ratio_budget=2.5)
async def seven_events(options: Options) -> Figure:
    rounds = 3 if options.quick else 60
    found = find()
    groups = found if isinstance(found, GroupMaker) else None
    with tempfile.TemporaryDirectory() as folder:
        bench = HookBench(root=Path(folder), groups=groups)
        await _run(bench, "exit 0", times=EVENTS)
        taken, bare = [], []
        for _ in range(rounds):
            taken.append(await _run(bench, "exit 0", times=EVENTS))
            bare.append(_bare(bench.archive / "a.sh", times=EVENTS))
    middle = rounds // 2
    return Figure(
        value=sorted(taken)[middle] * 1000,
        reference=sorted(bare)[middle] * 1000,
        reference_name="ms posix_spawn",
        details={"control_groups": groups is not None},
    )


@row(
    "hooks.lines",
    what="CPU for a script that prints 200,000 lines (the original: 5.4 s)",
    unit="s",
    budget=0.5,
)
async def lines(options: Options) -> Figure:
    count = 20_000 if options.quick else 200_000
    with tempfile.TemporaryDirectory() as folder:
        bench = HookBench(root=Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF)
        seconds = await _run(bench, f"exec seq -f 'line number %g' {count}", times=1)
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figure(value=cpu, details={"wall_s": round(seconds, 3), "lines": count})
