"""Waiting for whichever comes first."""

from __future__ import annotations

import asyncio

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import Instant


async def rung_or(heard: asyncio.Event, clock: Clock, instant: Instant) -> None:
    """Return when `heard` is set, or at `instant`."""
    if heard.is_set():
        return
    waits: set[asyncio.Task[object]] = {
        asyncio.create_task(heard.wait()),
        asyncio.create_task(clock.sleep_until(instant)),
    }
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
