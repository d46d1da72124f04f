"""One agent for each PID directory: lock, PID file, and who holds them (AG-019 … AG-023, V2-290, V2-291)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ferryman_agent.errors import AgentError, ConfigError
from ferryman_agent.files.plain import open_plain
from ferryman_agent.hooks.native_processes import processes
from ferryman_agent.system import fcntl, fs

PID_MODE = 0o644
LOCK_MODE = 0o600
"""Whoever can read a file can lock it, and keep the agent from starting."""
_LOCK_BYTES = 256


_NOT_BY_LINK = fs.O_NOFOLLOW


class AlreadyRunning(AgentError):
    """Another process holds the lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The running agent. `started_at_ticks` and `boot_id` tell it from a later process with its number."""

    pid: int
    started_at_ticks: int
    boot_id: str

    @property
    def is_running(self) -> bool:
        found = processes.read(self.pid)
        return (
            found is not None
            and found.is_alive
            and self.boot_id == processes.boot_id()
            and found.started_at_ticks == self.started_at_ticks
        )


class InstanceLock:
    """Held by the running agent, from `__enter__` to `__exit__`. The kernel lets go of it when the process dies."""

    def __init__(self, pid_path: Path) -> None:
        self._pid_path = pid_path
        self._descriptor = -1

    def __enter__(self) -> InstanceLock:
        """Raises AlreadyRunning, ConfigError."""
        lock_path = _lock_path(self._pid_path)
        try:
            self._pid_path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._descriptor = fs.open(
                lock_path, fs.O_RDWR | fs.O_CREAT | fs.O_CLOEXEC | _NOT_BY_LINK, LOCK_MODE
            )
            fs.fchmod(self._descriptor, LOCK_MODE)
            if fs.geteuid() == 0:
                # It may be of the time when the agent ran as a user.
                fs.fchown(self._descriptor, 0, 0)
        except OSError as error:
            raise ConfigError(
                f"cannot write to the PID directory {self._pid_path.parent} (pid_dir): {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            holder = find(self._pid_path)
            who = f"with PID {holder.pid}" if holder else f"and holds {lock_path}"
            raise AlreadyRunning(f"the agent is already running {who}") from None
        self._say_who()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The lock file stays: removing it would let two processes lock two files of one name.
        with contextlib.suppress(OSError):
            self._pid_path.unlink(missing_ok=True)
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def _say_who(self) -> None:
        own = processes.read(os.getpid())
        ticks = own.started_at_ticks if own else 0
        os.ftruncate(self._descriptor, 0)
        fs.pwrite(self._descriptor, f"{os.getpid()} {ticks} {processes.boot_id()}\n".encode(), 0)
        temporary = self._pid_path.with_name(f".{self._pid_path.name}.{os.getpid()}")
        try:
            temporary.unlink(missing_ok=True)
            descriptor = fs.open(temporary, fs.O_WRONLY | fs.O_CREAT | fs.O_EXCL | fs.O_CLOEXEC, PID_MODE)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
                fs.fchmod(descriptor, PID_MODE)
            temporary.replace(self._pid_path)
        except OSError as error:
            raise ConfigError(f"cannot write the PID file {self._pid_path}: {error.strerror}") from error


def find(pid_path: Path) -> Holder | None:
    """Returns the running agent of this PID directory; None when there is none (AG-021, AG-022).

    Where the agent runs as a user of its own, that user can write anything into its files, and root will signal whom
    they name: processes of others do not count. Raises OSError when the files are there and cannot be read.
    """
    try:
        with open(open_plain(_lock_path(pid_path)), "rb") as file:
            owner = os.fstat(file.fileno()).st_uid
            words = file.read(_LOCK_BYTES).decode("ascii", errors="replace").split()
    except FileNotFoundError:
        return None
    if len(words) != 3 or not words[0].isdecimal() or not words[1].isdecimal() or len(words[0]) > 10:
        return None
    holder = Holder(int(words[0]), int(words[1]), words[2])
    is_own = owner == 0 or _user_of(holder.pid) in (owner, None)
    return holder if is_own and holder.is_running else None


def _user_of(pid: int) -> int | None:
    """Returns whom a process runs as; None where the system does not say."""
    try:
        # Not by the owner of the folder: that is root for every process that forbids core dumps, as the agent does.
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(int(line.split()[2]) for line in lines if line.startswith("Uid:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _lock_path(pid_path: Path) -> Path:
    return pid_path.with_name(f"{pid_path.name}.lock")
