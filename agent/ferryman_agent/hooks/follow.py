"""Following one running script: its output as it comes, its exit, and what to do with an output that stays open."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from subprocess import DEVNULL

from ferryman_agent.hooks import posix
from ferryman_agent.hooks.contract import Stream
from ferryman_agent.hooks.environment import Account
from ferryman_agent.hooks.following import Following
from ferryman_agent.hooks.output import ScriptOutput
from ferryman_agent.hooks.posix import Child
from ferryman_agent.system import own

_BLOCK = 64 * 1024


class Pipes:
    """The two pipes of a script before it is started. `writing` is closed once it is."""

    def __init__(self) -> None:
        out, err = os.pipe(), os.pipe()
        self.reading = {Stream.STDOUT: out[0], Stream.STDERR: err[0]}
        self.writing = {Stream.STDOUT: out[1], Stream.STDERR: err[1]}
        for descriptor in self.reading.values():
            os.set_blocking(descriptor, False)

    def close_writing(self) -> None:
        for descriptor in self.writing.values():
            os.close(descriptor)
        self.writing = {}

    def close(self) -> None:
        self.close_writing()
        for descriptor in self.reading.values():
            os.close(descriptor)
        self.reading = {}


class Follower(Following[Child]):
    """Reads the outputs of a child and sees it exit, all by callbacks of the running event loop.

    Blocks are written to disk as they are read, without a thread between: a write to the page cache takes less than
    handing the block over, and a disk that cannot keep up slows the script, as it should (AG-430).
    """

    def __init__(self, child: Child, reading: dict[Stream, int], output: ScriptOutput) -> None:
        super().__init__(child, reading, output)
        for stream, descriptor in self._open.items():
            self._loop.add_reader(descriptor, self._readable, stream)
        child.when_exited(self._on_exit)

    def drain(self) -> None:
        """Take what is in the pipes now, and no more: somebody may be writing without end."""
        for stream, descriptor in self.open_outputs.items():
            for _ in range(fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) // _BLOCK + 1):
                if stream not in self._open or not self._readable(stream):
                    break

    def hand_over(self) -> None:
        """Leave open outputs to a `cat` of their own, so that who writes there is not killed by a broken pipe.

        It outlives this process, as the writers do (AG-416, AG-419). What is written from here on is not kept.
        """
        agent = Account(name="", uid=0, gid=0, groups=(), home="/", login_shell="/bin/sh", is_switch=False)
        for stream, descriptor in self.open_outputs.items():
            os.set_blocking(descriptor, True)
            try:
                sink = posix.start(
                    ["cat"],
                    account=agent,
                    environment={"PATH": own.DEFAULT_PATH},
                    directory=Path("/"),
                    stdin=descriptor,
                    stdout=DEVNULL,
                    stderr=DEVNULL,
                )
            except OSError:
                # Then this process swallows it, as long as it lives.
                os.set_blocking(descriptor, False)
                self._loop.remove_reader(descriptor)
                self._loop.add_reader(descriptor, _swallow, descriptor, self._loop)
                self._output.end_of(stream)
                del self._open[stream]
            else:
                sink.when_exited(sink.reap)
                self._end(stream)

    def _readable(self, stream: Stream) -> bool:
        """Read one block; False when there is none."""
        try:
            block = os.read(self._open[stream], _BLOCK)
        except BlockingIOError:
            return False
        if block:
            self._output.feed(stream, block)
            return True
        self._end(stream)
        return False

    def _end(self, stream: Stream) -> None:
        descriptor = self._open.pop(stream)
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        self._output.end_of(stream)
        self._changed.set()


def _swallow(descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
    try:
        block = os.read(descriptor, _BLOCK)
    except BlockingIOError:
        return
    if not block:
        loop.remove_reader(descriptor)
        os.close(descriptor)
