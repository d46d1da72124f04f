"""The AppSpec parser: every input has an answer, or findings that can be shown as they are."""

from __future__ import annotations

import re

from ferryman.appspec import EntryKind, check_against, parse

_LISTING = {"a": EntryKind.FILE, "d": EntryKind.DIRECTORY, "d/x": EntryKind.LINK}


def examine(source: bytes) -> None:
    """What holds for every input. Raises AssertionError, or whatever the parser should not have let out."""
    for strict in (True, False):
        parsed = parse(source, strict=strict, host_os="linux")
        assert (parsed.appspec is None) == bool(parsed.errors)
        for finding in parsed.findings:
            assert re.fullmatch(r"[A-Z][A-Z0-9_]+", finding.code)
            assert finding.message.isprintable()
            assert finding.line >= 0
            assert finding.column >= 0
        if parsed.appspec is not None:
            check_against(parsed.appspec, _LISTING)
