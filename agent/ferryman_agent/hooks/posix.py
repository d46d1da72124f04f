"""Starting and signalling processes on POSIX systems: another user, an own session, clean descriptors, a way to wait.

Children are waited for by pidfd on the event loop, whichever loop runs: asyncio's child watchers are not used. Its
default on Python 3.11 starts a thread for each child, `PidfdChildWatcher` is deprecated since 3.12 and of no use to
uvloop, and all of them reap the child, after which its process group could no longer be signalled safely.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ferryman_agent.core.messages import ResourceUsage
from ferryman_agent.hooks import processes
from ferryman_agent.hooks.cgroup import ControlGroup
from ferryman_agent.hooks.contract import HookSettings, ProcessMark
from ferryman_agent.hooks.environment import Account

SETPRIV_ABOVE_BYTES = 48 * 1024 * 1024
"""From this size of ours on, `setpriv` changes the user. Setting it in the child makes the standard library fork
instead of vfork, and that copies page tables while the event loop stands still: 1.5 ms at 37 MiB, 3 ms at 69, 20 ms at
549. `setpriv` adds 1 ms to the child's own time and holds us for 0.2 ms, whatever our size."""

_LARGEST_PID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: by itself with `code`, or by `signal`."""

    code: int | None = None
    signal: int | None = None
    dumped_core: bool = False

    @property
    def is_success(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit status {self.code}"
        core = ", core dumped" if self.dumped_core else ""
        return f"signal {signal_name(self.signal)} ({self.signal}{core})"


@dataclass(slots=True)
class Child:
    """A process of ours that leads its own session. It stays a zombie until `reap`, so its group number stays taken."""

    pid: int
    mark: ProcessMark
    group: ControlGroup | None = None
    _pidfd: int | None = field(default=None, repr=False)
    _is_reaped: bool = False
    _usage: ResourceUsage = field(default_factory=ResourceUsage)

    def join(self, group: ControlGroup) -> None:
        """Note that it was started in this control group."""
        self.group = group
        self.mark = replace(self.mark, cgroup=group.path)

    def usage(self) -> ResourceUsage:
        """What it took with all that it started, so far; without a group, of those that it waited for, once reaped."""
        if self.group is None:
            return self._usage
        found = self.group.usage()
        return ResourceUsage(
            peak_memory_bytes=_either(found.peak_memory_bytes, self._usage.peak_memory_bytes),
            cpu_ms=_either(found.cpu_ms, self._usage.cpu_ms),
            read_bytes=_either(found.read_bytes, self._usage.read_bytes),
            written_bytes=_either(found.written_bytes, self._usage.written_bytes),
            out_of_memory_kills=found.out_of_memory_kills,
        )

    def exit_status(self) -> ExitStatus | None:
        """How it ended, None while it runs. Does not reap."""
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        if found.si_code == os.CLD_EXITED:
            return ExitStatus(code=found.si_status)
        return ExitStatus(signal=found.si_status, dumped_core=found.si_code == os.CLD_DUMPED)

    def when_exited(self, call: Callable[[], None]) -> None:
        """Have `call` called once, on the running event loop, when the process has ended."""
        loop = asyncio.get_running_loop()
        try:
            self._pidfd = pidfd = os.pidfd_open(self.pid)
        except OSError:
            # Linux before 5.3, or a sandbox that forbids it.
            threading.Thread(target=_wait_in_thread, args=(self.pid, loop, call), daemon=True).start()
            return

        def exited() -> None:
            loop.remove_reader(pidfd)
            call()

        loop.add_reader(pidfd, exited)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal every process of its group."""
        signal_group(self.mark.process_group, number)

    def reap(self) -> None:
        """Let the ended process go. From here on its numbers may belong to somebody else."""
        if self._is_reaped:
            return
        if self._pidfd is not None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed already
                asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
        _, _, used = os.wait4(self.pid, 0)
        self._is_reaped = True
        self._usage = _measured(used)


def command_of(path: Path, settings: HookSettings) -> list[str | Path]:
    """What starts a script: itself."""
    return [path]


