"""The life of the agent as a Windows service, and where its program may lie (V2-310 … V2-313, AG-531). Pure."""

from __future__ import annotations

import ntpath
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

SERVICE_NAME = "codedeployagent"
DISPLAY_NAME = "CodeDeploy Host Agent Service"
DESCRIPTION = "Carries out deployments on this machine (Ferryman)."
HINT_MS = 10_000
"""How long the service manager is told to wait for the next word while the agent starts or stops."""
FAILED = 1
"""The exit code of an agent that could not start, or fell over."""


class State(IntEnum):
    """What the service manager knows, by its own numbers."""

    STOPPED = 1
    START_PENDING = 2
    STOP_PENDING = 3
    RUNNING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the service manager is told. `checkpoint` rises while a state is pending."""

    state: State
    wait_hint_ms: int = 0
    checkpoint: int = 0
    exit_code: int = 0

    @property
    def accepts_controls(self) -> bool:
        """Whether it can be asked to stop, or to read its configuration again."""
        return self.state is State.RUNNING


class ServiceLife:
    """Start-pending, running, stop-pending, stopped; each of them at most once, whatever comes how often."""

    def __init__(self) -> None:
        self._state = State.STOPPED
        self._checkpoint = 0

    def starting(self) -> Report:
        """The process is there, the agent is not ready."""
        return self._pending(State.START_PENDING)

    def ready(self) -> Report | None:
        """The agent says that it is ready, as it also does after each reload: news only once."""
        if self._state is not State.START_PENDING:
            return None
        self._state = State.RUNNING
        return Report(state=State.RUNNING)

    def stopping(self) -> Report | None:
        """Somebody asked it to stop, or it goes on stopping: each call is a sign of life."""
        return None if self._state is State.STOPPED else self._pending(State.STOP_PENDING)

    def ended(self, *, is_failure: bool) -> Report:
        """The agent has ended."""
        self._state = State.STOPPED
        return Report(state=State.STOPPED, exit_code=FAILED if is_failure else 0)

    def _pending(self, state: State) -> Report:
        self._checkpoint = self._checkpoint + 1 if state is self._state else 1
        self._state = state
        return Report(state=state, wait_hint_ms=HINT_MS, checkpoint=self._checkpoint)


def refusal(executable: str, environment: Mapping[str, str]) -> str:
    """Returns why a program is not registered, empty text when it may be; the path is canonical (V2-311).

    Below `%ProgramData%` the installer makes folders that only administrators write to; a program elsewhere, such as on
    a desktop or a share, could be replaced by whoever owns the place, and would run as LocalSystem.
    """
    folded = {name.upper(): value for name, value in environment.items()}
    data = ntpath.normcase(folded.get("PROGRAMDATA") or "C:\\ProgramData").rstrip("\\")
    if ntpath.normcase(executable).startswith(f"{data}\\"):
        return ""
    return (
        f"{executable} is not below {data}, where only administrators can replace it: install the agent there"
    )


def command_line(executable: str, config: str | None) -> str:
    """Returns what the service manager runs; a path with blanks and no quotes would run another program."""
    arguments = [f'"{executable}"', "-P", "-m", "ferryman_agent.cli.windows_service"]
    return " ".join([*arguments, "--config", f'"{config}"'] if config else arguments)
