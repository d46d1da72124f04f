"""Live output on its way to the coordinator: bounded, the oldest lines go first, and what goes is counted (AG-460).

Complete output is on the instance's disk; here a slow link must neither slow a script nor delay a report.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from ferryman_agent.core.messages import CommandId
from ferryman_agent.hooks.contract import OutputLine

MAX_LINES = 5_000
MAX_CHARACTERS = 512 * 1024
BATCH_CHARACTERS = 32 * 1024
LINE_CHARACTERS = 4 * 1024
"""A longer line is cut: it would hold up the reports behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Consecutive lines of one script. `first_line` counts from 1 in each command; `dropped` were left out before."""

    command_id: CommandId
    lifecycle_event: str
    script_name: str
    first_line: int
    lines: tuple[OutputLine, ...]
    dropped: int = 0

    @property
    def characters(self) -> int:
        return sum(len(line.text) for line in self.lines)


class LiveLines:
    """A queue that never blocks its writer."""

    def __init__(self, *, max_lines: int = MAX_LINES, max_characters: int = MAX_CHARACTERS) -> None:
        self._max_lines = max_lines
        self._max_characters = max_characters
        self._queue: deque[Lines] = deque()
        self._lines = 0
        self._characters = 0
        self._numbers: Counter[CommandId] = Counter()
        self._dropped: Counter[CommandId] = Counter()
        self._lost: Counter[tuple[CommandId, str]] = Counter()

    def __len__(self) -> int:
        return self._lines

    def put(
        self,
        command_id: CommandId,
        lifecycle_event: str,
        script_name: str,
        lines: Sequence[OutputLine],
        dropped: int,
    ) -> None:
        """Queues lines; `dropped` were left out before them by whoever read them."""
        self._numbers[command_id] += dropped
        self._lost[command_id, lifecycle_event] += dropped
        chunk = Lines(
            command_id=command_id,
            lifecycle_event=lifecycle_event,
            script_name=script_name,
            first_line=self._numbers[command_id] + 1,
            lines=tuple(_cut(line) for line in lines),
            dropped=dropped,
        )
        self._numbers[command_id] += len(lines)
        self._queue.append(chunk)
        self._count(chunk, 1)
        while len(self._queue) > 1 and (
            self._lines > self._max_lines or self._characters > self._max_characters
        ):
            oldest = self._queue.popleft()
            self._count(oldest, -1)
            self._dropped[oldest.command_id] += oldest.dropped + len(oldest.lines)
            self._lost[oldest.command_id, oldest.lifecycle_event] += len(oldest.lines)

    def take(self) -> Lines | None:
        """Returns the oldest lines of one script, as many as one message carries; None when there are none."""
        if not self._queue:
            return None
        first = self._queue.popleft()
        self._count(first, -1)
        lines, characters = list(first.lines), first.characters
        while self._queue and characters < BATCH_CHARACTERS and _continues(first, len(lines), self._queue[0]):
            following = self._queue.popleft()
            self._count(following, -1)
            lines += following.lines
            characters += following.characters
        return Lines(
            command_id=first.command_id,
            lifecycle_event=first.lifecycle_event,
            script_name=first.script_name,
            first_line=first.first_line,
            lines=tuple(lines),
            dropped=first.dropped + self._dropped.pop(first.command_id, 0),
        )

    def lost(self, command_id: CommandId, lifecycle_event: str) -> int:
        """Returns how many lines of the event were left out so far; forgets them, for no more come after its end."""
        return self._lost.pop((command_id, lifecycle_event), 0)

    def finish(self, command_id: CommandId) -> None:
        """No more lines of this command come; its numbers need not be known any longer."""
        self._numbers.pop(command_id, None)
        for key in [key for key in self._lost if key[0] == command_id]:
            del self._lost[key]

    def _count(self, chunk: Lines, sign: int) -> None:
        self._lines += sign * len(chunk.lines)
        self._characters += sign * chunk.characters


def _continues(first: Lines, count: int, following: Lines) -> bool:
    return (
        following.command_id == first.command_id
        and following.script_name == first.script_name
        and following.lifecycle_event == first.lifecycle_event
        and following.first_line == first.first_line + count
        and not following.dropped
    )


def _cut(line: OutputLine) -> OutputLine:
    if len(line.text) <= LINE_CHARACTERS:
        return line
    return OutputLine(line.stream, line.text[:LINE_CHARACTERS] + " […]", line.at)
