"""Looks at the archive and at the host for an install plan; changes nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from itertools import chain

from ferryman.appspec import EntryKind, Target
from ferryman_agent.core.install_facts import ArchiveFact, HostFact
from ferryman_agent.files.access import ACLS
from ferryman_agent.files.digests import Digests, Installed, sha256_of
from ferryman_agent.files.links import real_folder
from ferryman_agent.files.tree import FILE_FLAGS, Folders, walk
from ferryman_agent.system import fs

_KINDS = {stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.LINK}
_FORMAT, _PERMISSIONS = 0o170000, 0o7777


def kind_of(mode: int) -> EntryKind:
    """Returns what a mode of `stat` says."""
    return _KINDS.get(mode & _FORMAT, EntryKind.SPECIAL)


class Archive:
    """The unpacked revision: its entries, and the digests of its files."""

    def __init__(self, folders: Folders, digests: Digests, withheld: Mapping[str, int]) -> None:
        """Reads the whole tree; `digests` and `withheld` are those of the unpacking. Raises OSError."""
        self.folders = folders
        self._known: dict[str, str] = {}
        self.facts: dict[str, ArchiveFact] = {}
        root = folders.look("")
        for path, status in chain((("", root),) if root else (), walk(folders)):
            kind = kind_of(status.st_mode)
            target = ""
            if kind is EntryKind.LINK:
                parent, name = folders.parent(path)
                target = fs.readlink(name, dir_fd=parent)
            elif (known := digests.known(path, status)) is not None:
                self._known[path] = known
            self.facts[path] = ArchiveFact(
                kind,
                status.st_size if kind is EntryKind.FILE else 0,
                status.st_mode & _PERMISSIONS | withheld.get(path, 0),
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                target,
            )

    def digest(self, path: str) -> str:
        """Returns the SHA-256 of a file: the remembered one if it was not touched since. Raises OSError."""
        found = self._known.get(path)
        if found is None:
            found = self._known[path] = sha256_at(self.folders, path)
        return found

    def known_digest(self, path: str) -> str | None:
        """Returns the digest of a file as far as it is known without reading the file."""
        return self._known.get(path)

    def note_digest(self, path: str, digest: str) -> None:
        """Takes note of a digest that somebody else had reason to compute."""
        self._known[path] = digest


def sha256_at(folders: Folders, path: str, most: int | None = None, *, is_urgent: bool = True) -> str:
    """Returns the SHA-256 of a file below a root. Raises OSError: EFBIG for one with more than `most` bytes."""
    parent, name = folders.parent(path)
    descriptor = fs.open(name, FILE_FLAGS, dir_fd=parent)
    try:
        if most is not None and fs.fstat(descriptor).st_size > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes")
        return sha256_of(descriptor, most, is_urgent=is_urgent)
    finally:
        os.close(descriptor)


class Host:
    """What is at the paths that a plan depends on."""

    def __init__(self, paths: Iterable[str], ours: Collection[str], installed: Digests | None = None) -> None:
        """Looks at every path once, a link not followed, missing ones left out; at ACLs of `ours` and of directories.

        Parents come before what is in them. What is as it was `installed`, without an ACL, has none: one that is given
        later changes the times.
        Raises OSError.
        """
        self.statuses: dict[str, os.stat_result] = {}
        self.facts: dict[str, HostFact] = {}
        self.as_installed: dict[str, Installed] = {}
        missing: set[str] = set()
        for path in paths:
            if path.rpartition("/")[0] in missing:
                missing.add(path)
                continue
            try:
                status = fs.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                missing.add(path)
                continue
            except PermissionError:
                # Below a directory that is closed to the agent, as `closed` says. What the group has made is not
                # forgotten for that.
                if path in ours:
                    raise
                continue
            self.statuses[path] = status
            fact = _fact(path, status)
            if fact.kind is EntryKind.DIRECTORY or (fact.kind is EntryKind.FILE and path in ours):
                row = installed.as_it_was(path, status) if installed is not None else None
                if isinstance(row, Installed):
                    self.as_installed[path] = row
                if not isinstance(row, Installed) or not row.plain:
                    fact = _with_acl(path, fact)
            self.facts[path] = fact

    def is_directory(self, path: str) -> bool:
        """Says whether a directory is at a path that was looked at."""
        fact = self.facts.get(path)
        return fact is not None and fact.kind is EntryKind.DIRECTORY

    def closed(self) -> frozenset[str]:
        """Returns the directories among them, and links to some, that this process cannot write in (AG-015)."""
        folders = [path for path, fact in self.facts.items() if fact.kind is EntryKind.DIRECTORY or fact.real]
        needed, as_effective = os.W_OK | os.X_OK, os.access in os.supports_effective_ids
        return frozenset(
            path for path in (*folders, "/") if not os.access(path, needed, effective_ids=as_effective)
        )

    def inside(self, path: str) -> tuple[str, ...]:
        """Returns every path below a directory. Raises OSError."""
        with Folders.below(path) as folders:
            return tuple(f"{path}/{name}" for name, _ in walk(folders))


def _with_acl(path: str, fact: HostFact) -> HostFact:
    try:
        names = fs.listxattr(path, follow_symlinks=False)
    except OSError:
        return fact
    access, default = (name in names for name in ACLS)
    return fact._replace(has_acl=access or default, has_default_acl=default) if access or default else fact


def _fact(path: str, status: os.stat_result) -> HostFact:
    kind = kind_of(status.st_mode)
    target = real = ""
    may_follow = True
    if kind is EntryKind.LINK:
        target = fs.readlink(path)
        with contextlib.suppress(OSError):
            # Dangling, or to a file: nothing leads on from there.
            real, may_follow = real_folder(path)
    return HostFact(
        kind,
        status.st_size,
        status.st_mode & _PERMISSIONS,
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        target,
        real if may_follow else "",
        is_distrusted=not may_follow,
        names=status.st_nlink if kind is EntryKind.FILE else 1,
    )


def unchanged_files(
    targets: Iterable[Target], archive: Archive, host: Host, ours: Collection[str]
) -> tuple[frozenset[str], Mapping[str, str]]:
    """Returns our files that have the content of the new revision already, and the digests found on the way.

    A file of another size is not read; one that was not touched since it was installed is not read either.
    """
    same: set[str] = set()
    found: dict[str, str] = {}
    for path, kind, source, _ in targets:
        fact = host.facts.get(path)
        if kind is not EntryKind.FILE or fact is None or path not in ours:
            continue
        if fact.kind is not EntryKind.FILE or fact.size != archive.facts[source].size:
            continue
        row = host.as_installed.get(path)
        present = (row.sha256 if row is not None else "") or _present_digest(path)
        found[path] = present
        if present == archive.digest(source):
            same.add(path)
    return frozenset(same), found


def changed_since(installed: Digests, host: Host, ours: Iterable[str], found: Mapping[str, str]) -> list[str]:
    """Returns our files that somebody changed since they were installed, as far as that is known (AG-333)."""
    changed = []
    for path in ours:
        row, status = installed.rows.get(path), host.statuses.get(path)
        if row is None or not row.sha256 or status is None or not stat.S_ISREG(status.st_mode):
            continue
        if status.st_size != row.size or found.get(path, row.sha256) != row.sha256:
            changed.append(path)
    return changed


def _present_digest(path: str) -> str:
    descriptor = fs.open(path, FILE_FLAGS)
    try:
        return sha256_of(descriptor)
    finally:
        os.close(descriptor)
