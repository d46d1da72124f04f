"""Work of the lowest rank: what it may take, how it ends, and that it never holds anything up."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import sys
import threading

import pytest

from ferryman_agent import quiet

IDLE = 3


@pytest.mark.skipif(sys.platform != "linux", reason="ranks of threads are Linux's")
@pytest.mark.req("AG-552")
async def test_only_its_own_thread_steps_back() -> None:
    def ranks() -> tuple[int, int]:
        nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        if platform.machine() != "x86_64":
            return nice, IDLE
        return nice, ctypes.CDLL(None).syscall(252, 1, 0) >> 13

    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert await quiet.in_quiet_thread(ranks, stop=threading.Event()) == (10, IDLE)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


async def test_its_error_is_the_callers() -> None:
    def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await quiet.in_quiet_thread(work, stop=threading.Event())


async def test_a_cancelled_caller_sees_it_end() -> None:
    stop, began, over = threading.Event(), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        stop.wait(20)
        over.set()
        raise ValueError("of no interest")

    task = asyncio.create_task(quiet.in_quiet_thread(work, stop=stop))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stop.is_set()
    assert over.is_set()


async def test_one_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "LEAVE_SECONDS", 0.01)
    answers, began = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        answers.wait(20)

    task = asyncio.create_task(quiet.in_quiet_thread(work, stop=threading.Event()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answers.set()
