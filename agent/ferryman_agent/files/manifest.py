"""What a deployment left on the host: recorded by Install, completed once its own scripts have run (AG-548).

A script that fills in a configuration file, or gives files away, belongs to the deployment: what it did is no drift.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

from ferryman.appspec import EntryKind
from ferryman_agent.core.drift import Found, Recorded
from ferryman_agent.core.messages import GroupId
from ferryman_agent.files.atomic import write_atomic
from ferryman_agent.files.digests import Digests, Installed, from_text, mark_of, to_text
from ferryman_agent.files.install_turns import install_turn
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.survey import kind_of, sha256_at
from ferryman_agent.files.tree import Folders
from ferryman_agent.system import fs

log = structlog.get_logger(__name__)

MOST_BYTES = 8 << 30
"""Of contents that are read for a record. Whoever owns an installed file may make a sparse one of it, which costs
nothing and has no end; who waits for the group's turn waits for us."""

_LOOPS = (errno.ELOOP, errno.EMLINK)
_decoder = msgspec.json.Decoder(list[Installed])
_names = msgspec.json.Decoder(list[str])


class RecordUnusable(Exception):
    """There is no record of what is installed, or none that tells enough; the message says what to do."""


def take_installed(
    digests: Digests,
    path: str,
    place: str,
    status: os.stat_result,
    sha256: str = "",
    target: str = "",
    *,
    plain: bool = False,
) -> None:
    """Takes an object of an install into its record. `plain`: it is known to have no ACL."""
    digests.rows[path] = Installed(
        to_text(path),
        *mark_of(status),
        sha256,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        "" if place == path else to_text(place),
        to_text(target),
        plain,
    )


def load_manifest(path: Path) -> list[Installed]:
    """Returns what is recorded, in the order of the paths. Raises RecordUnusable."""
    try:
        rows = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        raise RecordUnusable(
            "there is no record of what was installed: the next deployment writes one"
        ) from None
    except (OSError, msgspec.MsgspecError, UnicodeError) as problem:
        message = f"the record of what was installed cannot be read ({problem}): the next deployment writes a new one"
        raise RecordUnusable(message) from problem
    if any(row.mode == -1 for row in rows):
        raise RecordUnusable(
            "the record of what was installed is of an older agent, without modes: the next deployment writes a new one"
        )
    rows.sort(key=lambda row: row.path)
    return rows


def path_of(row: Installed) -> str:
    """Returns where the AppSpec file put it. Raises ValueError."""
    return from_text(row.path)


def place_of(row: Installed) -> str:
    """Returns where it really is, without the leading slash. Raises ValueError."""
    return from_text(row.place or row.path)[1:]


def recorded(row: Installed) -> Recorded:
    """Returns a row as the core wants it. Raises ValueError."""
    return Recorded(
        from_text(row.path),
        kind_of(row.mode),
        stat.S_IMODE(row.mode),
        row.uid,
        row.gid,
        row.mark,
        row.sha256,
        from_text(row.target),
    )


def look(host: Folders, place: str) -> tuple[os.stat_result, Found] | None:
    """Returns what is at a place; None where nothing is, or something else than a folder is on the way.

    Raises OSError for what cannot be looked at.
    """
    try:
        folder, name = host.parent(place)
        status = fs.stat(name, dir_fd=folder, follow_symlinks=False)
        kind = kind_of(status.st_mode)
        target = fs.readlink(name, dir_fd=folder) if kind is EntryKind.LINK else ""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        if problem.errno in _LOOPS:
            return None
        raise
    mode = stat.S_IMODE(status.st_mode)
    return status, Found(kind, mode, status.st_uid, status.st_gid, mark_of(status), target)


