"""`ferryman-agent history`: the deployments whose files are on this machine (AG-544)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from ferryman_agent import wiring
from ferryman_agent.config import Config
from ferryman_agent.errors import AgentError, EventError
from ferryman_agent.files import deployment_record
from ferryman_agent.files.layout import RESERVED_NAMES, DeploymentDir, Layout
from ferryman_agent.system import fs, own

_HEADS = ("deployment", "group", "revision", "result", "ended", "size", "kept")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One deployment on the disk. `protected` says why retention leaves it alone, and is empty where it does not."""

    deployment_id: str
    group_id: str
    group_name: str
    application_name: str
    revision: str
    result: str
    ended_at: int
    size_bytes: int
    protected: str


def kept_deployments(config: Config) -> tuple[Kept, ...]:
    """Returns what is there, the newest first. Raises AgentError when the root cannot be read."""
    layout = wiring.layout(config)
    try:
        groups = sorted(
            entry.name for entry in fs.scandir(layout.root) if entry.is_dir(follow_symlinks=False)
        )
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise AgentError(
            f"cannot read {layout.root}: {error.strerror}; run this as root or as the agent's user, or name its"
            " configuration with --config"
        ) from error
    found = [one for name in groups if name not in RESERVED_NAMES for one in _in_group(layout, name)]
    return tuple(sorted(found, key=lambda one: one.ended_at, reverse=True))


def as_json(found: tuple[Kept, ...]) -> str:
    """Stable names: those of Kept."""
    return json.dumps({"deployments": [asdict(one) for one in found]}, indent=2)


def as_text(found: tuple[Kept, ...]) -> str:
    """A table."""
    if not found:
        return "no deployment has files on this machine"
    rows = [_HEADS, *(_row(one) for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _in_group(layout: Layout, group_id: str) -> Iterator[Kept]:
    try:
        pointers = {
            "last successful": layout.last_successful(group_id),
            "most recent": layout.most_recent(group_id),
        }
    except EventError:
        # No name that a deployment group can have, so nothing of ours is in there.
        return
    ongoing = layout.ongoing_deployments()
    with contextlib.suppress(OSError):
        for folder in sorted(layout.group(group_id).iterdir()):
            if not _is_deployment(folder):
                continue
            reasons = [why for why, path in pointers.items() if path is not None and path.name == folder.name]
            reasons += ["in progress"] if folder.name in ongoing else []
            yield _kept(folder, group_id, reasons)


def _is_deployment(folder: Path) -> bool:
    directory = DeploymentDir(folder)
    ours = (directory.bundle, directory.archive, directory.logs, folder / deployment_record.RECORD_NAME)
    return folder.is_dir() and not folder.is_symlink() and any(path.exists() for path in ours)


def _kept(folder: Path, group_id: str, reasons: list[str]) -> Kept:
    record = deployment_record.read(folder)
    is_last_good = "last successful" in reasons
    ended = record.ended_at if record else None
    return Kept(
        deployment_id=folder.name,
        group_id=group_id,
        group_name=record.group_name if record else "",
        application_name=record.application_name if record else "",
        revision=record.revision if record else _digest(folder),
        result=record.result if record else "Installed" if is_last_good else "unknown",
        ended_at=int(folder.stat().st_mtime * 1000) if ended is None else ended,
        size_bytes=_size(folder),
        protected=", ".join(reasons),
    )


def _digest(folder: Path) -> str:
    try:
        digest = DeploymentDir(folder).bundle_digest.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return f"sha256:{digest[:64]}"


def _size(folder: Path) -> int:
    """What the files take on the disk; those with several names count once."""
    seen, total = set(), 0
    for above, _, names in fs.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found = fs.lstat(os.path.join(above, name))
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    total += own.disk_bytes(found)
    return total


def _row(one: Kept) -> tuple[str, ...]:
    ended = f"{datetime.fromtimestamp(one.ended_at / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
    revision = one.revision[:19] + "…" if one.revision.startswith("sha256:") else one.revision
    group = one.group_name or one.group_id
    return (
        one.deployment_id,
        group,
        revision or "-",
        one.result,
        ended,
        _readable(one.size_bytes),
        one.protected,
    )


def _readable(size: float) -> str:
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}"
        size /= 1024
    return ""
