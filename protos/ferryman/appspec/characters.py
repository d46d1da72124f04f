"""Characters that nobody sees and that change what a YAML file says: tabs, odd blanks, controls (AG-267)."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache

from ferryman.appspec.findings import LIMIT, Findings
from ferryman.appspec.model import Place

_FORBIDDEN = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff"
_ODD = "\x85\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
_BLANKS = str.maketrans("", "", "\t\n\r")
_INDENT_WITH_TAB = re.compile(r"^ *\t[ \t]*(?=[^ \t\r\n#])", re.MULTILINE)
_CODE = "APPSPEC_CHARACTER"


@cache
def _one_of(characters: str) -> re.Pattern[str]:
    """Compiled when it is first needed: sets as these take milliseconds, and most files have none of them."""
    return re.compile(f"[{characters}]")


@dataclass(frozen=True, slots=True)
class _Suspect:
    """One suspicious character and where it stands."""

    index: int
    line: int
    column: int
    character: str

    def describe(self) -> str:
        import unicodedata

        name = unicodedata.name(self.character, "control character")
        return f"invisible character U+{ord(self.character):04X} ({name.lower()})"


class Suspects:
    """The suspicious characters of one text, and which of them stand where they are meant.

    Inside quotes, block scalars and comments such a character is content; anywhere else it is a mistake.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._found = self._locate(text)
        self._indexes = [found.index for found in self._found]
        self._plain: set[int] = set()
        self._meant: set[int] = set()
        self._lines: set[int] = set()

    @property
    def has_reported(self) -> bool:
        return bool(self._lines)

    def saw(self, start: int, end: int, *, is_plain: bool) -> None:
        """Takes note of a scalar: the half-open range of its characters in the text."""
        first, behind = bisect_left(self._indexes, start), bisect_left(self._indexes, end)
        if first < behind:
            (self._plain if is_plain else self._meant).update(self._indexes[first:behind])

    def report(self, findings: Findings) -> None:
        """Reports those that YAML took as part of an unquoted value."""
        for found in self._found:
            if found.index in self._plain:
                message = f"{found.describe()}; replace it by a blank, or quote the value if it is meant"
                self._report(findings, found.line, found.column, message)

    def report_after_failure(self, findings: Findings, *, at: int | None) -> None:
        """Reports all that may have broken the syntax; tabs in indentation when the parser stopped `at` one."""
        for found in self._found:
            if self._may_break(found):
                self._report(findings, found.line, found.column, f"{found.describe()}; remove it")
        if at is None or self._text[at : at + 1] != "\t":
            return
        for match in list(_INDENT_WITH_TAB.finditer(self._text))[:LIMIT]:
            tab = self._text.index("\t", match.start())
            line = self._text.count("\n", 0, tab) + 1
            message = "tab (U+0009) in the indentation; YAML allows only blanks there"
            self._report(findings, line, tab - match.start() + 1, message)

    def explains(self, line: int) -> bool:
        """Says whether a character that was reported is the likely cause of an error at `line`."""
        return any(line - 2 <= reported <= line for reported in self._lines)

    def _report(self, findings: Findings, line: int, column: int, message: str) -> None:
        self._lines.add(line)
        findings.error(_CODE, Place(line, column), message)

    def _may_break(self, found: _Suspect) -> bool:
        if _one_of(_FORBIDDEN).match(found.character):
            return True
        before = self._text[self._text.rfind("\n", 0, found.index) + 1 : found.index]
        is_comment = before.lstrip().startswith("#") or " #" in before
        return found.index not in self._meant and not is_comment

    @staticmethod
    def _locate(text: str) -> tuple[_Suspect, ...]:
        found: list[_Suspect] = []
        if text.isascii() and text.translate(_BLANKS).isprintable():
            return ()
        line, start = 1, 0
        for match in _one_of(_FORBIDDEN + _ODD).finditer(text):
            line += text.count("\n", start, match.start())
            start = match.start()
            column = start - (text.rfind("\n", 0, start) + 1) + 1
            found.append(_Suspect(start, line, column, match.group()))
            if len(found) == LIMIT:
                break
        return tuple(found)
