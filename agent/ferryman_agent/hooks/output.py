"""What scripts print: `scripts.log` and the combined log, the bounded tail that is reported, and live lines.

Everything works on blocks of whole lines as they come from the pipe; nothing here costs time per line but the few lines
that are kept in the tail or sent live. Memory is bounded by one block and one unfinished line per stream.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from datetime import datetime

import structlog

from ferryman_agent.clock import Clock
from ferryman_agent.core.messages import Instant
from ferryman_agent.files.rotate import BySize, RotatedFile
from ferryman_agent.hooks.contract import HookRun, HookSettings, HookWatcher, OutputLine, Stream

LONGEST_LINE = 64 * 1024
LONGEST_LIVE_LINE = 4096
TAIL_CHARACTERS = 2047
MASK = "***"
_LINE_HEAD = len("2006-01-02 15:04:05 [stdout]")
_CUT = b" [line cut at 64 KiB, goes on below]\n"
# The newest 2047 characters of any text are within its last 4 * 2048 bytes of UTF-8.
_TAIL_BYTES = 4 * (TAIL_CHARACTERS + 1)

# ESC [ … letter, ESC ] … BEL or ESC \, and the short forms: colours, cursor, window title.
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
_C0 = bytes([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
# Whole runs, so that what is left on both sides cannot make up another one; possessive and only from a run's begin, so
# that a line of 64 KiB takes one pass. In UTF-8 a run is one character.
_C1 = re.compile(rb"(?<!\xc2)\xc2++[\x80-\x9f]++")

log = structlog.get_logger("ferryman_agent.hooks")


def clean(lines: bytes) -> bytes:
    """Strip control sequences and every control character but tab (V2-261); a carriage return ends a line.

    Bytes that are not UTF-8 stay as they are (AG-428).
    """
    lines = in_lines(lines)
    if b"\x1b" in lines:
        lines = _ESCAPES.sub(b"", lines)
    lines = lines.translate(None, _C0)
    # Last: the parts of one may have stood apart before.
    return _C1.sub(b"", lines) if b"\xc2" in lines else lines


def in_lines(lines: bytes) -> bytes:
    """Have a carriage return end a line, so that what follows cannot pass for the line's beginning (V2-262)."""
    return lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in lines else lines


def masked(text: str, masks: Sequence[re.Pattern[str]]) -> str:
    """One line with what the masks match taken out (AG-461)."""
    for mask in masks:
        text = mask.sub(MASK, text)
    return text


