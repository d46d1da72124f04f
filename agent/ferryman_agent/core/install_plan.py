"""AppSpec file, archive and host -> what to do, or every reason not to (D8, AG section 10, V2-195).

Conflicts are judged as if all that the group's previous install made were gone (AG-286); in truth it stays until the
new files are in their places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ferryman.appspec import AppSpec, EntryKind, Finding, Findings, Place, Target, ancestors, expand
from ferryman_agent.core.access_plan import AccessPlan
from ferryman_agent.core.acl import NO_ACL
from ferryman_agent.core.install_facts import (
    Action,
    ArchiveFact,
    Attributes,
    Conflict,
    HostFact,
    InstallPlan,
    PlannedDirectory,
    PlannedFile,
    PlanRefused,
    Situation,
)
from ferryman_agent.core.messages import FileExistsBehavior
from ferryman_agent.core.rights import judge_places, judge_scripts

ANCESTOR_MODE = 0o755

PROTECTED = frozenset(
    "/" + name
    for name in (
        "", "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "opt", "proc",
        "root", "run", "sbin", "srv", "sys", "tmp", "usr", "usr/bin", "usr/include", "usr/lib", "usr/lib32",
        "usr/lib64", "usr/libexec", "usr/local", "usr/local/bin", "usr/local/etc", "usr/local/lib", "usr/local/sbin",
        "usr/local/share", "usr/sbin", "usr/share", "usr/src", "var", "var/cache", "var/lib", "var/local", "var/log",
        "var/mail", "var/opt", "var/run", "var/spool", "var/tmp",
    )
)  # fmt: skip
"""Never removed, whatever a journal says (AG-338)."""


def wanted_targets(
    appspec: AppSpec, archive: Mapping[str, ArchiveFact]
) -> tuple[tuple[Target, ...], tuple[Finding, ...]]:
    """Returns what `files` asks for, and the mistakes in it."""
    findings = Findings(strict=False)
    targets = expand(appspec, {path: fact.kind for path, fact in archive.items()}, findings)
    return targets, findings.ordered()


def paths_to_look_at(appspec: AppSpec, targets: Iterable[Target], journal: Iterable[str]) -> dict[str, None]:
    """Returns every path of the host that the plan depends on, parents before what is in them."""
    paths: dict[str, None] = {}
    seen: set[str] = set()
    for path in (
        *(target.path for target in targets), *journal, *(one.object for one in appspec.permissions)
    ):  # fmt: skip
        parent = path.rsplit("/", 1)[0]
        if parent not in seen:
            seen.add(parent)
            paths.update(dict.fromkeys(ancestors(path)))
        paths[path] = None
    return paths


def is_inside(path: str, folders: Iterable[str]) -> bool:
    """Says whether a path is one of the folders or below one."""
    return any(path == folder or path.startswith(f"{folder.rstrip('/')}/") for folder in folders)


def merge_carried(made: tuple[str, ...], carried: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the paths of a new journal: what was made, and what of the old one is still there (AG-168).

    A journal is undone from its end, so what is carried stands behind the directories that it is in.
    """
    ours = frozenset(made)
    before = [
        path for path in carried if path not in ours and not any(one in ours for one in ancestors(path))
    ]
    behind = [path for path in carried if path not in ours and any(one in ours for one in ancestors(path))]
    return (*before, *made, *behind)


def make_plan(situation: Situation) -> InstallPlan | PlanRefused:
    """Returns the whole plan, or everything that speaks against it. Nothing on the host has been touched."""
    return _Planner(situation).plan()


