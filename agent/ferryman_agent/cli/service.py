"""`ferryman-agent start | stop | restart | reload`: the agent as a service of this machine, with or without systemd.

Everything here answers the operator: what is done, what is refused and what to do instead. Exit codes are those of LSB.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferryman_agent.cli.overview import Overview, gather
from ferryman_agent.config import Loaded, load
from ferryman_agent.config.places import HOME_VARIABLE
from ferryman_agent.errors import AgentError
from ferryman_agent.host import identity, instance
from ferryman_agent.host.service_manager import SYSTEMD
from ferryman_agent.system import fs, signal
from ferryman_agent.wiring import prepare_directories

REFUSED, UNKNOWN, NOT_RUNNING = 1, 4, 7
READY_SECONDS = 60.0
STOP_SECONDS = 60.0
RELOAD_SECONDS = 10.0
POLL_SECONDS = 0.05
UNIT = "ferryman-agent.service"
_SYSTEMD_RUNS = Path("/run/systemd/system")
_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


class Refused(AgentError):
    """The command is not carried out; the message says why. `code` is the exit code."""

    def __init__(self, message: str, code: int = REFUSED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Service:
    """The agent of one configuration. `config_path` is as given by the operator, None for the default."""

    config_path: Path | None
    environment: Mapping[str, str]

    def overview(self) -> Overview:
        """Raises Refused when it cannot be told whether the agent runs."""
        try:
            return gather(self._load())
        except OSError as error:
            raise Refused(f"cannot tell whether the agent runs: {error}", UNKNOWN) from error

    def start(self) -> str:
        """Starts the agent in the background and waits until it is ready; returns what to tell. Raises AgentError."""
        loaded = self._load()
        self._demand_no_unit()
        self._demand_none_running(loaded)
        identity.load(loaded.config.identity_path)
        prepare_directories(loaded.config)
        output = Path(loaded.config.log_dir) / f"{loaded.config.program_name}.start.log"
        heard = self._spawn(loaded, output)
        if heard.startswith("ready "):
            return f"started (PID {heard.split()[1]})"
        said = output.read_text(encoding="utf-8", errors="replace").strip()
        if heard == "":
            last = said.removeprefix("ferryman-agent: ") or "it ended without a word"
            raise Refused(f"the agent does not start: {last}")
        raise Refused(
            f"the agent is not ready after {READY_SECONDS:.0f} s; it goes on starting: see {output} and "
            f"`ferryman-agent status`{f' ({said})' if said else ''}"
        )

    def stop(self, *, wait: bool, force: bool) -> str:
        """Ends the agent, and the supervisor that would start it again; returns what to tell. Raises Refused."""
        overview, supervisor = self.overview(), self._supervisor()
        if not overview.is_running and supervisor is None:
            return "no ferryman-agent is running"
        self._demand_quiet(overview, wait=wait, force=force)
        # Two different signals: two of one kind may arrive as one. The second one ends what runs.
        for number in (signal.SIGTERM, signal.SIGQUIT) if force else (signal.SIGTERM,):
            _send(supervisor.pid if supervisor else overview.pid, number)
        patience = STOP_SECONDS + (overview.drain_seconds if wait else 0)
        if _wait_until(self._is_gone, patience):
            return "stopped"
        if not force:
            raise Refused(self._not_ended(overview, patience))
        for pid in (supervisor.pid if supervisor else 0, self.overview().pid):
            if pid:
                _send(pid, signal.SIGKILL)
        _wait_until(self._is_gone, STOP_SECONDS)
        return f"the agent (PID {overview.pid}) was killed"

    def restart(self, *, wait: bool, force: bool) -> str:
        """Stops and starts. Raises AgentError; a configuration that cannot be used stops nothing."""
        self._load()
        overview = self.overview()
        if overview.is_running and overview.facts.get("service_manager") == SYSTEMD:
            raise Refused(f"systemd runs this agent: use `systemctl restart {_unit_of(overview.pid)}`")
        if not overview.is_running:
            self._demand_no_unit()
        self.stop(wait=wait, force=force)
        return self.start()

    def reload(self) -> str:
        """Has the running agent read its configuration again. Raises AgentError, and changes nothing then."""
        self._load()
        overview = self.overview()
        if not overview.is_running:
            raise Refused("no ferryman-agent is running", NOT_RUNNING)
        before = overview.facts.get("configured_at")
        _send(overview.pid, signal.SIGHUP)
        if not _wait_until(lambda: self.overview().facts.get("configured_at") != before, RELOAD_SECONDS):
            raise Refused(f"the agent (PID {overview.pid}) does not say that it has reloaded: see its log")
        return "reloaded"

    def _demand_quiet(self, overview: Overview, *, wait: bool, force: bool) -> None:
        running = overview.running_commands
        if not (wait or force) and running != []:
            raise Refused(_in_the_middle(running))

    def _load(self) -> Loaded:
        return load(self.config_path, self.environment)

    def _supervisor(self) -> instance.Holder | None:
        try:
            return instance.find(self._load().config.supervisor_pid_path)
        except OSError as error:
            raise Refused(f"cannot tell whether the agent runs: {error}", UNKNOWN) from error

    def _is_gone(self) -> bool:
        return not self.overview().is_running and self._supervisor() is None

    def _demand_no_unit(self) -> None:
        is_default = self.config_path is None and not self.environment.get(HOME_VARIABLE)
        if is_default and is_unit_installed():
            raise Refused(f"systemd looks after the agent of this machine: use `systemctl start {UNIT}`")

    def _demand_none_running(self, loaded: Loaded) -> None:
        holder, supervisor = instance.find(loaded.config.pid_path), self._supervisor()
        if holder is not None:
            raise Refused(f"the agent is already running with PID {holder.pid}")
        if supervisor is not None:
            raise Refused(f"the agent is already being started, by process {supervisor.pid}")

    def _spawn(self, loaded: Loaded, output: Path) -> str:
        """Returns what the supervisor tells: `ready PID`, empty text when it has ended, `…` when it says nothing."""
        listening, telling = os.pipe2(fs.O_CLOEXEC)
        program = (sys.executable, "-P", "-m")
        config = ("--config", str(self.config_path.absolute())) if self.config_path else ()
        command = (
            *(
                *program,
                "ferryman_agent.host.supervisor",
                "--pid-file",
                str(loaded.config.supervisor_pid_path),
            ),
            *("--drain", str(loaded.config.commands.drain_timeout.seconds), "--tell", str(telling), "--"),
            *(*program, "ferryman_agent.cli.main", "run", *config),
        )
        descriptor = _open_output(output)
        try:
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                pass_fds=(telling,),
                start_new_session=True,
                env=self._environment_elsewhere(),
            )
        finally:
            os.close(descriptor)
            os.close(telling)
        with contextlib.closing(os.fdopen(listening, "rb", buffering=0)) as pipe:
            if not select.select([pipe], [], [], READY_SECONDS)[0]:
                return "…"
            return pipe.read(100).decode()

    def _environment_elsewhere(self) -> dict[str, str]:
        """What the agent finds its files by, also from the directory that the supervisor changes to."""
        home = self.environment.get(HOME_VARIABLE)
        return {**self.environment, **({HOME_VARIABLE: str(Path(home).absolute())} if home else {})}

    def _not_ended(self, overview: Overview, patience: float) -> str:
        left = self.overview().running_commands or []
        events = f": {_events(left)} still runs" if left else ""
        return f"the agent (PID {overview.pid}) has not ended within {patience:.0f} s{events}"


def is_unit_installed(folders: tuple[str, ...] = _UNIT_FOLDERS, running: Path = _SYSTEMD_RUNS) -> bool:
    """Whether systemd runs this machine, as `running` shows, and knows the agent's unit (AG-009, AG-010)."""
    return running.is_dir() and any(Path(folder, UNIT).exists() for folder in folders)


def _open_output(path: Path) -> int:
    """Opens what the agent says before its log is there; a link in its place is not followed (V2-275)."""
    # Without waiting for a reader, should there be a pipe.
    flags = fs.O_WRONLY | fs.O_CREAT | fs.O_TRUNC | fs.O_APPEND | fs.O_NOFOLLOW | fs.O_NONBLOCK
    try:
        return fs.open(path, flags, 0o640)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}; is something else in its place?") from error


def _unit_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            for part in reversed(line.split("/")):
                if part.endswith(".service"):
                    return part
    return UNIT


def _in_the_middle(running: list[dict[str, Any]] | None) -> str:
    if running is None:
        return "cannot tell whether a lifecycle event runs; use --wait to let it end, or --force to end it"
    return f"the agent is in the middle of {_events(running)}: use --wait to let it end first, or --force to end it"


def _events(running: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['lifecycle_event']} of {each['deployment_id']}" for each in running)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Refused(
            f"cannot signal the agent (PID {pid}): it belongs to another user; try as root", UNKNOWN
        ) from None


def _wait_until(is_true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
