"""The requirements of docs/spec, read from its text: bullets (`- **CP-001** …`) and table rows with an id.

api.md and control-plane.md both number some rows W1, W2, …; those of api.md are therefore called API-W1 here
and in marks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SPEC = Path(__file__).resolve().parents[2] / "docs" / "spec"

_HEADING = re.compile(r"^#{2,3} (?:(?P<number>\d+)(?:\.\d+)*\.? )?(?P<title>.+)$")
_BULLET = re.compile(r"^- \*\*(?P<full>[A-Z][A-Z0-9]*-\w+)\*\* (?P<text>.*)$")
_ROW = re.compile(r"^\| *(?:(?P<bare>[A-Z]{1,2}\d+) *\||(?P<full>AG-[A-Z]\d+)\b) *(?P<text>.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One line of the spec. `section` is the number of its top-level section: "13" in 13.2 as well."""

    id: str
    file: str
    section: str
    title: str
    text: str


def load(folder: Path = SPEC) -> dict[str, Requirement]:
    """All requirements by id, in the order of files and lines.

    Raises ValueError when an id stands on two lines: a mark could not say which of them it means.
    """
    found: dict[str, Requirement] = {}
    for path in sorted(folder.glob("*.md")):
        for requirement in _parse(path):
            if requirement.id in found:
                raise ValueError(
                    f"{path.name}: {requirement.id} stands in {found[requirement.id].file} as well"
                )
            found[requirement.id] = requirement
    return found


def _parse(path: Path) -> Iterator[Requirement]:
    section, title = "0", ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.match(line):
            number = heading["number"]
            if line.startswith("## "):
                section, title = number or heading["title"], heading["title"]
            continue
        match = _BULLET.match(line) or _ROW.match(line)
        if match is None:
            continue
        names = match.groupdict()
        prefix = "API-" if path.stem == "api" else ""
        name = names["full"] or prefix + names["bare"]
        yield Requirement(
            id=name, file=path.stem, section=section, title=title, text=names["text"].strip("| ")
        )
