"""Looks at what a group has installed, and at the archive that a rollback would use; changes nothing (AG-551).

By `stat`, and by reading what `stat` cannot vouch for. Links are never followed. May take long: it asks before each
piece of work whether it shall go on.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ferryman_agent.core.drift import FileDrift, InstalledGroup, Known, drift_of, must_read, summary
from ferryman_agent.core.messages import GroupId, Instant
from ferryman_agent.files.digests import Digests, Installed, blocks, mark_of
from ferryman_agent.files.hashing import sha256
from ferryman_agent.files.layout import DeploymentDir, Layout
from ferryman_agent.files.manifest import (
    RecordUnusable,
    load_manifest,
    look,
    place_of,
    read_distrusted,
    recorded,
)
from ferryman_agent.files.tree import FILE_FLAGS, Folders, walk
from ferryman_agent.system import fcntl, fs

_DIGEST = 64
_SHOWN_PROBLEMS = 3

Pace = Callable[[int], None]
"""Called with a number of bytes after they were read; returns when more may be read."""


class Abandoned(Exception):
    """The check is to end, since something more important begins."""


@dataclass(slots=True)
class Knowledge:
    """Digests that were read while the files had these marks, by path: of what is installed, and of the archive.

    Of one deployment: those of another say nothing.
    """

    deployment_id: str = ""
    installed: dict[str, Known] = field(default_factory=dict)
    archive: dict[str, Known] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found and learned. `lying`: files of another content with the mark that was recorded."""

    state: InstalledGroup
    knowledge: Knowledge
    lying: frozenset[str]


def check_group(
    layout: Layout,
    group_id: GroupId,
    *,
    knowledge: Knowledge,
    with_digests: bool,
    now: Instant,
    pace: Pace,
    stop: threading.Event,
) -> Checked | None:
    """Returns what is so; None where the group has nothing installed. Raises Abandoned."""
    return _Check(layout, group_id, knowledge, with_digests, pace, stop).run(now)


