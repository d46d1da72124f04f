"""The agent's own log: structlog and the libraries' loggers, through one formatter, into one place.

`text` is the original's line format (AG-431), which runbooks search; `json` has one object a line, `journal` goes to
standard error with syslog levels. The formatter is the one place that redacts secrets (AG-443).
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.types import EventDict, Processor, WrappedLogger

from ferryman_agent.clock import Clock
from ferryman_agent.files.rotate import ByDay, RotatedFile
from ferryman_agent.system import own

_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARN": 4, "ERROR": 3, "FATAL": 2}

REDACTED = "<redacted>"
WIRE = "ferryman_agent.wire"
"""Logger of the stream's messages."""
# What JSON leaves as it is and a terminal obeys: DEL, C1 controls, line separators, and what turns the writing.
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SENSITIVE = (
    r"secret|token|passw(?:or)?d|passphrase|authorization|credential|signature|(?:api|access|private)[-_]?key"
)
_SENSITIVE_KEY = re.compile(_SENSITIVE, re.IGNORECASE)
_TO_QUOTE = re.compile(r"[\s\"=]")
_SECRETS = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        "",
    ),
    (re.compile(r"(ferryman-join-1-)[\w-]+"), r"\1"),
    # A presigned address is a credential as a whole.
    (re.compile(rf"\?(?=[^\s\"'?]*(?:{_SENSITIVE}|x-amz-|sig=))[^\s\"'?]*", re.IGNORECASE), "?"),
    (re.compile(r"(://)[^/\s@\"']+(?=@)"), r"\1"),
    (re.compile(r"\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE), r"\1"),
    (
        re.compile(
            rf"((?:{_SENSITIVE})[\w.-]*[\"']?\s*[=:]\s*)(?!<)(?:(?:bearer|basic)\s+\S+|\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)",
            re.I,
        ),
        r"\1",
    ),
)
# One quick look that most lines end with. A dozen searches for plain text take a tenth of what the pattern takes; only
# ASCII has no other letters that a pattern without case takes for the same.
_SUSPECT = re.compile(rf"{_SENSITIVE}|private|ferryman-join|://|\?|bearer|basic", re.IGNORECASE)
_SUSPECT_PARTS = (
    *("secret", "token", "passw", "passphrase", "authorization", "credential", "signature", "key"),
    *("private", "ferryman-join", "://", "?", "bearer", "basic"),
)


class LogStyle(StrEnum):
    """Where the log goes and how it reads."""

    TEXT = "text"
    JSON = "json"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """`verbose` adds DEBUG lines of our own, and INFO lines of the libraries. `file_mode` is that of new files."""

    log_dir: Path
    program_name: str = "ferryman-agent"
    verbose: bool = False
    coordinator_wire: bool = False
    style: LogStyle = LogStyle.TEXT
    file_mode: int = 0o640

    @property
    def path(self) -> Path:
        return self.log_dir / own.log_name(self.program_name)


class AgentLog(logging.Handler):
    """The one handler. A record that cannot be written is counted in `failures`, never raised (AG-444)."""

    def __init__(self, write: Callable[[str], None], close: Callable[[], None]) -> None:
        super().__init__()
        self.failures = 0
        self._write = write
        self._close = close

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except Exception:
            # Whatever it is: a deployment must not fail because of its log (V2-276).
            self.failures += 1

    def close(self) -> None:
        self._close()
        super().close()


class _Formatter(ProcessorFormatter):
    """Formats our own records, which nobody else does, without the copies that several handlers would need."""

    def format(self, record: logging.LogRecord) -> str:
        event = record.msg
        if not isinstance(event, dict):
            return super().format(record)
        found: Any = {**event, "_record": record, "_from_structlog": True}
        for processor in self.processors:
            found = processor(None, "", found)
        return str(found)


def set_up(settings: LogSettings, clock: Clock, *, stderr: TextIO | None = None) -> AgentLog:
    """Lead structlog and the standard library's loggers to the agent's log; returns the handler that writes it.

    `stderr` is for the journal, the process's own unless given. Nothing is created before the first line.
    """
    is_journal = settings.style is LogStyle.JOURNAL
    handler = _to_stderr(stderr or sys.stderr) if is_journal else _to_file(settings, clock)
    formatter = _Formatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            _levels,
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _redact_keys,
            _renderer(settings, clock),
        ],
    )
    handler.setFormatter(formatter)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logging.getLogger().handlers = [handler]
    set_verbose(settings.verbose)
    set_coordinator_wire(settings.coordinator_wire)
    return handler


