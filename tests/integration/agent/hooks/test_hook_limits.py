"""Scripts that do not end by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from typing import Any

import anyio
import pytest

from ferryman_agent.core.messages import Diagnostics, ScriptErrorCode
from ferryman_agent.hooks import processes
from ferryman_agent.hooks.contract import HookSettings
from tests.support.agent_clock import ManualAgentClock
from tests.support.hook_runs import FakeScript, HookBench, gone, is_running

IGNORES_TERM = "trap '' TERM; echo up; while :; do sleep 1; done"


def begin(bench: HookBench, *scripts: FakeScript, **keys: Any) -> asyncio.Task[Diagnostics]:
    return asyncio.create_task(bench.run(*scripts, **keys))


def pid_of(bench: HookBench) -> int:
    return bench.watcher.started[-1][1].pid


def until_orphaned(pid: int, ancestor: int) -> None:
    """Return once `pid` no longer hangs below `ancestor`: its parents are done."""
    while pid in {found.pid for found in processes.descendants({ancestor}, processes.snapshot())}:
        time.sleep(0.01)


@pytest.mark.req("AG-407", "AG-402", "AG-404", "V2-239", "AG-T62", "AG-E03", "AG-S05", "AG-X03")
async def test_a_script_that_ignores_term_is_killed_after_the_grace(bench: HookBench) -> None:
    clock = bench.clock = ManualAgentClock(polling=0.05)
    running = begin(bench, bench.script("a.sh", IGNORES_TERM, timeout_seconds=2))
    await bench.watcher.until_line("up")
    await clock.until_sleeping(2)
    clock.advance(2)
    await clock.until_sleeping(5)
    assert is_running(pid_of(bench))
    assert bench.watcher.ended == []
    clock.advance(5)
    found = await running
    assert not is_running(pid_of(bench))
    assert bench.watcher.ended == bench.watcher.started
    assert (found.error_code, found.detail_code) == (ScriptErrorCode.SCRIPT_TIMED_OUT, "SCRIPT_TIMED_OUT")
    assert found.script_name == "a.sh"
    assert "2 seconds" in found.message
    assert "[stdout]up\n" in found.log


@pytest.mark.req("AG-410", "AG-T62", "AG-X03")
async def test_with_a_background_the_limit_is_reported_at_once(bench: HookBench) -> None:
    clock = bench.clock = ManualAgentClock(polling=0.05)
    async with anyio.create_task_group() as background:
        running = begin(
            bench, bench.script("a.sh", IGNORES_TERM, timeout_seconds=2), background=background.start_soon
        )
        await bench.watcher.until_line("up")
        await clock.until_sleeping(2)
        clock.advance(2)
        found = await running
        assert found.error_code is ScriptErrorCode.SCRIPT_TIMED_OUT
        assert is_running(pid_of(bench))
        await clock.until_sleeping(5)
        assert bench.watcher.ended == []
        clock.advance(5)
    assert not is_running(pid_of(bench))
    assert bench.watcher.ended == bench.watcher.started


@pytest.mark.req("AG-407")
async def test_a_script_may_tidy_up_on_term_and_is_still_heard(bench: HookBench) -> None:
    clock = bench.clock = ManualAgentClock(polling=0.05)
    text = "trap 'echo tidied; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done"
    script = bench.script("a.sh", text, timeout_seconds=2)
    running = begin(bench, script)
    await bench.watcher.until_line("up")
    await clock.until_sleeping(2)
    clock.advance(2)
    found = await running
    assert found.error_code is ScriptErrorCode.SCRIPT_TIMED_OUT
    assert bench.watcher.texts == ["up", "tidied"]


@pytest.mark.req("AG-407", "V2-239")
async def test_the_whole_group_ends(bench: HookBench) -> None:
    clock = bench.clock = ManualAgentClock(polling=0.05)
    text = f'sh -c "{IGNORES_TERM}" & echo child $!; wait'
    bench.settings = HookSettings(kill_grace_seconds=0)
    running = begin(bench, bench.script("a.sh", text, timeout_seconds=2))
    await bench.watcher.until(lambda: len(bench.watcher.texts) == 2)
    child = int(next(text for text in bench.watcher.texts if text.startswith("child")).split()[1])
    await clock.until_sleeping(2)
    clock.advance(2)
    await running
    await gone(child)


@pytest.mark.req("AG-408")
async def test_a_descendant_in_a_session_of_its_own_ends_too(bench: HookBench) -> None:
    clock = bench.clock = ManualAgentClock(polling=0.05)
    text = "setsid sh -c 'echo child $$; exec sleep 1000' & wait"
    running = begin(bench, bench.script("a.sh", text, timeout_seconds=2))
    await bench.watcher.until(lambda: bool(bench.watcher.texts))
    child = int(bench.watcher.texts[0].split()[1])
    await clock.until_sleeping(2)
    clock.advance(2)
    await running
    await gone(child)


async def test_a_daemon_that_left_group_and_parents_is_not_found(bench: HookBench) -> None:
    """The documented limit of ending: it takes a control group for each script to end these."""
    clock = bench.clock = ManualAgentClock(polling=0.05)
    text = "(setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' &); sleep 1000"
    running = begin(bench, bench.script("a.sh", text, timeout_seconds=2))
    await bench.watcher.until(lambda: bool(bench.watcher.texts))
    daemon = int(bench.watcher.texts[0])
    await asyncio.to_thread(until_orphaned, daemon, pid_of(bench))
    await clock.until_sleeping(2)
    clock.advance(2)
    await running
    assert is_running(daemon)
    os.kill(daemon, signal.SIGKILL)
    await gone(daemon)


@pytest.mark.req("AG-405", "AG-409", "AG-T65", "AG-E03", "AG-413")
async def test_the_events_limit_ends_the_second_script(bench: HookBench) -> None:
    clock = bench.clock = ManualAgentClock(polling=0.05)
    gates = {name: bench.gate(name) for name in ("a", "b", "c")}
    scripts = [
        bench.script(f"{name}.sh", f"echo {name}; {gate.wait}", timeout_seconds=2000)
        for name, gate in gates.items()
    ]
    running = begin(bench, *scripts, event_timeout_seconds=3600)
    await bench.watcher.until_line("a")
    await clock.until_sleeping(1600)
    clock.advance(1600)
    await clock.until_sleeping(400)
    clock.advance(300)
    gates["a"].open()
    await bench.watcher.until_line("b")
    await clock.until_sleeping(0.8 * 1700)
    clock.advance(0.8 * 1700)
    await clock.until_sleeping(0.2 * 1700)
    clock.advance(0.2 * 1700)
    found = await running
    assert (found.error_code, found.detail_code) == (ScriptErrorCode.SCRIPT_TIMED_OUT, "EVENT_TIMED_OUT")
    assert found.script_name == "b.sh"
    assert "ApplicationStart" in found.message
    assert "3600" in found.message
    assert [name for name, _ in bench.watcher.started] == ["a.sh", "b.sh"]


@pytest.mark.req("AG-405")
async def test_after_the_events_limit_no_script_starts(bench: HookBench) -> None:
    found = await bench.run(bench.script("a.sh", ""), event_timeout_seconds=0)
    assert (found.error_code, found.detail_code) == (ScriptErrorCode.SCRIPT_TIMED_OUT, "EVENT_TIMED_OUT")
    assert bench.watcher.started == []


@pytest.mark.req("V2-257", "AG-128")
async def test_cancel_ends_the_running_script(bench: HookBench) -> None:
    running = begin(bench, bench.script("a.sh", "echo up; sleep 1000"), bench.script("b.sh", "echo b"))
    await bench.watcher.until_line("up")
    bench.cancel.set()
    found = await running
    assert found.detail_code == "STOPPED"
    assert not found.is_success
    assert "on request" in found.message
    assert not is_running(pid_of(bench))
    assert [name for name, _ in bench.watcher.ended] == ["a.sh"]


async def test_cancelled_before_it_begins_nothing_runs(bench: HookBench) -> None:
    bench.cancel.set()
    found = await bench.run(bench.script("a.sh", ""))
    assert found.detail_code == "STOPPED"
    assert bench.watcher.started == []


@pytest.mark.parametrize("by", ["task", "scope"])
async def test_when_we_are_cancelled_the_script_does_not_go_on(bench: HookBench, by: str) -> None:
    script = bench.script("a.sh", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    bench.settings = replace(bench.settings, kill_grace_seconds=0.1)
    if by == "task":
        running = begin(bench, script)
        await bench.watcher.until_line("up")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(bench.run, script)
            await bench.watcher.until_line("up")
            group.cancel_scope.cancel()
    assert not is_running(pid_of(bench))
    assert bench.watcher.ended == bench.watcher.started


async def test_a_watcher_that_raises_does_not_leave_a_script_behind(
    bench: HookBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(script_name: str, process: object) -> None:
        marks.append(process.pid)  # type: ignore[attr-defined]  # a ProcessMark
        raise OSError("the journal's disk is full")

    marks: list[int] = []
    monkeypatch.setattr(bench.watcher, "script_started", full)
    with pytest.raises(OSError, match="journal"):
        await bench.run(bench.script("a.sh", "sleep 1000"))
    assert not is_running(marks[0])
