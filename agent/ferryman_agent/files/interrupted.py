"""Puts in order what an install left that was killed: as before it or, if all its files were in place, as after it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import structlog

from ferryman_agent.core.messages import GroupId
from ferryman_agent.errors import AgentError
from ferryman_agent.files.cleanup import Journal, JournalWriter, read_journal
from ferryman_agent.files.commit import finish, leftovers_of
from ferryman_agent.files.install_turns import install_turn
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.originals import forget_originals
from ferryman_agent.files.tree import Folders
from ferryman_agent.files.undo import Begin, Commit, Row, read_log, take_back

log = structlog.get_logger(__name__)


def recover_group(layout: Layout, group_id: GroupId, host: Folders) -> list[str]:
    """Returns sentences about what was found and done; none when there was nothing to do. Raises OSError.

    To be called alone (`install_turns`): it may have to finish what changes the records of other groups.
    """
    mark = layout.install_mark(group_id)
    if not mark.exists():
        return []
    rows = read_log(mark)
    commit = next((row for row in rows if isinstance(row, Commit)), None)
    if commit is not None:
        removed, problems = finish(layout, group_id, host, commit, leftovers_of(rows))
        problems = [*removed.problems, *problems]
        how = "it was finished"
    else:
        problems = restore(layout, group_id, host, rows)
        how = "it was taken back"
    mark.unlink(missing_ok=True)
    note = f"the last install of deployment group {group_id} had not come to its end: {how}"
    log.warning("install.recovered", group=group_id, how=how, problems=problems)
    return [note, *problems]


Turn = Callable[[GroupId], AbstractContextManager[object]]


def recover_all(layout: Layout, turn: Turn = nullcontext) -> None:
    """Does so for every group of the host; what fails is left for the group's next install (AG-138).

    `turn` keeps other processes from the group meanwhile; where it raises AgentError, one of them is at work there.
    """
    for group_id in layout.interrupted_groups():
        try:
            with turn(group_id), install_turn(layout, alone=True), Folders.below("/") as host:
                recover_group(layout, group_id, host)
        except (OSError, AgentError) as problem:
            log.error("install.not_recovered", group=group_id, error=str(problem))


def restore(layout: Layout, group_id: GroupId, host: Folders, rows: list[Row]) -> list[str]:
    """Takes an install back and makes its records as they were; returns a sentence for what could not be.

    What is still there stays in the cleanup journal, for the next install to remove. Raises OSError.
    """
    failed, left = take_back(host, rows)
    begin = next((row for row in rows if isinstance(row, Begin)), None)
    path = layout.cleanup_journal(group_id)
    if begin is not None:
        _shorten(layout, group_id, begin.journal_bytes, left)
        forget_originals(layout, group_id, begin.deployment, frozenset(read_journal(path, keep=True).paths))
    layout.installed_digests_next(group_id).unlink(missing_ok=True)
    return failed


def _shorten(layout: Layout, group_id: GroupId, size: int, left: list[str]) -> None:
    """Takes from the cleanup journal what an install had added, but for what it left."""
    path = layout.cleanup_journal(group_id)
    if path.exists():
        os.truncate(path, size)
    known: Journal = read_journal(path, keep=True)
    writer = JournalWriter(path)
    try:
        writer.add(one for one in dict.fromkeys(left) if one not in frozenset(known.paths))
        writer.sync()
    finally:
        writer.close()
