"""What is handed to a sink, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ferryman_coordinator.core.model import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to one target. `body` is JSON; `text` says the same to people, in one line."""

    # The same at each attempt, so that consumers can tell a repetition.
    delivery_id: str
    event_id: str
    event_type: str
    deployment_id: str
    # What the trigger or rule names.
    target: str
    body: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a message was not taken, and what to do.

    With `is_sink_down` other messages would fare the same, so all of them wait; else only this one does.
    """

    reason: str
    is_sink_down: bool = True
    # What the other end asked for, at most; 0: nothing.
    retry_after_ms: int = 0


class Outlet(Protocol):
    """The way to one sink."""

    async def send(self, message: Message, now: Instant) -> Failure | None:
        """Try once, within the sink's time-out. None: it was taken. Raises nothing that is expected."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
