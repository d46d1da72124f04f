"""Slows down whoever tries tokens: counts failures by network address, in memory and bounded."""

from __future__ import annotations

from collections import OrderedDict

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import LimitExceeded

WINDOW_MS = 60_000
_ADDRESSES = 10_000


class FailureLimiter:
    """After `limit` failures from one address within a minute, `check` refuses it until that minute is over.

    Modest on purpose: secrets have 256 bits, so this only keeps a broken or hostile client from costing database
    reads and log lines.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # Address -> when its minute began, and how many failures it saw. Oldest first.
        self._failures: OrderedDict[str, tuple[Instant, int]] = OrderedDict()

    def check(self, peer: str, now: Instant) -> None:
        """Raises LimitExceeded (`TooManyFailures`) for an address that has failed too often."""
        began, count = self._failures.get(_address(peer), (now, 0))
        if count >= self.limit and now - began < WINDOW_MS:
            left = (WINDOW_MS - (now - began) + 999) // 1000
            raise LimitExceeded(
                "TooManyFailures",
                f"too many wrong tokens came from this address: try again in {left} s, with the right one",
                retry_after_seconds=str(left),
            )

    def failed(self, peer: str, now: Instant) -> None:
        """Notes a failure."""
        address = _address(peer)
        began, count = self._failures.pop(address, (now, 0))
        if now - began >= WINDOW_MS:
            began, count = now, 0
        self._failures[address] = (began, count + 1)
        if len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)


def _address(peer: str) -> str:
    """`ipv4:10.0.0.1:5000` without its port."""
    return peer.rpartition(":")[0]