class Splitter:
    """Blocks as they come from a pipe -> blocks of whole lines, none longer than 64 KiB (AG-427, V2-263)."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, block: bytes) -> bytes:
        """Take a block of any content; returns the lines that it completes, each with its newline."""
        end = block.rfind(b"\n") + 1
        if not end:
            self._pending += block
            return self._cut()
        # Only the first line can be longer than a block: the others lie within it.
        first = block.find(b"\n") + 1
        self._pending += block[:first]
        head = self._cut() + bytes(self._pending)
        self._pending = bytearray(block[end:])
        return head + block[first:end] + self._cut()

    def finish(self) -> bytes:
        """The unfinished last line, with the newline that it lacks (AG-429)."""
        last, self._pending = bytes(self._pending), bytearray()
        return last + b"\n" if last else b""

    def _cut(self) -> bytes:
        pieces = b""
        while len(self._pending) > LONGEST_LINE + self._pending.endswith(b"\n"):
            pieces += self._pending[:LONGEST_LINE] + _CUT
            del self._pending[:LONGEST_LINE]
        return pieces


class Tail:
    """The newest whole entries whose total length is at most 2047 characters (AG-449, V2-266).

    An entry that is too long on its own keeps its end (AG-450, V2-267), and gives way to later ones from its front.
    """

    def __init__(self) -> None:
        self._entries: deque[str] = deque()
        self._length = 0
        self._is_oldest_cut = False

    def add(self, entry: str) -> None:
        """Append one entry without its newline."""
        entry = f"{entry}\n"
        self._entries.append(entry)
        self._length += len(entry)
        while self._length > TAIL_CHARACTERS:
            oldest = self._entries.popleft()
            room = TAIL_CHARACTERS - (self._length - len(oldest))
            self._length -= len(oldest)
            if room > 0 and (self._is_oldest_cut or len(oldest) > TAIL_CHARACTERS):
                self._entries.appendleft(oldest[-room:])
                self._length += room
                self._is_oldest_cut = True
            else:
                self._is_oldest_cut = False

    def add_lines(self, prefix: str, lines: bytes) -> None:
        """Append a block of whole lines, each with `prefix`; looks only at what can still matter."""
        entries = lines[-_TAIL_BYTES:].decode(errors="replace").split("\n")[:-1]
        length = kept = 0
        while kept < len(entries) and length <= TAIL_CHARACTERS:
            kept += 1
            length += len(prefix) + len(entries[-kept]) + 1
        for entry in entries[len(entries) - kept :]:
            self.add(prefix + entry)

    def text(self) -> str:
        """All entries, each ending in a newline."""
        return "".join(self._entries)


class ScriptsLog:
    """`logs/scripts.log` of the deployment, the combined log where it is on, and the tail of one event.

    A write that fails is counted and told in the agent's log once; it never fails the script (AG-444, V2-265).
    """

    def __init__(self, run: HookRun, settings: HookSettings, clock: Clock) -> None:
        rotation = BySize(settings.log_max_bytes, settings.log_files)
        self._files = [RotatedFile(run.deployment_dir.scripts_log, rotation)]
        if run.deployments_log is not None:
            self._files.append(RotatedFile(run.deployments_log, rotation))
        self._deployment_id = run.deployment.deployment_id
        self._clock = clock
        self._masks = settings.masks
        self._second = (-1, "")
        self._announced: list[str] = []
        self.tail = Tail()
        self.failures = 0

    def announce(self, text: str) -> None:
        """Have a line of our own written with the next one, in one go."""
        self._announced.append(text)

    def entry(self, text: str) -> None:
        """Write a line of our own: a header, or a remark about a script."""
        lines = [" ".join(each.splitlines()) for each in (*self._announced, text)]
        self._announced.clear()
        for line in lines:
            self.tail.add(line)
        self.write("", "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))

    def write(self, prefix: str, lines: bytes, cleaned: bytes | None = None) -> None:
        """Write a block of whole lines; every one of them gets its time and `prefix` (V2-262).

        `cleaned` are those for the combined log, which many read; the deployment's own has what was printed.
        """
        now = self._clock.now()
        stamp = self._stamp(now)
        # The format of each file is contractual: AG section 12.1, rows 2 and 3.
        heads = [f"{stamp} {prefix}", f"[{stamp}.{now % 1000:03}] [{self._deployment_id}]{prefix}"]
        texts = [lines, lines if cleaned is None else cleaned]
        for file, head, text in zip(self._files, heads, texts, strict=False):
            start = head.encode()
            try:
                file.write(start + text[:-1].replace(b"\n", b"\n" + start) + b"\n")
            except OSError as error:
                self._count(file, error)

    def reported(self) -> str:
        """The tail as it leaves the machine: masked, at most 2047 characters."""
        text = self.tail.text()
        if self._masks:
            text = "\n".join(masked(line, self._masks) for line in text.split("\n"))
        return text[-TAIL_CHARACTERS:]

    def close(self) -> None:
        """Let go of the files; a later write opens them again."""
        if self._announced:
            self.entry(self._announced.pop())
        for file in self._files:
            file.close()

    def _stamp(self, now: Instant) -> str:
        second = now // 1000
        if self._second[0] != second:
            local = datetime.fromtimestamp(second).astimezone()
            self._second = (second, f"{local:%Y-%m-%d %H:%M:%S}")
        return self._second[1]

    def _count(self, file: RotatedFile, error: OSError) -> None:
        if not self.failures:
            log.warning("hook.log_not_written", path=str(file.path), error=error.strerror)
        self.failures += 1


class LiveLines:
    """Hands lines of one script to the watcher, as many a second as the settings allow; counts the rest (AG-460)."""

    def __init__(self, script_name: str, watcher: HookWatcher, settings: HookSettings, clock: Clock) -> None:
        self._script_name = script_name
        self._watcher = watcher
        self._settings = settings
        self._clock = clock
        self._window = float("-inf")
        self._lines_left = self._bytes_left = 0
        self._dropped = 0

    def add(self, stream: Stream, lines: bytes) -> None:
        """Pass on what of a block of whole lines the current second has room for; cleans what it takes."""
        self._refill()
        total = lines.count(b"\n")
        taken: list[OutputLine] = []
        at, start = self._clock.now(), 0
        while len(taken) < min(total, self._lines_left) and self._bytes_left > 0:
            end = lines.index(b"\n", start)
            text = clean(lines[start : min(end, start + LONGEST_LIVE_LINE)]).decode(errors="replace")
            text = text.rstrip("\n").replace("\n", " ")
            self._bytes_left -= len(text)
            taken.append(OutputLine(stream, masked(text, self._settings.masks), at))
            start = end + 1
        self._lines_left -= len(taken)
        self._pass_on(taken)
        self._dropped += total - len(taken)

    def remark(self, text: str) -> None:
        """Pass on a line of our own, whatever the second's room."""
        self._pass_on([OutputLine(Stream.AGENT, text, self._clock.now())])

    def finish(self) -> None:
        """Tell what was dropped since the last lines."""
        if self._dropped:
            self._pass_on([])

    def _pass_on(self, lines: Sequence[OutputLine]) -> None:
        if lines or self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._watcher.lines(self._script_name, lines, dropped)

    def _refill(self) -> None:
        now = self._clock.monotonic()
        if now - self._window >= 1:
            self._window = now
            self._lines_left = self._settings.live_lines_per_second
            self._bytes_left = self._settings.live_bytes_per_second


