"""The values that an AppSpec file becomes, and what can be said against one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_TIMEOUT_SECONDS = 3600
RECURSIVE_PATTERN = "**"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class EntryKind(StrEnum):
    """What a path is. `SPECIAL` is all that cannot be deployed: devices, FIFOs, sockets."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing said against an AppSpec file (AG-268). Line and column count from 1; 0 where there is no place."""

    code: str
    severity: Severity
    message: str
    line: int = 0
    column: int = 0
    key_path: str = ""

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    def describe(self, file_name: str) -> str:
        """Returns one line for people, with the place in the form that editors jump to."""
        place = f"{file_name}:{self.line}:{self.column}" if self.line else file_name
        where = f" ({self.key_path})" if self.key_path else ""
        return f"{place}: {self.severity}: {self.message}{where} [{self.code}]"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file something stands: line and column from 1, and the path of keys that leads there."""

    line: int = 0
    column: int = 0
    key_path: str = ""


@dataclass(frozen=True, slots=True)
class FileMapping:
    """One entry of `files`, as written. `appspec.inside_revision` turns the source into a path of the revision."""

    source: str
    destination: str
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AclEntry:
    """One entry of `acls`. `tag` is user, group, mask or other; `name` is empty for the unnamed one."""

    tag: str
    name: str
    permissions: int
    is_default: bool = False

    def __str__(self) -> str:
        letters = "".join(
            letter if self.permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1))
        )
        return f"{'default:' if self.is_default else ''}{self.tag}:{self.name}:{letters}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelinuxContext:
    """`range` is in its canonical, merged form (V2-166)."""

    type: str
    user: str | None = None
    range: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One entry of `permissions`. `number` counts from 1; `mode` holds the bits that `chmod` takes."""

    object: str
    pattern: str = RECURSIVE_PATTERN
    exceptions: tuple[str, ...] = ()
    owner: str | None = None
    group: str | None = None
    mode: int | None = None
    acls: tuple[AclEntry, ...] = ()
    context: SelinuxContext | None = None
    types: frozenset[EntryKind] = frozenset({EntryKind.FILE, EntryKind.DIRECTORY})
    include_self: bool = False
    number: int = 0
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script of an event. `location` is as written; a leading slash means the root of the revision (AG-300)."""

    location: str
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    runas: str | None = None
    sudo: bool = False
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """A valid AppSpec file. What was left out has its default (AG-283)."""

    version: float = 0.0
    os: str = "linux"
    files: tuple[FileMapping, ...] = ()
    file_exists_behavior: str | None = None
    permissions: tuple[Permission, ...] = ()
    hooks: Mapping[str, tuple[Script, ...]] = field(default_factory=dict)

    @property
    def is_windows(self) -> bool:
        return self.os == "windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAppSpec:
    """What `parse` answers: `appspec` is None exactly when a finding is an error."""

    appspec: AppSpec | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.is_error)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.is_error)
