"""Lets the targets that wait for their turn fetch the bundle, a bounded number of them at a time (D7).

Best effort: whoever did not fetch ahead does so when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ferryman_coordinator.core.model import InstanceId, Instant


class Prefetch:
    """Of one live deployment. Costs as much as there are targets, in all, not with each call."""

    def __init__(self, ask: Callable[[InstanceId], bool], *, limit: int, patience_ms: int) -> None:
        """`ask` sends the request, and says False when the instance is not connected."""
        self._ask = ask
        self._limit = limit
        self._patience_ms = patience_ms
        # In the order of start.
        self._waiting: dict[InstanceId, None] = {}
        self._absent: set[InstanceId] = set()
        # Since when; the oldest first.
        self._fetching: dict[InstanceId, Instant] = {}

    @property
    def fetching(self) -> frozenset[InstanceId]:
        """Those that were asked and have not answered."""
        return frozenset(self._fetching)

    def wait(self, instance_ids: Iterable[InstanceId]) -> None:
        """These targets wait for their turn; in the order of start."""
        if self._limit:
            self._waiting.update(dict.fromkeys(instance_ids))

    def drop(self, instance_id: InstanceId) -> None:
        """Its turn has come, or will not come. What it fetches goes on and keeps its place."""
        self._waiting.pop(instance_id, None)
        self._absent.discard(instance_id)

    def connected(self, instance_id: InstanceId) -> None:
        if instance_id in self._absent:
            self._absent.remove(instance_id)
            self._waiting[instance_id] = None

    def silent(self, instance_id: InstanceId) -> None:
        """Whether it goes on is not known, so it does not keep others from fetching; it is asked again later."""
        if self._fetching.pop(instance_id, None) is not None:
            self._absent.add(instance_id)

    def done(self, instance_id: InstanceId) -> None:
        """It has the bundle, or could not get it: then it tries once more when its turn comes."""
        self._fetching.pop(instance_id, None)

    def fill(self, now: Instant) -> None:
        """Ask as many as there are places for."""
        self._give_up(now)
        while self._waiting and len(self._fetching) < self._limit:
            instance_id = next(iter(self._waiting))
            del self._waiting[instance_id]
            if self._ask(instance_id):
                self._fetching[instance_id] = now
            else:
                self._absent.add(instance_id)

    def _give_up(self, now: Instant) -> None:
        while self._fetching:
            oldest = next(iter(self._fetching))
            if now - self._fetching[oldest] < self._patience_ms:
                return
            del self._fetching[oldest]
