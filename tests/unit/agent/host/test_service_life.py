"""The agent as a Windows service: what the service manager is told, and what it is asked."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ferryman_agent.cli.windows_service import Host, main
from ferryman_agent.errors import ConfigError
from ferryman_agent.host import service_life, service_manager, winservice
from ferryman_agent.host.service_life import Report, ServiceLife, State
from ferryman_agent.host.winservice import ServiceError
from ferryman_agent.system import windows, windows_signal


class FakeError(Exception):
    """As pywin32 raises them."""

    def __init__(self, winerror: int) -> None:
        super().__init__(winerror)
        self.winerror = winerror
        self.strerror = f"error {winerror}"


class FakeManager:
    """The functions of `win32service`, on one service that takes `slowness` questions to do what it is told."""

    def __init__(self, state: State | None = None, slowness: int = 0) -> None:
        self.state = state
        self.target = state
        self.slowness = slowness
        self.created: tuple[Any, ...] = ()
        self.configured: list[tuple[int, object]] = []
        self.controls: list[int] = []
        self.open_handles = 0
        self.knows_delays = True

    def OpenSCManager(self, *_: object) -> str:  # noqa: N802 - pywin32 calls it so
        self.open_handles += 1
        return "manager"

    def OpenService(self, scm: str, name: str, access: int) -> str:  # noqa: N802
        assert name == "codedeployagent"
        if self.state is None:
            raise FakeError(1060)
        self.open_handles += 1
        return "service"

    def CloseServiceHandle(self, handle: str) -> None:  # noqa: N802
        self.open_handles -= 1

    def CreateService(self, *arguments: Any) -> str:  # noqa: N802
        if self.state is not None:
            raise FakeError(1073)
        self.open_handles += 1
        self.created = arguments
        self.state = self.target = State.STOPPED
        return "service"

    def ChangeServiceConfig2(self, service: str, level: int, value: object) -> None:  # noqa: N802
        if level == 3 and not self.knows_delays:
            raise FakeError(124)
        self.configured.append((level, value))

    def StartService(self, service: str, arguments: object) -> None:  # noqa: N802
        if self.state is State.RUNNING:
            raise FakeError(1056)
        self.state, self.target = State.START_PENDING, State.RUNNING

    def ControlService(self, service: str, control: int) -> None:  # noqa: N802
        self.controls.append(control)
        if self.state is State.STOPPED:
            raise FakeError(1062)
        if control == 1:
            self.target = State.STOPPED

    def QueryServiceStatus(self, service: str) -> tuple[int, int]:  # noqa: N802
        if self.slowness:
            self.slowness -= 1
        else:
            self.state = self.target
        return (16, int(self.state or 0))

    def DeleteService(self, service: str) -> None:  # noqa: N802
        self.state = None


def no_wait(seconds: float) -> None:
    """The fake counts questions, not seconds."""


@pytest.mark.req("V2-313")
def test_it_is_pending_with_a_hint_and_then_runs_once() -> None:
    life = ServiceLife()
    assert life.starting() == Report(state=State.START_PENDING, wait_hint_ms=10_000, checkpoint=1)
    assert not life.starting().accepts_controls
    running = life.ready()
    assert running == Report(state=State.RUNNING)
    assert running.accepts_controls
    assert life.ready() is None  # after a reload
    assert [life.stopping(), life.stopping()] == [
        Report(state=State.STOP_PENDING, wait_hint_ms=10_000, checkpoint=number) for number in (1, 2)
    ]
    assert life.ready() is None
    assert life.ended(is_failure=False) == Report(state=State.STOPPED)
    assert life.stopping() is None


@contextmanager
def hosted(run: Any, tmp_path: Path) -> Iterator[tuple[Host, list[Report]]]:
    told: list[Report] = []
    before = list(service_manager._listeners)
    try:
        yield Host(run, told.append, tmp_path / "log" / "bootstrap.log"), told
    finally:
        service_manager._listeners[:] = before


@pytest.mark.req("V2-313")
def test_a_failure_before_there_is_a_log_is_exit_code_1_and_in_the_bootstrap_log(tmp_path: Path) -> None:
    def run() -> None:
        raise ConfigError("cannot use the configuration: root_dir is wrong")

    with hosted(run, tmp_path) as (host, told):
        assert host.serve() == 1
    assert [each.state for each in told] == [State.START_PENDING, State.STOPPED]
    assert told[-1].exit_code == 1
    assert "ConfigError: cannot use the configuration" in (tmp_path / "log" / "bootstrap.log").read_text()


@pytest.mark.req("V2-313")
def test_an_agent_that_is_ready_runs_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    asked = threading.Event()
    windows._handlers[windows_signal.SIGTERM] = asked.set

    def run() -> None:
        service_manager.notify("READY=1")
        host.stop()
        assert asked.wait(5)

    try:
        with hosted(run, tmp_path) as (host, told):
            assert host.serve() == 0
    finally:
        windows._handlers.clear()
    states = [each.state for each in told]
    assert states[:2] == [State.START_PENDING, State.RUNNING]
    assert states[-1] is State.STOPPED
    assert told[-1].exit_code == 0
    assert not (tmp_path / "log").exists()


def test_a_reload_and_a_shutdown_arrive_as_their_signals(tmp_path: Path) -> None:
    heard: list[int] = []
    for number in (windows_signal.SIGHUP, windows_signal.SIGTERM, windows_signal.SIGQUIT):
        windows._handlers[number] = lambda number=number: heard.append(number)  # type: ignore[misc]
    try:
        with hosted(lambda: None, tmp_path) as (host, _):
            host.reload()
            host.force()
    finally:
        windows._handlers.clear()
    assert heard == [windows_signal.SIGHUP, windows_signal.SIGTERM, windows_signal.SIGQUIT]


@pytest.mark.req("V2-311")
def test_only_a_program_in_the_protected_folder_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, data = "c:\\PROGRAMDATA\\Ferryman\\python.exe", {"ProgramData": "C:\\ProgramData"}
    assert service_life.refusal(inside, data) == ""
    for outside in (
        "C:\\ProgramDataX\\python.exe",
        "C:\\Users\\a\\python.exe",
        "\\\\server\\share\\python.exe",
    ):
        assert "where only administrators can replace it" in service_life.refusal(outside, data)
    manager = FakeManager()
    with pytest.raises(ServiceError, match="cannot install the service: .* is not below"):
        winservice.install(executable="/usr/bin/python3", manager=manager)
    assert manager.created == ()


@pytest.mark.req("V2-310", "V2-311", "AG-531")
def test_the_service_is_registered_as_the_original_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    # Separators of this system: what is canonical, and below what, is looked at by the rules of Windows.
    monkeypatch.setattr(os.path, "realpath", lambda path: f"C:\\ProgramData\\Ferryman\\{Path(path).name}")
    monkeypatch.setenv("PROGRAMDATA", "C:\\ProgramData")
    manager = FakeManager()
    assert winservice.install("C:\\a b\\conf.yml", executable="link/python.exe", manager=manager) == (
        "the service codedeployagent is installed"
    )
    _, name, shown, _, kind, start, _, command, _, _, _, account, _ = manager.created
    assert (name, shown) == ("codedeployagent", "CodeDeploy Host Agent Service")
    assert (kind, start, account) == (0x10, 2, None)  # a process of its own, automatic, LocalSystem
    assert command == (
        '"C:\\ProgramData\\Ferryman\\python.exe" -P -m ferryman_agent.cli.windows_service --config "C:\\a b\\conf.yml"'
    )
    assert (3, True) in manager.configured  # delayed
    assert manager.open_handles == 0


def test_where_no_start_can_be_delayed_it_is_automatic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda path: "C:\\ProgramData\\python.exe")
    manager = FakeManager()
    manager.knows_delays = False
    winservice.install(manager=manager)
    assert manager.state is State.STOPPED


@pytest.mark.req("V2-312")
def test_it_is_stopped_before_it_is_removed() -> None:
    manager = FakeManager(State.RUNNING, slowness=20)
    assert winservice.uninstall(manager=manager, wait=no_wait) == "the service codedeployagent is removed"
    assert (manager.controls, manager.state, manager.open_handles) == ([1], None, 0)


@pytest.mark.req("V2-312")
def test_one_that_does_not_stop_in_30_seconds_is_not_removed() -> None:
    manager, waited = FakeManager(State.RUNNING, slowness=10_000), [0.0]

    def wait(seconds: float) -> None:
        waited[0] += seconds

    with pytest.raises(ServiceError, match="has not stopped within 30 s"):
        winservice.uninstall(manager=manager, wait=wait)
    assert manager.state is State.RUNNING
    assert 29 <= waited[0] <= 30.5


@pytest.mark.req("AG-531")
def test_it_is_started_asked_for_and_stopped_by_the_service_manager() -> None:
    manager = FakeManager(State.STOPPED, slowness=3)
    assert winservice.start(5, manager=manager, wait=no_wait) == "started"
    assert winservice.state(manager=manager) is State.RUNNING
    with pytest.raises(ServiceError, match="already running"):
        winservice.start(5, manager=manager, wait=no_wait)
    winservice.reload(manager=manager)
    assert winservice.stop(5, manager=manager, wait=no_wait) == "stopped"
    assert winservice.stop(5, manager=manager, wait=no_wait) == "stopped"
    assert manager.controls == [6, 1, 1]
    assert winservice.state(manager=FakeManager()) is None
    with pytest.raises(ServiceError, match="cannot stop the service codedeployagent: error 1060"):
        winservice.stop(5, manager=FakeManager(), wait=no_wait)


def test_a_forced_stop_is_asked_for_twice() -> None:
    manager = FakeManager(State.RUNNING, slowness=2)
    winservice.stop(5, is_forced=True, manager=manager, wait=no_wait)
    assert manager.controls == [1, 1]


@pytest.mark.req("V2-314")
def test_outside_the_service_manager_it_runs_in_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise FakeError(1063)

    hosting = SimpleNamespace(
        Initialize=lambda: None, PrepareToHostSingle=lambda cls: None, StartServiceCtrlDispatcher=refuse
    )
    util = SimpleNamespace(ServiceFramework=object)
    monkeypatch.setitem(sys.modules, "servicemanager", hosting)
    monkeypatch.setitem(sys.modules, "win32serviceutil", util)
    ran: list[object] = []
    monkeypatch.setattr("ferryman_agent.process.run", lambda config, *_, **__: ran.append(config))
    assert main([]) == 0
    assert len(ran) == 1


def test_without_pywin32_there_is_no_service_manager(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["uninstall"]) == 1
    assert "pywin32 is not installed" in capsys.readouterr().err
