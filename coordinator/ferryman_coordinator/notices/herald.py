"""Sends a test message when a trigger was created or changed, and says what became of it (CP-370, CP-371)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core import payloads
from ferryman_coordinator.core.group_options import Trigger
from ferryman_coordinator.core.payloads import Origin
from ferryman_coordinator.notices.message import Message
from ferryman_coordinator.notices.sinks import Sinks
from ferryman_coordinator.store.event_ids import delivery_id

TEST = "Test"
"""Event type of a test message."""

_PATIENCE_S = 5.0


class Herald:
    """Never raises what can be expected: a trigger is saved whatever becomes of its test message."""

    def __init__(self, sinks: Sinks, clock: Clock, origin: Origin) -> None:
        self._sinks = sinks
        self._clock = clock
        self._origin = origin

    async def announce(
        self, before: Sequence[Trigger], after: Sequence[Trigger], application: str, group: str
    ) -> tuple[str, ...]:
        """Tests each trigger of `after` that is not in `before` as it is, all at once; returns warnings."""
        fresh = [trigger for trigger in after if trigger not in before]
        answers = await asyncio.gather(
            *(self.test(one.target_arn, one.name, application, group) for one in fresh)
        )
        return tuple(
            f"trigger {one.name!r} is saved, but its test message was not delivered: {answer}"
            for one, answer in zip(fresh, answers, strict=True)
            if answer
        )

    async def test(self, target: str, trigger_name: str = "", application: str = "", group: str = "") -> str:
        """Sends one test message; returns why it was not taken, or nothing."""
        outlet = self._sinks.outlet(target)
        if outlet is None:
            return (
                f"no sink stands for {target}: give it one under `sinks` in the coordinator's settings, and start the"
                " coordinator again"
            )
        payload = payloads.check_message(trigger_name, application, group, self._origin)
        now = self._clock.now()
        drawn = delivery_id(f"test/{now}", trigger_name, target)
        message = Message(
            delivery_id=drawn,
            event_id=drawn,
            event_type=TEST,
            deployment_id="test",
            target=target,
            body=payloads.compact(payload),
            text=f"Test message of Ferryman for trigger {trigger_name or target}: nothing was deployed.",
        )
        try:
            async with asyncio.timeout(_PATIENCE_S):
                failure = await outlet.send(message, now)
        except TimeoutError:
            return f"no answer within {_PATIENCE_S:g} s"
        return "" if failure is None else failure.reason
