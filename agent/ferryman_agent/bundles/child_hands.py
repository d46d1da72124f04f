"""Work on one bundle in a child process, as the same user; see `child.py`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

from ferryman_agent.bundles import wire
from ferryman_agent.bundles.building import Build, Built
from ferryman_agent.bundles.wanted import Attempt, Outcome, Progress
from ferryman_agent.errors import BundleError
from ferryman_agent.system import signal

HALT_SECONDS = 10.0
"""A child that has not stopped by then is killed: it waits for a disk, or for a name server."""

_LONGEST_LINE = 16 * 1024 * 1024
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "RES_OPTIONS")


class ChildHands:
    """Satisfies Hands. The child is started for the first piece of work and serves one bundle until `close`."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._rate: float | None = None

    async def fetch(self, wanted: Attempt, on_progress: Progress) -> Outcome:
        """See Hands."""
        line = wire.to_line(fetch=wire.wanted(wanted))
        return wire.outcome_of(await self._call(line, on_progress, wanted.label))

    async def build(self, wanted: Build) -> Built:
        """See Hands."""
        line = wire.to_line(build=wire.wanted(wanted))
        return wire.built_of(await self._call(line, lambda received, total: None, "the bundle"))

    def set_rate(self, bytes_per_second: float | None) -> None:
        """See Hands."""
        self._rate = bytes_per_second
        if self._process is not None:
            self._tell(wire.to_line(rate=bytes_per_second))

    async def close(self) -> None:
        """See Hands."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(HALT_SECONDS):
                await process.wait()
        except TimeoutError:
            _kill(process)
            await process.wait()
        except asyncio.CancelledError:
            _kill(process)
            await asyncio.shield(process.wait())
            raise

    async def _call(self, line: bytes, on_progress: Progress, label: str) -> wire.Message:
        if self._process is None:
            self._process = await self._started()
            self.set_rate(self._rate)
        self._tell(line)
        answering = asyncio.ensure_future(self._answer(self._process, on_progress, label))
        try:
            return await asyncio.shield(answering)
        except asyncio.CancelledError:
            self._tell(wire.to_line(halt=True))
            done, _ = await asyncio.wait({answering}, timeout=HALT_SECONDS)
            if not done:
                _kill(self._process)
            await asyncio.gather(answering, return_exceptions=True)
            raise

    async def _started(self) -> asyncio.subprocess.Process:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-m",
                "ferryman_agent.bundles.child",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                limit=_LONGEST_LINE,
                # A Ctrl-C at the agent's terminal is for the agent alone.
                start_new_session=True,
            )
        except OSError as problem:
            message = f"cannot start a process for the bundle: {problem.strerror or problem}"
            raise BundleError("BUNDLE_CHILD", message, is_retryable=True) from problem

    def _tell(self, line: bytes) -> None:
        stdin = self._process.stdin if self._process is not None else None
        if stdin is not None and not stdin.is_closing():
            # A child that is gone shows when its answer is awaited.
            with contextlib.suppress(OSError):
                stdin.write(line)

    async def _answer(
        self, process: asyncio.subprocess.Process, on_progress: Progress, label: str
    ) -> wire.Message:
        while line := await _output(process).readline():
            message = wire.from_line(line)
            if "progress" in message:
                on_progress(*message["progress"])
            else:
                return message
        code = await process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        hint = ": the machine may be short of memory" if code == -signal.SIGKILL else ""
        text = f"cannot bring {label} here: the process that worked on it {how}{hint}"
        raise BundleError("BUNDLE_CHILD", text, is_retryable=True)


def _output(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise RuntimeError("the child was started without a pipe for its output")
    return process.stdout


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
