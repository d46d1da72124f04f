"""The Windows service manager through pywin32, imported only when it is asked: install, remove, start, stop, ask."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ferryman_agent.errors import AgentError
from ferryman_agent.host import service_life
from ferryman_agent.host.service_life import SERVICE_NAME, State

STOP_SECONDS = 30.0
_POLL_SECONDS = 0.2
_OWN_PROCESS, _AUTO_START, _ERROR_NORMAL = 0x10, 2, 1
_CONNECT_AND_CREATE, _CONNECT = 0x0003, 0x0001
_ALL, _STATUS, _START, _STOP, _DELETE = 0xF01FF, 0x0004, 0x0010, 0x0020, 0x00010000
_CONTROL_STOP, _CONTROL_PARAMETERS = 1, 6
_PAUSE_CONTINUE = 0x0040
_DESCRIPTION, _DELAYED = 1, 3
_NOT_INSTALLED, _NOT_RUNNING, _ALREADY_RUNNING, _NO_SUCH_LEVEL = 1060, 1062, 1056, 124


class ServiceError(AgentError):
    """The service manager refuses, or does not do it in time."""


def install(config: str | None = None, *, executable: str = "", manager: Any = None) -> str:
    """Registers the service: LocalSystem, automatic delayed start (AG-531, V2-310); returns what to tell.

    The program is this Python unless given; it must lie in the protected folder (V2-311). Raises ServiceError.
    """
    canonical = os.path.realpath(executable or sys.executable)
    if reason := service_life.refusal(canonical, os.environ):
        raise ServiceError(f"cannot install the service: {reason}")
    api = manager or _api()
    with _said("install"), _opened(api.OpenSCManager(None, None, _CONNECT_AND_CREATE), api) as scm:
        made = api.CreateService(
            scm,
            SERVICE_NAME,
            service_life.DISPLAY_NAME,
            _ALL,
            _OWN_PROCESS,
            _AUTO_START,
            _ERROR_NORMAL,
            service_life.command_line(canonical, config),
            None,
            0,
            None,
            None,  # no account: LocalSystem
            None,
        )
        with _opened(made, api) as service:
            api.ChangeServiceConfig2(service, _DESCRIPTION, service_life.DESCRIPTION)
            _delay(api, service)
    return f"the service {SERVICE_NAME} is installed"


def uninstall(*, manager: Any = None, wait: Callable[[float], None] = time.sleep) -> str:
    """Stops the service, waits for that at most 30 s (V2-312), and removes it; returns what to tell.

    Raises ServiceError.
    """
    api = manager or _api()
    with _said("remove"), _service(api, _STATUS | _STOP | _DELETE) as service:
        _stop(api, service)
        if not _reaches(api, service, State.STOPPED, STOP_SECONDS, wait):
            raise ServiceError(
                f"the service {SERVICE_NAME} has not stopped within {STOP_SECONDS:.0f} s: it is not removed"
            )
        api.DeleteService(service)
    return f"the service {SERVICE_NAME} is removed"


def start(seconds: float, *, manager: Any = None, wait: Callable[[float], None] = time.sleep) -> str:
    """Starts the service and waits until it runs. Raises ServiceError."""
    api = manager or _api()
    with _said("start"), _service(api, _STATUS | _START) as service:
        try:
            api.StartService(service, None)
        except Exception as error:
            if getattr(error, "winerror", 0) == _ALREADY_RUNNING:
                raise ServiceError(f"the service {SERVICE_NAME} is already running") from error
            raise
        if not _reaches(api, service, State.RUNNING, seconds, wait):
            raise ServiceError(
                f"the service {SERVICE_NAME} is not running after {seconds:.0f} s: see its log"
            )
    return "started"


def stop(
    seconds: float,
    *,
    is_forced: bool = False,
    manager: Any = None,
    wait: Callable[[float], None] = time.sleep,
) -> str:
    """Asks the service to stop and waits until it has; forced, it ends the scripts that run. Raises ServiceError."""
    api = manager or _api()
    with _said("stop"), _service(api, _STATUS | _STOP) as service:
        for _ in range(2 if is_forced else 1):
            _stop(api, service)
        if not _reaches(api, service, State.STOPPED, seconds, wait):
            raise ServiceError(f"the service {SERVICE_NAME} has not stopped within {seconds:.0f} s")
    return "stopped"


def reload(*, manager: Any = None) -> None:
    """Tells the service that its parameters have changed. Raises ServiceError."""
    api = manager or _api()
    with _said("reload"), _service(api, _PAUSE_CONTINUE) as service:
        api.ControlService(service, _CONTROL_PARAMETERS)


def state(*, manager: Any = None) -> State | None:
    """Returns what the service manager says of the service, None where it is not installed. Raises ServiceError."""
    api = manager or _api()
    try:
        with _said("ask for"), _service(api, _STATUS) as service:
            return State(api.QueryServiceStatus(service)[1])
    except ServiceError as error:
        if getattr(error.__cause__, "winerror", 0) == _NOT_INSTALLED:
            return None
        raise


def _api() -> Any:
    try:
        return importlib.import_module("win32service")
    except ImportError as error:
        raise ServiceError("cannot reach the service manager: pywin32 is not installed") from error


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """Turns what pywin32 raises, whose class is known on Windows only, into our error."""
    try:
        yield
    except AgentError:
        raise
    except Exception as error:
        if not hasattr(error, "winerror"):
            raise
        message = f"cannot {what} the service {SERVICE_NAME}: {getattr(error, 'strerror', error)}"
        raise ServiceError(message) from error


@contextlib.contextmanager
def _opened(handle: Any, api: Any) -> Iterator[Any]:
    try:
        yield handle
    finally:
        api.CloseServiceHandle(handle)


@contextlib.contextmanager
def _service(api: Any, access: int) -> Iterator[Any]:
    with (
        _opened(api.OpenSCManager(None, None, _CONNECT), api) as scm,
        _opened(api.OpenService(scm, SERVICE_NAME, access), api) as service,
    ):
        yield service


def _delay(api: Any, service: Any) -> None:
    """Lets the system come up first (AG-531); where there is no such thing, the start is plainly automatic."""
    try:
        api.ChangeServiceConfig2(service, _DELAYED, True)
    except Exception as error:
        if getattr(error, "winerror", 0) != _NO_SUCH_LEVEL:
            raise


def _stop(api: Any, service: Any) -> None:
    try:
        api.ControlService(service, _CONTROL_STOP)
    except Exception as error:
        if getattr(error, "winerror", 0) != _NOT_RUNNING:
            raise


def _reaches(api: Any, service: Any, wanted: State, seconds: float, wait: Callable[[float], None]) -> bool:
    for _ in range(max(1, round(seconds / _POLL_SECONDS))):
        found = api.QueryServiceStatus(service)[1]
        if found == wanted:
            return True
        if wanted is State.RUNNING and found == State.STOPPED:
            return False
        wait(_POLL_SECONDS)
    return bool(api.QueryServiceStatus(service)[1] == wanted)
