"""Feeds the AppSpec parser with what atheris makes of the corpus: `make fuzz`, or python -m tests.fuzz.appspec.

What breaks it is written to the current directory by atheris; put the file into tests/corpus/appspec with a name that
says what it is, and mend the parser.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from ferryman.appspec import EntryKind, check_against, parse

CORPUS = Path(__file__).parents[1] / "corpus" / "appspec"

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


def main() -> None:
    """Runs until something breaks, or -max_total_time=SECONDS is over; other options are libFuzzer's."""
    try:
        import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # not part of the locks
    except ImportError:
        sys.exit(
            "make fuzz: atheris is missing: uv pip install --python .venv/bin/python atheris (Linux only)"
        )
    atheris.instrument_all()
    options = sys.argv[1:] or ["-max_total_time=60"]
    with tempfile.TemporaryDirectory(prefix="ferryman-fuzz-") as found:
        # New inputs go to the first folder; the corpus in the repository is only read.
        atheris.Setup([sys.argv[0], found, str(CORPUS), "-max_len=20000", "-timeout=10", *options], examine)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