class ScriptOutput:
    """Takes the blocks of one script's two streams to log, tail and watcher."""

    def __init__(self, scripts_log: ScriptsLog, live: LiveLines, *, cap_bytes: int) -> None:
        self._log = scripts_log
        self._live = live
        self._cap = cap_bytes
        self._room = cap_bytes
        self._left_out = 0
        self._splitters = {Stream.STDOUT: Splitter(), Stream.STDERR: Splitter()}

    def feed(self, stream: Stream, block: bytes) -> None:
        """Take a block as it was read."""
        self._lines(stream, self._splitters[stream].feed(block))

    def end_of(self, stream: Stream) -> None:
        """The stream is closed, or no longer followed: write the unfinished line."""
        self._lines(stream, self._splitters[stream].finish())

    def remark(self, text: str) -> None:
        """Put a line of our own into log, tail and live lines."""
        self._log.entry(text)
        self._live.remark(text)

    def finish(self) -> None:
        """Say what was left out of log and live lines."""
        if self._left_out:
            self._log.entry(f"Output - {self._left_out} bytes in all were left out of this log")
            self._left_out = 0
        self._live.finish()

    def _lines(self, stream: Stream, lines: bytes) -> None:
        if not lines:
            return
        self._live.add(stream, lines)
        prefix, was_full = f"[{stream}]", self._left_out > 0
        kept = self._within_cap(lines)
        if kept:
            cleaned = clean(kept)
            self._log.write(prefix, in_lines(kept), cleaned)
            self._log.tail.add_lines(prefix, cleaned)
        if self._left_out:
            if not was_full:
                self._log.entry(f"Output - more than {self._cap} bytes: the rest is left out of this log")
            self._log.tail.add_lines(prefix, clean(lines[len(kept) :][-2 * _TAIL_BYTES :]))

    def _within_cap(self, lines: bytes) -> bytes:
        """The whole lines that still fit under the cap of what is written to disk (AG-430)."""
        if self._left_out:
            self._left_out += len(lines)
            return b""
        size = len(lines) + lines.count(b"\n") * _LINE_HEAD
        if size <= self._room:
            self._room -= size
            return lines
        end = 0
        while (after := lines.find(b"\n", end) + 1) and after - end + _LINE_HEAD <= self._room:
            self._room -= after - end + _LINE_HEAD
            end = after
        self._left_out = len(lines) - end
        return lines[:end]
