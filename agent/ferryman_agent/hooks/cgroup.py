"""One control group (v2) of one script: who is in it, what they took from the machine, what they may take, their end.

Works on the files below one folder. Files that a kernel or a missing controller does not have are no error: what they
would tell is then unknown. Paths are plain strings: this runs for every script.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from dataclasses import dataclass

from ferryman_agent.core.messages import ResourceUsage
from ferryman_agent.hooks import processes
from ferryman_agent.hooks.processes import Process

NAME_START = "hook-"
CPU_PERIOD_USEC = 100_000
LEAST_QUOTA_USEC = 1_000  # the kernel takes no less


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one script with all that it starts may take: bytes, cores, processes and threads. None: no limit."""

    memory_bytes: int | None = None
    cpu_cores: float | None = None
    tasks: int | None = None

    def __bool__(self) -> bool:
        return (self.memory_bytes, self.cpu_cores, self.tasks) != (None, None, None)


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A group by its folder; the controllers that it certainly lacks are not looked for."""

    path: str
    has_memory: bool = True
    has_io: bool = True

    def enter(self) -> None:
        """Move the calling process, all its threads, in here. Raises OSError."""
        self.write("cgroup.procs", "0")

    def member_pids(self) -> list[int]:
        """Who is in it, zombies aside; nobody where there is no such group (any more)."""
        text = self._read("cgroup.procs")
        # 0 stands for a process that our namespace cannot see.
        return [int(pid) for pid in text.split() if pid != "0"]

    def members(self) -> list[Process]:
        """The same, each with what tells it from a later process of its number."""
        found = [processes.read(pid) for pid in self.member_pids() if pid != os.getpid()]
        return [process for process in found if process is not None and process.is_alive]

    def kill(self) -> None:
        """End everybody in it at once, at a moment when nobody can escape by a fork where the kernel can do that.

        Never the calling process, wherever it is. Whoever the kernel was asked to end may be there for a moment still.
        """
        if os.getpid() not in self.member_pids():
            with contextlib.suppress(OSError):  # Linux before 5.14
                self.write("cgroup.kill", "1")
                return
        for pid in self.member_pids():
            if pid not in (1, os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def limit(self, limits: Limits) -> None:
        """Set limits whose controllers are there. Raises OSError."""
        if limits.memory_bytes is not None:
            self.write("memory.max", str(limits.memory_bytes))
            with contextlib.suppress(OSError):
                self.write("memory.swap.max", "0")
            # One process alone ended would leave a script that goes on and says it succeeded.
            with contextlib.suppress(OSError):
                self.write("memory.oom.group", "1")
        if limits.cpu_cores is not None:
            quota = max(round(limits.cpu_cores * CPU_PERIOD_USEC), LEAST_QUOTA_USEC)
            self.write("cpu.max", f"{quota} {CPU_PERIOD_USEC}")
        if limits.tasks is not None:
            self.write("pids.max", str(limits.tasks))

    def unlimit(self) -> None:
        """Lift what `limit` set, for what a script leaves running."""
        for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max"):
            with contextlib.suppress(OSError):
                self.write(name, "max")
        with contextlib.suppress(OSError):
            self.write("memory.oom.group", "0")

    def usage(self) -> ResourceUsage:
        """What all processes took that are or were in it."""
        cpu = self._pairs("cpu.stat").get("usage_usec")
        peak = self._read("memory.peak").strip() if self.has_memory else ""
        kills = self._pairs("memory.events").get("oom_kill") if self.has_memory else None
        io = self._read("io.stat") if self.has_io else ""
        return ResourceUsage(
            peak_memory_bytes=int(peak) if peak.isdigit() else None,
            cpu_ms=None if cpu is None else round(cpu / 1000),
            read_bytes=_io_sum(io, "rbytes"),
            written_bytes=_io_sum(io, "wbytes"),
            out_of_memory_kills=kills,
        )

    def remove(self) -> bool:
        """Remove the empty group; False when somebody is still in it."""
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return False
            raise
        return True

    def _read(self, name: str) -> str:
        try:
            descriptor = os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            text = b""
            while block := os.read(descriptor, 64 * 1024):
                text += block
            return text.decode("ascii", "replace")
        except OSError:
            return ""
        finally:
            os.close(descriptor)

    def write(self, name: str, text: str) -> None:
        """Say something to one of its files. Raises OSError."""
        descriptor = os.open(f"{self.path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode("ascii"))
        finally:
            os.close(descriptor)

    def _pairs(self, name: str) -> dict[str, int]:
        """A file of `name number` lines."""
        words = [line.split() for line in self._read(name).splitlines()]
        return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}


def _io_sum(text: str, name: str) -> int | None:
    """Sum of one figure over all devices of an `io.stat`; None where there is no such file or it counted nothing."""
    counted = [
        int(value)
        for line in text.splitlines()
        for key, _, value in (word.partition("=") for word in line.split()[1:])
        if key == name and value.isdigit()
    ]
    return sum(counted) if counted else None
