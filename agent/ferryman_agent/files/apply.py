"""Carries out an install plan, or leaves the host as it was (D8, V2-188, V2-189).

New files are written beside the old ones and swapped by rename; in directories that are new themselves, and closed to
others until they are filled, under their own names. Each step is in the undo log before it is done, so that what fails,
or is killed, is taken back. What nobody wants any more goes last, when there is no way back.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from ferryman_agent.core.install_facts import Action, Attributes, InstallPlan, PlannedDirectory, PlannedFile
from ferryman_agent.core.messages import FileExistsBehavior
from ferryman_agent.errors import InstallError
from ferryman_agent.files.access import ACLS, LABEL, differs, set_attributes
from ferryman_agent.files.cleanup import JournalWriter
from ferryman_agent.files.digests import to_text
from ferryman_agent.files.originals import Originals
from ferryman_agent.files.rulebook import RuleBook
from ferryman_agent.files.siblings import Siblings
from ferryman_agent.files.staging import make, stage
from ferryman_agent.files.survey import Archive
from ferryman_agent.files.sync import sync_file_systems
from ferryman_agent.files.tree import FILE_FLAGS, FOLDER_FLAGS, Folders, remove_tree
from ferryman_agent.files.undo import (
    Aside,
    InPlace,
    Made,
    Row,
    Settled,
    Staged,
    UndoLog,
    attributes_of,
)
from ferryman_agent.system import fs


@dataclass(slots=True)
class Applied:
    """What came of a plan. `dropped` are planned files that were not made after all, since one appeared (RETAIN)."""

    written: int = 0
    kept: int = 0
    corrected: int = 0
    dropped: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What an application works with.

    host: opened at `/`; places of the plan are looked up below it without following links.
    known: the paths that the journal lists already; seen: what was at the paths when the plan was made.
    originals: keeps what is replaced and not the group's.
    """

    archive: Archive
    host: Folders
    siblings: Siblings
    journal: JournalWriter
    undo: UndoLog
    originals: Originals
    rules: RuleBook
    known: frozenset[str]
    seen: Mapping[str, os.stat_result]


