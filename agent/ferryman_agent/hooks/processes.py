"""What /proc says about processes: groups, descendants, start times, and who holds a pipe open.

psutil knows neither process groups nor start times in ticks, and asks for more files than these questions need.
Without /proc every answer is empty.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LONGEST_STAT = 4096  # 52 numbers and a name of 16 bytes


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment. `started_at_ticks` counts clock ticks since boot."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started_at_ticks: int

    @property
    def is_alive(self) -> bool:
        """A zombie only waits to be reaped: it can neither do anything nor be ended."""
        return self.state not in ("Z", "X", "x")


@functools.cache
def boot_id() -> str:
    """What tells this boot from every other one; empty where the system does not say."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def read(pid: int) -> Process | None:
    """The process with this number, None when there is none."""
    try:
        descriptor = os.open(f"{_PROC}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(descriptor, _LONGEST_STAT)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # The command's name, in parentheses, may itself hold blanks and parentheses.
    fields = line[line.rfind(b")") + 2 :].split()
    return Process(
        pid=pid,
        state=fields[0].decode("ascii"),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started_at_ticks=int(fields[19]),
    )


def snapshot() -> list[Process]:
    """All processes that are alive."""
    return [found for pid in _pids() if (found := read(pid)) is not None and found.is_alive]


def descendants(of: Collection[int], among: Iterable[Process]) -> list[Process]:
    """The children of the processes `of`, their children, and so on; without `of` themselves.

    A process whose parents have all ended belongs to init and is not found.
    """
    children: dict[int, list[Process]] = {}
    for process in among:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    waiting = list(of)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child.pid not in of:
                found.append(child)
                waiting.append(child.pid)
    return found


def holders(pipes: Iterable[int]) -> list[int]:
    """Numbers of the other processes that have one of these pipes open: our descriptors of them are given.

    Processes of other users are seen by root only.
    """
    wanted = {f"pipe:[{os.fstat(descriptor).st_ino}]" for descriptor in pipes}
    return [pid for pid in _pids() if pid != os.getpid() and not wanted.isdisjoint(_open_files(pid))]


def has_variable(pid: int, name: str) -> bool:
    """Whether the process was started with this environment variable; False when it cannot be told."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return any(entry.startswith(name.encode() + b"=") for entry in environment.split(b"\0"))


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir(_PROC) if name.isdigit()]
    except OSError:
        return []


def _open_files(pid: int) -> set[str]:
    folder = f"{_PROC}/{pid}/fd"
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"{folder}/{name}"))
    return found
