"""What `files` means for a given revision: which entry goes to which path (AG section 10.2). Text only.

Serves the linter, which has a listing and no host, and the agent's install plan alike.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

from ferryman.appspec.findings import Findings, shown
from ferryman.appspec.model import AppSpec, EntryKind, FileMapping
from ferryman.appspec.paths import ancestors, inside_revision, join, normal_destination

JUNK = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db"})
"""What other systems leave at the top of archives; never installed (AG-254)."""


class Target(NamedTuple):
    """One path to be made. `source` is the entry of the revision that it comes from, "" the revision itself."""

    path: str
    kind: EntryKind
    source: str
    mapping: int


def expand(appspec: AppSpec, listing: Mapping[str, EntryKind], findings: Findings) -> tuple[Target, ...]:
    """Returns what `files` asks for, in AppSpec order and sorted within a directory; each path once.

    `listing` has all entries of the revision by path relative to its root, links not followed. Sources that do not
    exist, entries that cannot be deployed and destinations that clash become findings (AG-V13 … AG-V15).
    """
    expansion = _Expansion(listing, findings)
    for number, mapping in enumerate(appspec.files):
        expansion.add(mapping, number, windows=appspec.is_windows)
    return tuple(expansion.targets.values())


class _Expansion:
    def __init__(self, listing: Mapping[str, EntryKind], findings: Findings) -> None:
        self._listing = listing
        self._paths = sorted(listing)
        self._findings = findings
        self._parents: dict[str, Target] = {}
        self._clear: set[str] = set()
        self.targets: dict[str, Target] = {}

    def add(self, mapping: FileMapping, number: int, *, windows: bool) -> None:
        source = inside_revision(mapping.source, windows=windows)
        destination = normal_destination(mapping.destination, windows=windows)
        if source is None or destination is None:
            return
        kind = self._listing.get(source) if source else EntryKind.DIRECTORY
        if kind is None:
            self._missing(mapping, source)
        elif kind is EntryKind.DIRECTORY:
            self._directory(mapping, number, source, destination)
        else:
            name = source.rsplit("/", 1)[-1]
            self._put(mapping, Target(join(destination, name), kind, source, number))

    def _missing(self, mapping: FileMapping, source: str) -> None:
        link = next(
            (path for path in ancestors(f"/{source}") if self._listing.get(path[1:]) is EntryKind.LINK), None
        )
        why = f": {link[1:]!r} is a link, which is never followed" if link else " in the revision"
        message = f"source {shown(mapping.source)} does not exist{why}"
        self._findings.error("FILES_SOURCE_NOT_FOUND", mapping.place, message)

    def _directory(self, mapping: FileMapping, number: int, source: str, destination: str) -> None:
        if destination != "/":
            self._put(mapping, Target(destination, EntryKind.DIRECTORY, source, number))
        prefix = f"{source}/" if source else ""
        for index in range(bisect_left(self._paths, prefix), len(self._paths)):
            path = self._paths[index]
            if not path.startswith(prefix):
                break
            if not prefix and path.split("/", 1)[0] in JUNK:
                continue
            target = join(destination, path[len(prefix) :])
            self._put(mapping, Target(target, self._listing[path], path, number))

    def _put(self, mapping: FileMapping, target: Target) -> None:
        if target.kind is EntryKind.SPECIAL:
            message = f"{shown(target.source)} is a device, FIFO or socket and cannot be installed"
            self._findings.error("FILES_SPECIAL", mapping.place, message)
            return
        known = self.targets.get(target.path)
        if known is not None:
            if known.kind is EntryKind.DIRECTORY and target.kind is EntryKind.DIRECTORY:
                return
            self._clash(mapping, target, known)
            return
        below = self._parents.get(target.path) if target.kind is not EntryKind.DIRECTORY else None
        above = self._leaf_above(target)
        if above is not None:
            self._file_and_directory(mapping, above, target)
        elif below is not None:
            self._file_and_directory(mapping, target, below)
        else:
            self.targets[target.path] = target

    def _file_and_directory(self, mapping: FileMapping, leaf: Target, below: Target) -> None:
        message = (
            f"{leaf.path} would be a file (from {shown(leaf.source)}) and a directory (for {below.path})"
        )
        self._findings.error("FILES_FILE_DIR_CLASH", mapping.place, message)

    def _leaf_above(self, target: Target) -> Target | None:
        """Returns a file where a parent of the target must be a directory; notes the parents otherwise."""
        folder = target.path.rpartition("/")[0]
        if folder in self._clear:
            return None
        parents = ancestors(target.path)
        for parent in parents:
            known = self.targets.get(parent)
            if known is not None and known.kind is not EntryKind.DIRECTORY:
                return known
        for parent in parents:
            self._parents.setdefault(parent, target)
        # From now on a file at one of them is refused, so nobody needs to look again.
        self._clear.add(folder)
        return None

    def _clash(self, mapping: FileMapping, target: Target, known: Target) -> None:
        if (target.kind is EntryKind.DIRECTORY) != (known.kind is EntryKind.DIRECTORY):
            message = f"{target.path} would be a file and a directory: {known.source!r} and {target.source!r}"
            self._findings.error("FILES_FILE_DIR_CLASH", mapping.place, message)
            return
        message = f"sources {shown(known.source)} and {shown(target.source)} would both become {target.path}"
        self._findings.error("FILES_DUPLICATE_DESTINATION", mapping.place, message)
