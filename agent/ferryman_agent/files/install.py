"""The Install event: look, plan, and only then change the host (AG section 10, D8)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from ferryman.appspec import AppSpec, EntryKind, similar_names
from ferryman_agent.core.install_facts import Action, InstallPlan, PlanRefused, Situation
from ferryman_agent.core.install_plan import make_plan, merge_carried, paths_to_look_at, wanted_targets
from ferryman_agent.core.install_root import below
from ferryman_agent.core.messages import DeploymentDescription, Instant
from ferryman_agent.core.overwritten import Original, coming_back, still_counting
from ferryman_agent.errors import InstallError
from ferryman_agent.files.accounts import agent_user, groups_of, users_of
from ferryman_agent.files.apply import Application, said
from ferryman_agent.files.appspec_file import load_appspec, missing_appspec
from ferryman_agent.files.atomic import make_directory, write_atomic
from ferryman_agent.files.cleanup import Journal, JournalWriter, read_journal, write_journal
from ferryman_agent.files.conflicts import SHOWN_CONFLICTS, describe_refusal
from ferryman_agent.files.digests import Digests
from ferryman_agent.files.layout import PRIVATE_MODE, STATE_FILE_MODE, DeploymentDir, Layout
from ferryman_agent.files.manifest import load_trusted, take_installed
from ferryman_agent.files.originals import Originals, read_originals
from ferryman_agent.files.records import read_destinations, write_instructions
from ferryman_agent.files.removal import Removed, remove_obsolete
from ferryman_agent.files.room import is_disk_full, out_of_room, require_room
from ferryman_agent.files.shared_modes import load_shared_modes
from ferryman_agent.files.siblings import Siblings, remove_siblings
from ferryman_agent.files.survey import Archive, Host, changed_since, unchanged_files
from ferryman_agent.files.tree import Folders
from ferryman_agent.threads import in_thread

log = structlog.get_logger(__name__)

_SELINUX = "/sys/fs/selinux/enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSettings:
    """allow_set_id: accept set-user-id and set-group-id modes in `permissions` (V2-216).

    preserve_directory_modes: new directories take mode and owner of the archive's (AG-C12).
    install_root: put before every destination and permission object; "/" on a real instance.
    """

    allow_set_id: bool = False
    preserve_directory_modes: bool = True
    install_root: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallReport:
    """How Install ended well. `warnings` are sentences for the diagnostics.

    corrected: files with the right content that got another owner, mode or time; kept: those that were right in all.
    """

    written: int
    corrected: int
    kept: int
    removed: int
    retained: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def message(self) -> str:
        """The completion message."""
        return f"Succeeded ({'; '.join(self.warnings)})" if self.warnings else "Succeeded"


async def install(
    deployment: DeploymentDescription,
    *,
    layout: Layout,
    now: Instant,
    settings: InstallSettings | None = None,
) -> InstallReport:
    """Puts the files of a deployment's archive where its AppSpec file says.

    `now` is noted in `install.json`. Raises InstallError; unless the message says otherwise the host is then as it was
    before. A cancellation waits for the end: half an install helps nobody.
    """
    work = _Install(deployment, layout, now, settings or InstallSettings())
    return await in_thread(work.run)


class _Install:
    def __init__(
        self, deployment: DeploymentDescription, layout: Layout, now: Instant, settings: InstallSettings
    ) -> None:
        self._deployment = deployment
        self._layout = layout
        self._now = now
        self._settings = settings
        self._group = deployment.deployment_group_id
        self._directory: DeploymentDir = layout.deployment(self._group, deployment.deployment_id)

    def run(self) -> InstallReport:
        try:
            make_directory(self._layout.instructions, PRIVATE_MODE)
            with self._open_archive() as folders, Folders.below("/") as host, self._originals() as originals:
                return self._install(folders, host, originals)
        except OSError as problem:
            if is_disk_full(problem):
                raise out_of_room(said(problem), self._layout.root) from problem
            message = f"The deployment failed because the files could not be installed: {said(problem)}"
            raise InstallError("INSTALL_IO", message) from problem

    def _open_archive(self) -> Folders:
        try:
            return Folders.below(self._directory.archive)
        except FileNotFoundError as problem:
            message = f"there is no archive {self._directory.archive}: DownloadBundle must run before Install"
            raise InstallError("INSTALL_NO_ARCHIVE", message) from problem

    def _originals(self) -> Originals:
        return Originals(self._layout.originals(self._group), self._directory)

    def _install(self, folders: Folders, host: Folders, originals: Originals) -> InstallReport:
        withheld = load_shared_modes(self._directory.archive_modes)
        archive = Archive(folders, Digests.load(self._directory.archive_digests), withheld)
        name, appspec, remarks = self._appspec(archive)
        siblings = Siblings(self._group)
        journal = self._recovered(host, siblings)
        before = read_originals(self._layout.originals(self._group))
        counting = still_counting(before, self._deployment, frozenset(journal.paths))
        back, lost = self._coming_back(counting, originals)
        view = self._look(appspec, archive, journal, back)
        plan = make_plan(view.situation)
        if isinstance(plan, PlanRefused):
            raise describe_refusal(plan, name, self._layout, self._group)
        require_room(plan, self._kept_beside(plan, journal, view), self._directory.path)
        self._begin(plan)
        try:
            application = self._apply(plan, archive, host, siblings, journal, view.host.statuses, originals)
        except (InstallError, OSError) as problem:
            if not (isinstance(problem, InstallError) and problem.detail_code == "INSTALL_NOT_RESTORED"):
                with contextlib.suppress(OSError):
                    originals.forget_attempt(before)
            raise
        try:
            removed, problems = self._finish(plan, application, archive, view, journal, host)
            ours = frozenset(read_journal(self._layout.cleanup_journal(self._group)).paths)
            originals.finish({one.path: one for one in counting}, ours, [file.path for file in plan.restored])
        except OSError as problem:
            message = (
                f"The new files are in their places, but the deployment failed because of: {said(problem)}"
            )
            raise InstallError("INSTALL_UNFINISHED", message) from problem
        if removed.problems:
            shown = "; ".join(removed.problems[:SHOWN_CONFLICTS])
            message = f"The deployment failed because old files could not be removed: {shown}"
            raise InstallError("INSTALL_CLEANUP", message)
        applied = application.applied
        log.info("install.done", written=applied.written, kept=applied.kept, removed=removed.count)
        warnings = (*remarks, *journal.warnings, *lost, *plan.warnings, *view.remarks, *problems)
        return InstallReport(
            written=applied.written,
            corrected=applied.corrected,
            kept=applied.kept,
            removed=removed.count,
            retained=plan.retained,
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _finish(
        self,
        plan: InstallPlan,
        application: Application,
        archive: Archive,
        view: _View,
        journal: Journal,
        host: Folders,
    ) -> tuple[Removed, list[str]]:
        """Removes what is no longer wanted, and records what is ours now. From here on there is no way back."""
        removed = remove_obsolete(host, plan.obsolete, application.place_now)
        problems = application.remove_leftovers()
        self._record(plan, application, archive, view, journal, removed)
        if not (problems or removed.problems):
            # Otherwise the next install looks for what is left.
            self._layout.install_mark(self._group).unlink(missing_ok=True)
        if not removed.problems:
            self._layout.set_last_successful(self._group, self._directory.path)
        return removed, problems

    def _appspec(self, archive: Archive) -> tuple[str, AppSpec, list[str]]:
        """Its name, what it says, and warnings."""
        wanted = self._deployment.app_spec_file_name
        files = {path for path, fact in archive.facts.items() if fact.kind is EntryKind.FILE}
        possible = self._deployment.possible_lifecycle_events
        found = load_appspec(archive.folders, files, wanted, possible)
        if found is None:
            message = missing_appspec(self._directory.archive, wanted, similar_names(files))
            raise InstallError("APPSPEC_MISSING", message)
        if found.parsed.appspec is None:
            message = f"The deployment failed because its AppSpec file cannot be used: {found.mistakes}"
            raise InstallError(found.parsed.errors[0].code, message)
        appspec = below(self._settings.install_root, found.parsed.appspec)
        return found.name, appspec, [finding.describe(found.name) for finding in found.parsed.warnings]

    def _coming_back(
        self, counting: tuple[Original, ...], originals: Originals
    ) -> tuple[dict[str, Original], list[str]]:
        """Returns the originals to put back, by path, and a sentence for each that is lost (AG-468)."""
        wanted = coming_back(counting, self._deployment)
        found = {one.path: one for one in wanted if originals.is_there(one)}
        lost = [
            f"the original of {one.path}, which deployment {one.deployment} overwrote, is lost: {one.kept} is missing"
            for one in wanted
            if one.path not in found
        ]
        return found, lost

    def _kept_beside(self, plan: InstallPlan, journal: Journal, view: _View) -> list[tuple[str, int]]:
        """Returns the files whose originals will be kept, with their sizes."""
        known = frozenset(journal.paths)
        return [
            (file.place, view.situation.host[file.path].size)
            for file in plan.files
            if file.action is Action.REPLACE and file.path not in known
        ]

    def _look(
        self, appspec: AppSpec, archive: Archive, journal: Journal, back: Mapping[str, Original]
    ) -> _View:
        targets, findings = wanted_targets(appspec, archive.facts)
        host = Host(paths_to_look_at(appspec, targets, journal.paths))
        installed = load_trusted(self._layout, self._group)
        unchanged, digests = unchanged_files(targets, archive, host, journal.paths, installed)
        ours = frozenset(journal.paths)
        clashes = (
            target.path
            for target in targets
            if target.kind is not EntryKind.DIRECTORY
            and target.path in ours
            and host.is_directory(target.path)
        )
        root = str(self._layout.root)
        situation = Situation(
            appspec=appspec,
            behavior=self._deployment.file_exists_behavior,
            archive=archive.facts,
            targets=targets,
            findings=findings,
            host=host.facts,
            journal=journal.paths,
            inside={path: host.inside(path) for path in clashes},
            unchanged=unchanged,
            users=users_of(appspec),
            groups=groups_of(appspec),
            user=agent_user(),
            preserve_directory_modes=self._settings.preserve_directory_modes,
            agent_root=(root, os.path.realpath(root)),
            has_selinux=os.path.exists(_SELINUX),
            allow_set_id=self._settings.allow_set_id,
            originals=back,
        )
        changed = changed_since(installed, host, journal.paths, digests)
        return _View(situation, host, tuple(_remarks(changed)))

    def _recovered(self, host: Folders, siblings: Siblings) -> Journal:
        """Returns the journal, after tidying up behind an install that was killed."""
        path, mark = self._layout.cleanup_journal(self._group), self._layout.install_mark(self._group)
        journal = read_journal(path)
        if not mark.exists():
            return journal
        attempted = read_destinations(self._layout.install_json(self._group))
        never_made = frozenset(remove_siblings(host, attempted, siblings))
        paths = tuple(one for one in journal.paths if one not in never_made)
        write_journal(path, Journal(paths, journal.contexts))
        mark.unlink()
        note = f"the last install of deployment group {self._group} had not come to its end"
        return Journal(paths, journal.contexts, (*journal.warnings, note))

    def _begin(self, plan: InstallPlan) -> None:
        """Writes down what is going to happen."""
        deployment_id = self._deployment.deployment_id
        write_atomic(self._layout.install_mark(self._group), deployment_id.encode(), STATE_FILE_MODE)
        write_instructions(
            self._layout.install_json(self._group),
            plan.instructions,
            archive=self._directory.archive,
            deployment_id=deployment_id,
            now=self._now,
        )

    def _apply(
        self,
        plan: InstallPlan,
        archive: Archive,
        host: Folders,
        siblings: Siblings,
        journal: Journal,
        seen: Mapping[str, os.stat_result],
        originals: Originals,
    ) -> Application:
        path = self._layout.cleanup_journal(self._group)
        if not journal.is_clean:
            # One that a crash has cut short must not be continued in the middle of a line.
            write_journal(path, journal)
        writer = JournalWriter(path)
        try:
            known = frozenset(journal.paths)
            application = Application(plan, archive, host, siblings, writer, known, seen, originals)
            application.run()
        except InstallError as problem:
            if problem.detail_code != "INSTALL_NOT_RESTORED":
                self._forget_attempt(journal)
            raise
        except OSError:
            self._forget_attempt(journal)
            raise
        finally:
            writer.close()
        return application

    def _forget_attempt(self, journal: Journal) -> None:
        """The host is as it was before, so the journal is too."""
        with contextlib.suppress(OSError):
            write_journal(self._layout.cleanup_journal(self._group), journal)
            self._layout.install_mark(self._group).unlink(missing_ok=True)

    def _record(
        self,
        plan: InstallPlan,
        application: Application,
        archive: Archive,
        view: _View,
        journal: Journal,
        removed: Removed,
    ) -> None:
        """Writes what the next install needs to know: what is ours now, and what it looked like."""
        made = tuple(path for path in plan.journal if path not in application.applied.dropped)
        paths = merge_carried(made, tuple(removed.carried))
        write_journal(self._layout.cleanup_journal(self._group), Journal(paths, journal.contexts))
        digests = Digests()
        for directory in plan.directories:
            if directory.path not in application.applied.dropped:
                with contextlib.suppress(OSError):
                    take_installed(digests, directory.path, directory.place, os.lstat(directory.place))
        for file in plan.files:
            if file.path in application.applied.dropped:
                continue
            known = archive.known_digest(file.source) if file.kind is EntryKind.FILE else None
            is_kept = file.action is Action.KEEP
            with contextlib.suppress(OSError):
                status = view.host.statuses[file.path] if is_kept else os.lstat(file.place)
                take_installed(digests, file.path, file.place, status, known or "", file.target)
        with contextlib.suppress(OSError):
            digests.save(self._layout.installed_digests(self._group))
            self._layout.distrusted(self._group).unlink(missing_ok=True)


class _View(NamedTuple):
    situation: Situation
    host: Host
    remarks: tuple[str, ...]


def _remarks(changed: list[str]) -> Iterator[str]:
    if changed:
        shown = ", ".join(changed[:10]) + (", …" if len(changed) > 10 else "")
        yield f"{len(changed)} installed files had been changed by somebody since: {shown}"
