"""The end of an install, once all new files are in their places: the same after a crash as without one."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from ferryman_agent.core.install_plan import merge_carried
from ferryman_agent.core.messages import GroupId
from ferryman_agent.files.adoption import give_back, take_from
from ferryman_agent.files.cleanup import Journal, write_journal
from ferryman_agent.files.digests import from_text
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.originals import remove_kept, save_originals
from ferryman_agent.files.removal import Removed, remove_obsolete
from ferryman_agent.files.tree import Folders
from ferryman_agent.files.undo import Aside, Commit, Row, Staged
from ferryman_agent.system import fs


def finish(
    layout: Layout, group_id: GroupId, host: Folders, commit: Commit, leftovers: Iterable[tuple[str, str]]
) -> tuple[Removed, list[str]]:
    """Removes what is no longer wanted, and records what is the group's now. Safe to repeat. Raises OSError.

    `leftovers` are folders, relative to `host` at `/`, and names in them. Returns what was removed, and a sentence for
    each leftover that could not be.
    """
    pairs = [(from_text(path), from_text(place)) for path, place in commit.obsolete]
    removed = remove_obsolete(host, pairs)
    problems = _remove_leftovers(host, leftovers)
    paths = merge_carried(tuple(from_text(path) for path in commit.made), tuple(removed.carried))
    rules = tuple(os.fsencode(from_text(rule)) for rule in commit.rules)
    for owner, returned in _by_group(commit.returned).items():
        give_back(layout, owner, host, returned)
    write_journal(layout.cleanup_journal(group_id), Journal(paths, rules))
    for owner, adopted in _by_group(commit.adopted).items():
        take_from(layout, owner, adopted, adopted.values())
    save_originals(layout.originals(group_id), commit.originals)
    remove_kept(layout, group_id, commit.unneeded)
    with contextlib.suppress(FileNotFoundError):
        layout.installed_digests_next(group_id).replace(layout.installed_digests(group_id))
        layout.distrusted(group_id).unlink(missing_ok=True)
    if not removed.problems:
        layout.set_last_successful(group_id, Path(from_text(commit.directory)))
    return removed, problems


def _by_group(moved: Iterable[tuple[str, str, str]]) -> dict[GroupId, dict[str, str]]:
    """Returns, for each other group, paths and places."""
    found: dict[GroupId, dict[str, str]] = {}
    for path, place, group in moved:
        found.setdefault(GroupId(group), {})[from_text(path)] = from_text(place)
    return found


def leftovers_of(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Returns what an install may have left beside its files."""
    return [
        (from_text(row.place)[1:].rpartition("/")[0], from_text(row.old))
        for row in rows
        if isinstance(row, Staged | Aside)
    ]


def _remove_leftovers(host: Folders, leftovers: Iterable[tuple[str, str]]) -> list[str]:
    problems = []
    for folder, name in leftovers:
        try:
            _remove(host, folder, name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            problems.append(f"cannot remove /{folder}/{name}: {problem.strerror}")
    return problems


def _remove(host: Folders, folder: str, name: str) -> None:
    path = f"{folder}/{name}" if folder else name
    status = host.look(path)
    if status is not None and stat.S_ISDIR(status.st_mode):
        host.forget(path)
        fs.rmdir(name, dir_fd=host.folder(folder))
    else:
        fs.unlink(name, dir_fd=host.folder(folder))
