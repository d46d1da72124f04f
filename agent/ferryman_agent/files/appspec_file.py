"""The AppSpec file of an unpacked revision, as a host reads it (AG-262 … AG-264, AG-277)."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ferryman.appspec import SIZE_LIMIT, ParsedAppSpec, find_appspec_name, parse
from ferryman_agent.files.tree import FILE_FLAGS, Folders
from ferryman_agent.system import fs, own

_SHOWN = 5
_WORTH_REMEMBERING = 64 * 1024


class AppSpecFile(NamedTuple):
    """`name` is its path relative to the archive."""

    name: str
    parsed: ParsedAppSpec

    @property
    def mistakes(self) -> str:
        """All errors in one sentence, the first five of many."""
        lines = [finding.describe(self.name) for finding in self.parsed.errors]
        return "; ".join(lines[:_SHOWN]) + (
            f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        )


def parse_on_host(source: bytes, possible_events: tuple[str, ...]) -> ParsedAppSpec:
    """Reads the content of an AppSpec file; every event of a deployment does, so the last ones are remembered."""
    read = _remembered if len(source) <= _WORTH_REMEMBERING else _parse
    return read(source, possible_events)


def _parse(source: bytes, possible_events: tuple[str, ...]) -> ParsedAppSpec:
    return parse(source, strict=False, host_os=own.HOST_OS, possible_events=possible_events or None)


_remembered = lru_cache(maxsize=4)(_parse)


def load_appspec(
    archive: Folders, files: Collection[str], wanted: str, possible_events: Collection[str] = ()
) -> AppSpecFile | None:
    """Reads the AppSpec file among the regular `files` of an open archive; None where there is none. Raises OSError.

    `possible_events`: hooks of other events are mistakes, and so are events of one's own that have none (AG-F09).
    """
    name = find_appspec_name(files, wanted)
    if name is None:
        return None
    folder, last = archive.parent(name)
    with os.fdopen(fs.open(last, FILE_FLAGS, dir_fd=folder), "rb") as file:
        source = file.read(SIZE_LIMIT + 1)
    return AppSpecFile(name, parse_on_host(source, tuple(possible_events)))


def missing_appspec(
    archive: Path, wanted: str, similar: Collection[str], *, unpacked: Path | None = None
) -> str:
    """Returns what to say where there is none: what was expected, where, and what looks like one (AG-255, AG-264).

    `unpacked` is where the content lies when it is not in `archive` yet.
    """
    hint = f"; there is one at {', '.join(similar)}, but it must be at the root" if similar else ""
    if os.path.lexists((unpacked or archive) / wanted):
        hint = "; what is there is no plain file, which it must be"
    return (
        f"the revision has no AppSpec file: expected {wanted} in {archive}, that is {archive / wanted}{hint}"
    )
