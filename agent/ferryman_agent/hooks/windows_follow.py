"""Following one running script on Windows: a thread for each output, since its event loop cannot wait for pipes."""

from __future__ import annotations

import contextlib
import os
import threading

from ferryman_agent.hooks.contract import Stream
from ferryman_agent.hooks.following import Following
from ferryman_agent.hooks.output import ScriptOutput
from ferryman_agent.hooks.windows import Child

_BLOCK = 64 * 1024
_QUIET_SECONDS = 0.1


class Pipes:
    """The two pipes of a script before it is started. `writing` is closed once it is."""

    def __init__(self) -> None:
        out, err = os.pipe(), os.pipe()
        self.reading = {Stream.STDOUT: out[0], Stream.STDERR: err[0]}
        self.writing = {Stream.STDOUT: out[1], Stream.STDERR: err[1]}

    def close_writing(self) -> None:
        """Close our ends for writing, so that the outputs end with those who have them."""
        for descriptor in self.writing.values():
            os.close(descriptor)
        self.writing = {}

    def close(self) -> None:
        """Close all that is open."""
        self.close_writing()
        for descriptor in self.reading.values():
            os.close(descriptor)
        self.reading = {}


class Follower(Following[Child]):
    """Reads the outputs of a child in threads; what they read is taken in on the event loop, a block at a time.

    A thread reads on only when its block was taken: a disk that cannot keep up slows the script (AG-430).
    """

    def __init__(self, child: Child, reading: dict[Stream, int], output: ScriptOutput) -> None:
        super().__init__(child, reading, output)
        self._blocks = 0
        self._is_over = False
        for stream, descriptor in self._open.items():
            threading.Thread(target=self._read, args=(stream, descriptor), daemon=True).start()
        child.when_exited(self._on_exit)

    def drain(self) -> None:
        """Does nothing: the exit is told only when what was written before it has come in."""

    def hand_over(self) -> None:
        """Leave open outputs to their threads, which throw away what comes, as long as this process lives (AG-416)."""
        for stream in self.open_outputs:
            self._end(stream)

    def _read(self, stream: Stream, descriptor: int) -> None:
        while True:
            try:
                block = os.read(descriptor, _BLOCK)
            except OSError:
                block = b""
            taken = threading.Event()
            try:
                self._loop.call_soon_threadsafe(self._took, stream, block, taken)
            except RuntimeError:  # the loop is closed: nobody wants it
                taken.set()
            if not block:
                break
            taken.wait()
        with contextlib.suppress(OSError):
            os.close(descriptor)

    def _took(self, stream: Stream, block: bytes, taken: threading.Event) -> None:
        try:
            if stream not in self._open:
                return
            self._blocks += 1
            if block:
                self._output.feed(stream, block)
            else:
                self._end(stream)
        finally:
            taken.set()

    def _end(self, stream: Stream) -> None:
        # The descriptor is its thread's, which closes it when nobody writes any more: to close it here would block.
        del self._open[stream]
        self._output.end_of(stream)
        self._changed.set()
        if self._is_over and not self._open:
            super()._on_exit()

    def _on_exit(self) -> None:
        self._is_over = True
        if not self._open:
            super()._on_exit()
        else:
            self._loop.call_later(_QUIET_SECONDS, self._when_quiet, self._blocks)

    def _when_quiet(self, blocks: int) -> None:
        """Tell the exit although somebody still has an output open, once nothing comes any more."""
        if self.exited.is_set():
            return
        if blocks == self._blocks:
            super()._on_exit()
        else:
            self._loop.call_later(_QUIET_SECONDS, self._when_quiet, self._blocks)