def start(
    arguments: Sequence[str | Path],
    *,
    account: Account,
    environment: Mapping[str, str],
    directory: Path,
    stdin: int = subprocess.DEVNULL,
    stdout: int,
    stderr: int,
    limits: Mapping[str, int] | None = None,
) -> Child:
    """Start a program directly, without a shell, in a session of its own; returns once it has been executed.

    The umask is 0022 (V2-255), no descriptor but 0 to 2 is inherited (AG-391), signals have their default actions.
    A file without `#!` line runs under `/bin/sh` (AG-375). `limits` are resource limits by the names of `prlimit`,
    `nofile` for one; none is ever raised above what this process has. Raises OSError when it cannot be started.

    Not in a thread on purpose: a fork holds the interpreter's lock, and a cancelled thread call would lose the child.
    """

    def spawn(command: Sequence[str | Path], user: Mapping[str, object]) -> Child:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            close_fds=True,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
            umask=0o022,
            **user,  # type: ignore[call-overload]  # three keyword arguments or none
        )
        process.returncode = 0  # we wait for it ourselves; Popen must neither reap it nor complain
        return Child(process.pid, _mark(process.pid))

    as_user, user = _as_user(account)
    prefix = [*_limited(limits or {}), *as_user]
    try:
        return spawn([*prefix, *arguments], user)
    except OSError as error:
        if error.errno != errno.ENOEXEC or _is_binary(Path(arguments[0])):
            raise
        return spawn([*prefix, "/bin/sh", *arguments], user)


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal a process group that may be gone. Never everybody, init's or our own (V2-240): raises ValueError."""
    if not 1 < group <= _LARGEST_PID or group == os.getpgrp():
        raise ValueError(f"refusing to signal process group {group}")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def signal_process(process: processes.Process, number: signal.Signals) -> None:
    """Signal exactly this process, and nobody who has got its number since."""
    if not 1 < process.pid <= _LARGEST_PID or process.pid == os.getpid():
        raise ValueError(f"refusing to signal process {process.pid}")
    with contextlib.suppress(ProcessLookupError):
        try:
            pidfd = os.pidfd_open(process.pid)
        except OSError as error:
            if error.errno == errno.ESRCH:
                return
            pidfd = None  # Linux before 5.3: the check below leaves a gap of microseconds
        try:
            now = processes.read(process.pid)
            if now is None or now.started_at_ticks != process.started_at_ticks:
                return
            if pidfd is None:
                os.kill(process.pid, number)
            else:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            if pidfd is not None:
                os.close(pidfd)


def signal_name(number: int) -> str:
    """SIGTERM for 15; numbers without a name are named by their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _as_user(account: Account) -> tuple[list[str], dict[str, object]]:
    """What goes before the command line, and what goes to Popen, to become `account`."""
    if not account.is_switch:
        return [], {}
    setpriv = shutil.which("setpriv") if _resident_bytes() > SETPRIV_ABOVE_BYTES else None
    if setpriv is None:
        return [], {"user": account.uid, "group": account.gid, "extra_groups": account.groups}
    groups = f"--groups={','.join(map(str, account.groups))}" if account.groups else "--clear-groups"
    return [setpriv, f"--reuid={account.uid}", f"--regid={account.gid}", groups, "--"], {}


def _limited(limits: Mapping[str, int]) -> list[str]:
    """What goes before the command line to set resource limits, before the program's first instruction."""
    if not limits:
        return []
    tool = shutil.which("prlimit")
    if tool is None:
        raise FileNotFoundError(errno.ENOENT, "the limits of hooks need the program 'prlimit' of util-linux")
    own = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1] for name in limits}
    least = {name: value if own[name] < 0 else min(value, own[name]) for name, value in limits.items()}
    return [tool, *(f"--{name}={value}:{value}" for name, value in least.items()), "--"]


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def _mark(pid: int) -> ProcessMark:
    found = processes.read(pid)
    return ProcessMark(
        pid=pid,
        process_group=pid,
        started_at_ticks=found.started_at_ticks if found else 0,
        boot_id=processes.boot_id(),
    )


def _measured(used: resource.struct_rusage) -> ResourceUsage:
    # Until it became the program, the child was one with us: a peak below ours says nothing of the program.
    is_own_peak = used.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return ResourceUsage(
        peak_memory_bytes=used.ru_maxrss * 1024 if is_own_peak else None,
        cpu_ms=round((used.ru_utime + used.ru_stime) * 1000),
        read_bytes=used.ru_inblock * 512,
        written_bytes=used.ru_oublock * 512,
    )


def _either(first: int | None, second: int | None) -> int | None:
    return second if first is None else first


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" in file.read(256)


def _wait_in_thread(pid: int, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(call)