class _Check:
    def __init__(
        self,
        layout: Layout,
        group_id: GroupId,
        knowledge: Knowledge,
        with_digests: bool,
        pace: Pace,
        stop: threading.Event,
    ) -> None:
        self._layout = layout
        self._group_id = group_id
        self._knowledge = knowledge
        self._with_digests = with_digests
        self._pace = pace
        self._stop = stop
        self._lying: set[str] = set()
        self._problems: list[str] = []

    def run(self, now: Instant) -> Checked | None:
        self._demand_quiet()
        pointer = self._layout.last_successful(self._group_id)
        if pointer is None:
            return None
        known = self._knowledge
        if known.deployment_id != pointer.name:
            known = Knowledge(pointer.name)
        fresh = Knowledge(pointer.name)
        bundle, archive = self._are_whole(DeploymentDir(pointer), known.archive, fresh.archive)
        state = InstalledGroup(
            group_id=self._group_id,
            deployment_id=pointer.name,
            checked_at=now,
            with_digests=self._with_digests,
            archive_whole=bundle and archive,
            bundle_whole=bundle,
        )
        state = self._installed(state, known, fresh)
        self._demand_quiet()
        if self._layout.last_successful(self._group_id) != pointer:
            raise Abandoned
        return Checked(state=state, knowledge=fresh, lying=frozenset(self._lying))

    # What is installed

    def _installed(self, state: InstalledGroup, known: Knowledge, fresh: Knowledge) -> InstalledGroup:
        if self._layout.install_mark(self._group_id).exists():
            return _failed(state, "the last install did not come to its end: deploy again")
        try:
            rows = load_manifest(self._layout.installed_digests(self._group_id))
        except RecordUnusable as problem:
            return _failed(state, str(problem))
        distrusted = read_distrusted(self._layout.distrusted(self._group_id))
        with Folders.below("/") as host:
            state = summary(state, self._drifts(host, rows, known, fresh, distrusted))
        if self._problems:
            shown = "; ".join(self._problems[:_SHOWN_PROBLEMS])
            return _failed(state, f"{len(self._problems)} files could not be looked at: {shown}")
        return state

    def _drifts(
        self,
        host: Folders,
        rows: list[Installed],
        known: Knowledge,
        fresh: Knowledge,
        distrusted: frozenset[str],
    ) -> Iterator[tuple[str, FileDrift | None]]:
        for row in rows:
            self._go_on()
            try:
                yield self._drift(host, row, known.installed, fresh.installed, distrusted)
            except FileNotFoundError:
                # Gone between two looks at it.
                yield row.path, FileDrift.MISSING
            except (OSError, ValueError) as problem:
                said = problem.strerror if isinstance(problem, OSError) else str(problem)
                self._problems.append(f"{row.path} ({said})")

    def _drift(
        self,
        host: Folders,
        row: Installed,
        known: dict[str, Known],
        fresh: dict[str, Known],
        distrusted: frozenset[str],
    ) -> tuple[str, FileDrift | None]:
        was, place = recorded(row), place_of(row)
        seen = look(host, place)
        found = seen[1] if seen else None
        learned = known.get(was.path)
        is_distrusted = was.path in distrusted
        if must_read(was, found, learned, with_digests=self._with_digests, is_distrusted=is_distrusted):
            learned = self._read(host, place)
        if found is None or learned is None or learned.mark != found.mark:
            learned = None
        elif learned.mark != was.mark or learned.sha256 != was.sha256:
            # What the record says as well need not be remembered.
            fresh[was.path] = learned
            if learned.mark == was.mark:
                self._lying.add(was.path)
        return was.path, drift_of(was, found, learned.sha256 if learned else "")

    # The archive

    def _are_whole(
        self, directory: DeploymentDir, known: dict[str, Known], fresh: dict[str, Known]
    ) -> tuple[bool, bool]:
        """Says it of the bundle and of the unpacked archive; what cannot be looked at is not whole."""
        bundle = archive = False
        with contextlib.suppress(OSError, ValueError), Folders.below(directory.path) as folder:
            bundle = self._bundle_fits(folder, directory, known, fresh)
        with contextlib.suppress(OSError, ValueError):
            archive = self._archive_fits(directory, known, fresh)
        return bundle, archive

    def _bundle_fits(
        self, folder: Folders, directory: DeploymentDir, known: dict[str, Known], fresh: dict[str, Known]
    ) -> bool:
        """Says whether the archive as it was fetched can be unpacked again, where there was one with a digest."""
        noted = directory.bundle_digest
        if not noted.exists():
            # A local file or directory: a rollback takes it from where it is.
            return True
        name = directory.bundle.name
        status = fs.stat(name, dir_fd=folder.folder(""), follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return False
        digest = noted.read_text("ascii")[:_DIGEST]
        mark = mark_of(status)
        # Not by its change time: an archive that several deployments share gets a new one with each name.
        is_untouched = status.st_mtime_ns <= noted.stat().st_mtime_ns
        return self._fits(folder, name, digest, mark, is_untouched, known, fresh, key="")

    def _archive_fits(
        self, directory: DeploymentDir, known: dict[str, Known], fresh: dict[str, Known]
    ) -> bool:
        """Says whether the unpacked archive has the files that were unpacked, those only, and their contents."""
        rows = Digests.load(directory.archive_digests).rows
        files = 0
        with Folders.below(directory.archive) as archive:
            for path, status in walk(archive):
                self._go_on()
                if not stat.S_ISREG(status.st_mode):
                    continue
                row = rows.get(path)
                if row is None or row.size != status.st_size:
                    return False
                files += 1
                mark = mark_of(status)
                if not self._fits(archive, path, row.sha256, mark, row.mark == mark, known, fresh, key=path):
                    return False
        return bool(rows) and files == len(rows)

    def _fits(
        self,
        folders: Folders,
        path: str,
        digest: str,
        mark: tuple[int, int, int, int],
        is_untouched: bool,
        known: dict[str, Known],
        fresh: dict[str, Known],
        *,
        key: str,
    ) -> bool:
        learned = known.get(key)
        if learned is not None and learned.mark != mark:
            learned = None
        if self._with_digests or (learned is None and not is_untouched):
            learned = self._read(folders, path)
        if learned is None:
            return True
        if not is_untouched or learned.sha256 != digest:
            fresh[key] = learned
        return learned.sha256 == digest

    # Work

    def _read(self, folders: Folders, path: str) -> Known:
        """Reads a file, and says which mark it had all the while; one that changes meanwhile has none."""
        folder, name = folders.parent(path)
        descriptor = fs.open(name, FILE_FLAGS, dir_fd=folder)
        try:
            before = mark_of(fs.fstat(descriptor))
            digest = sha256(before[1], is_urgent=False)
            for block in blocks(descriptor):
                digest.update(block)
                self._go_on()
                self._pace(len(block))
            after = mark_of(fs.fstat(descriptor))
        finally:
            os.close(descriptor)
        return Known(after if before == after else (0, 0, 0, 0), digest.hexdigest())

    def _demand_quiet(self) -> None:
        """Raises Abandoned while another process, a local deployment, works for the group."""
        try:
            descriptor = fs.open(self._layout.group_lock(self._group_id), fs.O_RDONLY | fs.O_NOFOLLOW)
        except OSError:
            # Nobody has ever worked for it.
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Abandoned from None
        finally:
            os.close(descriptor)

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Abandoned


def _failed(state: InstalledGroup, error: str) -> InstalledGroup:
    return replace(state, error=error)
