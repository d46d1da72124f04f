"""What the runtime hands to the hooks and hears from them: the run, its settings, its watcher, a process's mark.

`run_hooks` is in `runner.py`, `end_leftovers` in `leftovers.py`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ferryman_agent.core.messages import DeploymentDescription, Instant

Background = Callable[[Callable[[], Awaitable[None]]], object]
"""Starts an async function in a task that somebody waits for: with its name, and lets it go on meanwhile."""


class Script(Protocol):
    """One entry under an event in the AppSpec file; `appspec.Script` is one."""

    @property
    def location(self) -> str: ...
    @property
    def timeout_seconds(self) -> float: ...
    @property
    def runas(self) -> str | None: ...
    @property
    def sudo(self) -> bool: ...


class DeploymentPlace(Protocol):
    """Where a deployment's own files are; `layout.DeploymentDir` is one."""

    @property
    def path(self) -> Path: ...
    @property
    def scripts_log(self) -> Path: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRun:
    """One lifecycle event to run.

    `archive` is the unpacked revision whose scripts run, which may be an older one (AG-195); the deployment, its
    directory and its log are always the current one's (AG-201). `previous_archive` is that of the last successful
    revision, `root` the agent's `root_dir`. `deployments_log` is the combined log, None where it is switched off.
    """

    deployment: DeploymentDescription
    lifecycle_event: str
    archive: Path
    scripts: Sequence[Script]
    deployment_dir: DeploymentPlace
    root: Path
    previous_archive: Path | None = None
    event_timeout_seconds: float = 3600
    deployments_log: Path | None = None


class OutputsLeftOpen(StrEnum):
    """What to do with a script that exited with 0 while a child of its holds its output open (AG-K32)."""

    DETACH = "detach"
    FAIL = "fail"


class ScriptCwd(StrEnum):
    """The directory that scripts start in (AG-K35): `/`, the agent's own, or the archive of the script."""

    ROOT = "/"
    AGENT = "agent"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """How hooks run on this machine. Durations are seconds, sizes bytes.

    kill_grace_seconds: between TERM and KILL (V2-239; AG-K31 names 10, V2 and D9 win).
    outputs_grace_seconds: how long an output may stay open after an exit with 0 (AG-416).
    pass_agent_env: scripts inherit the agent's environment, without its secrets, instead of a clean one (V2-233).
    strip_loader_variables: LD_*, PYTHON*, BASH_ENV and their like never reach a script (V2-234).
    output_cap_bytes: of one script's output on disk; what follows is left out and counted (AG-430).
    log_max_bytes, log_files: rotation of `scripts.log` and of the combined log (V2-264).
    install_root: what scripts are told to put before destinations, as FERRYMAN_INSTALL_ROOT.
    live_lines_per_second, live_bytes_per_second: what of one script the watcher hears; the rest is counted (AG-460).
    tasks_max, open_files_max: processes and threads of one script, and files that one process of it may have open;
    None leaves what the agent itself has (V2-252). Limits that take a control group are its maker's.
    powershell_profile: Windows: PowerShell of 32 bits with the profile of its user, as with the original (AG-535).
    core_dumps: False takes the right to leave any, from everything that a script starts too.
    masks: what they match in output is not sent, and stays on disk (AG-461).
    """

    kill_grace_seconds: float = 5
    outputs_left_open: OutputsLeftOpen = OutputsLeftOpen.DETACH
    outputs_grace_seconds: float = 10
    script_cwd: ScriptCwd = ScriptCwd.ROOT
    pass_agent_env: bool = False
    strip_loader_variables: bool = True
    output_cap_bytes: int = 128 * 1024 * 1024
    log_max_bytes: int = 64 * 1024 * 1024
    log_files: int = 8
    install_root: str = "/"
    live_lines_per_second: int = 1000
    live_bytes_per_second: int = 256 * 1024
    tasks_max: int | None = None
    open_files_max: int | None = None
    core_dumps: bool = True
    powershell_profile: bool = False
    masks: tuple[re.Pattern[str], ...] = ()


class Stream(StrEnum):
    """Where a line comes from; AGENT lines are remarks of our own about the script."""

    STDOUT = "stdout"
    STDERR = "stderr"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One line of output, decoded and without control characters. `at` is when it was read."""

    stream: Stream
    text: str
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMark:
    """What it takes to recognise a script's process after the agent died (AG-137).

    `started_at_ticks` is its start in clock ticks since boot: with `boot_id` it tells the process from a later one
    that got the same number. `cgroup` is the folder of its control group, empty where it has none.
    """

    pid: int
    process_group: int
    started_at_ticks: int
    boot_id: str
    cgroup: str = ""


class HookWatcher(Protocol):
    """Hears of scripts while they run. Called on the event loop: no call may block or raise."""

    def script_started(self, script_name: str, process: ProcessMark) -> None:
        """The process exists; nothing of its output has been read yet. Journal the mark here."""

    def script_ended(self, script_name: str, process: ProcessMark) -> None:
        """Nothing of it is left to be ended: the mark can be forgotten. Comes once for each `script_started`."""

    def lines(self, script_name: str, lines: Sequence[OutputLine], dropped: int) -> None:
        """Live output. `dropped` lines were left out before these because the script writes faster than is sent."""
