"""What an archive may hold: every entry is judged before anything of it is written.

AG-256 to AG-259, V2-103 to V2-115.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import NamedTuple

from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.errors import BundleError

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_ORDINARY = re.compile(r"(?:\./)?(\.?[\w+@=,~-][\w+@=,~ .-]*(?:/\.?[\w+@=,~-][\w+@=,~ .-]*)*)/?", re.ASCII)
"""A name that nothing can be wrong with but its length."""
_DRIVE_OR_SHARE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_MOST_HOPS = 40
_MOST_STEPS = 500_000
_COMPONENT_BYTES = 255


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "symbolic link"
    HARD_LINK = "hard link"
    SPECIAL = "device, FIFO or socket"


class ArchiveEntry(NamedTuple):
    """One entry as its header tells it. Names that are not UTF-8 hold their bytes as surrogates (AG-259).

    `mode` and `modified_ns` are None where the archive does not say; `key` is the source's own way to find the data.
    """

    name: str
    kind: Kind
    size: int = 0
    mode: int | None = None
    modified_ns: int | None = None
    target: str = ""
    key: int = 0


def refuse(name: str, why: str) -> BundleError:
    """Returns the error for an entry that must not be unpacked."""
    return BundleError("BUNDLE_UNSAFE_ENTRY", f"cannot unpack the bundle: entry {shown(name)} {why}")


def over_limit(what: str) -> BundleError:
    """Returns the error for an archive that is larger in some way than the limits allow."""
    return BundleError(
        "BUNDLE_LIMIT", f"cannot unpack the bundle: it has {what}; raise the limit if it is meant"
    )


def shown(name: str) -> str:
    """Returns a name for a message: quoted, no control characters, no surrogates, not too long."""
    text = repr(os.fsencode(name).decode("utf-8", "backslashreplace"))
    return text if len(text) <= 200 else f"{text[:190]}…'"


class EntryChecks:
    """Admits the entries of one archive, one after the other."""

    def __init__(self, limits: BundleLimits) -> None:
        self._limits = limits
        self._kinds: dict[str, Kind] = {}
        self._links: dict[str, str] = {}
        self._hard_links: dict[str, str] = {}
        self._count = 0
        self._steps = 0
        self.declared_bytes = 0

    def admit(self, entry: ArchiveEntry) -> str:
        """Returns where an entry goes, relative to the archive's root; "" for the root itself. Raises BundleError."""
        self._count += 1
        if self._count > self._limits.max_entries:
            raise over_limit(f"more than {self._limits.max_entries} entries")
        path = self._path(entry.name)
        self._check_kind(entry)
        self._check_size(entry)
        if not path:
            if entry.kind is not Kind.DIRECTORY:
                raise refuse(entry.name, "has no name")
            return path
        self._check_place(entry, path)
        if entry.kind is Kind.HARD_LINK:
            self._hard_links[path] = self._earlier_file(entry)
        elif entry.kind is Kind.LINK:
            self._check_target(entry, path)
            self._links[path] = entry.target
        return path

    def hard_link_source(self, path: str) -> str:
        """Returns the path of the file that an admitted hard link names."""
        return self._hard_links[path]

    def check_links(self) -> None:
        """Follows through the others what links need it. Raises BundleError for one that leaves the archive on the way.

        A target of leading `..` and then names only is safe once `admit` has let it pass: the entry's own folder is no
        link, and every link among the names is safe by itself.
        """
        self._steps = 0
        for path, target in self._links.items():
            if _turns_back(target) and self._leaves(path):
                raise refuse(path, f"is a symbolic link that leaves the target directory: {shown(target)}")

    def _path(self, name: str) -> str:
        ordinary = _ORDINARY.fullmatch(name)
        if (
            ordinary is not None
            and len(name) * 4 <= _COMPONENT_BYTES
            and name.count("/") < self._limits.max_depth
        ):
            return ordinary[1]
        if _CONTROL.search(name):
            raise refuse(name, "has a control character in its name")
        if name.startswith("/") or _DRIVE_OR_SHARE.match(name):
            raise refuse(name, "leaves the target directory: its name is absolute")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or ("\\" in name and ".." in re.split(r"[\\/]", name)):
            raise refuse(name, "leaves the target directory: its name has a path-traversal component '..'")
        if len(parts) > self._limits.max_depth:
            raise over_limit(f"an entry more than {self._limits.max_depth} folders deep ({shown(name)})")
        path = "/".join(parts)
        if len(path) * 4 > _COMPONENT_BYTES:
            # Only a long name can be too long, so that the common one costs nothing.
            self._check_length(name, parts)
        return path

    def _check_length(self, name: str, parts: list[str]) -> None:
        if sum(len(os.fsencode(part)) + 1 for part in parts) > self._limits.max_path_bytes:
            raise over_limit(f"a name of more than {self._limits.max_path_bytes} bytes ({shown(name)})")
        if any(len(os.fsencode(part)) > _COMPONENT_BYTES for part in parts):
            raise over_limit(f"a name with a part of more than {_COMPONENT_BYTES} bytes ({shown(name)})")

    def _check_kind(self, entry: ArchiveEntry) -> None:
        if entry.kind is Kind.SPECIAL:
            raise refuse(
                entry.name, f"is a {Kind.SPECIAL}; only files, directories and links can be unpacked"
            )
        if entry.kind is Kind.HARD_LINK and self._limits.reject_hard_links:
            raise refuse(entry.name, "is a hard link; pack it as a file (tar --hard-dereference)")
        if entry.kind is Kind.LINK and self._limits.reject_links:
            raise refuse(entry.name, "is a symbolic link, and this agent accepts none")
        has_set_id = entry.kind is Kind.FILE and (entry.mode or 0) & 0o6000
        if has_set_id and self._limits.reject_set_id:
            raise refuse(entry.name, f"has a set-user-id or set-group-id bit (mode {entry.mode or 0:04o})")

    def _check_size(self, entry: ArchiveEntry) -> None:
        if entry.size < 0:
            raise refuse(entry.name, "has a negative size")
        self.declared_bytes += entry.size
        limit = self._limits.max_unpacked_bytes
        if self.declared_bytes > limit or entry.size > self._limits.max_file_bytes:
            limit = limit if self.declared_bytes > limit else self._limits.max_file_bytes
            raise over_limit(f"a declared size of {self.declared_bytes} bytes or more, with {limit} allowed")

    def _check_place(self, entry: ArchiveEntry, path: str) -> None:
        above = path.rpartition("/")[0]
        # What is above a folder was looked at when that was.
        end = -1 if self._kinds.get(above) is Kind.DIRECTORY else path.find("/")
        while end != -1:
            parent = path[:end]
            kind = self._kinds.setdefault(parent, Kind.DIRECTORY)
            if kind is not Kind.DIRECTORY:
                raise refuse(entry.name, f"lies below {shown(parent)}, which is a {kind} in this bundle")
            end = path.find("/", end + 1)
        kind = Kind.FILE if entry.kind is Kind.HARD_LINK else entry.kind
        known = self._kinds.get(path)
        if known is None:
            self._kinds[path] = kind
        elif not (known is Kind.DIRECTORY and kind is Kind.DIRECTORY):
            raise refuse(entry.name, f"is in the bundle twice (as {known} and as {kind})")

    def _earlier_file(self, entry: ArchiveEntry) -> str:
        source = self._path(entry.target)
        if source == self._path(entry.name) or self._kinds.get(source) is not Kind.FILE:
            named = shown(entry.target)
            raise refuse(entry.name, f"is a hard link to {named}, which is no earlier file of the bundle")
        return source

    def _check_target(self, entry: ArchiveEntry, path: str) -> None:
        if not entry.target or "\0" in entry.target:
            raise refuse(entry.name, "is a symbolic link without a usable target")
        if len(entry.target) > self._limits.max_path_bytes:
            raise over_limit(
                f"a link target of more than {self._limits.max_path_bytes} bytes ({shown(entry.name)})"
            )
        depth = path.count("/")
        parts = [part for part in entry.target.split("/") if part not in ("", ".")]
        lowest = 0
        for part in parts:
            depth += -1 if part == ".." else 1
            lowest = min(lowest, depth)
        if entry.target.startswith("/") or lowest < 0:
            raise refuse(
                entry.name, f"is a symbolic link that leaves the target directory: {shown(entry.target)}"
            )

    def _leaves(self, path: str) -> bool:
        place = path.split("/")[:-1]
        ahead = self._links[path].split("/")[::-1]
        hops = 0
        while ahead:
            part = ahead.pop()
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise over_limit("links that lead through each other endlessly")
            if part in ("", "."):
                continue
            if part == "..":
                if not place:
                    return True
                place.pop()
                continue
            place.append(part)
            target = self._links.get("/".join(place))
            if target is not None:
                hops += 1
                if hops > _MOST_HOPS:
                    # The kernel gives up here as well: such a link leads nowhere.
                    return False
                place.pop()
                ahead.extend(target.split("/")[::-1])
        return False


def _turns_back(target: str) -> bool:
    has_name = False
    for part in target.split("/"):
        if part == ".." and has_name:
            return True
        has_name = has_name or part not in ("", ".", "..")
    return False
