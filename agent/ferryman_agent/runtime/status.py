"""What `ferryman-agent status` shows, kept in a file: written when something changed, never on a timer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from ferryman_agent.clock import Clock
from ferryman_agent.core.messages import CommandId, Instant
from ferryman_agent.runtime.commands import LiveCommand
from ferryman_agent.runtime.journal import Command
from ferryman_agent.runtime.link import LinkStatus
from ferryman_agent.runtime.records import LastResult
from ferryman_agent.system import fs

COALESCE_SECONDS = 0.2
RESULTS_SHOWN = 20

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStatus:
    """A command that has not ended. `lifecycle_event` is empty while none runs; `since` is of the newest fact."""

    command_id: str
    deployment_id: str
    group_name: str
    is_running: bool
    lifecycle_event: str
    since: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """Everything that the running agent knows of itself."""

    pid: int
    version: str
    started_at: Instant
    written_at: Instant
    instance_id: str
    link: LinkStatus
    commands: tuple[CommandStatus, ...] = ()
    results: tuple[LastResult, ...] = ()
    reports_waiting: int = 0
    is_draining: bool = False
    configured_at: Instant = Instant(0)
    """When the configuration was last read."""
    service_manager: str = ""
    """Who starts the agent again when it dies: `systemd`, `supervisor`, or empty for nobody."""
    installed_version: str | None = None
    warnings: tuple[str, ...] = field(default=())


def commands_of(live: Iterable[LiveCommand], known: Mapping[CommandId, Command]) -> tuple[CommandStatus, ...]:
    """Returns what runs and waits, in order; `known` is the journal's.

    A command that the journal has dropped already is over: its end is stored at the coordinator, which has nothing to
    ask any more, while the agent still tidies up behind it.
    """
    return tuple(
        CommandStatus(
            command_id=each.command_id,
            deployment_id=each.run.segment.deployment.deployment_id,
            group_name=each.run.segment.deployment.deployment_group_name,
            is_running=each.is_running,
            lifecycle_event=each.run.running or "",
            since=known[each.command_id].last_at,
        )
        for each in live
        if each.command_id in known
    )


def results_of(results: Iterable[LastResult]) -> tuple[LastResult, ...]:
    """Returns the newest results, the newest first."""
    return tuple(sorted(results, key=lambda result: result.at, reverse=True)[:RESULTS_SHOWN])


class StatusFile:
    """`current` gives the status of the moment."""

    def __init__(self, path: Path, clock: Clock, current: Callable[[], AgentStatus]) -> None:
        self._path = path
        self._clock = clock
        self._current = current
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Something is different; the file follows shortly."""
        self._changed.set()

    async def run(self) -> None:
        """Writes the file whenever something changed, until cancelled."""
        while True:
            self.write()
            await self._changed.wait()
            # A deployment changes several times in a moment.
            await self._clock.sleep(COALESCE_SECONDS)
            self._changed.clear()

    def write(self) -> None:
        """Writes the file now. It is for people: it is not flushed, and a full disk is no reason to stop."""
        temporary = self._path.with_name(f".{self._path.name}.new")
        try:
            descriptor = fs.open(temporary, fs.O_WRONLY | fs.O_CREAT | fs.O_TRUNC | fs.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(msgspec.json.encode(self._current()))
            temporary.replace(self._path)
        except OSError as error:
            log.warning("status.not_written", path=str(self._path), error=error.strerror)

    def remove(self) -> None:
        """The agent ends: nobody runs any more of whom it could tell."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
