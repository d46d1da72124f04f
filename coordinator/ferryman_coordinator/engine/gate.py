"""What a deployment waits for before its first target: its turn, room for its instances, no active alarm."""

from __future__ import annotations

from collections.abc import Callable

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.alarms import AlarmWatch
from ferryman_coordinator.core.messages import ScopeDeleted, StopRequested
from ferryman_coordinator.core.model import ErrorInformation
from ferryman_coordinator.engine.inbox import Inbox


async def held_back(
    inbox: Inbox, watch: AlarmWatch, clock: Clock, until: Callable[[], bool]
) -> ErrorInformation | None:
    """Return once `until` holds, or with the reason of an alarm why the deployment must not start (CP-354, CP-356).

    Also when somebody wants it to end: whoever calls looks for that. What makes `until` hold must wake the inbox.
    """
    while not until() and not is_unwanted(inbox):
        if readings := inbox.take_alarms():
            watch.take(readings, clock.now())
            if watch.cause is not None:
                return watch.cause
        else:
            await inbox.changed()
    return None


async def alarms_read(inbox: Inbox, watch: AlarmWatch, clock: Clock) -> ErrorInformation | None:
    """Wait until every alarm was read or given up: the poller answers for each name within a bounded time."""
    return await held_back(inbox, watch, clock, lambda: not watch.is_awaited)


def is_unwanted(inbox: Inbox) -> bool:
    """Whether it was stopped, or lost its group, before it began."""
    return any(isinstance(event, StopRequested | ScopeDeleted) for event in inbox.waiting())
