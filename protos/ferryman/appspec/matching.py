"""Which objects an entry of `permissions` applies to (AG section 10.6). Text only."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from ferryman.appspec.findings import Findings, shown
from ferryman.appspec.model import RECURSIVE_PATTERN, AppSpec, EntryKind, Permission
from ferryman.appspec.paths import ancestors, normal_destination


def matches(pattern: str, name: str) -> bool:
    """Says whether a name fits a pattern. Only `*` is special: any run of characters, also none (AG-347).

    Runs of `*` equal one (AG-348). Takes linear time in all practical cases, never exponential (V2-168).
    """
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    *middle, last = rest
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        at = name.find(part, at, end)
        if at == -1:
            return False
        at += len(part)
    return True


def select(
    appspec: AppSpec, objects: Mapping[str, EntryKind], directories: Iterable[str], findings: Findings
) -> Mapping[str, Permission]:
    """Returns the entry for each object that one applies to.

    `objects` are those that this deployment makes (AG-341), with their kinds; `directories` are others that exist
    already and may be named as `object`. Patterns on files (AG-V39, AG-V40), default ACLs on files (AG-V33) and two
    entries for one object (AG-V41) become findings; an entry without effect is a warning (AG-V42).
    """
    index = _Index(objects, directories)
    chosen: dict[str, Permission] = {}
    for permission in appspec.permissions:
        if findings.is_full:
            break
        has_effect = False
        for path in index.applicable(permission, findings):
            has_effect = True
            other = chosen.setdefault(path, permission)
            if other is not permission:
                message = (
                    f"entries {other.number} and {permission.number} of 'permissions' both apply to {path}"
                )
                findings.error("PERM_DUPLICATE", permission.place, message)
            _check_default_acl(path, objects[path], permission, findings)
        if not has_effect:
            message = f"object {shown(permission.object)} matches nothing that this deployment installs"
            findings.warn("PERM_NO_MATCH", permission.place, message)
    return chosen


def _check_default_acl(path: str, kind: EntryKind, permission: Permission, findings: Findings) -> None:
    if kind is EntryKind.FILE and any(ace.is_default for ace in permission.acls):
        message = (
            f"{path} is a file and cannot have the default ACL entries of 'permissions' {permission.number}"
        )
        findings.error("PERM_ACE_DEFAULT_ON_FILE", permission.place, message)


class _Index:
    """The objects by directory, so that an entry costs what it matches and not what the deployment holds."""

    def __init__(self, objects: Mapping[str, EntryKind], directories: Iterable[str]) -> None:
        self._objects = objects
        self._sorted = sorted(objects)
        self._children: dict[str, list[str]] = {}
        for path in self._sorted:
            self._children.setdefault(path.rsplit("/", 1)[0] or "/", []).append(path)
        self._directories = set(directories)

    def applicable(self, permission: Permission, findings: Findings) -> Iterator[str]:
        """Yields the objects that an entry applies to."""
        kind = self._objects.get(permission.object)
        if kind is not None and kind is not EntryKind.DIRECTORY:
            yield from self._leaf(permission, findings)
            return
        is_directory = kind is EntryKind.DIRECTORY or permission.object in self._directories
        if not is_directory and permission.object not in self._children:
            return
        if permission.include_self and kind is not None and EntryKind.DIRECTORY in permission.types:
            yield permission.object
        excluded = _Exceptions(permission)
        for path in self._below(permission):
            if self._fits(path, permission) and not excluded.covers(path):
                yield path

    def _leaf(self, permission: Permission, findings: Findings) -> Iterator[str]:
        if EntryKind.FILE not in permission.types:
            return
        if permission.pattern != RECURSIVE_PATTERN:
            message = f"{permission.object} is a file; it cannot have the pattern {shown(permission.pattern)}"
            findings.error("PERM_FILE_PATTERN", permission.place, message)
        if permission.exceptions:
            message = f"{permission.object} is a file; it cannot have 'except'"
            findings.error("PERM_FILE_EXCEPT", permission.place, message)
        yield permission.object

    def _below(self, permission: Permission) -> Iterator[str]:
        if permission.pattern != RECURSIVE_PATTERN:
            for path in self._children.get(permission.object, ()):
                if matches(permission.pattern, path.rsplit("/", 1)[1]):
                    yield path
            return
        prefix = permission.object.rstrip("/") + "/"
        for index in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            if not self._sorted[index].startswith(prefix):
                break
            yield self._sorted[index]

    def _fits(self, path: str, permission: Permission) -> bool:
        kind = self._objects[path]
        wanted = EntryKind.DIRECTORY if kind is EntryKind.DIRECTORY else EntryKind.FILE
        return wanted in permission.types


class _Exceptions:
    """`except`: globs on direct children, and absolute paths with all below them (AG-349)."""

    def __init__(self, permission: Permission) -> None:
        self._prefix = permission.object.rstrip("/") + "/"
        relative = [name for name in permission.exceptions if not name.startswith("/")]
        # Looked up where they are plain names: a file may list thousands, for as many objects.
        self._names = frozenset(name for name in relative if "*" not in name)
        self._patterns = [name for name in relative if "*" in name]
        absolute = (normal_destination(name) for name in permission.exceptions if name.startswith("/"))
        self._paths = frozenset(path for path in absolute if path is not None)

    def covers(self, path: str) -> bool:
        """Says whether the entry leaves an object out."""
        if self._paths and (
            path in self._paths or "/" in self._paths or not self._paths.isdisjoint(ancestors(path))
        ):
            return True
        name = path[len(self._prefix) :]
        if "/" in name:
            return False
        return name in self._names or any(matches(pattern, name) for pattern in self._patterns)
