"""Which instances are connected, and when each was last heard. All in memory.

Hearing an instance costs the same however many there are: links are kept in the order in which they were last heard,
so the one task that looks for silence only ever looks at the front.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import CommandId, InstanceId, Instant
from ferryman_coordinator.errors import Refused
from ferryman_coordinator.links.link import CAPACITY, Link
from ferryman_coordinator.links.orders import DrainOrder
from ferryman_coordinator.links.troubles import Trouble, Troubles

log = structlog.get_logger(__name__)

LAST_KEEP_S = 5.0
"""How long the last storing of `last_seen_at` may hold up a shutdown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """Durations in milliseconds."""

    heartbeat_interval_ms: int = 15_000
    # An instance is silent when nothing was heard for this many intervals.
    heartbeats_missed: int = 3
    # `last_seen_at` of an instance is stored at most this often.
    keep_seen_ms: int = 60_000
    capacity: int = CAPACITY

    @property
    def silent_after_ms(self) -> int:
        return self.heartbeat_interval_ms * self.heartbeats_missed


class Presence(Protocol):
    """Who wants to know when instances come and go: the engine. Neither call may block."""

    def instance_connected(
        self, instance_id: InstanceId, open_commands: Sequence[CommandId] = ()
    ) -> None: ...
    def instance_silent(self, instance_id: InstanceId) -> None: ...


class SeenKeeper(Protocol):
    """Stores when instances were last heard; `links/seen.py` does it in the database."""

    async def keep(self, seen: Mapping[InstanceId, Instant]) -> None: ...


class Links:
    """The registry. `presence` hears of each instance once as it comes and once as it goes."""

    def __init__(self, clock: Clock, seen: SeenKeeper, settings: LinkSettings | None = None) -> None:
        self._clock = clock
        self._seen_keeper = seen
        self.settings = settings or LinkSettings()
        self.troubles = Troubles()
        self._presence: Presence | None = None
        # Oldest heard first.
        self._links: OrderedDict[InstanceId, Link] = OrderedDict()
        # Heard and not stored yet, of instances that are gone again.
        self._departed: dict[InstanceId, Instant] = {}
        self._kept_until = Instant(0)

    def __len__(self) -> int:
        return len(self._links)

    def report_to(self, presence: Presence) -> None:
        """Tell this one, and only this one, from now on."""
        self._presence = presence

    def attach(self, instance_id: InstanceId, now: Instant, open_commands: Sequence[CommandId] = ()) -> Link:
        """A stream said Hello. An older one of the same instance is closed: the agent has given it up, whether or not
        that was noticed here. `open_commands` are those that the agent has journaled and not reported the end of.
        """
        link = Link(instance_id, now, capacity=self.settings.capacity)
        older = self._links.pop(instance_id, None)
        if older is not None:
            older.close("superseded by a newer stream of the same instance")
        self._links[instance_id] = link
        self._departed.pop(instance_id, None)
        if self._presence is not None:
            self._presence.instance_connected(instance_id, open_commands)
        return link

    def detach(self, link: Link, now: Instant) -> None:
        """The stream ended. Says nothing of the instance when a newer stream has taken its place."""
        link.close("the stream ended")
        if self._links.get(link.instance_id) is link:
            log.debug("link.ended", instance=link.instance_id, connected_ms=now - link.connected_at)
            self._remove(link)

    def heard(self, link: Link, now: Instant) -> None:
        """Anything came in on the stream."""
        link.last_heard = now
        if self._links.get(link.instance_id) is link:
            self._links.move_to_end(link.instance_id)

    def get(self, instance_id: InstanceId) -> Link | None:
        """The open link of that instance."""
        link = self._links.get(instance_id)
        return None if link is None or link.is_closed else link

    def connected(self) -> frozenset[InstanceId]:
        """Every instance with an open link, at this moment."""
        return frozenset(name for name, link in self._links.items() if not link.is_closed)

    def last_heard(self, instance_id: InstanceId) -> Instant | None:
        """None for an instance that is not connected: see its stored `last_seen_at`."""
        link = self._links.get(instance_id)
        return None if link is None else link.last_heard

    def turned_away(self, instance_id: InstanceId, refused: Refused, host_name: str = "") -> None:
        """An agent was not let in with this instance's identity; `host_name` where it said one."""
        trouble = Trouble(
            reason=refused.reason, message=refused.message, host_name=host_name, at=self._clock.now()
        )
        self.troubles.note(instance_id, trouble)

    def trouble_of(self, instance_id: InstanceId) -> Trouble | None:
        """The newest refusal of an agent with this instance's identity, within the last day."""
        return self.troubles.of(instance_id, self._clock.now())

    def silent_since(self, now: Instant) -> list[Link]:
        """Links of which nothing was heard for too long; costs only as much as there are such links."""
        limit = now - self.settings.silent_after_ms
        silent = []
        for link in self._links.values():
            if link.last_heard > limit:
                break
            silent.append(link)
        return silent

    def drain(self, within_ms: int, reason: str) -> None:
        """Ask every agent to connect again, elsewhere or later, and end the streams once that is sent."""
        for link in self._links.values():
            link.end_with(DrainOrder(within_ms=within_ms, reason=reason))

    async def run(self) -> None:
        """Look for silence and store what was heard, until cancelled; then store what is left."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._sweep)
                tasks.start_soon(self._keep_seen)
        finally:
            with anyio.move_on_after(LAST_KEEP_S, shield=True):
                await self.keep_seen()

    async def keep_seen(self) -> None:
        """Store when each instance was last heard, where that is newer than what is stored; in one batch."""
        seen = dict(self._departed)
        self._departed = {}
        since = self._kept_until
        for link in reversed(self._links.values()):
            if link.last_heard < since:
                break
            seen[link.instance_id] = link.last_heard
        self._kept_until = self._clock.now()
        if seen:
            try:
                await self._seen_keeper.keep(seen)
            except Exception:
                # Only a display value: the next round tries again, a fleet must not stop for it.
                self._departed = {**seen, **self._departed}
                log.warning("links.seen.not_stored", instances=len(seen), exc_info=True)

    async def _keep_seen(self) -> None:
        while True:
            await self._clock.sleep_until(Instant(self._clock.now() + self.settings.keep_seen_ms))
            await self.keep_seen()

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep_until(self._next_sweep())
            for link in self.silent_since(self._clock.now()):
                log.info("link.silent", instance=link.instance_id, last_heard=link.last_heard)
                link.close(f"nothing was heard for {self.settings.silent_after_ms // 1000} s")
                self._remove(link)

    def _next_sweep(self) -> Instant:
        """No link can fall silent before this: not the one heard longest ago, and not one that is yet to come."""
        oldest = next(iter(self._links.values()), None)
        heard = self._clock.now() if oldest is None else oldest.last_heard
        return Instant(heard + self.settings.silent_after_ms)

    def _remove(self, link: Link) -> None:
        del self._links[link.instance_id]
        self._departed[link.instance_id] = link.last_heard
        if self._presence is not None:
            self._presence.instance_silent(link.instance_id)
