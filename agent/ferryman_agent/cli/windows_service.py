"""The agent as a Windows service: `python -P -m ferryman_agent.cli.windows_service`, and its service commands.

Started by the service manager it reports to it; started by anybody else it runs in the console (V2-314).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferryman_agent.cli.service import NOT_RUNNING, READY_SECONDS, STOP_SECONDS, Refused, Service
from ferryman_agent.errors import AgentError
from ferryman_agent.host import service_manager, winservice
from ferryman_agent.host.service_life import SERVICE_NAME, Report, ServiceLife
from ferryman_agent.system import windows
from ferryman_agent.system.windows_signal import SIGHUP, SIGQUIT, SIGTERM

_CONTROLLER_ABSENT = 1063
"""The process was not started by the service manager."""
_ACCEPT_PARAMETERS = 0x8
_STOPPING_EVERY_SECONDS = 5.0
_BOOTSTRAP_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class WindowsService(Service):
    """The service manager's commands by the names of `Service`. Asked twice to stop, the agent ends what runs."""

    def start(self) -> str:
        """Starts the service and waits until it is ready. Raises AgentError."""
        self._load()
        return winservice.start(READY_SECONDS)

    def stop(self, *, wait: bool, force: bool) -> str:
        """Stops the service. Raises AgentError: refused while a lifecycle event runs, as elsewhere."""
        overview = self.overview()
        if not overview.is_running:
            return "no ferryman-agent is running"
        self._demand_quiet(overview, wait=wait, force=force)
        return winservice.stop(STOP_SECONDS + (overview.drain_seconds if wait else 0), is_forced=force)

    def restart(self, *, wait: bool, force: bool) -> str:
        """Stops and starts. Raises AgentError; a configuration that cannot be used stops nothing."""
        self._load()
        self.stop(wait=wait, force=force)
        return self.start()

    def reload(self) -> str:
        """Has the running agent read its configuration again. Raises AgentError."""
        self._load()
        if not self.overview().is_running:
            raise Refused("no ferryman-agent is running", NOT_RUNNING)
        winservice.reload()
        return "reloaded"


class Host:
    """Runs the agent for the service manager. `tell` takes a report to it; `run` is the agent, until it ends."""

    def __init__(self, run: Callable[[], None], tell: Callable[[Report], None], bootstrap: Path) -> None:
        self._run = run
        self._tell = tell
        self._bootstrap = bootstrap
        self._life = ServiceLife()
        self._has_ended = threading.Event()
        self._is_stopping = False

    def serve(self) -> int:
        """Returns the exit code; what kept the agent from its work goes to the bootstrap log as well (V2-313)."""
        self._tell(self._life.starting())
        service_manager.listen(self._heard)
        problem: BaseException | None = None
        try:
            self._run()
        except BaseException as error:  # the service manager must hear of every end
            problem = error
            self._note(error)
        self._has_ended.set()
        last = self._life.ended(is_failure=problem is not None)
        self._tell(last)
        return last.exit_code

    def stop(self) -> None:
        """The service manager asks for an end. Tells signs of life until it has come: events may take their time."""
        windows.deliver(SIGTERM)
        if not self._is_stopping:
            self._is_stopping = True
            threading.Thread(target=self._go_on_stopping, daemon=True).start()

    def force(self) -> None:
        """Windows goes down: scripts that run are ended."""
        windows.deliver(SIGTERM)
        windows.deliver(SIGQUIT)

    def reload(self) -> None:
        """The parameters of the service have changed."""
        windows.deliver(SIGHUP)

    def _heard(self, state: str) -> None:
        if state == "READY=1" and (report := self._life.ready()):
            self._tell(report)

    def _go_on_stopping(self) -> None:
        while not self._has_ended.is_set():
            if report := self._life.stopping():
                self._tell(report)
            self._has_ended.wait(_STOPPING_EVERY_SECONDS)

    def _note(self, error: BaseException) -> None:
        with contextlib.suppress(OSError):
            self._bootstrap.parent.mkdir(parents=True, exist_ok=True)
            is_full = self._bootstrap.exists() and self._bootstrap.stat().st_size > _BOOTSTRAP_BYTES
            with self._bootstrap.open("w" if is_full else "a", encoding="utf-8") as file:
                at = time.strftime("%Y-%m-%dT%H:%M:%S")
                file.write(f"{at} {type(error).__name__}: {error}\n")


def framework(run: Callable[[], None], bootstrap: Path) -> Any:
    """Returns the class that pywin32 hosts: `ServiceFramework` exists on Windows only."""
    util: Any = importlib.import_module("win32serviceutil")

    class AgentService(util.ServiceFramework):  # type: ignore[misc]  # its base is known on Windows only
        _svc_name_ = SERVICE_NAME

        def __init__(self, arguments: Any) -> None:
            super().__init__(arguments)
            self._host = Host(run, self._report, bootstrap)

        def SvcRun(self) -> None:  # noqa: N802 - pywin32 calls it so; its own says "running" before anything does
            self._host.serve()

        def SvcStop(self) -> None:  # noqa: N802 - pywin32 calls it so
            self._host.stop()

        def SvcShutdown(self) -> None:  # noqa: N802 - pywin32 calls it so
            self._host.force()

        def GetAcceptedControls(self) -> int:  # noqa: N802 - pywin32 calls it so
            return int(super().GetAcceptedControls()) | _ACCEPT_PARAMETERS

        def SvcOtherEx(self, control: int, event_type: int, data: Any) -> None:  # noqa: N802 - pywin32 calls it so
            self._host.reload()

        def _report(self, report: Report) -> None:
            self.checkPoint = report.checkpoint - 1  # which pywin32 adds
            self.ReportServiceStatus(
                int(report.state), waitHint=report.wait_hint_ms, win32ExitCode=report.exit_code
            )

    return AgentService


def main(arguments: Sequence[str] | None = None) -> int:
    """`install`, `uninstall`, or nothing: be the service, or run in the console where nobody hosts one."""
    parser = argparse.ArgumentParser(prog="ferryman-agent service")
    parser.add_argument("command", nargs="?", choices=("install", "uninstall"))
    parser.add_argument("--config", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.command == "install":
            sys.stdout.write(f"{winservice.install(str(options.config) if options.config else None)}\n")
            return 0
        if options.command == "uninstall":
            sys.stdout.write(f"{winservice.uninstall()}\n")
            return 0
        _be_hosted(options.config)
    except AgentError as error:
        sys.stderr.write(f"ferryman-agent: {error}\n")
        return 1
    return 0


def _be_hosted(config: Path | None) -> None:
    def run() -> None:
        from ferryman_agent import process
        from ferryman_agent.config import Loaded, load

        def read() -> Loaded:
            return load(config, os.environ)

        loaded = read()
        process.run(loaded.config, loaded.warnings, load_again=read)

    manager: Any = importlib.import_module("servicemanager")
    manager.Initialize()
    manager.PrepareToHostSingle(framework(run, Path(windows.DIRECTORIES["log_dir"]) / "bootstrap.log"))
    try:
        manager.StartServiceCtrlDispatcher()
    except Exception as error:
        if getattr(error, "winerror", 0) != _CONTROLLER_ABSENT:
            raise
        run()


if __name__ == "__main__":
    raise SystemExit(main())
