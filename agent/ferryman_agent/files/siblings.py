"""Names beside a file for what is not in its place yet, and for what is not there any more.

They follow from group and name, so that what an install left that was killed is not in the way of the next one.
"""

from __future__ import annotations

import os

from ferryman_agent.files.hashing import short_name_hash


class Siblings:
    """The temporary names of one deployment group."""

    def __init__(self, group_id: str) -> None:
        self._group = short_name_hash(group_id.encode())

    def new(self, name: str, *, is_ours: bool) -> str:
        """Returns the name under which a file's next content waits.

        It tells whether the place belonged to the group before: where the install was killed and the content of a place
        that did not still waits, what is in the place, if anything, is somebody else's.
        """
        return f".ferryman-{'new' if is_ours else 'first'}-{self._mark(name)}"

    def old(self, name: str) -> str:
        """Returns the name under which a file's last content waits."""
        return f".ferryman-old-{self._mark(name)}"

    def aside(self, name: str) -> str:
        """Returns the name of something of ours that is in the way because it is of another kind."""
        return f".ferryman-aside-{self._mark(name)}"

    def _mark(self, name: str) -> str:
        digest = self._group.copy()
        digest.update(os.fsencode(name))
        return digest.hexdigest()
