"""Keeps an agent running where no service manager does: `ferryman-agent start` leaves this process behind.

It imports nothing heavy and knows nothing of deployments. An agent that dies is started anew, as a fresh process of the
same program, after a pause (AG-024, V2-058, V2-296); what it was in the middle of is its own business (AG section 5.6).
One that has never been ready ends the supervisor as well: whoever started it is told why, and nothing loops.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ferryman_agent.core.respawn import Respawn
from ferryman_agent.errors import AgentError
from ferryman_agent.host.instance import InstanceLock
from ferryman_agent.host.service_manager import READY_DESCRIPTOR

UMASK = 0o027
ENDING_SECONDS = 60.0
"""For an agent that ends, beyond the time that its lifecycle events may take."""
OUTPUT_BYTES = 1024 * 1024
NOT_STARTED = 71
"""Exit code where the system has no process for the agent (EX_OSERR)."""
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


class Supervisor:
    """`tell` is a descriptor that hears `ready PID` once. `drain_seconds`: what the agent may take to end."""

    def __init__(self, command: Sequence[str], *, drain_seconds: float, tell: int) -> None:
        self._command = command
        self._drain_seconds = drain_seconds
        self._tell = tell
        self._respawn = Respawn()
        self._was_ready = False
        self._kill_at: float | None = None
        self._signals, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Returns the exit code of the last agent, once it is not to be started again."""
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (*_FORWARDED, signal.SIGCHLD):
            signal.signal(number, _noted)
        while True:
            started = time.monotonic()
            code = self._one_life()
            if code == 0 or self._is_ending or not self._was_ready:
                return code
            pause = self._respawn.after(time.monotonic() - started)
            _say(f"the agent ended ({_how(code)}): it is started again in {pause:.0f} s")
            if self._is_ended_within(pause):
                return 0

    @property
    def _is_ending(self) -> bool:
        return self._kill_at is not None

    def _one_life(self) -> int:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            child = self._started(writing)
            if child is None:
                return NOT_STARTED
            while (code := child.poll()) is None:
                self._wait(child, reading)
            return code
        finally:
            os.close(reading)

    def _started(self, writing: int) -> subprocess.Popen[bytes] | None:
        try:
            os.set_inheritable(writing, True)
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                pass_fds=(writing,),
                env=os.environ | {READY_DESCRIPTOR: str(writing)},
            )
        except OSError as error:
            # Short of memory or of processes, as it may be right after the death of an agent: that passes.
            _say(f"cannot start the agent: {error.strerror}")
            return None
        finally:
            os.close(writing)

    def _wait(self, child: subprocess.Popen[bytes], reading: int) -> None:
        patience = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
        # Once it was ready there is nothing more to hear; the pipe fills, and the agent does not mind.
        heard = [] if self._was_ready else [reading]
        ready, _, _ = select.select([self._signals, *heard], [], [], patience)
        if reading in ready:
            self._was_ready = b"READY=1" in os.read(reading, 4096)
            if not self._was_ready:
                # It closed the pipe, and is about to end.
                child.wait()
                return
            with contextlib.suppress(OSError):
                os.write(self._tell, f"ready {child.pid}\n".encode())
                os.close(self._tell)
        for number in self._taken_signals():
            child.send_signal(number)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            _say("the agent does not end: it is killed")
            child.kill()
            self._kill_at = time.monotonic() + ENDING_SECONDS

    def _taken_signals(self) -> list[signal.Signals]:
        numbers: list[signal.Signals] = []
        with contextlib.suppress(BlockingIOError):
            numbers = [signal.Signals(number) for number in os.read(self._signals, 256)]
        if self._kill_at is None and _ENDING.intersection(numbers):
            self._kill_at = time.monotonic() + self._drain_seconds + ENDING_SECONDS
        return [number for number in numbers if number in _FORWARDED]

    def _is_ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._is_ending and (left := deadline - time.monotonic()) > 0:
            if select.select([self._signals], [], [], left)[0]:
                self._taken_signals()
        return self._is_ending


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the process: `--pid-file F --drain SECONDS --tell FD -- COMMAND…`."""
    parser = argparse.ArgumentParser(prog="ferryman-agent supervisor")
    parser.add_argument("--pid-file", type=Path, required=True)
    parser.add_argument("--drain", type=float, required=True)
    parser.add_argument("--tell", type=int, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    os.umask(UMASK)
    os.chdir("/")
    os.set_inheritable(options.tell, False)
    try:
        with InstanceLock(options.pid_file):
            made = Supervisor(options.command, drain_seconds=options.drain, tell=options.tell)
            code = made.run()
    except AgentError as error:
        _say(str(error))
        return 1
    return code if code >= 0 else 128 - code


def _noted(number: int, frame: FrameType | None) -> None:
    """Nothing but the byte in the wake-up pipe comes of a signal (V2-295)."""


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _say(text: str) -> None:
    # Where an agent that dies again and again says why again and again, the newest is kept.
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > OUTPUT_BYTES:
            os.ftruncate(2, 0)
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} ferryman-agent: {text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
