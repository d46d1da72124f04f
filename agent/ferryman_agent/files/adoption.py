"""Files that change hands between deployment groups: taken over with `adopt`, given back by a rollback (AG-326).

What is in a cleanup journal belongs to that group. An install that takes files over writes them into its own journal
first, and out of the other's last, when all new files are in their places: a crash in between leaves them in both, and
finishing the install, which is the only way from there, sets that right. To be used alone (`install_turns`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from ferryman_agent.core.messages import GroupId
from ferryman_agent.errors import EventError
from ferryman_agent.files import deployment_record
from ferryman_agent.files.cleanup import Journal, JournalWriter, read_journal, rules_of, write_journal
from ferryman_agent.files.digests import Digests
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.manifest import RecordUnusable, load_manifest, path_of, take_found
from ferryman_agent.files.tree import Folders

log = structlog.get_logger(__name__)


def files_of_others(layout: Layout, group_id: GroupId | str) -> dict[str, GroupId]:
    """Returns what the journals of other groups list, and whose it is; without those that cannot be read."""
    found: dict[str, GroupId] = {}
    for other in layout.journals():
        # A name that is no group's is that of a file which somebody else has put there.
        with contextlib.suppress(OSError, EventError):
            if other != group_id:
                journal = read_journal(layout.cleanup_journal(other), keep=True)
                found.update(dict.fromkeys(journal.paths, GroupId(other)))
    return found


def group_label(layout: Layout, group_id: GroupId | str) -> str:
    """Returns a group's id and, where its last successful deployment is still on the disk, its name."""
    pointer = layout.last_successful(group_id)
    record = deployment_record.read(pointer) if pointer is not None else None
    return f"{group_id} ({record.group_name})" if record is not None and record.group_name else str(group_id)


def with_rules_of_others(layout: Layout, journal: Journal, adopted: Mapping[str, str]) -> Journal:
    """Returns the group's journal with the SELinux rules that others made for places it takes over, by their groups.

    They are the group's to keep or to take away from then on. Raises OSError.
    """
    lines = list(journal.contexts)
    for group in dict.fromkeys(adopted.values()):
        places = frozenset(place for place, owner in adopted.items() if owner == group)
        theirs = read_journal(layout.cleanup_journal(group), keep=True)
        lines += (line for line in theirs.contexts if not places.isdisjoint(_places(line)))
    return Journal(journal.paths, tuple(lines), journal.warnings, is_clean=journal.is_clean)


def take_from(layout: Layout, group_id: GroupId, paths: Iterable[str], places: Iterable[str]) -> None:
    """Takes files out of a group's journal and its record of what is installed. Safe to repeat. Raises OSError."""
    gone, gone_places = frozenset(paths), frozenset(places)
    path = layout.cleanup_journal(group_id)
    journal = read_journal(path, keep=True)
    kept = tuple(one for one in journal.paths if one not in gone)
    rules = tuple(line for line in journal.contexts if gone_places.isdisjoint(_places(line)))
    if len(kept) != len(journal.paths) or len(rules) != len(journal.contexts):
        write_journal(path, Journal(kept, rules))
    _change_record(layout, group_id, gone, None)
    log.info("adoption.taken", group=group_id, files=len(journal.paths) - len(kept))


def give_back(layout: Layout, group_id: GroupId, host: Folders, places: Mapping[str, str]) -> None:
    """Puts files, by path, into a group's journal and its record again. Safe to repeat. Raises OSError."""
    path = layout.cleanup_journal(group_id)
    journal = read_journal(path, keep=True)
    if not journal.is_clean and path.exists():
        write_journal(path, journal)
    known = frozenset(journal.paths)
    with contextlib.closing(JournalWriter(path)) as writer:
        writer.add(one for one in places if one not in known)
        writer.sync()
    _change_record(layout, group_id, frozenset(places), (host, places))
    log.info("adoption.given_back", group=group_id, files=len(places))


def _change_record(
    layout: Layout, group_id: GroupId, paths: frozenset[str], back: tuple[Folders, Mapping[str, str]] | None
) -> None:
    """Rewrites a group's record without `paths`, or with what is there now; one that cannot be used stays as it is."""
    record: Path = layout.installed_digests(group_id)
    try:
        rows = load_manifest(record)
        digests = Digests({path_of(row): row for row in rows})
    except (RecordUnusable, ValueError):
        return
    for one in paths:
        digests.rows.pop(one, None)
    if back is not None:
        host, places = back
        for one, place in places.items():
            with contextlib.suppress(OSError):
                take_found(digests, host, one, place)
    digests.save(record)


def _places(line: bytes) -> Iterable[str]:
    return rules_of(Journal(contexts=(line,)))
