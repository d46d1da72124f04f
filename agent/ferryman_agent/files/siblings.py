"""Names beside a file for what is not in its place yet, and for what is not there any more.

They follow from group and name, so that the install after one that was killed finds and removes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator

from ferryman_agent.files.tree import Folders, remove_tree


class Siblings:
    """The temporary names of one deployment group."""

    def __init__(self, group_id: str) -> None:
        self._group = hashlib.blake2b(group_id.encode(), digest_size=8)

    def new(self, name: str, *, is_ours: bool) -> str:
        """Returns the name under which a file's next content waits.

        It tells whether the place belonged to the group before: where the install was killed and the content of a place
        that did not still waits, what is in the place, if anything, is somebody else's.
        """
        return f".ferryman-{'new' if is_ours else 'first'}-{self._mark(name)}"

    def old(self, name: str) -> str:
        """Returns the name under which a file's last content waits."""
        return f".ferryman-old-{self._mark(name)}"

    def _mark(self, name: str) -> str:
        digest = self._group.copy()
        digest.update(os.fsencode(name))
        return digest.hexdigest()


def remove_siblings(host: Folders, paths: Iterable[str], siblings: Siblings) -> Iterator[str]:
    """Removes what an install that was killed left beside its files.

    Yields the paths that it never got to and that were not the group's before. `host` is opened at `/`.
    """
    for path in paths:
        parent, _, name = path.rpartition("/")
        folder = os.path.realpath(parent or "/")[1:]
        first = siblings.new(name, is_ours=False)
        if _remove(host, folder, first):
            yield path
        _remove(host, folder, siblings.new(name, is_ours=True))
        _remove(host, folder, siblings.old(name))


def _remove(host: Folders, folder: str, name: str) -> bool:
    with contextlib.suppress(OSError):
        parent = host.folder(folder)
        os.stat(name, dir_fd=parent, follow_symlinks=False)
        remove_tree(parent, name)
        return True
    return False
