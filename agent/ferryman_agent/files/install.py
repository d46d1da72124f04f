"""The Install event: look, plan, and only then change the host (AG section 10, D8)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import msgspec
import structlog

from ferryman.appspec import AppSpec, EntryKind, similar_names
from ferryman_agent.core.install_facts import Action, InstallPlan, PlannedFile, PlanRefused
from ferryman_agent.core.install_plan import make_plan
from ferryman_agent.core.install_root import below
from ferryman_agent.core.messages import DeploymentDescription, Instant
from ferryman_agent.core.overwritten import Original, coming_back, still_counting
from ferryman_agent.errors import InstallError
from ferryman_agent.files.adoption import with_rules_of_others
from ferryman_agent.files.apply import Application, Tools, said
from ferryman_agent.files.appspec_file import load_appspec, missing_appspec
from ferryman_agent.files.atomic import make_directory
from ferryman_agent.files.cleanup import Journal, JournalWriter, read_journal, write_journal
from ferryman_agent.files.collector import no_search_for_cycles
from ferryman_agent.files.commit import finish
from ferryman_agent.files.conflicts import SHOWN_CONFLICTS, describe_refusal
from ferryman_agent.files.digests import Digests, to_text
from ferryman_agent.files.install_turns import install_turn
from ferryman_agent.files.interrupted import recover_group, restore
from ferryman_agent.files.layout import PRIVATE_MODE, DeploymentDir, Layout
from ferryman_agent.files.manifest import take_installed
from ferryman_agent.files.originals import Originals, read_originals
from ferryman_agent.files.records import write_instructions
from ferryman_agent.files.removal import Removed
from ferryman_agent.files.room import is_disk_full, out_of_room, require_room
from ferryman_agent.files.rulebook import RuleBook
from ferryman_agent.files.settings import InstallSettings
from ferryman_agent.files.shared_modes import load_shared_modes
from ferryman_agent.files.siblings import Siblings
from ferryman_agent.files.survey import Archive
from ferryman_agent.files.tree import Folders
from ferryman_agent.files.undo import Begin, Commit, UndoLog
from ferryman_agent.files.view import View, look
from ferryman_agent.system import fs, own
from ferryman_agent.threads import in_thread

log = structlog.get_logger(__name__)


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
            record = self._layout.originals(self._group)
            with (
                no_search_for_cycles(),
                install_turn(self._layout, alone=self._moves_files()),
                self._open_archive() as folders,
                Folders.below("/") as host,
                Originals(record, self._directory) as originals,
            ):
                return self._install(folders, host, originals)
        except OSError as problem:
            if is_disk_full(problem):
                raise out_of_room(said(problem), self._layout.root) from problem
            message = f"The deployment failed because the files could not be installed: {said(problem)}"
            raise InstallError("INSTALL_IO", message) from problem

    def _moves_files(self) -> bool:
        """Says whether the records of other groups may change, now or with what an install that was killed left."""
        return (
            self._deployment.adopt
            or self._layout.install_mark(self._group).exists()
            or any(one.group for one in read_originals(self._layout.originals(self._group)))
        )

    def _recover(self, host: Folders) -> list[str]:
        recovered = recover_group(self._layout, self._group, host)
        if self._moves_files():
            # Nobody installs beside us, so a mark is that of an install which was killed. Its records are not true yet.
            for other in self._layout.interrupted_groups():
                recovered += recover_group(self._layout, other, host)
        return recovered

    def _open_archive(self) -> Folders:
        try:
            return Folders.below(self._directory.archive)
        except FileNotFoundError as problem:
            message = f"there is no archive {self._directory.archive}: DownloadBundle must run before Install"
            raise InstallError("INSTALL_NO_ARCHIVE", message) from problem

    def _install(self, folders: Folders, host: Folders, originals: Originals) -> InstallReport:
        withheld = load_shared_modes(self._directory.archive_modes)
        archive = Archive(folders, Digests.load(self._directory.archive_digests), withheld)
        name, appspec, remarks = self._appspec(archive)
        recovered = self._recover(host)
        journal = read_journal(self._layout.cleanup_journal(self._group))
        before = read_originals(self._layout.originals(self._group))
        counting = still_counting(before, self._deployment, frozenset(journal.paths))
        back, lost = self._coming_back(counting, originals)
        view = look(self._deployment, self._layout, self._settings, appspec, archive, journal.paths, back)
        plan = make_plan(view.situation)
        if isinstance(plan, PlanRefused):
            raise describe_refusal(plan, name, self._layout, self._group)
        require_room(plan, _kept_beside(plan, journal, view), self._directory.path)
        places = {file.place: plan.adopted[file.path] for file in plan.files if file.path in plan.adopted}
        ruled = with_rules_of_others(self._layout, journal, places)
        rules = RuleBook(view.situation.selinux, plan.labels, ruled)
        application, commit = self._apply(plan, archive, host, originals, rules, journal, view, counting)
        removed, problems = self._finish(application, host, commit, rules)
        applied = application.applied
        log.info("install.done", written=applied.written, kept=applied.kept, removed=removed.count)
        warnings = (
            *remarks, *recovered, *journal.warnings, *lost, *plan.warnings, *view.remarks, *problems,
        )  # fmt: skip
        return InstallReport(
            written=applied.written,
            corrected=applied.corrected,
            kept=applied.kept,
            removed=removed.count,
            retained=plan.retained,
            warnings=tuple(dict.fromkeys(warnings)),
        )

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
        appspec = below(own.host_place(self._settings.install_root), found.parsed.appspec)
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

    def _apply(
        self,
        plan: InstallPlan,
        archive: Archive,
        host: Folders,
        originals: Originals,
        rules: RuleBook,
        journal: Journal,
        view: View,
        counting: tuple[Original, ...],
    ) -> tuple[Application, Commit]:
        """Brings everything into place and commits to it, or takes it back."""
        path = self._layout.cleanup_journal(self._group)
        if not journal.is_clean:
            # One that a crash has cut short must not be continued in the middle of a line.
            write_journal(path, journal)
        self._write_instructions(plan)
        with contextlib.closing(JournalWriter(path)) as writer:
            begin = Begin(self._deployment.deployment_id, writer.size())
            with contextlib.closing(UndoLog(self._layout.install_mark(self._group), begin)) as undo:
                tools = Tools(
                    archive=archive,
                    host=host,
                    siblings=Siblings(self._group),
                    journal=writer,
                    undo=undo,
                    originals=originals,
                    rules=rules,
                    known=frozenset(journal.paths),
                    seen=view.host.statuses,
                )
                application = Application(plan, tools)
                try:
                    application.run()
                    self._record(plan, application, archive, view)
                    commit = self._commit(plan, application, originals, rules, counting)
                    undo.add([commit])
                except BaseException as problem:
                    self._take_back(host, undo, problem)
        return application, commit

    def _take_back(self, host: Folders, undo: UndoLog, problem: BaseException) -> NoReturn:
        failed = restore(self._layout, self._group, host, undo.rows)
        undo.remove()
        if failed and isinstance(problem, OSError | InstallError):
            message = f"{said(problem)}; and then {'; '.join(failed)}"
            raise InstallError("INSTALL_NOT_RESTORED", message) from problem
        raise problem

    def _commit(
        self,
        plan: InstallPlan,
        application: Application,
        originals: Originals,
        rules: RuleBook,
        counting: tuple[Original, ...],
    ) -> Commit:
        made = tuple(path for path in plan.journal if path not in application.applied.dropped)
        return Commit(
            to_text(str(self._directory.path)),
            tuple(to_text(path) for path in made),
            tuple(to_text(os.fsdecode(line)) for line in rules.lines(all_gone=False)),
            tuple((to_text(path), to_text(application.place_now(place))) for path, place in plan.obsolete),
            originals.record_after(counting, frozenset(made)),
            tuple(file.source for file in plan.restored),
            _changing_hands(plan.files, {path: plan.adopted[path] for path in made if path in plan.adopted}),
            _changing_hands(plan.restored, plan.returned),
        )

    def _finish(
        self, application: Application, host: Folders, commit: Commit, rules: RuleBook
    ) -> tuple[Removed, list[str]]:
        """Does the rest; from here on there is no way back. Returns what was removed, and warnings."""
        mark = self._layout.install_mark(self._group)
        try:
            warnings = rules.remove_obsolete()
            lines = tuple(to_text(os.fsdecode(line)) for line in rules.lines(all_gone=not warnings))
            commit = msgspec.structs.replace(commit, rules=lines)
            removed, problems = finish(self._layout, self._group, host, commit, application.leftovers)
            if not problems:
                # Otherwise the next install, or start of the agent, looks for what is left.
                mark.unlink(missing_ok=True)
        except OSError as problem:
            message = (
                f"The new files are in their places, but the deployment failed because of: {said(problem)}"
            )
            raise InstallError("INSTALL_UNFINISHED", message) from problem
        if removed.problems:
            shown = "; ".join(removed.problems[:SHOWN_CONFLICTS])
            message = f"The deployment failed because old files could not be removed: {shown}"
            raise InstallError("INSTALL_CLEANUP", message)
        return removed, [*warnings, *problems]

    def _write_instructions(self, plan: InstallPlan) -> None:
        write_instructions(
            self._layout.install_json(self._group),
            plan.instructions,
            archive=self._directory.archive,
            deployment_id=self._deployment.deployment_id,
            now=self._now,
        )

    def _record(self, plan: InstallPlan, application: Application, archive: Archive, view: View) -> None:
        """Writes what the files look like that are the group's now, under the name that does not count yet."""
        digests = Digests()
        for directory in plan.directories:
            if directory.path not in application.applied.dropped:
                with contextlib.suppress(OSError):
                    take_installed(digests, directory.path, directory.place, fs.lstat(directory.place))
        has_acls = _gives_acls(plan, view)
        for file in plan.files:
            if file.path in application.applied.dropped:
                continue
            row = view.host.as_installed.get(file.path)
            if file.action is Action.KEEP and row is not None and row.plain and file.place == file.path:
                digests.rows[file.path] = row
                continue
            known = archive.known_digest(file.source) if file.kind is EntryKind.FILE else None
            try:
                if file.action is Action.KEEP:
                    status = view.host.statuses[file.path]
                else:
                    status = application.in_place.get(file.path) or fs.lstat(file.place)
            except FileNotFoundError:
                continue
            fact = view.host.facts.get(file.path)
            plain = not has_acls and (fact is None or not fact.has_acl)
            take_installed(digests, file.path, file.place, status, known or "", file.target, plain=plain)
        digests.save(self._layout.installed_digests_next(self._group))


def _gives_acls(plan: InstallPlan, view: View) -> bool:
    """Says whether any file may have an ACL now, of the AppSpec file or handed down by a directory."""
    given = (*(one.attributes.acl for one in plan.directories), *(one.attributes.acl for one in plan.files))
    return any(given) or any(fact.has_default_acl for fact in view.host.facts.values())


def _changing_hands(
    files: tuple[PlannedFile, ...], groups: Mapping[str, str]
) -> tuple[tuple[str, str, str], ...]:
    """Returns path, place and other group of those that have one, for the undo log."""
    return tuple(
        (to_text(file.path), to_text(file.place), groups[file.path]) for file in files if file.path in groups
    )


def _kept_beside(plan: InstallPlan, journal: Journal, view: View) -> list[tuple[str, int]]:
    """Returns the files whose originals will be kept, with their sizes."""
    known = frozenset(journal.paths)
    return [
        (file.place, view.situation.host[file.path].size)
        for file in plan.files
        if file.action is Action.REPLACE and file.path not in known
    ]