class _Planner:
    def __init__(self, situation: Situation) -> None:
        self._given = situation
        self._findings = Findings(strict=False)
        self._ours = frozenset(situation.journal)
        self._behavior = FileExistsBehavior(situation.appspec.file_exists_behavior or situation.behavior)
        self._own = tuple(situation.agent_root)
        self._usable: dict[str, str | None] = {"": "", "/": ""}
        self._used: dict[str, None] = {}
        self._aside: dict[str, None] = {}
        self._directories: dict[str, PlannedDirectory] = {}
        self._leaves: dict[str, PlannedFile] = {}
        self._plain: set[str] = set()
        self._retained: list[str] = []
        self._restored: dict[str, PlannedFile] = {}
        self._conflicts: list[Conflict] = []
        self._warnings: list[str] = []

    def plan(self) -> InstallPlan | PlanRefused:
        given = self._given
        self._findings.take(given.findings)
        for target in given.targets:
            self._place(target)
        access = self._access()
        made = self._in_order(given.targets)
        self._restore_unwanted(made)
        obsolete = self._obsolete(made)
        if not given.user.is_root:
            self._judge_rights(obsolete)
        if self._findings.has_errors or self._conflicts:
            errors = tuple(finding for finding in self._findings.ordered() if finding.is_error)
            return PlanRefused(findings=errors, conflicts=tuple(self._conflicts))
        directories = tuple(
            one._replace(attributes=self._without_acl(one.path, access.apply(one.path, one.attributes)))
            for one in self._directories.values()
        )
        files = tuple(self._finished(one, access) for one in self._leaves.values())
        return InstallPlan(
            aside=tuple(self._aside),
            directories=directories,
            files=files,
            restored=tuple(self._restored.values()),
            obsolete=obsolete,
            retained=tuple(self._retained),
            adopted=self._adopted(),
            returned=self._returned(),
            journal=made,
            labels=_labels(directories, files),
            instructions=(*self._copies(made), *access.instructions()),
            warnings=(*self._warnings, *access.warnings, *self._remarks()),
            behavior=self._behavior,
        )

    # Places

    def _place(self, target: Target) -> None:
        if target.path.startswith(self._own) and is_inside(target.path, self._given.agent_root):
            place = self._given.appspec.files[target.mapping].place
            message = f"{target.path} is inside the agent's own directory"
            self._findings.error("FILES_DESTINATION_IN_ROOT", place, message)
            return
        is_directory = target.kind is EntryKind.DIRECTORY
        folder, _, name = target.path.rpartition("/")
        if folder not in self._usable:
            for parent in ancestors(target.path):
                if parent not in self._usable:
                    self._directory(parent, None, target)
        if is_directory:
            if target.path not in self._usable:
                self._directory(target.path, target, target)
            elif target.path in self._plain:
                # Until now it was only a parent of something else.
                self._plain.discard(target.path)
                planned = self._directories[target.path]
                self._directories[target.path] = planned._replace(attributes=self._inherited(target.source))
            return
        if self._usable[folder] is not None:
            self._leaf(target, f"{self._usable[folder]}/{name}")

    def _directory(self, path: str, target: Target | None, wanted_by: Target) -> None:
        """Decides what a needed directory becomes, and where it really is. Outer ones come first."""
        above = self._usable[path.rpartition("/")[0]]
        if above is None:
            self._usable[path] = None
            return
        place = f"{above}/{path.rpartition('/')[2]}"
        fact = self._there(path)
        is_ours = path in self._ours
        if fact is not None and fact.kind is EntryKind.LINK and fact.real and not is_ours:
            self._usable[path] = fact.real.rstrip("/")
            self._used[path] = None
            return
        if fact is not None and fact.kind is EntryKind.DIRECTORY and not is_ours:
            self._usable[path] = place
            self._used[path] = None
            return
        if fact is not None and fact.kind is not EntryKind.DIRECTORY:
            if not is_ours:
                self._usable[path] = None
                mapping = self._given.appspec.files[wanted_by.mapping]
                if fact.is_distrusted:
                    message = (
                        f"{path}, on the way to {wanted_by.path}, is a link that user {fact.uid} or another one can"
                        " turn elsewhere, to a directory that is not theirs: make it a directory, or give it to root"
                    )
                    self._findings.error("FILES_PARENT_DISTRUSTED", mapping.place, message)
                    return
                message = f"{path} must be a directory for {wanted_by.path}, but it is a {fact.kind}"
                self._findings.error("FILES_PARENT_NOT_DIRECTORY", mapping.place, message)
                return
            self._aside[place] = None
            fact = None
        self._usable[path] = place
        attributes = self._inherited(target.source) if target is not None else Attributes(ANCESTOR_MODE)
        if target is None:
            self._plain.add(path)
        self._directories[path] = PlannedDirectory(path, place, fact is not None, attributes)

    def _leaf(self, target: Target, place: str) -> None:
        if self._behavior is FileExistsBehavior.RETAIN and target.path in self._given.originals:
            self._restore(target.path, place)
            self._retained.append(target.path)
            return
        fact = self._there(target.path)
        action = Action.WRITE
        if fact is not None:
            chosen = self._over(target, place, fact)
            if chosen is None:
                return
            action = chosen
        source = self._given.archive[target.source]
        self._leaves[target.path] = PlannedFile(
            target.path,
            place,
            target.kind,
            action,
            target.source,
            source.size,
            source.modified_ns,
            source.target,
            self._inherited(target.source),
        )

    def _over(self, target: Target, place: str, fact: HostFact) -> Action | None:
        """Decides about a file whose place is taken; None when it is not to be written."""
        if target.path in self._ours:
            return self._over_ours(target, place, fact)
        can_replace = fact.kind in (EntryKind.FILE, EntryKind.LINK)
        if can_replace and target.path in self._given.others:
            # Also where it is the same: like this a rollback finds the other group's own file.
            return Action.REPLACE
        if self._behavior is FileExistsBehavior.RETAIN:
            self._retained.append(target.path)
            return None
        if self._behavior is FileExistsBehavior.OVERWRITE and can_replace:
            return Action.REPLACE
        self._conflicts.append(Conflict(target.path, fact.kind))
        return None

    def _over_ours(self, target: Target, place: str, fact: HostFact) -> Action | None:
        if fact.kind is EntryKind.DIRECTORY:
            foreign = [path for path in self._given.inside.get(target.path, ()) if path not in self._ours]
            if foreign:
                self._conflicts.append(Conflict(target.path, f"directory, with {foreign[0]} in it"))
                return None
            self._aside[place] = None
            return Action.WRITE
        if fact.kind is EntryKind.LINK and target.kind is EntryKind.LINK:
            same = fact.target == self._given.archive[target.source].target
            return Action.KEEP if same else Action.REPLACE
        same_file = fact.kind is target.kind is EntryKind.FILE and target.path in self._given.unchanged
        return Action.KEEP if same_file else Action.REPLACE

    def _there(self, path: str) -> HostFact | None:
        """Returns what is at a path; nothing where a parent is about to be made."""
        parent = self._directories.get(path.rpartition("/")[0])
        if parent is not None and not parent.exists:
            return None
        return self._given.host.get(path)

    def _inherited(self, source: str) -> Attributes:
        fact = self._given.archive.get(source)
        is_directory = fact is None or fact.kind is EntryKind.DIRECTORY
        if fact is None or (is_directory and not self._given.preserve_directory_modes):
            return Attributes(ANCESTOR_MODE)
        mode = None if fact.kind is EntryKind.LINK else fact.mode
        return Attributes(mode, fact.uid, fact.gid) if self._given.user.is_root else Attributes(mode)

    # The rest of the plan

    def _judge_rights(self, obsolete: Iterable[tuple[str, str]]) -> None:
        """Finds all that only root could do (AG-015)."""
        given = self._given
        judge_scripts(given.appspec, given.user, given.users, self._findings)
        mappings = {target.path: target.mapping for target in given.targets}
        made = [path for path, one in self._directories.items() if not one.exists]
        made += [path for path, one in self._leaves.items() if one.action is not Action.KEEP]
        changing = [*made, *self._restored, *(path for path, _ in obsolete)]
        files = given.appspec.files
        judge_places(
            ((path, files[mappings[path]].place if path in mappings else Place()) for path in changing),
            user=given.user,
            closed=given.closed,
            host=given.host,
            findings=self._findings,
        )

    def _finished(self, leaf: PlannedFile, access: AccessPlan) -> PlannedFile:
        """Adds what `permissions` says, and decides whether a file with the right content needs anything."""
        wanted = access.apply(leaf.path, leaf.attributes)
        action = leaf.action
        if action is Action.KEEP:
            fact, user = self._given.host[leaf.path], self._given.user
            if fact.has_acl:
                wanted = self._without_acl(leaf.path, wanted)
            if not _is_right(fact, leaf, wanted):
                # A file with other names would change under those as well; a new link is as cheap as a corrected one.
                is_single = leaf.kind is EntryKind.FILE and fact.names == 1
                may_correct = is_single and (user.is_root or fact.uid == user.uid)
                action = Action.CORRECT if may_correct else Action.REPLACE
        if action is leaf.action and wanted is leaf.attributes:
            return leaf
        return leaf._replace(action=action, attributes=wanted)

    def _without_acl(self, path: str, wanted: Attributes) -> Attributes:
        """An ACL that the last revision gave, and this one does not, goes; one that is inherited stays (AG-356)."""
        fact = self._there(path)
        if wanted.acl is not None or fact is None or not fact.has_acl:
            return wanted
        parent = self._given.host.get(path.rpartition("/")[0] or "/")
        is_inherited = parent is not None and parent.has_default_acl
        return wanted if is_inherited else wanted._replace(acl=NO_ACL)

    def _access(self) -> AccessPlan:
        objects = dict.fromkeys(self._directories, EntryKind.DIRECTORY)
        objects.update((path, leaf.kind) for path, leaf in self._leaves.items())
        existing = dict(self._used)
        for permission in self._given.appspec.permissions:
            fact = self._given.host.get(permission.object)
            if fact is not None and (fact.kind is EntryKind.DIRECTORY or fact.real):
                existing[permission.object] = None
        return AccessPlan(self._given, objects, existing, self._findings)

    def _in_order(self, targets: Iterable[Target]) -> tuple[str, ...]:
        """Returns what the deployment makes, in AppSpec order, each directory before what is in it."""
        made: dict[str, None] = {}
        seen: set[str] = set()
        for target in targets:
            folder = target.path.rpartition("/")[0]
            if folder not in seen:
                seen.add(folder)
                made.update(
                    (parent, None) for parent in ancestors(target.path) if parent in self._directories
                )
            if target.path in self._directories or target.path in self._leaves:
                made[target.path] = None
        return tuple(made)

    def _adopted(self) -> dict[str, str]:
        """Directories stay with the group that made them: it removes them once they are empty (AG-334)."""
        others = self._given.others
        return {path: others[path] for path in self._leaves if path in others}

    def _returned(self) -> dict[str, str]:
        groups = {path: self._given.originals[path].group for path in self._restored}
        return {path: group for path, group in groups.items() if group}

    def _obsolete(self, made: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        kept = frozenset(made) | frozenset(self._retained) | frozenset(self._restored)
        found: list[tuple[str, str]] = []
        for path in reversed(self._given.journal):
            if path in kept or self._given.host.get(path) is None:
                continue
            place = self._real_place(path)
            if place is None:
                continue
            if path in PROTECTED or is_inside(path, self._given.agent_root):
                self._warnings.append(f"{path} is never removed, although the journal lists it")
                continue
            found.append((path, place))
        return tuple(found)

    def _restore(self, path: str, place: str) -> None:
        original = self._given.originals[path]
        self._restored[path] = PlannedFile(
            path, place, EntryKind.FILE, Action.RESTORE, original.kept, original.size, 0, "", Attributes()
        )

    def _restore_unwanted(self, made: tuple[str, ...]) -> None:
        """Brings back what the deployment has nothing else for (CP-347)."""
        wanted = frozenset(made)
        for path in self._given.originals:
            if path in wanted or path in self._restored:
                continue
            place = self._real_place(path)
            fact = self._given.host.get(path)
            if place is None or any(parent in self._leaves for parent in ancestors(path)):
                self._warnings.append(f"the original of {path} cannot be put back: its directory is gone")
            elif fact is not None and fact.kind is EntryKind.DIRECTORY:
                self._warnings.append(f"the original of {path} cannot be put back: there is a directory now")
            else:
                self._restore(path, place)

    def _real_place(self, path: str) -> str | None:
        """Returns where a journaled path really is; None when a directory of ours on the way became a link."""
        place = ""
        for parent in ancestors(path):
            fact = self._given.host.get(parent)
            if fact is None:
                return None
            if fact.kind is EntryKind.DIRECTORY:
                place = f"{place}/{parent.rpartition('/')[2]}"
            elif fact.real and parent not in self._ours:
                place = fact.real.rstrip("/")
            else:
                return None
        return f"{place}/{path.rpartition('/')[2]}"

    def _copies(self, made: tuple[str, ...]) -> Iterable[Mapping[str, object]]:
        for path in made:
            leaf = self._leaves.get(path)
            if leaf is None:
                yield {"type": "mkdir", "directory": path}
            else:
                yield {"type": "copy", "source": leaf.source, "destination": path, "size": leaf.size}

    def _remarks(self) -> list[str]:
        remarks = [finding.message for finding in self._findings.ordered()]
        if back := [path for path in self._restored if not self._given.originals[path].group]:
            remarks.append(
                f"{len(back)} files that a failed deployment had overwritten were put back: {_some(back)}"
            )
        for said, moved in (
            ("taken over from", self._adopted()),
            ("put back and belong again to", self._returned()),
        ):
            for group in dict.fromkeys(moved.values()):
                paths = [path for path, owner in moved.items() if owner == group]
                remarks.append(f"{len(paths)} files were {said} deployment group {group}: {_some(paths)}")
        if self._retained:
            remarks.append(
                f"{len(self._retained)} existing files were kept (RETAIN): {_some(self._retained)}"
            )
        return remarks


def _labels(directories: Iterable[PlannedDirectory], files: Iterable[PlannedFile]) -> dict[str, str]:
    found = {one.place: one.attributes.label for one in directories if one.attributes.label is not None}
    found |= {one.place: one.attributes.label for one in files if one.attributes.label is not None}
    return found


def _is_right(fact: HostFact, leaf: PlannedFile, wanted: Attributes) -> bool:
    if (
        wanted.acl is not None
        or wanted.label is not None
        or (fact.modified_ns != leaf.modified_ns and fact.kind is EntryKind.FILE)
    ):
        return False
    return (
        wanted.mode in (None, fact.mode) and wanted.uid in (None, fact.uid) and wanted.gid in (None, fact.gid)
    )


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:5]) + (", …" if len(paths) > 5 else "")
