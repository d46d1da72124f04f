"""The short-lived process that fetches and unpacks one large bundle: `python -I -m ferryman_agent.bundles.child`.

It keeps the memory of that work out of the agent. It says and hears what `wire.py` has, and ends with its parent.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time

from ferryman_agent.bundles import wire
from ferryman_agent.bundles.building import Built
from ferryman_agent.bundles.halt import Halt, Halted
from ferryman_agent.bundles.wanted import Outcome
from ferryman_agent.core.pace import Pace
from ferryman_agent.errors import BundleError
from ferryman_agent.system import own

PROGRESS_SECONDS = 0.2
PROGRESS_BYTES = 1024 * 1024


class Child:
    """One thread listens, the main one works."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self._halt = Halt()
        self._pace = Pace()
        self._told = 0
        self._told_at = 0.0

    def run(self) -> None:
        """Works until the parent closes our input, or is gone."""
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            message = self._work.get()
            try:
                line = wire.end(self._done(message))
            except (BundleError, OSError, Halted) as problem:
                line = wire.failure(problem)
            _say(line)

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            message = wire.from_line(line)
            if "rate" in message:
                self._pace.bytes_per_second = message["rate"]
            elif "halt" in message:
                self._halt.set()
            else:
                self._work.put(message)
        # Nobody wants what goes on; what is on the disk is as after a crash, and that is provided for.
        os._exit(0)

    def _done(self, message: wire.Message) -> Outcome | Built:
        if "fetch" in message:
            # Only now: a bundle of this machine is not fetched, and needs no HTTP and no TLS.
            from ferryman_agent.bundles.attempt import attempt

            wanted = wire.attempt_of(message["fetch"])
            return attempt(wanted, halt=self._halt, pace=self._pace, on_progress=self._progress)
        # Only now: a fetch alone needs a third of the memory. OpenSSL hashes five times as fast, and ends with us.
        import hashlib  # noqa: F401 - `files.hashing` uses it once it is there

        from ferryman_agent.bundles.archive import build

        return build(wire.build_of(message["build"]), self._halt)

    def _progress(self, received: int, total: int | None) -> None:
        now = time.monotonic()
        is_news = received == total or received >= self._told + PROGRESS_BYTES
        if is_news or now >= self._told_at + PROGRESS_SECONDS:
            self._told, self._told_at = received, now
            _say(wire.to_line(progress=[received, total]))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _die_with(parent: int) -> None:
    """Asks the kernel to end us with our parent, which may be killed in a moment when we do not listen."""
    own.end_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    """Is the child."""
    _die_with(int(sys.argv[1]))
    os.umask(0o022)
    Child().run()


if __name__ == "__main__":
    main()
