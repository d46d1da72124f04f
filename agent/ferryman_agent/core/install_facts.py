"""What an install plan is made from and what it consists of. Paths are text; other bytes than UTF-8 are surrogates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ferryman.appspec import AppSpec, EntryKind, Finding, Target
from ferryman_agent.core.acl import Acl
from ferryman_agent.core.contexts import SelinuxHost
from ferryman_agent.core.messages import FileExistsBehavior
from ferryman_agent.core.overwritten import Original


class ArchiveFact(NamedTuple):
    """An entry of the unpacked revision. `target` is that of a link."""

    kind: EntryKind
    size: int
    mode: int
    uid: int
    gid: int
    modified_ns: int
    target: str = ""


class HostFact(NamedTuple):
    """What is at a path of the host, a link not followed.

    real: where a link to a directory leads, if it may be followed; "" otherwise.
    is_distrusted: a link to a directory that somebody else than the directory's owner can turn elsewhere.
    names: hard links to the same file.
    has_acl: more than its mode says; has_default_acl: what is made in it inherits one.
    """

    kind: EntryKind
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    modified_ns: int = 0
    target: str = ""
    real: str = ""
    is_distrusted: bool = False
    names: int = 1
    has_acl: bool = False
    has_default_acl: bool = False


class User(NamedTuple):
    """Who the agent is: root may give files away, others only to themselves and their groups."""

    uid: int
    gids: frozenset[int]

    @property
    def is_root(self) -> bool:
        return self.uid == 0


ROOT = User(0, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that the plan depends on.

    archive: the unpacked revision, by path relative to its root.
    targets, findings: what `files` means for it, and the mistakes found with that.
    host: every path of `paths_to_look_at` at which something is.
    journal: what the group's previous install made, in order.
    inside: for each journaled directory where a file is wanted, every path below it.
    unchanged: targets that are files with the content of the archive already.
    users, groups: numbers of the accounts that the AppSpec file names, as far as they exist.
    preserve_directory_modes: new directories take mode and owner of the archive's (AG-C12), else mode 0755.
    agent_root: the agent's own directory, as configured and as it really is.
    selinux: what there is of it; None: the host has none, which `require_selinux` makes a mistake (AG-366).
    reject_unconfined: refuse types that confine nothing (V2-380).
    allow_set_id: accept modes with set-user-id and set-group-id bits in `permissions` (V2-216).
    others: files that other groups have installed, and whose they are, as far as they may be taken over (AG-326).
    originals: what comes back where the deployment has no file of its own, or must RETAIN what was there (CP-347).
    closed: directories among `host`, links to them followed, that `user` cannot write in; none are looked for for root.
    """

    appspec: AppSpec
    behavior: FileExistsBehavior
    archive: Mapping[str, ArchiveFact]
    targets: tuple[Target, ...]
    findings: tuple[Finding, ...] = ()
    host: Mapping[str, HostFact]
    journal: tuple[str, ...] = ()
    inside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unchanged: frozenset[str] = frozenset()
    users: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    user: User = ROOT
    preserve_directory_modes: bool = True
    agent_root: tuple[str, ...] = ()
    selinux: SelinuxHost | None = None
    require_selinux: bool = False
    reject_unconfined: bool = True
    allow_set_id: bool = False
    others: Mapping[str, str] = field(default_factory=dict)
    originals: Mapping[str, Original] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()


class Action(StrEnum):
    """What happens at a file's path.

    WRITE: nothing is there. CORRECT: the content is right, owner, mode or time are not. KEEP: all is right already.
    RESTORE: what was there before a deployment that failed comes back (CP-347).
    """

    WRITE = "write"
    REPLACE = "replace"
    CORRECT = "correct"
    KEEP = "keep"
    RESTORE = "restore"


class Attributes(NamedTuple):
    """How an object must be in the end. None: as it comes."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    acl: Acl | None = None
    label: str | None = None


class PlannedDirectory(NamedTuple):
    """`place` is the path with links among its parents followed; `exists`: an earlier install of the group made it."""

    path: str
    place: str
    exists: bool
    attributes: Attributes


class PlannedFile(NamedTuple):
    """A file or a link. `source` is relative to the archive."""

    path: str
    place: str
    kind: EntryKind
    action: Action
    source: str
    size: int
    modified_ns: int
    target: str
    attributes: Attributes


class Conflict(NamedTuple):
    """Something of somebody else is where a file must go."""

    path: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallPlan:
    """Everything that an install does, in the order in which it does it.

    aside: places of our own objects that are in the way because they are of another kind.
    directories, files: to be made, kept or replaced; parents before what is in them.
    restored: files of others that a deployment which failed had overwritten, and that come back.
    obsolete: journaled paths and their places that nothing wants any more, what is inside before its directory.
    retained: files of others that stay (RETAIN).
    adopted, returned: files, and groups that they are taken from and given back to.
    journal: paths of the next install's journal.
    labels: SELinux labels by place, for the rules that make them last.
    instructions: the same for people and tools, as `install.json` has it (AG-156).
    """

    aside: tuple[str, ...]
    directories: tuple[PlannedDirectory, ...]
    files: tuple[PlannedFile, ...]
    restored: tuple[PlannedFile, ...]
    obsolete: tuple[tuple[str, str], ...]
    retained: tuple[str, ...]
    adopted: Mapping[str, str]
    returned: Mapping[str, str]
    journal: tuple[str, ...]
    labels: Mapping[str, str]
    instructions: tuple[Mapping[str, object], ...]
    warnings: tuple[str, ...]
    behavior: FileExistsBehavior


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRefused:
    """Why nothing may be changed: mistakes of the AppSpec file, or files of others in the way."""

    findings: tuple[Finding, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
