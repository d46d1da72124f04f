"""What every source of alarms can be asked, and what it answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ferryman_coordinator.core.model import AlarmState, Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An alarm's state; `since` and `detail` where the source says them."""

    state: AlarmState
    since: Instant | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """The source knows the alarm, but its state could not be had."""

    reason: str


Answer = Seen | Unread


class AlarmSource(Protocol):
    """One place that knows the states of alarms by name."""

    @property
    def name(self) -> str:
        """As the settings call it."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    def may_know(self, alarm: str) -> bool:
        """False when it surely does not know an alarm of that name; asks nobody."""
        ...

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        """Their present states, without those that it does not know.

        Ends by itself within a bounded time. Raises Unreachable when it can tell of none.
        """
        ...

    async def names(self) -> Sequence[str]:
        """The alarms that it knows, not more than `MOST_NAMES`. Raises Unreachable."""
        ...


MOST_NAMES = 500
"""Of one source, for those who list them."""
