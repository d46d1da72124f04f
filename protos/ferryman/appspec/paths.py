"""Paths as an AppSpec file writes them: text only, the file system is never asked."""

from __future__ import annotations

import re

_DRIVE = re.compile(r"[A-Za-z]:")


def inside_revision(path: str, *, windows: bool = False) -> str | None:
    """Returns `path` relative to the revision's root, with single `/`; "" is the root itself.

    A leading separator means the root of the revision (AG-300); `./x`, `x` and `x/` are equal (AG-299). None when
    the path leaves the revision, also when it only ends in `..` (V2-191). A backslash separates on Windows only.
    """
    if windows:
        path = path.replace("\\", "/")
        if _DRIVE.match(path):
            return None
    parts = path.split("/")
    if parts[-1] == "..":
        return None
    return _fold(parts)


def normal_destination(path: str, *, windows: bool = False) -> str | None:
    """Returns an absolute path without `.`, `..` and double separators (AG-306).

    None when it is not absolute or climbs above the root (V2-192).
    """
    prefix = ""
    if windows:
        path = path.replace("\\", "/")
        drive = _DRIVE.match(path)
        if drive:
            prefix, path = drive.group().upper(), path[2:]
    if not path.startswith("/"):
        return None
    folded = _fold(path.split("/"))
    return None if folded is None else f"{prefix}/{folded}"


def is_absolute(path: str, *, windows: bool = False) -> bool:
    """Says whether a destination is absolute on the system that the AppSpec file is for."""
    if windows:
        return path.startswith("\\\\") or bool(re.match(r"[A-Za-z]:[\\/]", path))
    return path.startswith("/")


def ancestors(path: str) -> list[str]:
    """Returns the directories above an absolute, normal path, outermost first, without the root."""
    found = []
    end = path.find("/", 1)
    while end != -1:
        found.append(path[:end])
        end = path.find("/", end + 1)
    return found


def join(directory: str, name: str) -> str:
    """Joins two parts with one separator; the first may be the root or empty."""
    if not name:
        return directory
    return f"{directory.rstrip('/')}/{name}" if directory else name


def _fold(parts: list[str]) -> str | None:
    kept: list[str] = []
    for part in parts:
        if part in ("", "."):
            continue
        if part != "..":
            kept.append(part)
        elif kept:
            kept.pop()
        else:
            return None
    return "/".join(kept)
