"""What an agent that died left running, and what only looks like it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ferryman_agent.hooks import posix, processes
from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.hooks.ending import end_leftovers, survivors
from tests.support.hook_runs import gone, is_running

MARK_VARIABLE = {"FERRYMAN_DEPLOYMENT_DIR": "/x"}


class Leftover:
    """A process in a session of its own that nobody of us waits for, as after a crash; reaped here for tidiness."""

    def __init__(self, text: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"echo up; {text}"],
            env={"PATH": os.environ["PATH"], **variables},
            start_new_session=True,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        found = processes.read(self.process.pid)
        assert found is not None
        self.mark = ProcessMark(
            pid=found.pid,
            process_group=found.group,
            started_at_ticks=found.started_at_ticks,
            boot_id=processes.boot_id(),
        )

    def read_pid(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.mark.process_group, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def left() -> Iterator[list[Leftover]]:
    found: list[Leftover] = []
    yield found
    for leftover in found:
        leftover.end()


def leave(left: list[Leftover], text: str, **variables: str) -> Leftover:
    left.append(Leftover(text, **variables))
    return left[-1]


@pytest.mark.req("AG-137", "V2-008")
async def test_a_running_script_is_ended_with_its_group(left: list[Leftover]) -> None:
    found = leave(left, "sleep 1000 & echo $!; wait")
    child = found.read_pid()
    assert await end_leftovers(found.mark)
    assert not is_running(found.mark.pid)
    await gone(child)


@pytest.mark.req("AG-137", "V2-239")
async def test_one_that_ignores_term_is_killed(left: list[Leftover]) -> None:
    found = leave(left, "trap '' TERM; echo 1; while :; do sleep 0.05; done")
    found.read_pid()
    assert await end_leftovers(found.mark, grace_seconds=0.1)
    assert not is_running(found.mark.pid)


@pytest.mark.req("AG-137")
async def test_a_child_whose_script_is_gone_is_ended(left: list[Leftover]) -> None:
    found = leave(left, "sleep 1000 & echo $!", **MARK_VARIABLE)
    child = found.read_pid()
    found.process.wait()
    assert is_running(child)
    assert await end_leftovers(found.mark)
    await gone(child)


@pytest.mark.req("AG-137", "V2-240")
@pytest.mark.parametrize(
    "change",
    [
        {"started_at_ticks": 1},
        {"boot_id": "another boot"},
        {"boot_id": ""},
        {"process_group": 0},
        {"process_group": 1},
    ],
)
async def test_a_process_that_merely_has_the_number_is_left_alone(
    left: list[Leftover], change: dict[str, object]
) -> None:
    found = leave(left, "sleep 1000", **MARK_VARIABLE)
    assert not await end_leftovers(replace(found.mark, **change))  # type: ignore[arg-type]  # of the fields' types
    assert is_running(found.mark.pid)


@pytest.mark.req("AG-137")
async def test_a_strange_group_under_the_number_is_left_alone(left: list[Leftover]) -> None:
    found = leave(left, "sleep 1000 & echo $!")
    child = found.read_pid()
    found.process.wait()
    assert not await end_leftovers(found.mark)
    assert is_running(child)


async def test_nothing_left_is_nothing_to_do(left: list[Leftover]) -> None:
    found = leave(left, "")
    found.process.wait()
    assert survivors(found.mark) == []
    assert not await end_leftovers(found.mark)


@pytest.mark.req("V2-240")
@pytest.mark.parametrize("group", [0, 1, -1, 2**31, pytest.param(os.getpgrp(), id="own")])
def test_groups_that_are_never_signalled(group: int) -> None:
    with pytest.raises(ValueError, match="refusing"):
        posix.signal_group(group, signal.SIGTERM)


@pytest.mark.req("V2-240")
@pytest.mark.parametrize("pid", [0, 1, pytest.param(os.getpid(), id="own")])
def test_processes_that_are_never_signalled(pid: int) -> None:
    strange = processes.Process(pid=pid, state="S", parent=1, group=5, session=5, started_at_ticks=1)
    with pytest.raises(ValueError, match="refusing"):
        posix.signal_process(strange, signal.SIGTERM)


def test_names_with_parentheses_do_not_confuse(left: list[Leftover]) -> None:
    name = ") R 1 1 1 ("
    found = leave(left, f"printf '%s' '{name}' >/proc/$$/comm; echo 1; read x")
    found.read_pid()
    seen = processes.read(found.mark.pid)
    assert seen is not None
    assert (seen.group, seen.session, seen.parent) == (found.mark.pid, found.mark.pid, os.getpid())
