"""What Windows says about processes; the names of `processes.py`, as far as there is an answer.

A process is told from every other one by its number and the moment of its start, which Windows counts from the year
1601 and never from the boot: it holds over boots as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
from collections.abc import Iterable
from typing import Any

from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.hooks.processes import Process, descendants
from ferryman_agent.system import windows_calls as calls

__all__ = ["Process", "below", "boot_id", "descendants", "end", "holders", "mark_of", "read", "snapshot"]

_QUERY_LIMITED, _TERMINATE, _SYNCHRONIZE = 0x1000, 0x0001, 0x00100000
_SNAP_PROCESSES = 0x2
_SESSION_MANAGER = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"


class _Entry(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("usage", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
        ("heap", ctypes.c_size_t),
        ("module", ctypes.c_uint32),
        ("threads", ctypes.c_uint32),
        ("parent", ctypes.c_uint32),
        ("priority", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("name", ctypes.c_wchar * 260),
    )


@functools.cache
def boot_id() -> str:
    """What tells this boot from every other one: their number, which Windows counts."""
    with contextlib.suppress(OSError, ImportError):
        registry: Any = importlib.import_module("winreg")
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, _SESSION_MANAGER) as key:
            return f"boot-{registry.QueryValueEx(key, 'BootId')[0]}"
    return "boot-unknown"


def read(pid: int) -> Process | None:
    """The process with this number, None when there is none, or it may not be looked at."""
    handle = _opened(pid, _QUERY_LIMITED | _SYNCHRONIZE)
    if handle is None:
        return None
    try:
        times = [ctypes.c_uint64() for _ in range(4)]
        if not _kernel().GetProcessTimes(handle, *(ctypes.byref(each) for each in times)):
            return None
        has_ended = _kernel().WaitForSingleObject(handle, 0) == 0
    finally:
        _kernel().CloseHandle(handle)
    return Process(pid, "X" if has_ended else "R", 0, 0, 0, times[0].value)


def snapshot() -> list[Process]:
    """All processes that are alive, with their parents."""
    found = []
    for pid, parent in _parents():
        process = read(pid)
        if process is not None and process.is_alive:
            found.append(Process(pid, "R", parent, 0, 0, process.started_at_ticks))
    return found


def below(pid: int) -> list[Process]:
    """The children of a process, their children, and so on.

    A number may have been given again: who is older than the one that has its parent's number is no child of that.
    """
    running = {process.pid: process for process in snapshot()}
    own = read(pid)
    since = own.started_at_ticks if own else 0
    return [each for each in descendants({pid}, running.values()) if each.started_at_ticks >= since]


def end(process: Process) -> None:
    """Ends exactly this process, and nobody who has got its number since."""
    handle = _opened(process.pid, _QUERY_LIMITED | _SYNCHRONIZE | _TERMINATE)
    if handle is None:
        return
    try:
        # While it is open the number cannot be given again.
        now = read(process.pid)
        if now is not None and now.started_at_ticks == process.started_at_ticks:
            _kernel().TerminateProcess(handle, 1)
    finally:
        _kernel().CloseHandle(handle)


def resume(handle: ctypes.c_void_p) -> None:
    """Lets a process run that was started standing still. Raises OSError."""
    if calls.library("ntdll").NtResumeProcess(handle) != 0:
        raise OSError("the process cannot be set going")


def mark_of(pid: int) -> ProcessMark:
    """What it takes to recognise a process of ours later."""
    found = read(pid)
    return ProcessMark(
        pid=pid,
        process_group=pid,
        started_at_ticks=found.started_at_ticks if found else 0,
        boot_id=boot_id(),
    )


def holders(pipes: Iterable[int]) -> list[int]:
    """Nobody: Windows does not say who has a pipe open."""
    return []


def _parents() -> list[tuple[int, int]]:
    create = _kernel().CreateToolhelp32Snapshot
    create.restype = ctypes.c_void_p
    made = create(_SNAP_PROCESSES, 0)
    if made is None or made == calls.INVALID_HANDLE:
        return []
    handle, entry, found = ctypes.c_void_p(made), _Entry(size=ctypes.sizeof(_Entry)), []
    try:
        more = _kernel().Process32FirstW(handle, ctypes.byref(entry))
        while more:
            found.append((int(entry.pid), int(entry.parent)))
            more = _kernel().Process32NextW(handle, ctypes.byref(entry))
    finally:
        _kernel().CloseHandle(handle)
    return found


def _opened(pid: int, access: int) -> ctypes.c_void_p | None:
    function = _kernel().OpenProcess
    function.restype = ctypes.c_void_p
    handle = function(access, 0, pid)
    return ctypes.c_void_p(handle) if handle else None


def _kernel() -> Any:
    return calls.library("kernel32")
