"""Whether the agent's directories are its own: who can rename one, or its parent, chooses what the agent runs next."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ferryman_agent.system import fs, own


def remarks(directories: Iterable[tuple[str, Path]]) -> Iterator[str]:
    """Yields a sentence for each directory, by its setting's name, that other users than root and our own can move."""
    for setting, path in directories:
        for component in (*reversed(path.parents), path):
            why = _open_to_others(component)
            if why is not None:
                yield (
                    f"{setting} {path} is not safe: {component} {why}, so others can put something else in its place;"
                    " scripts of theirs would run as this user"
                )
                break


def _open_to_others(component: Path) -> str | None:
    try:
        # Who can turn a link elsewhere is its owner, and whoever may write where it leads.
        found, itself = fs.stat(component), fs.lstat(component)
    except OSError:
        return None
    if stat.S_ISLNK(itself.st_mode) and not own.TRUSTS_LINKS:
        return "is a link or junction"
    mode = found.st_mode
    foreign = {found.st_uid, itself.st_uid} - {0, fs.geteuid()}
    if foreign:
        return f"belongs to user {min(foreign)}"
    # The group of root, or of the agent's user alone, is nobody else.
    others = 0o002 if found.st_gid in (0, fs.getegid()) else 0o022
    # In a directory like /tmp everybody can make entries, but not touch those of others.
    if mode & others and not mode & stat.S_ISVTX:
        return f"can be written to by others (mode {stat.S_IMODE(mode):04o})"
    return None
