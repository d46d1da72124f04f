"""The real agent, killed as by `kill -9` at one chosen step of its work: the fault is in the edge, no clock involved.

    python -m tests.support.crashing_agent STEP run …

From the first command on every record that is written to the journal is two steps, before and after it, and every file
or folder that is made, moved or removed is one. At step number STEP the process kills itself; with 0 it survives and
writes down how many there were, and what each was, in the file of `FERRYMAN_TEST_STEPS`.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ferryman_agent import lean
from ferryman_agent.cli import main as cli

_CALLS = ("replace", "rename", "unlink", "mkdir", "rmdir", "link", "symlink")
_ASIDE = ("status.json", ".pid", ".log", ".ferryman-probe")
"""Files that say something about the agent, not about the machine: they are written at times of their own."""


class Steps:
    """Counts, and kills."""

    def __init__(self, fatal: int, record: Path | None) -> None:
        self._fatal = fatal
        self._record = record
        self._count = 0
        self._lock = threading.Lock()
        self.is_counting = False

    def take(self, what: str) -> None:
        if not self.is_counting:
            return
        with self._lock:
            self._count += 1
            if self._record is not None:
                with self._record.open("a") as file:
                    file.write(f"{what}\n")
            if self._count == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def plant(steps: Steps) -> None:
    """Puts the steps into the edge of this process."""
    from ferryman_agent.files import digests
    from ferryman_agent.runtime import journal_file
    from ferryman_agent.runtime.records import Received

    # Records of files count as written too shortly after them, whether the machine is quick or slow: what is read once
    # more for that, and written down, takes as many steps each time.
    digests._RACY_NS = 1 << 62
    append = journal_file.JournalFile.append

    def counted(self: Any, records: Iterable[Any]) -> None:
        written = list(records)
        steps.is_counting = steps.is_counting or any(isinstance(one, Received) for one in written)
        kinds = "+".join(getattr(one, "kind", type(one).__name__) for one in written)
        steps.take(f"before {kinds}")
        append(self, written)
        steps.take(f"after {kinds}")

    journal_file.JournalFile.append = counted  # type: ignore[method-assign]
    for name in _CALLS:
        setattr(os, name, _stepping(getattr(os, name), steps))


def _stepping(call: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    @functools.wraps(call)
    def stepping(*arguments: Any, **options: Any) -> Any:
        shown = " ".join(
            os.fsdecode(one) for one in arguments[:2] if isinstance(one, str | bytes | os.PathLike)
        )
        if not any(part in shown for part in _ASIDE):
            steps.take(f"{call.__name__} {shown}")
        return call(*arguments, **options)

    return stepping


if __name__ == "__main__":
    lean.leave_out()
    lean.load_asyncio_alone()
    wanted = os.environ.get("FERRYMAN_TEST_STEPS")
    plant(Steps(int(sys.argv[1]), Path(wanted) if wanted else None))
    cli.main(sys.argv[2:])
