"""A real `ferryman-agent` process with all its files under one directory, for tests against the fake coordinator."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.fake_coordinator import FakeCoordinator

COMMAND = Path(sys.executable).parent / "ferryman-agent"
PATIENCE_SECONDS = 30.0


class AgentHome:
    """Enrol it, place revisions, start it, hurt it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / "deployment-root"
        self.config = home / "ferrymanagent.yml"
        self.environ = {**os.environ, "FERRYMAN_AGENT_HOME": str(home)}
        self.process: asyncio.subprocess.Process | None = None
        self.output = home / "output"

    async def enroll(self, coordinator: FakeCoordinator, *options: str) -> tuple[int, str]:
        """Runs `ferryman-agent enroll`; returns exit code and what it printed."""
        return await self.run(
            "enroll", "--coordinator", coordinator.address, "--token", coordinator.token, *options
        )

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Runs one command to its end."""
        child = await asyncio.create_subprocess_exec(
            COMMAND,
            *arguments,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(child.communicate(), PATIENCE_SECONDS)
        assert child.returncode is not None
        return child.returncode, printed.decode()

    async def start(self, **config: Any) -> None:
        """Starts the agent; `config` goes into its file."""
        if config:
            self.config.write_text(yaml.safe_dump(config))
        with self.output.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                COMMAND,
                "run",
                env=self.environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def ended(self) -> int:
        """Returns the exit code once the process is gone."""
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)

    async def kill(self) -> None:
        """Ends it without a warning."""
        assert self.process is not None
        self.process.kill()
        await self.ended()

    async def close(self) -> None:
        """Ends it by force when it still runs."""
        if self.process is None or self.process.returncode is not None:
            return
        # Twice, so that scripts of a failed test are ended as well.
        for number in (signal.SIGTERM, signal.SIGQUIT):
            self.process.send_signal(number)
        try:
            await asyncio.wait_for(self.process.wait(), 15)
        except TimeoutError:
            await self.kill()

    def place(self, hooks: Mapping[str, str], deployment: str = "d-1", group: str = "g-1") -> Path:
        """Puts a revision where DownloadBundle would: `hooks` has the shell script of each event."""
        archive = self.root / group / deployment / "deployment-archive"
        archive.mkdir(parents=True)
        listed = {}
        for event, text in hooks.items():
            script = archive / f"{event}.sh"
            script.write_text(f"#!/bin/sh\n{text}\n")
            script.chmod(0o755)
            listed[event] = [{"location": script.name, "timeout": 600}]
        spec = {"version": 0.0, "os": "linux", "hooks": listed}
        (archive / "appspec.yml").write_text(yaml.safe_dump(spec))
        return archive

    async def until(self, condition: Callable[[], object]) -> None:
        """Returns when the condition, about files of the process, holds; fails with the agent's log otherwise."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not self._holds(condition):  # noqa: ASYNC110 - files of another process set no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"waited {PATIENCE_SECONDS:.0f} s; the agent says:\n{self.log()}") from None

    def _holds(self, condition: Callable[[], object]) -> bool:
        try:
            return bool(condition())
        except FileNotFoundError:
            return False

    def status(self) -> dict[str, Any]:
        """What the running agent wrote down for `status`."""
        content = json.loads((self.home / "state" / "status.json").read_text())
        assert isinstance(content, dict)
        return content

    def log(self) -> str:
        """The agent's own log."""
        files = sorted((self.home / "log").glob("*.log"))
        return "".join(file.read_text() for file in files) + self.output.read_text()


class Gate:
    """A named pipe that a script waits at: `arrived` returns when it is there, `open` lets it go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Open both ways and without waiting: a script that never comes must not keep a thread of the tests for ever.
        self._here, self._back = (self._made(each) for each in (path, path.with_suffix(".back")))

    def _made(self, path: Path) -> int:
        os.mkfifo(path)
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    @property
    def script(self) -> str:
        """Shell words: tell that we are here, then wait."""
        return f"echo $$ > {self.path}; read _ < {self.path.with_suffix('.back')}"

    async def arrived(self) -> int:
        """Returns the PID of the script that stands at the gate."""
        loop, has_come = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._here, has_come.set)
        try:
            await asyncio.wait_for(has_come.wait(), PATIENCE_SECONDS)
        finally:
            loop.remove_reader(self._here)
        return int(os.read(self._here, 100))

    async def open(self) -> None:
        """Lets the script go on."""
        os.write(self._back, b"go\n")


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
