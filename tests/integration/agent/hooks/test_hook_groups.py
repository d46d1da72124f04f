"""Scripts in control groups of their own: nothing that they start outlives their end; what they take is measured."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ferryman_agent.core.messages import ScriptErrorCode
from ferryman_agent.hooks import posix, processes
from ferryman_agent.hooks.cgroup import ControlGroup
from ferryman_agent.hooks.cgroup_find import find, own_folder
from ferryman_agent.hooks.cgroup_maker import GroupMaker
from ferryman_agent.hooks.contract import HookSettings, OutputsLeftOpen
from ferryman_agent.hooks.ending import end_leftovers
from ferryman_agent.hooks.environment import own_account
from tests.support.agent_clock import ManualAgentClock
from tests.support.hook_runs import HookBench, gone, is_running

# Forks twice, in a session of its own, and forgets its parents: neither the group nor the descent of a script.
DAEMON = "setsid sh -c '(sh -c \"echo daemon \\$\\$; exec sleep 1000\" {redirect} &) ; exit 0'; echo started; {then}"
TO_NOWHERE = "</dev/null >/dev/null 2>&1"


@pytest.fixture(scope="session")
def groups() -> GroupMaker:
    found = find()
    if not isinstance(found, GroupMaker):
        pytest.skip(f"needs control groups of version 2 that can be written to: {found.reason}")
    return found


@pytest.fixture
async def grouped(tmp_path: Path, groups: GroupMaker) -> AsyncIterator[HookBench]:
    bench = HookBench(root=tmp_path, groups=groups)
    yield bench
    bench.close()
    for _, mark in bench.watcher.started:
        ControlGroup(mark.cgroup).kill()
    await until_empty(bench)
    groups.tidy()


async def until_empty(bench: HookBench) -> None:
    for _, mark in bench.watcher.started:
        for pid in ControlGroup(mark.cgroup).member_pids():
            await gone(pid)


def group_of(bench: HookBench) -> ControlGroup:
    return ControlGroup(bench.watcher.started[-1][1].cgroup)


async def daemon_of(bench: HookBench) -> int:
    await bench.watcher.until(lambda: any(text.startswith("daemon") for text in bench.watcher.texts))
    return int(next(text for text in bench.watcher.texts if text.startswith("daemon")).split()[1])


@pytest.mark.req("V2-236")
async def test_a_script_is_in_its_own_group_from_its_first_instruction_on(grouped: HookBench) -> None:
    found = await grouped.run(grouped.script("a.sh", "cat /proc/self/cgroup"))
    assert found.is_success
    name = os.path.basename(group_of(grouped).path)
    own = next(text for text in grouped.watcher.texts if text.startswith("0::"))
    assert own.endswith(f"/{name}")
    assert own_folder(Path("/proc/self")) == Path(grouped.groups.home.path if grouped.groups else "")
    assert not os.path.exists(group_of(grouped).path)


@pytest.mark.req("AG-408", "V2-236", "AG-407")
async def test_a_daemon_that_detached_itself_ends_with_its_script(grouped: HookBench) -> None:
    clock = grouped.clock = ManualAgentClock(polling=0.05)
    text = DAEMON.format(redirect="", then="exec sleep 1000")
    running = asyncio.create_task(grouped.run(grouped.script("a.sh", text, timeout_seconds=2)))
    daemon = await daemon_of(grouped)
    await grouped.watcher.until_line("started")
    found = processes.read(daemon)
    mark = grouped.watcher.started[0][1]
    assert found is not None
    assert found.group != mark.process_group
    await clock.until_sleeping(2)
    clock.advance(2)
    diagnostics = await running
    assert diagnostics.error_code is ScriptErrorCode.SCRIPT_TIMED_OUT
    assert not is_running(daemon)
    assert not os.path.exists(mark.cgroup)


@pytest.mark.req("AG-408", "V2-239")
async def test_a_daemon_that_ignores_term_is_killed_with_the_group(grouped: HookBench) -> None:
    clock = grouped.clock = ManualAgentClock(polling=0.05)
    inner = "trap '' TERM; echo daemon $$; while :; do sleep 1; done"
    grouped.settings = HookSettings(kill_grace_seconds=0.2)
    grouped.script("daemon.sh", inner)
    text = f"setsid sh -c '({grouped.archive}/daemon.sh &)'; exec sleep 1000"
    running = asyncio.create_task(grouped.run(grouped.script("a.sh", text, timeout_seconds=2)))
    daemon = await daemon_of(grouped)
    await clock.until_sleeping(2)
    clock.advance(2)
    await running
    assert not is_running(daemon)


@pytest.mark.req("AG-416", "AG-418", "AG-419")
async def test_what_a_finished_script_left_in_the_background_lives_on(grouped: HookBench) -> None:
    pids = grouped.root / "pids"
    daemon_text = f"echo \\$\\$ >{pids}; exec sleep 1000"
    text = f"setsid sh -c '(sh -c \"{daemon_text}\" {TO_NOWHERE} &)'; while ! [ -s {pids} ]; do :; done"
    found = await grouped.run(grouped.script("a.sh", text))
    assert found.is_success
    assert grouped.groups is not None
    daemon, group = int(pids.read_text()), group_of(grouped)
    assert is_running(daemon)
    assert daemon in group.member_pids()
    # It takes nothing with it, and its group goes when it has gone.
    grouped.groups.tidy()
    assert os.path.exists(group.path)
    group.kill()
    await gone(daemon)
    await grouped.run(grouped.script("b.sh", ""))
    assert not os.path.exists(group.path)


@pytest.mark.req("V2-242", "AG-415")
async def test_outputs_left_open_can_cost_a_daemon_its_life(grouped: HookBench) -> None:
    clock = grouped.clock = ManualAgentClock(polling=0.05)
    grouped.settings = HookSettings(outputs_left_open=OutputsLeftOpen.FAIL)
    running = asyncio.create_task(
        grouped.run(grouped.script("a.sh", DAEMON.format(redirect="", then="exit 0")))
    )
    daemon = await daemon_of(grouped)
    await clock.until_sleeping(10)
    clock.advance(10)
    found = await running
    assert found.error_code is ScriptErrorCode.OUTPUTS_LEFT_OPEN
    assert not is_running(daemon)


@pytest.mark.req("AG-137", "V2-008", "AG-408")
async def test_an_agent_that_starts_again_finds_a_daemon_by_its_group(
    tmp_path: Path, groups: GroupMaker
) -> None:
    reading, writing = os.pipe()
    script = tmp_path / "a.sh"
    script.write_text("#!/bin/sh\nsetsid sh -c '(sh -c \"echo \\$\\$; exec sleep 1000\" &)'\n")
    script.chmod(0o755)
    child = groups.start(
        lambda: posix.start(
            [script],
            account=own_account(),
            environment={"PATH": os.environ["PATH"]},
            directory=Path("/"),
            stdout=writing,
            stderr=subprocess.DEVNULL,
        )
    )
    os.close(writing)
    with os.fdopen(reading) as lines:
        daemon = int(lines.readline())
        child.reap()
        assert is_running(daemon)
        # Without the group it could not be told from anybody else's process.
        assert not await end_leftovers(replace(child.mark, cgroup=""))
        assert not await end_leftovers(replace(child.mark, boot_id="another boot"))
        assert is_running(daemon)
        assert await end_leftovers(child.mark)
    assert not is_running(daemon)
    assert not os.path.exists(child.mark.cgroup)


@pytest.mark.req("AG-137")
async def test_groups_that_are_not_of_scripts_are_never_ended(groups: GroupMaker) -> None:
    child = subprocess.Popen(["sleep", "1000"])
    own = processes.read(child.pid)
    assert own is not None
    mark = replace(posix.Child(1, posix._mark(child.pid)).mark, cgroup=groups.home.path, started_at_ticks=1)
    try:
        assert not await end_leftovers(mark)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


async def test_empty_groups_of_dead_agents_go_and_those_of_living_ones_stay(groups: GroupMaker) -> None:
    own = processes.read(os.getpid())
    assert own is not None
    dead = groups.base / f"hook-{os.getpid()}-{own.started_at_ticks + 1}-1"
    living = groups.base / f"hook-{os.getpid()}-{own.started_at_ticks}-1000000"
    dead.mkdir()
    living.mkdir()
    try:
        groups.end_abandoned()
        assert not dead.exists()
        assert living.exists()
    finally:
        living.rmdir()


@pytest.mark.req("V2-008", "AG-419")
async def test_a_script_of_a_dead_agent_ends_though_its_journal_does_not_know_it(
    groups: GroupMaker, tmp_path: Path
) -> None:
    text = (
        "import os, sys, subprocess; from pathlib import Path\n"
        "from ferryman_agent.hooks import posix; from ferryman_agent.hooks.cgroup_find import find\n"
        "from ferryman_agent.hooks.environment import own_account\n"
        "groups = find(sys.argv[1])\n"
        "def spawn():\n"
        "    return posix.start(['/bin/sleep', '1000'], account=own_account(), environment={},\n"
        "        directory=Path('/'), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "finished, running = groups.start(spawn), groups.start(spawn)\n"
        "groups.free(finished.group)\n"
        "print(finished.pid, running.pid, finished.group.path, running.group.path, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", text, str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    mine = replace(groups, owner=str(tmp_path))
    finished, running, finished_path, running_path = done.stdout.decode().split()
    try:
        assert is_running(int(running))
        assert groups.end_abandoned() == 0
        assert is_running(int(running))
        assert mine.end_abandoned() == 1
        await gone(int(running))
        assert is_running(int(finished))
    finally:
        ControlGroup(finished_path).kill()
        await gone(int(finished))
        assert mine.end_abandoned() == 0
    assert not os.path.exists(finished_path)
    assert not os.path.exists(running_path)


async def test_what_another_thread_starts_at_that_moment_is_no_part_of_the_script(
    tmp_path: Path, groups: GroupMaker
) -> None:
    strangers: list[subprocess.Popen[bytes]] = []

    def start_both() -> posix.Child:
        # As if it had come between: the other child is started while this process is in the script's group.
        thread = threading.Thread(target=lambda: strangers.append(subprocess.Popen(["sleep", "1000"])))
        thread.start()
        thread.join()
        return posix.start(
            ["/bin/sleep", "1000"],
            account=own_account(),
            environment={},
            directory=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    child = groups.start(start_both)
    try:
        assert child.group is not None
        assert child.group.member_pids() == [child.pid]
        child.group.kill()
        child.reap()
        assert strangers[0].poll() is None
    finally:
        strangers[0].kill()
        strangers[0].wait()
        if child.group is not None:
            groups.free(child.group)


def test_a_group_never_ends_the_agent_that_is_in_it(groups: GroupMaker) -> None:
    text = (
        "import os, sys; from ferryman_agent.hooks.cgroup import ControlGroup\n"
        "group = ControlGroup(sys.argv[1]); group.enter()\n"
        "import subprocess; child = subprocess.Popen(['sleep', '1000'])\n"
        "group.kill(); print(child.wait())"
    )
    folder = groups.base / "no-hook-1"
    folder.mkdir()
    try:
        done = subprocess.run([sys.executable, "-c", text, str(folder)], stdout=subprocess.PIPE, check=False)
    finally:
        folder.rmdir()
    assert (done.returncode, done.stdout) == (0, b"-9\n")


async def test_where_a_group_cannot_be_made_scripts_run_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = GroupMaker(base=tmp_path / "nowhere", home=ControlGroup(str(tmp_path)))
    bench = HookBench(root=tmp_path, groups=broken)
    found = await bench.run(bench.script("a.sh", "echo up"), bench.script("b.sh", "echo too"))
    assert found.is_success
    assert bench.watcher.texts == ["up", "too"]
    assert bench.watcher.started[0][1].cgroup == ""
    bench.close()


async def test_where_a_group_cannot_be_entered_scripts_run_without(tmp_path: Path) -> None:
    # Plain folders: there is no cgroup.procs to write to.
    broken = GroupMaker(base=tmp_path, home=ControlGroup(str(tmp_path)))
    bench = HookBench(root=tmp_path, groups=broken)
    found = await bench.run(bench.script("a.sh", "echo up"))
    assert found.is_success
    assert bench.watcher.started[0][1].cgroup == ""
    assert not list(tmp_path.glob("hook-*"))
    bench.close()


BUSY = "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done"


@pytest.fixture(params=["group", "alone"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HookBench]:
    """With control groups and without."""
    made = request.getfixturevalue("groups") if request.param == "group" else None
    bench = HookBench(root=tmp_path, groups=made)
    yield bench
    bench.close()


@pytest.mark.req("V2-252")
async def test_cpu_time_is_measured_and_added_up(either: HookBench) -> None:
    once = (await either.run(either.script("a.sh", BUSY))).usage
    twice = (
        await either.run(either.script("a.sh", f"({BUSY}) & {BUSY}; wait"), either.script("b.sh", BUSY))
    ).usage
    assert once is not None
    assert twice is not None
    assert once.cpu_ms is not None
    assert twice.cpu_ms is not None
    assert 5 < once.cpu_ms < 5000
    assert twice.cpu_ms > once.cpu_ms


async def test_a_script_over_its_limit_is_measured_too(grouped: HookBench) -> None:
    clock = grouped.clock = ManualAgentClock(polling=0.05)
    text = f"{BUSY}; echo up; exec sleep 1000"
    running = asyncio.create_task(grouped.run(grouped.script("a.sh", text, timeout_seconds=2)))
    await grouped.watcher.until_line("up")
    await clock.until_sleeping(2)
    clock.advance(2)
    found = await running
    assert found.usage is not None
    assert found.usage.cpu_ms is not None
    assert found.usage.cpu_ms > 5


async def test_the_peak_of_a_large_process_is_measured(either: HookBench) -> None:
    # Of a process that was never larger than this one's peak, nothing can be told.
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 100 * 2**20
    python = f"exec {sys.executable} -c 'x = bytearray({size}); x[::4096] = b\"1\" * len(x[::4096])'"
    found = await either.run(either.script("a.sh", python))
    assert found.is_success, found
    assert found.usage is not None
    assert found.usage.peak_memory_bytes is not None
    assert size < found.usage.peak_memory_bytes < size + 100 * 2**20


async def test_a_peak_below_the_agents_own_says_nothing(tmp_path: Path) -> None:
    """The child was one with us until it became the script: the system counts our memory as its."""
    bench = HookBench(root=tmp_path)
    found = await bench.run(bench.script("a.sh", "exit 0"))
    assert found.usage is not None
    assert found.usage.peak_memory_bytes is None
    bench.close()


@pytest.mark.req("V2-252")
@pytest.mark.skipif(os.geteuid() != 0, reason="as another user than root's own")
async def test_limits_that_processes_have_by_themselves(open_bench: HookBench, other_user: object) -> None:
    open_bench.settings = HookSettings(open_files_max=77, tasks_max=55)
    user = getattr(other_user, "pw_name")  # noqa: B009  # of a type that the fixture hides
    found = await open_bench.run(
        open_bench.script(
            "a.sh", "ulimit -n; ulimit -Hn; exec grep -h 'Max processes' /proc/self/limits", runas=user
        )
    )
    assert found.is_success, found
    assert open_bench.watcher.texts[:2] == ["77", "77"]
    assert open_bench.watcher.texts[2].split()[2:4] == ["55", "55"]


@pytest.mark.req("V2-252", "AG-392")
async def test_without_settings_a_script_has_what_the_agent_has(bench: HookBench) -> None:
    found = await bench.run(bench.script("a.sh", "exec cat /proc/self/limits"))
    assert found.is_success
    assert bench.watcher.texts == Path("/proc/self/limits").read_text().splitlines()
    priority = await bench.run(bench.script("b.sh", "echo $(($(cut -d' ' -f19 /proc/self/stat)))"))
    assert priority.is_success
    assert bench.watcher.texts[-1] == str(os.getpriority(os.PRIO_PROCESS, 0))
