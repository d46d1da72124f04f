"""Scripts, runs and a watcher for the tests of the hooks."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ferryman_agent.clock import Clock, SystemClock
from ferryman_agent.core.messages import (
    BundleType,
    DeploymentDescription,
    DeploymentId,
    Diagnostics,
    GroupId,
    RevisionSource,
)
from ferryman_agent.hooks.cgroup_maker import GroupMaker
from ferryman_agent.hooks.contract import HookRun, HookSettings, OutputLine, ProcessMark
from ferryman_agent.hooks.runner import run_hooks


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeScript:
    """What an AppSpec entry says."""

    location: str
    timeout_seconds: float = 3600
    runas: str | None = None
    sudo: bool = False


@dataclass(frozen=True, slots=True)
class FakePlace:
    """Where the deployment's own files are."""

    path: Path

    @property
    def scripts_log(self) -> Path:
        return self.path / "logs" / "scripts.log"


class Recorder:
    """A watcher that keeps what it hears, and can be waited for."""

    def __init__(self) -> None:
        self.started: list[tuple[str, ProcessMark]] = []
        self.ended: list[tuple[str, ProcessMark]] = []
        self.live: list[OutputLine] = []
        self.dropped = 0
        self._changed = asyncio.Event()

    def script_started(self, script_name: str, process: ProcessMark) -> None:
        assert not self.live or self.started, "output was read before the mark was handed over"
        self.started.append((script_name, process))
        self._changed.set()

    def script_ended(self, script_name: str, process: ProcessMark) -> None:
        self.ended.append((script_name, process))
        self._changed.set()

    def lines(self, script_name: str, lines: Sequence[OutputLine], dropped: int) -> None:
        self.live += lines
        self.dropped += dropped
        self._changed.set()

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.live]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return when it is so; asked with everything that is heard."""
        while not is_so():
            self._changed.clear()
            await self._changed.wait()

    async def until_line(self, text: str) -> None:
        await self.until(lambda: text in self.texts)


class Gate:
    """Something that a script waits at until the test opens it. Neither side ever blocks the other's end of a test."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR)

    @property
    def wait(self) -> str:
        """What the script says to wait."""
        return f"read gate <{self.path}"

    def open(self) -> None:
        os.write(self._descriptor, b"open\n")

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass(slots=True, kw_only=True)
class HookBench:
    """A revision to put scripts into, and a way to run them."""

    root: Path
    clock: Clock = field(default_factory=SystemClock)
    settings: HookSettings = field(default_factory=HookSettings)
    watcher: Recorder = field(default_factory=Recorder)
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    gates: list[Gate] = field(default_factory=list)
    groups: GroupMaker | None = None

    @property
    def archive(self) -> Path:
        return self.root / "g-1" / "d-1" / "deployment-archive"

    @property
    def place(self) -> FakePlace:
        return FakePlace(self.root / "g-1" / "d-1")

    @property
    def deployments_log(self) -> Path:
        return self.root / "deployment-logs" / "ferryman-agent-deployments.log"

    def script(self, location: str, text: str | bytes, *, mode: int = 0o755, **keys: Any) -> FakeScript:
        """Put a script into the revision; text without a `#!` line of its own runs under /bin/sh."""
        path = self.archive / location
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, str) and not text.startswith("#!"):
            text = f"#!/bin/sh\n{text}"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return FakeScript(location=location, **keys)

    def gate(self, name: str = "gate") -> Gate:
        """A new closed gate."""
        self.gates.append(Gate(self.root / name))
        return self.gates[-1]

    def close(self) -> None:
        for gate in self.gates:
            gate.close()

    def run_of(self, *scripts: FakeScript, **keys: Any) -> HookRun:
        self.archive.mkdir(parents=True, exist_ok=True)
        plain = HookRun(
            deployment=description(),
            lifecycle_event="ApplicationStart",
            archive=self.archive,
            scripts=scripts,
            deployment_dir=self.place,
            root=self.root,
        )
        return replace(plain, **keys)

    async def run(self, *scripts: FakeScript, background: Any = None, **keys: Any) -> Diagnostics:
        return await run_hooks(
            self.run_of(*scripts, **keys),
            settings=self.settings,
            clock=self.clock,
            watcher=self.watcher,
            cancel=self.cancel,
            background=background,
            groups=self.groups,
        )

    def logged(self) -> bytes:
        return self.place.scripts_log.read_bytes()


def description(**keys: Any) -> DeploymentDescription:
    """A deployment as the agent is told of it."""
    plain = DeploymentDescription(
        deployment_id=DeploymentId("d-1"),
        deployment_group_id=GroupId("g-1"),
        deployment_group_name="blue group",
        application_name="web",
        revision=RevisionSource(url="/bundles/abc", bundle_type=BundleType.TGZ),
    )
    return replace(plain, **keys)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user can pass; pytest's own are closed to all but ours."""
    with tempfile.TemporaryDirectory(prefix="fm-hooks-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def is_running(pid: int) -> bool:
    """Whether there is such a process, and not only its zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


async def gone(pid: int) -> None:
    """Return when the process is gone; it need not be ours."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
