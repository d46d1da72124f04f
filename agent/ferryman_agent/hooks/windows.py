"""Starting scripts and ending them on Windows: each in a job object, so that what it starts is known and can be ended.

The original ends the script's process alone when its time is up (AG-536), since Windows has no process groups; what it
had started went on, and the next attempt met it. A job has every process of a script, whoever started it and whether
or not its parents still live, and tells what they all took. There is no TERM to send first: a service and its children
have no console, and so nothing that could be heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferryman_agent.core.messages import ResourceUsage
from ferryman_agent.hooks import windows_command, windows_processes
from ferryman_agent.hooks.contract import HookSettings, ProcessMark
from ferryman_agent.hooks.windows_job import Job

if TYPE_CHECKING:
    from ferryman_agent.hooks.cgroup import ControlGroup
    from ferryman_agent.hooks.environment import Account

_SUSPENDED, _NEW_GROUP, _NO_WINDOW = 0x00000004, 0x00000200, 0x08000000
_FAULT = 0xC0000000
ENDED_BY_US = 1


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended. Windows has one number for all of it: those from 0xC0000000 on are faults."""

    code: int | None = None
    signal: int | None = None

    @property
    def is_success(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        is_fault = self.code is not None and self.code >= _FAULT
        return f"exit status {self.code}" + (f" (0x{self.code:08X})" if is_fault else "")


@dataclass(slots=True)
class Child:
    """A process of ours, and the job that it is in with all that it starts; None where there can be no job."""

    pid: int
    mark: ProcessMark
    process: subprocess.Popen[bytes] = field(repr=False)
    job: Job | None = field(default=None, repr=False)
    group: ControlGroup | None = None
    _usage: ResourceUsage = field(default_factory=ResourceUsage)

    def usage(self) -> ResourceUsage:
        """What it took with all that it started, so far."""
        if self.job is not None:
            self._usage = self.job.usage()
        return self._usage

    def exit_status(self) -> ExitStatus | None:
        """How it ended, None while it runs."""
        code = self.process.poll()
        return None if code is None else ExitStatus(code=code & 0xFFFFFFFF)

    def when_exited(self, call: Callable[[], None]) -> None:
        """Have `call` called once, on the running event loop, when the process has ended."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=_wait_in_thread, args=(self.process, loop, call), daemon=True).start()

    def end_all(self) -> None:
        """End every process of the job at once; without a job, those that hang below the first one."""
        if self.job is not None:
            self.job.end(ENDED_BY_US)
            return
        with contextlib.suppress(OSError):
            self.process.kill()
        for process in windows_processes.below(self.pid):
            windows_processes.end(process)

    def is_anybody_left(self) -> bool:
        """Whether any process of it runs."""
        return self.exit_status() is None or (self.job is not None and self.job.count() > 0)

    def reap(self) -> None:
        """Let the ended process go. What it left running goes on."""
        if self.job is not None:
            self.usage()
            self.job.close()
            self.job = None


def command_of(path: Path, settings: HookSettings) -> str:
    """What starts a script, by its kind."""
    is_compat = settings.powershell_profile
    system_root = os.environ.get("SYSTEMROOT", "C:\\Windows")
    return windows_command.command_line(str(path), system_root, with_profile=is_compat, is_32_bit=is_compat)


def start(
    command: str,
    *,
    account: Account,
    environment: Mapping[str, str],
    directory: Path,
    stdin: int = subprocess.DEVNULL,
    stdout: int,
    stderr: int,
    limits: Mapping[str, int] | None = None,
) -> Child:
    """Start a command in a job of its own, without a window. Only the three outputs are inherited (AG-391).

    The process stands still until it is in the job, so that nothing that it starts can be outside. `account` is the
    agent's own: Windows has no `runas` (AG-537). `limits` are those of POSIX processes, and not kept here; the agent
    says so at its start. Raises OSError when it cannot be started.
    """
    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        close_fds=True,
        cwd=directory,
        env=dict(environment),
        creationflags=_SUSPENDED | _NEW_GROUP | _NO_WINDOW,
    )
    handle = ctypes.c_void_p(int(_handle(process)))
    job = None
    try:
        with contextlib.suppress(OSError):
            # An agent that is in a job itself, on a system that cannot nest them.
            job = Job.holding(handle)
        windows_processes.resume(handle)
    except BaseException:
        process.kill()
        raise
    return Child(process.pid, windows_processes.mark_of(process.pid), process, job)


def _handle(process: Any) -> Any:
    return process._handle  # the standard library has no public name for it


def _wait_in_thread(
    process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, call: Callable[[], None]
) -> None:
    process.wait()
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(call)
