"""What was installed and what is there now -> what has changed (AG-550).

The order of judgement is that of how bad it is: not there, another kind of thing, another content, other attributes.
A time of its own means nothing: a file that was touched, and has its content, is as it was installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from ferryman.appspec import EntryKind
from ferryman_agent.core.messages import GroupId, Instant

SHOWN = 100
"""Names of changed files that are told; all of them are counted."""

Mark = tuple[int, int, int, int]
"""Inode, size, modification and change time in nanoseconds: while they stay, so does the content."""


class FileDrift(StrEnum):
    """How an installed file differs."""

    MISSING = "missing"
    CONTENT = "content"
    ATTRIBUTES = "attributes"
    KIND = "kind"


class Recorded(NamedTuple):
    """A file, link or directory as the deployment left it. `mode` without the kind; `sha256` "" where not known."""

    path: str
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    mark: Mark
    sha256: str = ""
    target: str = ""


class Found(NamedTuple):
    """What is at the path now, a link not followed."""

    kind: EntryKind
    mode: int
    uid: int
    gid: int
    mark: Mark
    target: str = ""


class Known(NamedTuple):
    """The digest that was read when the file had this mark."""

    mark: Mark
    sha256: str


@dataclass(frozen=True, slots=True)
class DriftedFile:
    """An installed file that is not as it was left."""

    path: str
    drift: FileDrift


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledGroup:
    """What a check of one deployment group found. `drifted` holds the first of `files_drifted`, by path.

    with_digests: every content was read. bundle_whole: the bundle, which a rollback unpacks again, is on disk and fits
    its digest; archive_whole: so is the unpacked archive. error: why the check could not be done; empty when it was.
    """

    group_id: GroupId
    deployment_id: str
    files_checked: int = 0
    files_drifted: int = 0
    drifted: tuple[DriftedFile, ...] = ()
    checked_at: Instant = Instant(0)
    with_digests: bool = False
    archive_whole: bool = False
    bundle_whole: bool = False
    error: str = ""

    def is_news_after(self, told: InstalledGroup | None) -> bool:
        """Says whether somebody who knows `told` learns anything by this."""
        if told is None or (self.with_digests and not told.with_digests):
            return True
        return replace(self, checked_at=told.checked_at, with_digests=told.with_digests) != told


def must_read(
    recorded: Recorded,
    found: Found | None,
    known: Known | None,
    *,
    with_digests: bool,
    is_distrusted: bool = False,
) -> bool:
    """Says whether only the content of a file can tell. `is_distrusted`: its mark has been seen to lie."""
    if found is None or not recorded.kind is found.kind is EntryKind.FILE:
        return False
    if not recorded.sha256 or recorded.mark[1] != found.mark[1]:
        return False
    if with_digests:
        return True
    if known is not None and known.mark == found.mark:
        return False
    return is_distrusted or recorded.mark != found.mark


def drift_of(recorded: Recorded, found: Found | None, sha256: str = "") -> FileDrift | None:
    """Returns how a file differs, None when it does not. `sha256` is of its content now, "" where it was not read."""
    if found is None:
        return FileDrift.MISSING
    if found.kind is not recorded.kind:
        return FileDrift.KIND
    if recorded.kind is EntryKind.FILE:
        is_other = bool(sha256 and recorded.sha256) and sha256 != recorded.sha256
        if is_other or found.mark[1] != recorded.mark[1]:
            return FileDrift.CONTENT
    if recorded.kind is EntryKind.LINK:
        if found.target != recorded.target:
            return FileDrift.CONTENT
        # Links have no permissions of their own.
        found = found._replace(mode=recorded.mode)
    if (found.mode, found.uid, found.gid) != (recorded.mode, recorded.uid, recorded.gid):
        return FileDrift.ATTRIBUTES
    return None


def summary(state: InstalledGroup, drifts: Iterable[tuple[str, FileDrift | None]]) -> InstalledGroup:
    """Returns `state` with what was found: every object that was looked at, in the order of the paths."""
    checked = drifted = 0
    shown: list[DriftedFile] = []
    for path, drift in drifts:
        checked += 1
        if drift is not None:
            drifted += 1
            if drifted <= SHOWN:
                shown.append(DriftedFile(path, drift))
    return replace(state, files_checked=checked, files_drifted=drifted, drifted=tuple(shown))
