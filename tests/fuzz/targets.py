"""What is fuzzed: for each reader of foreign input, its corpus and what holds for every input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import appspec, archives, journal, output, permissions, settings

CORPUS = Path(__file__).parents[1] / "corpus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`examine` raises for an input that breaks the reader; an input may have up to `longest` bytes."""

    name: str
    examine: Callable[[bytes], None]
    longest: int

    @property
    def corpus(self) -> Path:
        return CORPUS / self.name

    def inputs(self) -> list[Path]:
        """The files of the corpus."""
        found = (path for path in self.corpus.iterdir() if path.is_file())
        return sorted(path for path in found if path.name not in ("README.md", ".gitattributes"))


TARGETS = {
    target.name: target
    for target in (
        Target(name="appspec", examine=appspec.examine, longest=20_000),
        Target(name="archives", examine=archives.examine, longest=20_000),
        Target(name="journal", examine=journal.examine, longest=20_000),
        Target(name="permissions", examine=permissions.examine, longest=2_000),
        Target(name="config", examine=settings.examine, longest=8_000),
        Target(name="output", examine=output.examine, longest=200_000),
    )
}
