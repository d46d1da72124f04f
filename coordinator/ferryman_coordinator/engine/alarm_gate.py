"""What a deployment waits for before its first target: that its alarms are known, and that none of them is active."""

from __future__ import annotations

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.alarms import AlarmWatch
from ferryman_coordinator.core.messages import ScopeDeleted, StopRequested
from ferryman_coordinator.core.model import ErrorInformation
from ferryman_coordinator.engine.inbox import Inbox


async def alarms_read(inbox: Inbox, watch: AlarmWatch, clock: Clock) -> ErrorInformation | None:
    """Return once every alarm was read or given up, with the reason why the deployment must not start, if any (CP-356).

    Also when somebody wants it to end: whoever calls looks for that. As long as a poll may fail in a row, and no
    longer: the poller answers for each name within a bounded time.
    """
    while watch.is_awaited and not is_unwanted(inbox):
        if readings := inbox.take_alarms():
            watch.take(readings, clock.now())
            if watch.cause is not None:
                return watch.cause
        else:
            await inbox.changed()
    return None


def is_unwanted(inbox: Inbox) -> bool:
    """Whether it was stopped, or lost its group, before it began."""
    return any(isinstance(event, StopRequested | ScopeDeleted) for event in inbox.waiting())
