"""Carries out an install plan, or leaves the host as it was (D8, V2-188, V2-189).

New files are written beside the old ones and swapped by rename; every step knows how to be taken back until all are
done. What nobody wants any more goes last. A process that is killed in between leaves a journal of all it may have
made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ferryman.appspec import EntryKind
from ferryman_agent.core.install_facts import Action, InstallPlan, PlannedDirectory, PlannedFile
from ferryman_agent.core.messages import FileExistsBehavior
from ferryman_agent.errors import InstallError
from ferryman_agent.files.access import differs, set_attributes, set_link_owner
from ferryman_agent.files.cleanup import JournalWriter
from ferryman_agent.files.originals import Originals
from ferryman_agent.files.siblings import Siblings
from ferryman_agent.files.staging import stage
from ferryman_agent.files.survey import Archive
from ferryman_agent.files.tree import FILE_FLAGS, FOLDER_FLAGS, Folders, remove_tree

CHUNK = 512
"""Files that are journaled, and forced to disk, together before they are swapped in."""


@dataclass(slots=True)
class Applied:
    """What came of a plan. `dropped` are planned files that were not made after all, since one appeared (RETAIN)."""

    written: int = 0
    kept: int = 0
    corrected: int = 0
    dropped: set[str] = field(default_factory=set)


class Application:
    """One plan on its way. After `run` either `finish` or nothing: a failed `run` has taken everything back."""

    def __init__(
        self,
        plan: InstallPlan,
        archive: Archive,
        host: Folders,
        siblings: Siblings,
        journal: JournalWriter,
        known: frozenset[str],
        seen: Mapping[str, os.stat_result],
        originals: Originals,
    ) -> None:
        """`host` is opened at `/`; places of the plan are looked up below it without following links.

        `known` has the paths that the journal lists already, `seen` what was at the paths when the plan was made.
        `originals` keeps what is replaced and not the group's.
        """
        self._plan = plan
        self._archive = archive
        self._host = host
        self._siblings = siblings
        self._journal = journal
        self._known = known
        self._seen = seen
        self._originals = originals
        self._undo: list[Callable[[], None]] = []
        self._leftovers: list[tuple[str, str]] = []
        self._moved: dict[str, str] = {}
        self.applied = Applied()

    def run(self) -> None:
        """Brings all that is new into place. Raises OSError, InstallError, after taking back what was done."""
        try:
            for place in self._plan.aside:
                self._put_aside(place)
            self._make_directories()
            changing = [file for file in self._plan.files if file.action is not Action.KEEP]
            self.applied.kept = len(self._plan.files) - len(changing)
            changing += self._plan.restored
            for file in changing:
                if file.action is not Action.CORRECT:
                    self._stage(file)
            for start in range(0, len(changing), CHUNK):
                chunk = changing[start : start + CHUNK]
                self._journal.add(file.path for file in chunk if file.path not in self._known)
                self._keep_originals(chunk)
                for file in chunk:
                    self._settle(file)
            for directory in self._plan.directories:
                self._finish_directory(directory)
        except BaseException as problem:
            failed = self._take_back()
            if failed and isinstance(problem, OSError | InstallError):
                message = f"{said(problem)}; and then {'; '.join(failed)}"
                raise InstallError("INSTALL_NOT_RESTORED", message) from problem
            raise

    def remove_leftovers(self) -> list[str]:
        """Removes what was replaced or in the way. Returns a sentence for each thing that could not be removed."""
        problems = []
        asides = [place[1:].rpartition("/")[::2] for place in self._moved.values()]
        for folder, name in (*self._leftovers, *asides):
            try:
                self._remove(folder, name)
            except FileNotFoundError:
                continue
            except OSError as problem:
                problems.append(f"cannot remove /{folder}/{name}: {problem.strerror}")
        return problems

    def _remove(self, folder: str, name: str) -> None:
        path = f"{folder}/{name}" if folder else name
        status = self._host.look(path)
        if status is not None and stat.S_ISDIR(status.st_mode):
            self._host.forget(path)
            os.rmdir(name, dir_fd=self._host.folder(folder))
        else:
            os.unlink(name, dir_fd=self._host.folder(folder))

    def place_now(self, place: str) -> str:
        """Returns where something is now that may have been put aside."""
        for moved, to in self._moved.items():
            if place == moved or place.startswith(f"{moved}/"):
                return to + place[len(moved) :]
        return place

    # Steps

    def _put_aside(self, place: str) -> None:
        folder, name = self._host.parent(place[1:])
        old = self._siblings.old(name)
        self._host.forget(place[1:])
        folder, name = self._host.parent(place[1:])
        remove_tree(folder, old)
        os.rename(name, old, src_dir_fd=folder, dst_dir_fd=folder)
        parent = place[1:].rpartition("/")[0]
        self._moved[place] = f"/{parent}/{old}" if parent else f"/{old}"

        def back() -> None:
            own = self._host.folder(parent)
            os.rename(old, name, src_dir_fd=own, dst_dir_fd=own)

        self._undo.append(back)

    def _make_directories(self) -> None:
        missing = [directory for directory in self._plan.directories if not directory.exists]
        self._journal.add(directory.path for directory in missing)
        for directory in missing:
            self._make_directory(directory)

    def _make_directory(self, directory: PlannedDirectory) -> None:
        place = directory.place[1:]
        folder, name = self._host.parent(place)
        try:
            # Closed to others until it is filled and has its own mode.
            os.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            # Somebody made it after the plan: used as it is, and not ours (AG-290).
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise
            self.applied.dropped.add(directory.path)
            return

        def back() -> None:
            self._host.forget(place)
            own, own_name = self._host.parent(place)
            os.rmdir(own_name, dir_fd=own)

        self._undo.append(back)

    def _stage(self, file: PlannedFile) -> None:
        folder, name = self._host.parent(file.place[1:])
        new = self._new(file, name)
        if file.action is Action.RESTORE:
            self._originals.stage(file.source, folder, new)
        else:
            stage(self._archive, folder, new, file)

        def back() -> None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=self._host.parent(file.place[1:])[0])

        self._undo.append(back)

    def _settle(self, file: PlannedFile) -> None:
        if file.action is Action.CORRECT:
            self._correct(file)
            self.applied.corrected += 1
            return
        folder, name = self._host.parent(file.place[1:])
        present = self._host.look(file.place[1:])
        if present is not None and not self._may_replace(file, present):
            os.unlink(self._new(file, name), dir_fd=folder)
            self.applied.dropped.add(file.path)
            return
        if present is None:
            os.rename(self._new(file, name), name, src_dir_fd=folder, dst_dir_fd=folder)
            self._undo.append(lambda: os.unlink(name, dir_fd=self._host.parent(file.place[1:])[0]))
        else:
            self._replace(file, folder, name)
        self.applied.written += 1

    def _may_replace(self, file: PlannedFile, present: os.stat_result) -> bool:
        """Judges what is there now; it may have come after the plan (AG-290). False: it stays."""
        if stat.S_ISDIR(present.st_mode):
            raise InstallError(
                "FILES_CONFLICT", f"{file.path} became a directory while the install was running"
            )
        if (
            file.action in (Action.REPLACE, Action.RESTORE)
            or self._plan.behavior is FileExistsBehavior.OVERWRITE
        ):
            return True
        if self._plan.behavior is FileExistsBehavior.RETAIN:
            return False
        raise InstallError("FILES_CONFLICT", f"{file.path} appeared while the install was running")

    def _keep_originals(self, chunk: list[PlannedFile]) -> None:
        """Keeps what the chunk is going to replace and is not the group's, forced to the disk together (AG-328)."""
        for file in chunk:
            if file.action is Action.REPLACE and file.path not in self._known:
                # What is gone meanwhile needs no keeping.
                with contextlib.suppress(FileNotFoundError):
                    folder, name = self._host.parent(file.place[1:])
                    self._originals.keep(file.path, folder, name)
        self._originals.flush()

    def _replace(self, file: PlannedFile, folder: int, name: str) -> None:
        if file.path not in self._known:
            # It may have come, or have been exchanged, since the chunk began.
            self._originals.keep(file.path, folder, name)
            self._originals.flush()
        old, new = self._siblings.old(name), self._new(file, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(old, dir_fd=folder)
        try:
            # A second name for the old file, so that the rename below takes nothing away and leaves no gap.
            os.link(name, old, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError:
            # Not every file system has hard links, nor may everybody make one to everything.
            os.rename(name, old, src_dir_fd=folder, dst_dir_fd=folder)
        parent = file.place[1:].rpartition("/")[0]

        def back() -> None:
            own = self._host.folder(parent)
            os.rename(old, name, src_dir_fd=own, dst_dir_fd=own)
            # Where both are names of one file, a rename is defined to do nothing.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old, dir_fd=own)

        self._undo.append(back)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        self._leftovers.append((parent, old))

    def _new(self, file: PlannedFile, name: str) -> str:
        return self._siblings.new(name, is_ours=file.path in self._known)

    def _correct(self, file: PlannedFile) -> None:
        """Corrects owner, mode and time of a file whose content is right."""
        folder, name = self._host.parent(file.place[1:])
        if file.kind is EntryKind.LINK:
            set_link_owner(folder, name, file.attributes)
            return
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
        try:
            status = self._as_seen(descriptor, file.path)
            if status.st_nlink != 1:
                raise _replaced(file.path)
            self._undo.append(_restoring(self._host, file.place[1:], status))
            set_attributes(descriptor, file.path, file.attributes)
            os.utime(descriptor, ns=(file.modified_ns, file.modified_ns))
        finally:
            os.close(descriptor)

    def _finish_directory(self, directory: PlannedDirectory) -> None:
        if directory.path in self.applied.dropped:
            return
        folder, name = self._host.parent(directory.place[1:])
        descriptor = os.open(name, FOLDER_FLAGS, dir_fd=folder)
        try:
            status = self._as_seen(descriptor, directory.path) if directory.exists else os.fstat(descriptor)
            if differs(status, directory.attributes):
                self._undo.append(_restoring(self._host, directory.place[1:], status))
                set_attributes(descriptor, directory.path, directory.attributes)
        finally:
            os.close(descriptor)

    def _as_seen(self, descriptor: int, path: str) -> os.stat_result:
        """Returns the status of what was opened; raises InstallError when it is not what the plan was made for.

        Whoever owns the folder may have moved in a file of root's, which must not be given away.
        """
        status, seen = os.fstat(descriptor), self._seen.get(path)
        if seen is None or not os.path.samestat(status, seen):
            raise _replaced(path)
        return status

    def _take_back(self) -> list[str]:
        failed = []
        for back in reversed(self._undo):
            try:
                back()
            except OSError as problem:
                failed.append(f"cannot restore the previous state: {said(problem)}")
        return failed[:5]


def _restoring(host: Folders, place: str, status: os.stat_result) -> Callable[[], None]:
    """Returns what gives an object back the owner, mode and time that it had; nothing else gets them."""

    def back() -> None:
        folder, name = host.parent(place)
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
        try:
            if not os.path.samestat(os.fstat(descriptor), status):
                raise FileExistsError(errno.EEXIST, "it was replaced meanwhile", f"/{place}")
            if os.geteuid() == 0:
                os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            if stat.S_ISREG(status.st_mode):
                os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(descriptor)

    return back


def _replaced(path: str) -> InstallError:
    return InstallError("FILES_CONFLICT", f"{path} was replaced while the install was running")


def said(problem: BaseException) -> str:
    """Returns what went wrong, with the file."""
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.strerror} ({problem.filename})" if problem.filename else problem.strerror
    return str(problem)
