"""The stream of events: from any position that is still kept, over restarts, without loss (CP-387)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core import payloads
from ferryman_coordinator.core.events import PublishedEvent
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.payloads import Origin
from ferryman_coordinator.errors import Invalid, NotFound
from ferryman_coordinator.notices.bell import Bell
from ferryman_coordinator.notices.waiting import rung_or
from ferryman_coordinator.operations import names
from ferryman_coordinator.store.queries import events as queries
from ferryman_coordinator.store.queries.events import EventFilter
from ferryman_coordinator.store.store import Store

_PAGE = 500
_STRETCH = 5_000
"""Positions that are looked through between two turns of the loop, however few of them are wanted."""
_SIGN_OF_LIFE_MS = 15_000
_LOOK_EVERY_MS = 5_000
"""Without a ring: another coordinator may have stored something."""
MOST_LAST = 10_000
_FIELD = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedEvent:
    """Every wanted event up to `position` was given. Without one: a sign of life."""

    position: int
    event: PublishedEvent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWatch:
    """`after_position` None: from now on, or, with `last`, from so many wanted events ago."""

    after_position: int | None = None
    last: int = 0
    follow: bool = False
    wanted: EventFilter = EventFilter()  # noqa: RUF009 - frozen


class Events:
    """What was told and what will be. Watchers have no buffer: each reads a page when the one before is sent."""

    def __init__(self, store: Store, clock: Clock, outbox: Bell, origin: Origin) -> None:
        """`outbox` rings when events were stored."""
        self.origin = origin
        self._store = store
        self._clock = clock
        self._outbox = outbox

    def envelope(self, published: PublishedEvent) -> str:
        """The event as EventBridge has it (CP-386), as JSON."""
        return payloads.compact(payloads.envelope(published, self.origin))

    async def watch(self, watch: EventWatch) -> AsyncGenerator[WatchedEvent, None]:
        """The wanted events, in order; then, if asked for, those that follow, without an end.

        Raises Invalid, and NotFound (EventsNoLongerKept) when events behind the position are gone already.
        """
        _check(watch)
        position = await self._begin(watch)
        alive_at = Instant(self._clock.now() + _SIGN_OF_LIFE_MS)
        # At once, so that the watcher has a position to come back to.
        yield WatchedEvent(position=position)
        while True:
            heard = self._outbox.listen()
            page, reached, is_all = await self._next(position, watch.wanted)
            for published in page:
                yield WatchedEvent(position=published.position, event=published)
            position = reached
            now = self._clock.now()
            if (is_all and not watch.follow) or now >= alive_at:
                yield WatchedEvent(position=position)
                alive_at = Instant(now + _SIGN_OF_LIFE_MS)
            if not is_all:
                await asyncio.sleep(0)
            elif not watch.follow:
                return
            else:
                await rung_or(heard, self._clock, min(alive_at, Instant(now + _LOOK_EVERY_MS)))

    async def _next(self, position: int, wanted: EventFilter) -> tuple[list[PublishedEvent], int, bool]:
        """Wanted events behind `position`, how far that reaches, and whether that is as far as there are any."""
        async with self._store.reading() as connection:
            newest = await queries.newest_position(connection)
            until = min(newest, position + _STRETCH)
            page = list(await queries.between(connection, position, until, _PAGE, wanted))
        if len(page) == _PAGE:
            until = page[-1].position
        return page, max(position, until), until >= newest

    async def _begin(self, watch: EventWatch) -> int:
        async with self._store.reading() as connection:
            newest = await queries.newest_position(connection)
            gone = await queries.pruned_until(connection)
        if watch.after_position is None:
            return await self._before_last(watch, newest, gone) if watch.last else newest
        if watch.after_position == 0:
            return gone
        if watch.after_position < gone:
            raise NotFound(
                "EventsNoLongerKept",
                f"events up to position {gone} are no longer kept, so some behind {watch.after_position} are missing:"
                " begin at 0 for those that are there, or raise notices.keep in the coordinator's settings",
                oldest=str(gone),
            )
        if watch.after_position > newest:
            raise Invalid(
                "InvalidInputException",
                f"there is no position {watch.after_position} yet, the newest is {newest}: it is of another"
                " coordinator, or of this one before its database was restored; begin at 0",
            )
        return watch.after_position

    async def _before_last(self, watch: EventWatch, newest: int, gone: int) -> int:
        left, until = watch.last, newest
        while until > gone:
            async with self._store.reading() as connection:
                floor = max(gone, until - _STRETCH)
                found = await queries.last_between(connection, floor, until, left, watch.wanted)
            left -= len(found)
            if not left:
                return found[-1] - 1
            until = floor
            await asyncio.sleep(0)
        return gone


def _check(watch: EventWatch) -> None:
    if watch.after_position is not None and watch.last:
        raise Invalid("InvalidInputException", "give a position or how many of the last events, not both")
    if watch.after_position is not None and watch.after_position < 0:
        raise Invalid("InvalidInputException", f"a position is 0 or more, not {watch.after_position}")
    if watch.last > MOST_LAST:
        raise Invalid(
            "InvalidInputException", f"at most the last {MOST_LAST} events: give a position for more"
        )
    wanted = watch.wanted
    if wanted.group_name and not wanted.application_name:
        raise Invalid(
            "ApplicationNameRequiredException",
            f"deployment group {names.shown(wanted.group_name)} is of which application? Give its name",
        )
    for text in (wanted.application_name, wanted.group_name, wanted.deployment_id):
        if len(text) > _FIELD:
            raise Invalid("InvalidInputException", f"{names.shown(text)} is too long for a name or an id")
