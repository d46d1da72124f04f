"""`make conformance`: which requirements of docs/spec have a passing test, per file and section.

    python -m tests.support.conformance RESULTS [--section FILE[:NUMBER]]… [--min PERCENT] [--quiet]

RESULTS is what a test run with `--req-results` wrote. A requirement counts when at least one test that is
marked with it passed and none failed. Exit code 1 when a selected section stays under --min, 2 when an input
is unusable.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.requirements import Requirement, load


@dataclass(slots=True)
class Section:
    """The tally of one top-level section."""

    file: str
    number: str
    title: str
    shown: list[Requirement] = field(default_factory=list)
    failing: list[Requirement] = field(default_factory=list)
    missing: list[Requirement] = field(default_factory=list)

    @property
    def total(self) -> int:
        return len(self.shown) + len(self.failing) + len(self.missing)

    @property
    def percent(self) -> float:
        return 100.0 * len(self.shown) / self.total


def tally(spec: Iterable[Requirement], outcomes: dict[str, dict[str, str]]) -> list[Section]:
    """Sort the requirements of each section into shown, failing and missing."""
    sections: dict[tuple[str, str], Section] = {}
    for requirement in spec:
        key = (requirement.file, requirement.section)
        section = sections.setdefault(key, Section(*key, title=requirement.title))
        results = set(outcomes.get(requirement.id, {}).values())
        if "failed" in results:
            section.failing.append(requirement)
        elif "passed" in results:
            section.shown.append(requirement)
        else:
            section.missing.append(requirement)
    return list(sections.values())


def select(sections: list[Section], wanted: list[str]) -> list[Section]:
    """The sections that `wanted` names as "control-plane" or "control-plane:13"; all when it is empty.

    Raises LookupError for a name that fits none.
    """
    chosen: list[Section] = []
    for name in wanted:
        file, _, number = name.partition(":")
        fitting = [s for s in sections if s.file == file and number in ("", s.number)]
        if not fitting:
            raise LookupError(f"no section {name!r}; they are named like control-plane or control-plane:13")
        chosen += [s for s in fitting if s not in chosen]
    return chosen if wanted else sections


def show(sections: list[Section], *, details: bool) -> None:
    """Print one line a section, then what is failing and what has no test."""
    file = ""
    for section in sections:
        if section.file != file:
            file = section.file
            print(f"\n{file}.md")
        count = f"{len(section.shown)}/{section.total}"
        print(f"  {section.number:>3}  {section.title[:60]:<60} {count:>9} {section.percent:6.1f} %")
        if details:
            _list("failing", section.failing)
            _list("no passing test", section.missing)
    shown, total = sum(len(s.shown) for s in sections), sum(s.total for s in sections)
    print(f"\n{shown} of {total} requirements have a passing test ({100.0 * shown / total:.1f} %)")


def _list(label: str, requirements: list[Requirement]) -> None:
    for requirement in requirements:
        print(f"         {label}: {requirement.id}  {requirement.text[:110]}")


def main(arguments: list[str]) -> int:
    """Print the report; see the module text for the exit codes."""
    parser = argparse.ArgumentParser(prog="make conformance", description="Requirements with a passing test")
    parser.add_argument("results", type=Path, help="file written by a test run with --req-results")
    parser.add_argument("--section", action="append", default=[], metavar="FILE[:NUMBER]")
    parser.add_argument(
        "--min", type=float, default=0.0, metavar="PERCENT", help="what each section must reach"
    )
    parser.add_argument("--quiet", action="store_true", help="only the counts")
    options = parser.parse_args(arguments)
    try:
        outcomes = json.loads(options.results.read_text(encoding="utf-8"))
        spec = load()
        if unknown := sorted(set(outcomes) - set(spec)):
            raise LookupError(f"not in docs/spec: {', '.join(unknown)}")
        sections = select(tally(spec.values(), outcomes), options.section)
    except (OSError, ValueError, LookupError) as error:
        print(f"make conformance: {error}", file=sys.stderr)
        return 2
    show(sections, details=not options.quiet)
    short = [f"{s.file}:{s.number} has {s.percent:.1f} %" for s in sections if s.percent < options.min]
    if short:
        print(f"make conformance: under {options.min:g} %: {', '.join(short)}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