class Application:
    """One plan on its way. What `run` leaves undone or half done when it raises, the undo log takes back."""

    def __init__(self, plan: InstallPlan, tools: Tools) -> None:
        self._plan = plan
        self._with = tools
        self._host = tools.host
        self._staged: dict[str, os.stat_result] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._moved: dict[str, str] = {}
        self._new_folders: dict[str, os.stat_result] = {}
        self.in_place: dict[str, os.stat_result] = {}
        self.leftovers: list[tuple[str, str]] = []
        self.applied = Applied()

    def run(self) -> None:
        """Brings all that is new into place, and onto the disk. Raises OSError, InstallError."""
        changing = [file for file in self._plan.files if file.action is not Action.KEEP]
        self.applied.kept = len(self._plan.files) - len(changing)
        writing = [file for file in changing if file.action is not Action.CORRECT]
        writing += self._plan.restored
        correcting = [file for file in changing if file.action is Action.CORRECT]
        self._put_aside()
        self._make_directories(writing)
        self._make_in_place([file for file in writing if self._is_in_new_folder(file)])
        beside = [file for file in writing if file.path not in self.in_place]
        self._stage(beside)
        self._settle(beside)
        self._correct(correcting)
        self._finish_directories()
        self._with.rules.make(self._with.journal, self._with.undo)
        self._sync(writing)

    def place_now(self, place: str) -> str:
        """Returns where something is now that may have been put aside."""
        for moved, to in self._moved.items():
            if place == moved or place.startswith(f"{moved}/"):
                return to + place[len(moved) :]
        return place

    # Steps

    def _put_aside(self) -> None:
        rows = []
        for place in self._plan.aside:
            old = self._with.siblings.aside(place.rpartition("/")[2])
            rows.append(Aside(to_text(place), to_text(old)))
        self._with.undo.add(rows)
        for place in self._plan.aside:
            parent, _, name = place[1:].rpartition("/")
            old = self._with.siblings.aside(name)
            self._host.forget(place[1:])
            folder = self._host.folder(parent)
            remove_tree(folder, old)
            fs.rename(name, old, src_dir_fd=folder, dst_dir_fd=folder)
            self._moved[place] = f"/{parent}/{old}" if parent else f"/{old}"
            self.leftovers.append((parent, old))

    def _make_directories(self, writing: Iterable[PlannedFile]) -> None:
        """Journals what will be in them as well: forcing a file to the disk takes as long for one path as for all."""
        missing = [directory for directory in self._plan.directories if not directory.exists]
        places = frozenset(directory.place for directory in missing)
        inside = (
            file.path
            for file in writing
            if file.place.rpartition("/")[0] in places and file.path not in self._with.known
        )
        rows = [Made(to_text(directory.path), to_text(directory.place)) for directory in missing]
        self._with.undo.add(rows)
        self._with.journal.add(chain((directory.path for directory in missing), inside))
        for directory, row in zip(missing, rows, strict=True):
            self._make_directory(directory, row)

    def _make_directory(self, directory: PlannedDirectory, row: Made) -> None:
        folder, name = self._host.parent(directory.place[1:])
        try:
            # Closed to others until it is filled and has its own mode.
            fs.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            self._with.undo.rows.remove(row)
            # Somebody made it after the plan: used as it is, and not ours (AG-290).
            if not stat.S_ISDIR(fs.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise
            self.applied.dropped.add(directory.path)
            return
        status = fs.fstat(self._host.folder(directory.place[1:]))
        # Whoever owns the folder around it can have exchanged it.
        if status.st_uid == fs.geteuid() and stat.S_IMODE(status.st_mode) & 0o777 == 0o700:
            self._new_folders[directory.place] = status

    def _is_in_new_folder(self, file: PlannedFile) -> bool:
        return file.action is Action.WRITE and file.place.rpartition("/")[0] in self._new_folders

    def _make_in_place(self, writing: list[PlannedFile]) -> None:
        """Makes files where nothing was and nobody else can look; what is there nevertheless is left alone here."""
        rows: list[Row] = []
        for file in writing:
            around = self._new_folders[file.place.rpartition("/")[0]]
            rows.append(InPlace(to_text(file.path), to_text(file.place), around.st_dev, around.st_ino))
        self._with.undo.add(rows)
        rows = []
        for file in writing:
            folder, name = self._host.parent(file.place[1:])
            try:
                status = make(self._with.archive, folder, name, file, is_closed=True)
            except FileExistsError:
                continue
            self.in_place[file.path] = status
            rows.append(Settled(to_text(file.path), to_text(file.place), "", status.st_dev, status.st_ino))
        # While the folders are closed, nobody can put anything else there.
        self._with.undo.add_with_next(rows)
        self.applied.written += len(rows)

    def _stage(self, writing: list[PlannedFile]) -> None:
        rows = []
        for file in writing:
            name = file.place.rpartition("/")[2]
            new = self._with.siblings.new(name, is_ours=file.path in self._with.known)
            old = self._with.siblings.old(name)
            self._names[file.path] = new, old
            rows.append(Staged(to_text(file.path), to_text(file.place), new, old))
        self._with.undo.add(rows)
        for file in writing:
            folder, _ = self._host.parent(file.place[1:])
            new = self._names[file.path][0]
            if file.action is Action.RESTORE:
                self._staged[file.path] = self._with.originals.stage(file.source, folder, new)
            else:
                self._staged[file.path] = stage(self._with.archive, folder, new, file)

    def _settle(self, writing: list[PlannedFile]) -> None:
        """Journals and keeps what must be, and then gives all files their names."""
        rows = []
        for file in writing:
            status, old = self._staged[file.path], self._names[file.path][1]
            rows.append(Settled(to_text(file.path), to_text(file.place), old, status.st_dev, status.st_ino))
        self._with.undo.add(rows)
        self._with.journal.add(file.path for file in writing if file.path not in self._with.known)
        self._keep_originals(writing)
        for file in writing:
            self._settle_one(file)

    def _settle_one(self, file: PlannedFile) -> None:
        folder, name = self._host.parent(file.place[1:])
        new = self._names[file.path][0]
        present = self._host.look(file.place[1:])
        if present is not None and not self._may_replace(file, present):
            fs.unlink(new, dir_fd=folder)
            self.applied.dropped.add(file.path)
            return
        if present is None:
            fs.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            self._replace(file, folder, name)
        self.applied.written += 1

    def _may_replace(self, file: PlannedFile, present: os.stat_result) -> bool:
        """Judges what is there now; it may have come after the plan (AG-290). False: it stays."""
        if stat.S_ISDIR(present.st_mode):
            raise InstallError(
                "FILES_CONFLICT", f"{file.path} became a directory while the install was running"
            )
        if file.action in (Action.REPLACE, Action.RESTORE):
            return True
        if self._plan.behavior is FileExistsBehavior.OVERWRITE:
            return True
        if self._plan.behavior is FileExistsBehavior.RETAIN:
            return False
        raise InstallError("FILES_CONFLICT", f"{file.path} appeared while the install was running")

    def _keep_originals(self, writing: Iterable[PlannedFile]) -> None:
        """Keeps what is going to be replaced and is not the group's, forced to the disk together (AG-328)."""
        for file in writing:
            if file.action is Action.REPLACE and file.path not in self._with.known:
                # What is gone meanwhile needs no keeping.
                with contextlib.suppress(FileNotFoundError):
                    folder, name = self._host.parent(file.place[1:])
                    self._keep_original(file, folder, name)
        self._with.originals.flush()

    def _keep_original(self, file: PlannedFile, folder: int, name: str) -> None:
        self._with.originals.keep(file.path, folder, name, self._plan.adopted.get(file.path, ""))

    def _replace(self, file: PlannedFile, folder: int, name: str) -> None:
        if file.path not in self._with.known:
            # It may have come, or have been exchanged, since the others were kept.
            self._keep_original(file, folder, name)
            self._with.originals.flush()
        new, old = self._names[file.path]
        with contextlib.suppress(FileNotFoundError):
            fs.unlink(old, dir_fd=folder)
        try:
            # A second name for the old file, so that the rename below takes nothing away and leaves no gap.
            fs.link(name, old, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError:
            # Not every file system has hard links, nor may everybody make one to everything.
            fs.rename(name, old, src_dir_fd=folder, dst_dir_fd=folder)
        fs.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        self.leftovers.append((file.place[1:].rpartition("/")[0], old))

    def _correct(self, correcting: list[PlannedFile]) -> None:
        """Corrects owner, mode, time and more of files whose content is right."""
        rows = []
        for file in correcting:
            folder, name = self._host.parent(file.place[1:])
            with _opened(folder, name, FILE_FLAGS) as descriptor:
                status = self._as_seen(descriptor, file.path)
                if status.st_nlink != 1:
                    raise _replaced(file.path)
                rows.append(attributes_of(file.place, status, descriptor, _extra(file.attributes)))
        self._with.undo.add(rows)
        for file in correcting:
            folder, name = self._host.parent(file.place[1:])
            with _opened(folder, name, FILE_FLAGS) as descriptor:
                if self._as_seen(descriptor, file.path).st_nlink != 1:
                    raise _replaced(file.path)
                set_attributes(descriptor, file.path, file.attributes)
                fs.utime(descriptor, ns=(file.modified_ns, file.modified_ns))
            self.applied.corrected += 1

    def _finish_directories(self) -> None:
        chosen, rows = [], []
        for directory in self._plan.directories:
            if directory.path in self.applied.dropped:
                continue
            folder, name = self._host.parent(directory.place[1:])
            with _opened(folder, name, FOLDER_FLAGS) as descriptor:
                seen = directory.exists
                status = self._as_seen(descriptor, directory.path) if seen else fs.fstat(descriptor)
                if differs(status, directory.attributes):
                    chosen.append((directory, status))
                    extra = _extra(directory.attributes)
                    rows.append(attributes_of(directory.place, status, descriptor, extra))
        self._with.undo.add(rows)
        for directory, status in chosen:
            folder, name = self._host.parent(directory.place[1:])
            with _opened(folder, name, FOLDER_FLAGS) as descriptor:
                if not os.path.samestat(fs.fstat(descriptor), status):
                    raise _replaced(directory.path)
                set_attributes(descriptor, directory.path, directory.attributes)

    def _as_seen(self, descriptor: int, path: str) -> os.stat_result:
        """Returns the status of what was opened; raises InstallError when it is not what the plan was made for.

        Whoever owns the folder may have moved in a file of root's, which must not be given away.
        """
        status, seen = fs.fstat(descriptor), self._with.seen.get(path)
        if seen is None or not os.path.samestat(status, seen):
            raise _replaced(path)
        return status

    def _sync(self, writing: Iterable[PlannedFile]) -> None:
        folders = {file.place.rpartition("/")[0] or "/" for file in writing}
        folders |= {directory.place for directory in self._plan.directories}
        sync_file_systems(self._host, (folder[1:] for folder in folders))


@contextlib.contextmanager
def _opened(folder: int, name: str, flags: int) -> Iterator[int]:
    descriptor = fs.open(name, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _extra(attributes: Attributes) -> list[str]:
    """Returns the extended attributes that `set_attributes` will change."""
    return [*(ACLS if attributes.acl is not None else ()), *([LABEL] if attributes.label is not None else ())]


def _replaced(path: str) -> InstallError:
    return InstallError("FILES_CONFLICT", f"{path} was replaced while the install was running")


def said(problem: BaseException) -> str:
    """Returns what went wrong, with the file."""
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.strerror} ({problem.filename})" if problem.filename else problem.strerror
    return str(problem)