def set_verbose(verbose: bool) -> None:
    """From now on; see `LogSettings`."""
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("ferryman_agent").setLevel(logging.DEBUG if verbose else logging.INFO)


def set_coordinator_wire(is_on: bool) -> None:
    """Whether the kinds of the stream's messages are logged, whatever `verbose` says (AG-071)."""
    logging.getLogger(WIRE).setLevel(logging.DEBUG if is_on else logging.INFO)


def redact(text: str) -> str:
    """Take tokens, keys, passwords and the query of presigned addresses out of `text` (AG-443)."""
    if text.isascii():
        lowered = text.lower()
        if not any(part in lowered for part in _SUSPECT_PARTS):
            return text
    elif not _SUSPECT.search(text):
        return text
    for pattern, kept in _SECRETS:
        text = pattern.sub(kept + REDACTED, text)
    return text


def _to_file(settings: LogSettings, clock: Clock) -> AgentLog:
    def today() -> date:
        return datetime.fromtimestamp(clock.now() / 1000).astimezone().date()

    file = RotatedFile(settings.path, ByDay(today=today), mode=settings.file_mode)
    return AgentLog(lambda text: file.write(f"{text}\n".encode(errors="backslashreplace")), file.close)


def _to_stderr(stream: TextIO) -> AgentLog:
    def write(text: str) -> None:
        stream.write(f"{text}\n")
        stream.flush()

    return AgentLog(write, lambda: None)


def _levels(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    name = event["_record"].levelname
    event["level"] = _LEVELS.get(name, name)
    return event


def _redact_keys(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: REDACTED if _is_sensitive(key) else value for key, value in event.items()}


@functools.lru_cache(512)
def _is_sensitive(key: str) -> bool:
    return _SENSITIVE_KEY.search(key) is not None


def _renderer(settings: LogSettings, clock: Clock) -> Processor:
    pid = os.getpid()
    program = f"{settings.program_name}({pid})"

    def text(_: WrappedLogger, __: str, event: EventDict) -> str:
        level, trace = event.pop("level"), event.pop("exception", None)
        said = redact(_say(event))
        if trace:
            # Indented, so that no line of it can pass for a record.
            said += "".join(f"\n    {_escape(line)}" for line in redact(str(trace)).splitlines())
        if settings.style is LogStyle.JOURNAL:
            return f"<{_PRIORITIES.get(level, 5)}>{said}"
        at = datetime.fromtimestamp(clock.now() / 1000).astimezone()
        return f"{at:%Y-%m-%dT%H:%M:%S} {level:<5} [{program}]: {said}"

    def lines(_: WrappedLogger, __: str, event: EventDict) -> str:
        at = datetime.fromtimestamp(clock.now() / 1000).astimezone()
        head = {"time": at.isoformat(timespec="milliseconds"), "program": settings.program_name, "pid": pid}
        return _dumps(head | {key: _plain(value) for key, value in event.items()})

    return lines if settings.style is LogStyle.JSON else text


def _say(event: EventDict) -> str:
    """`what.happened key=value other="two words"` on one line, whatever the values hold."""
    words = [_escape(str(event.pop("event", "")))]
    words += [f"{key}={_quote(str(value))}" for key, value in event.items()]
    return " ".join(words)


def _escape(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _quote(text: str) -> str:
    if text and text.isprintable() and not _TO_QUOTE.search(text):
        return text
    return _dumps(text)


def _dumps(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    return redact(str(value))
