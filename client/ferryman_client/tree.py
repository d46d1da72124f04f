"""A source directory as it will be packed: every entry in its order, without what nobody means to deploy.

Push and lint look at the same tree, so that an AppSpec file that names what is left out is a mistake.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ferryman.appspec import AppSpec, EntryKind, ScriptFacts, inside_revision
from ferryman_client.errors import BundleProblem

IGNORED_NAMES = frozenset((".git", ".svn", ".hg", ".DS_Store", "Thumbs.db", "__MACOSX"))
IGNORED_PATTERNS = ("*~", ".*.sw[a-p]", "#*#", ".#*")
"""Backups, swap files and locks of editors (AG-522)."""

# Longer than any `#!` line that a kernel takes.
_LINE_LIMIT = 4096
_SCRIPT_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """`name` is the path below the root, with `/`."""

    name: str
    path: Path
    kind: EntryKind
    mode: int


@dataclass(frozen=True, slots=True)
class SourceTree:
    """What is packed, in order, and what is left out: names of files and of whole folders."""

    root: Path
    entries: tuple[SourceEntry, ...]
    left_out: tuple[str, ...]

    @property
    def listing(self) -> dict[str, EntryKind]:
        return {entry.name: entry.kind for entry in self.entries}

    def scripts(self, appspec: AppSpec) -> dict[str, ScriptFacts]:
        """What is to be known of the scripts that the AppSpec names, as far as they are here."""
        named = {
            inside_revision(script.location, windows=appspec.is_windows)
            for scripts in appspec.hooks.values()
            for script in scripts
        }
        return {
            entry.name: _facts(entry)
            for entry in self.entries
            if entry.name in named and entry.kind is EntryKind.FILE
        }


def scan(source: Path, *, ignore_hidden_files: bool = False) -> SourceTree:
    """The tree below the directory `source`; links are not followed. Raises BundleProblem when it cannot be read."""
    if not source.is_dir():
        raise BundleProblem(f"{source} is not a directory")
    left_out: list[str] = []
    try:
        entries = tuple(_walk(source, "", ignore_hidden_files, left_out))
    except OSError as problem:
        raise BundleProblem(f"cannot read {problem.filename or source}: {problem.strerror}") from problem
    return SourceTree(source, entries, tuple(left_out))


def _walk(directory: Path, prefix: str, ignore_hidden: bool, left_out: list[str]) -> Iterator[SourceEntry]:
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = prefix + entry.name
        if is_ignored(entry.name) or (ignore_hidden and entry.name.startswith(".")):
            left_out.append(name)
            continue
        mode = entry.stat(follow_symlinks=False).st_mode
        kind = _kind(mode)
        yield SourceEntry(name, Path(entry.path), kind, mode)
        if kind is EntryKind.DIRECTORY:
            yield from _walk(Path(entry.path), name + "/", ignore_hidden, left_out)


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is never packed."""
    return name in IGNORED_NAMES or any(fnmatch.fnmatchcase(name, pattern) for pattern in IGNORED_PATTERNS)


def _kind(mode: int) -> EntryKind:
    kinds = {stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.LINK}
    return kinds.get(stat.S_IFMT(mode), EntryKind.SPECIAL)


def _facts(entry: SourceEntry) -> ScriptFacts:
    is_executable = bool(entry.mode & 0o111)
    try:
        with entry.path.open("rb") as content:
            first = content.readline(_LINE_LIMIT)
            rest = content.read(_SCRIPT_LIMIT)
    except OSError:
        # That it cannot be read, packing it says better.
        return ScriptFacts(is_executable=is_executable)
    is_binary = first.startswith(b"\x7fELF")
    return ScriptFacts(first, is_executable, has_carriage_returns=b"\r\n" in rest and not is_binary)
