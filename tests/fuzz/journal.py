"""The agent's journal: whatever is in it, an agent starts and writes down the next command (V2-288)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ferryman_agent.core.machine import SegmentRun
from ferryman_agent.errors import AgentError, JournalError
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.records import from_line, to_line
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import a_segment

_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def examine(source: bytes) -> None:
    """What holds for every input."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as home:
        path = Path(home) / "journal"
        path.write_bytes(source)
        journal = Journal(path, ManualAgentClock())
        try:
            journal.open()
        except JournalError as error:
            if "by a newer agent" not in str(error):
                raise
            return
        try:
            for command in journal.commands.values():
                if command.segment is not None:
                    SegmentRun.restore(command.segment, [fact for _, _, fact in command.facts]).recover()
            journal.receive(a_segment("d-new"), is_announced=True)
            assert "d-new/i-1/1/0" in journal.commands
        except AgentError as error:
            raise AssertionError(f"{error} after {source!r}") from error
        finally:
            journal.close()
        line = path.read_bytes().splitlines()[-1]
        assert to_line(from_line(line)).rstrip() == line
