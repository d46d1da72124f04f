"""Deletes what retention chose: old revisions of a group, with their logs (AG-173)."""

from __future__ import annotations

import contextlib
import re
import stat
from dataclasses import dataclass

import structlog

from ferryman_agent.core.messages import DeploymentId, GroupId
from ferryman_agent.core.retention import RevisionDir, expired
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.originals import kept_in, read_originals
from ferryman_agent.files.tree import Folders, remove_tree, walk
from ferryman_agent.system import fs

log = structlog.get_logger(__name__)

_DEPLOYMENT_NAME = re.compile(r"d-[A-Za-z0-9._-]+", re.ASCII)
_DEPLOYMENT_CONTENT = frozenset({"bundle.tar", "deployment-archive", "deployment-archive-temp", "logs"})


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What was deleted, and a sentence for each revision that could not be (AG-176)."""

    removed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def prune(
    layout: Layout,
    group_id: GroupId,
    *,
    current: DeploymentId,
    max_revisions: int,
    max_bytes: int | None = None,
    in_use: frozenset[str] = frozenset(),
) -> PruneReport:
    """Deletes the revisions of a group that are too many; blocks. Raises nothing for what cannot be deleted.

    The last successful and the most recent revision are never deleted, nor those with an in-flight marker, nor those
    that the caller names as `in_use` (AG-175, V2-071).
    """
    pointers = (layout.last_successful(group_id), layout.most_recent(group_id))
    protected = {path.name for path in pointers if path is not None}
    protected |= layout.ongoing_deployments() | in_use
    with contextlib.suppress(OSError):
        # A rollback may want the files back that these had overwritten (CP-347).
        protected |= kept_in(read_originals(layout.originals(group_id)))
    removed: list[str] = []
    problems: list[str] = []
    try:
        with Folders.below(layout.group(group_id)) as group:
            found = _revisions(group, sized=max_bytes is not None)
            doomed = expired(
                found, current=current, max_revisions=max_revisions, protected=protected, max_bytes=max_bytes
            )
            for name in doomed:
                try:
                    remove_tree(group.folder(""), name)
                    removed.append(name)
                except OSError as problem:
                    problems.append(f"cannot delete the old revision {name}: {_why(problem)}")
    except FileNotFoundError:
        return PruneReport()
    except OSError as problem:
        problems.append(f"cannot look for old revisions in {layout.group(group_id)}: {_why(problem)}")
    for text in problems:
        log.warning("prune.failed", group=group_id, reason=text)
    return PruneReport(tuple(removed), tuple(problems))


def _revisions(group: Folders, *, sized: bool) -> list[RevisionDir]:
    found = []
    for name in fs.listdir(group.folder("")):
        status = group.look(name)
        if status is None or not stat.S_ISDIR(status.st_mode) or not _is_deployment(group, name):
            continue
        size = sum(inner.st_size for _, inner in walk(group, name)) if sized else 0
        found.append(RevisionDir(name=name, modified_ns=status.st_mtime_ns, size_bytes=size))
    return found


def _is_deployment(group: Folders, name: str) -> bool:
    # What somebody else put here is neither counted nor deleted (AG-178).
    return bool(_DEPLOYMENT_NAME.fullmatch(name) or _DEPLOYMENT_CONTENT & set(fs.listdir(group.folder(name))))


def _why(problem: OSError) -> str:
    return (
        f"{problem.strerror or problem} ({problem.filename})" if problem.filename else str(problem.strerror)
    )
