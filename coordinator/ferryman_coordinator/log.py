"""Log lines: one JSON object each, on standard error, with secrets taken out here and nowhere else.

Standard output belongs to the ready line. What libraries log through `logging` takes the same way.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

# What JSON leaves as it is and a terminal obeys: DEL, C1 controls, line separators, and what turns the writing.
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_SECRET_NAME = re.compile(
    r"token\Z|secret|passw|authorization|signature|private_?key|api_?key|credential", re.IGNORECASE
)
_SECRET_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    # Join tokens keep their fingerprint: it is public and says which coordinator they are for.
    (re.compile(r"(ferryman-join-1-[0-9a-f]*)-[A-Za-z0-9_-]+"), rf"\1-{REDACTED}"),
    (re.compile(r"ferryman-(?:access|session)-1-[A-Za-z0-9_-]+"), REDACTED),
    (re.compile(r"\b(?:gh[opsru]|github_pat)_[A-Za-z0-9_]{16,}"), REDACTED),
    (re.compile(r"(?i)\b(bearer) +[^\s\"',]+"), rf"\1 {REDACTED}"),
    (
        re.compile(r"(?i)([?&](?:signature|x-amz-signature|x-amz-security-token)=)[^&\s\"']+"),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(://[^/:@\s]+):[^/@\s]+@"), rf"\1:{REDACTED}@"),
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        REDACTED,
    ),
)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Sets logging up for this process. `level` is debug, info, warning or error; `stream` defaults to stderr."""
    number = logging.getLevelNamesMapping()[level.upper()]
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(serializer=_dumps, ensure_ascii=False, default=str),
    ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries tell at `info` what our own lines tell better.
    root.setLevel(max(number, logging.WARNING) if number > logging.DEBUG else logging.INFO)


def _dumps(event: EventDict, **options: Any) -> str:
    """JSON with every control character escaped: whoever reads the log on a terminal must not be fooled by it."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(event, **options))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Takes secrets out of a line, by the names of its fields and by the form of their values (CP-447, PF-266)."""
    return {
        key: REDACTED if _SECRET_NAME.search(key) and value else _clean(value) for key, value in event.items()
    }


def without_secrets(text: str) -> str:
    """The text with everything taken out that has the form of a secret."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _clean(value: object) -> object:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {
            key: REDACTED if _SECRET_NAME.search(str(key)) and inner else _clean(inner)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(inner) for inner in value]
    if isinstance(value, BaseException):
        return _clean(f"{type(value).__name__}: {value}")
    return value
