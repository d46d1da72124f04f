"""Outputs that stay open, and outputs without end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ferryman_agent.core.messages import ScriptErrorCode
from ferryman_agent.hooks.contract import OutputsLeftOpen
from tests.support.agent_clock import ManualAgentClock
from tests.support.hook_runs import HookBench, gone, is_running

LEAVES_A_CHILD = "sleep 1000 & echo $!"


@pytest.fixture
async def children() -> AsyncIterator[list[int]]:
    """Processes that a test leaves behind on purpose."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)
            await gone(pid)


def start_of_peak() -> int:
    """Forget the highest use of memory so far; returns the use of now, in KiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory("VmRSS")


def memory(what: str) -> int:
    found = re.search(rf"{what}:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found[1])


@pytest.mark.req("AG-416", "AG-T63", "AG-419", "AG-S06", "AG-X04")
async def test_detached_the_event_succeeds_with_a_warning_and_the_child_lives(
    bench: HookBench, children: list[int]
) -> None:
    clock = bench.clock = ManualAgentClock(polling=0.05)
    running = asyncio.create_task(bench.run(bench.script("a.sh", LEAVES_A_CHILD)))
    await bench.watcher.until(lambda: bool(bench.watcher.texts))
    children.append(int(bench.watcher.texts[0]))
    await clock.until_sleeping(10)
    clock.advance(10)
    found = await running
    assert found.is_success
    assert re.search(rf"\b{children[0]}\b.*STDOUT and STDERR", found.message)
    assert "</dev/null >/dev/null 2>&1 &" in found.message
    assert f"process {children[0]} still holds" in bench.logged().decode()
    assert is_running(children[0])
    assert bench.watcher.ended == bench.watcher.started


@pytest.mark.req("AG-416")
async def test_a_detached_child_can_go_on_writing_without_us(bench: HookBench, children: list[int]) -> None:
    """More than a pipe holds: without somebody who reads, the child would hang; with a closed pipe, it would die."""
    clock = bench.clock = ManualAgentClock(polling=0.05)
    gate, done = bench.gate(), bench.root / "done"
    text = f"({gate.wait}; head -c 1000000 /dev/zero; echo late; echo $? >{done}) & echo $!"
    running = asyncio.create_task(bench.run(bench.script("a.sh", text)))
    await bench.watcher.until(lambda: bool(bench.watcher.texts))
    children.append(int(bench.watcher.texts[0]))
    await clock.until_sleeping(10)
    clock.advance(10)
    assert (await running).is_success
    gate.open()
    await gone(children[0])
    assert done.read_text() == "0\n"


@pytest.mark.req("AG-415", "V2-241", "V2-242", "AG-T63", "AG-E06", "AG-414")
async def test_in_fail_mode_it_is_code_6_and_the_rest_of_the_group_ends(bench: HookBench) -> None:
    clock = bench.clock = ManualAgentClock(polling=0.05)
    bench.settings = replace(bench.settings, outputs_left_open=OutputsLeftOpen.FAIL, outputs_grace_seconds=3)
    gate = bench.gate()
    text = f"{LEAVES_A_CHILD}; {gate.wait}"
    running = asyncio.create_task(bench.run(bench.script("a.sh", text, timeout_seconds=5)))
    await bench.watcher.until(lambda: bool(bench.watcher.texts))
    child = int(bench.watcher.texts[0])
    await clock.until_sleeping(5)
    clock.advance(1)
    gate.open()
    await clock.until_sleeping(3)
    clock.advance(3)
    found = await running
    assert (found.error_code, found.detail_code) == (ScriptErrorCode.OUTPUTS_LEFT_OPEN, "OUTPUTS_LEFT_OPEN")
    assert found.script_name == "a.sh"
    assert "STDOUT" in found.message
    await gone(child)


@pytest.mark.req("AG-416")
async def test_a_child_that_ends_within_the_grace_is_nothing_to_warn_of(bench: HookBench) -> None:
    bench.clock = ManualAgentClock(polling=0.05)
    gate = bench.gate()
    running = asyncio.create_task(bench.run(bench.script("a.sh", f"({gate.wait}; echo late) & echo early")))
    await bench.watcher.until_line("early")
    gate.open()
    found = await running
    assert found.message == "Succeeded"
    assert bench.watcher.texts == ["early", "late"]


@pytest.mark.req("AG-417")
async def test_a_failure_is_reported_at_once(bench: HookBench, children: list[int]) -> None:
    bench.clock = ManualAgentClock(polling=0.05)
    found = await bench.run(bench.script("a.sh", f"{LEAVES_A_CHILD}; exit 3"))
    children.append(int(bench.watcher.texts[0]))
    assert (found.error_code, found.exit_status) == (ScriptErrorCode.SCRIPT_FAILED, 3)
    assert is_running(children[0])


async def test_a_failing_scripts_own_output_is_not_taken_for_one_left_open(bench: HookBench) -> None:
    script = bench.script("a.sh", "echo out; echo err >&2; exit 3")
    for _ in range(20):
        found = await bench.run(script)
        assert "Warning" not in found.log


@pytest.mark.req("AG-418", "AG-T64", "AG-419", "AG-S06")
async def test_the_redirect_idiom_needs_no_wait(bench: HookBench, children: list[int]) -> None:
    bench.clock = ManualAgentClock(polling=0.05)
    found = await bench.run(bench.script("a.sh", "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"))
    children.append(int(bench.watcher.texts[0]))
    assert found.message == "Succeeded"
    assert is_running(children[0])


@pytest.mark.req("AG-425")
async def test_both_streams_at_once_without_deadlock(bench: HookBench) -> None:
    text = "head -c 3000000 /dev/zero | tr '\\0' 'e' >&2; head -c 3000000 /dev/zero | tr '\\0' 'o'"
    found = await bench.run(bench.script("a.sh", text))
    assert found.is_success
    logged = bench.logged()
    assert logged.count(b"e") >= 3_000_000
    assert logged.count(b"o") >= 3_000_000


@pytest.mark.req("AG-T66", "AG-427", "AG-430", "V2-263", "V2-268")
async def test_64_mib_of_output_in_bounded_memory(bench: HookBench) -> None:
    bench.settings = replace(bench.settings, output_cap_bytes=8 * 1024 * 1024)
    before = start_of_peak()
    found = await bench.run(
        bench.script("a.sh", "yes 0123456789abcdef | head -c 67108864; printf '\\nthe end'")
    )
    grown = memory("VmHWM") - before
    assert found.is_success
    assert grown < 8 * 1024, f"{grown} KiB"
    assert bench.place.scripts_log.stat().st_size < 8 * 1024 * 1024 + 1000
    assert "[stdout]the end\n" in found.log
    assert len(found.log) <= 2047
    assert b"the rest is left out of this log\n" in bench.logged()
    assert bench.logged().endswith(b" s\n")
    assert bench.watcher.dropped > 3_000_000


@pytest.mark.req("AG-T66", "AG-450")
async def test_one_line_of_a_mebibyte(bench: HookBench) -> None:
    found = await bench.run(bench.script("a.sh", "head -c 1048576 /dev/zero | tr '\\0' x; exit 1"))
    assert "xxxxxxxx" in found.log
    assert len(found.log) <= 2047
    assert bench.logged().count(b"[line cut at 64 KiB") == 15


@pytest.mark.req("AG-444", "V2-265", "V2-276")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_full_disk_does_not_fail_the_script(bench: HookBench) -> None:
    log = bench.place.scripts_log
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")
    found = await bench.run(bench.script("a.sh", "echo one; echo two"))
    assert found.is_success
    assert "[stdout]two\n" in found.log


@pytest.mark.req("AG-403", "V2-238", "AG-414", "AG-E06")
async def test_the_scripts_own_limit_ends_the_wait_for_its_outputs_too(bench: HookBench) -> None:
    clock = bench.clock = ManualAgentClock(polling=0.05)
    bench.settings = replace(
        bench.settings, outputs_left_open=OutputsLeftOpen.FAIL, outputs_grace_seconds=100
    )
    text = "sleep 1000 & echo $! $$"
    running = asyncio.create_task(bench.run(bench.script("a.sh", text, timeout_seconds=30)))
    await bench.watcher.until(lambda: bool(bench.watcher.texts))
    child, shell = map(int, bench.watcher.texts[0].split())
    await gone(shell)
    for _ in range(20):
        # Its exit is taken notice of: until then somebody sleeps for as long, for the script itself.
        await asyncio.sleep(0)
    await clock.until_sleeping(30)
    assert not running.done()
    clock.advance(30)
    found = await running
    assert found.error_code is ScriptErrorCode.OUTPUTS_LEFT_OPEN
    assert "STDOUT and STDERR" in found.message
    await gone(child)


@pytest.mark.req("AG-461")
async def test_what_is_masked_is_not_sent_and_stays_on_the_machine(bench: HookBench) -> None:
    masks = (re.compile(r"(?<=token=)\S+"), re.compile(r"\b\d{16}\b"))
    bench.settings = replace(bench.settings, masks=masks)
    text = "echo 'token=abc of 1234567812345678, 123'; echo token=xyz >&2; exit 3"
    found = await bench.run(bench.script("a.sh", text))
    assert sorted(bench.watcher.texts) == ["token=***", "token=*** of ***, 123"]
    assert "[stdout]token=*** of ***, 123\n" in found.log
    assert "[stderr]token=***\n" in found.log
    assert "abc" not in found.log
    assert b"[stdout]token=abc of 1234567812345678, 123\n" in bench.logged()
    assert b"[stderr]token=xyz\n" in bench.logged()
