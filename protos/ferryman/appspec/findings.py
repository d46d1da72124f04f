"""Collects what is said against an AppSpec file, and how much of it there may be."""

from __future__ import annotations

from collections.abc import Iterable

from ferryman.appspec.model import Finding, Place, Severity

LIMIT = 200
"""More findings than this help nobody, and a hostile file could have a hundred thousand."""


class Findings:
    """The findings so far. `strict` is the level of lint, push and registration (AG-277)."""

    def __init__(self, *, strict: bool = True) -> None:
        self._strict = strict
        self._items: list[Finding] = []
        self._errors = 0

    @property
    def has_errors(self) -> bool:
        return self._errors > 0

    @property
    def is_full(self) -> bool:
        return len(self._items) > LIMIT

    def error(self, code: str, place: Place, message: str) -> None:
        """Says something that makes the file unusable."""
        self._errors += 1
        self._add(code, Severity.ERROR, place, message)

    def warn(self, code: str, place: Place, message: str) -> None:
        """Says something that people should look at."""
        self._add(code, Severity.WARNING, place, message)

    def tolerated(self, code: str, place: Place, message: str) -> None:
        """Says something that is an error for lint, and only a warning while a host deploys (AG-277)."""
        (self.error if self._strict else self.warn)(code, place, message)

    def take(self, others: Iterable[Finding]) -> None:
        """Takes over what was said before."""
        for finding in others:
            if not self.is_full:
                self._errors += finding.is_error
                self._items.append(finding)

    def nearest(self, word: str, known: Iterable[str]) -> str:
        """Returns `; did you mean 'x'?`, or nothing. Free of cost once nobody would read it."""
        if self.is_full:
            return ""
        by_lower = {name.lower(): name for name in known}
        import difflib  # only for mistakes: 0.15 MiB

        close = difflib.get_close_matches(word[:64].lower(), by_lower, n=1, cutoff=0.6)
        return f"; did you mean {by_lower[close[0]]!r}?" if close else ""

    def ordered(self) -> tuple[Finding, ...]:
        """Returns all findings in the order of the file."""
        return tuple(sorted(self._items, key=lambda finding: (finding.line, finding.column)))

    def _add(self, code: str, severity: Severity, place: Place, message: str) -> None:
        if self.is_full:
            return
        if len(self._items) == LIMIT:
            code, severity, place = "TOO_MANY_FINDINGS", Severity.ERROR, Place()
            message = f"there is more than these {LIMIT}: correct them first"
            self._errors += 1
        self._items.append(
            Finding(
                code=code,
                severity=severity,
                message=_printable(message),
                line=place.line,
                column=place.column,
                key_path=_printable(place.key_path),
            )
        )


def _printable(text: str) -> str:
    # Names from the file end up on terminals and in logs.
    return (
        text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    )


def shown(value: str) -> str:
    """Returns a value as messages show it: quoted, without control characters, not longer than 80 characters."""
    return repr(value if len(value) <= 80 else value[:77] + "...")
