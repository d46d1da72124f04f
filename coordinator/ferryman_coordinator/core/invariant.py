"""The core's one exception: what happened cannot be, given what happened before."""

from __future__ import annotations

from collections.abc import Iterable


class InvariantBroken(Exception):
    """A contradiction. It is raised before anything has changed, so the rollout goes on without the event.

    `story`: what is known of the object that it is about, oldest first: where it stands and its last changes.
    """

    def __init__(self, message: str, story: Iterable[str] = ()) -> None:
        self.message = message
        self.story = tuple(story)
        super().__init__("\n  ".join((message, *self.story)))