def settle(layout: Layout, group_id: GroupId, deployment_id: str) -> bool:
    """Takes into the record what the deployment's scripts did to its files since Install; says whether they did.

    To be called in the group's turn. Raises OSError.
    """
    pointer = layout.last_successful(group_id)
    if pointer is None or pointer.name != deployment_id or layout.install_mark(group_id).exists():
        return False
    # Another group may be taking files over, and changing the record as well.
    with install_turn(layout, alone=False):
        return _settle(layout, group_id)


def _settle(layout: Layout, group_id: GroupId) -> bool:
    path = layout.installed_digests(group_id)
    try:
        rows = load_manifest(path)
    except RecordUnusable as problem:
        log.warning("manifest.not_settled", group=group_id, reason=str(problem))
        return False
    settled, room = Digests(), MOST_BYTES
    with Folders.below("/") as host:
        for row in rows:
            with contextlib.suppress(ValueError, OSError):
                room -= _settle_one(settled, host, row, room)
    before = {path_of(row): _facts(row) for row in rows}
    after = {name: _facts(row) for name, row in settled.rows.items() if isinstance(row, Installed)}
    is_changed = before != after
    if is_changed or room < MOST_BYTES:
        # What had to be read here, since it was written so shortly before the record, nobody has to read again.
        settled.save(path)
    return is_changed


def _settle_one(settled: Digests, host: Folders, row: Installed, room: int) -> int:
    """Returns how many bytes were read. Raises OSError, ValueError."""
    try:
        return take_found(settled, host, path_of(row), f"/{place_of(row)}", row, room)
    except OSError as problem:
        if problem.errno != errno.EFBIG:
            raise
        settled.rows[path_of(row)] = row
        return 0


def take_found(
    digests: Digests,
    host: Folders,
    path: str,
    place: str,
    known: Installed | None = None,
    room: int = MOST_BYTES,
) -> int:
    """Takes what is at a place now, if anything, into a record; `known` saves reading what did not change.

    Returns how many bytes were read. Raises OSError: EFBIG for more than `room`.
    """
    seen = look(host, place.lstrip("/"))
    if seen is None:
        return 0
    status, found = seen
    is_same = known is not None and known.mark == found.mark
    sha256 = known.sha256 if known is not None and is_same else ""
    read = 0
    if found.kind is EntryKind.FILE and not sha256:
        sha256, read = sha256_at(host, place.lstrip("/"), room, is_urgent=False), status.st_size
    plain = known is not None and is_same and known.plain
    take_installed(digests, path, place, status, sha256, found.target, plain=plain)
    return read


def _facts(row: Installed) -> tuple[object, ...]:
    return row.mode, row.uid, row.gid, row.sha256, row.target


def distrust(layout: Layout, group_id: GroupId, paths: Iterable[str]) -> None:
    """Notes files whose content is another although `stat` says nothing, for Install to read.

    A full disk costs no more than the next check: it finds them again.
    """
    path = layout.distrusted(group_id)
    known = read_distrusted(path)
    wanted = known.union(paths)
    if wanted == known:
        return
    try:
        write_atomic(path, msgspec.json.encode([to_text(one) for one in sorted(wanted)]))
    except OSError as problem:
        log.warning("distrusted.not_noted", group=group_id, reason=problem.strerror)


def read_distrusted(path: Path) -> frozenset[str]:
    """Returns what `distrust` noted; nothing where there is none or it cannot be used (V2-288)."""
    try:
        return frozenset(from_text(one) for one in _names.decode(path.read_bytes()))
    except FileNotFoundError:
        return frozenset()
    except (OSError, msgspec.MsgspecError, UnicodeError, ValueError) as problem:
        log.warning("distrusted.unusable", path=str(path), reason=str(problem))
        return frozenset()


def load_trusted(layout: Layout, group_id: GroupId) -> Digests:
    """Returns the digests of what is installed, without those that a check found to be wrong."""
    found = Digests.load(layout.installed_digests(group_id), of_install=True)
    for path in read_distrusted(layout.distrusted(group_id)):
        found.rows.pop(path, None)
    return found
