"""One agent's stream: a bounded queue of orders between the engine, which never waits, and the door, which writes.

Nothing is kept for an instance without a link: what it has to do is derived from the stored state when it connects
(D2). So a queue that overflows is no loss either: the link is closed, the agent connects again and is told anew.
"""

from __future__ import annotations

import asyncio

from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.links.orders import AckOrder, Order

CAPACITY = 1024
"""Orders that may wait for one stream. An agent has some tens at most: a full queue is a stream that stands still."""


class Link:
    """Made by `Links.attach`, read by exactly one writer of the stream."""

    __slots__ = (
        "_ack",
        "_capacity",
        "_closed_because",
        "_is_ending",
        "_orders",
        "_waiter",
        "connected_at",
        "instance_id",
        "last_heard",
    )

    def __init__(self, instance_id: InstanceId, now: Instant, *, capacity: int = CAPACITY) -> None:
        self.instance_id = instance_id
        self.connected_at = now
        self.last_heard = now
        self._capacity = capacity
        self._orders: list[Order] = []
        # Acknowledgements collapse: the newest covers the older ones.
        self._ack: AckOrder | None = None
        self._is_ending = False
        self._closed_because: str | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_closed(self) -> bool:
        return self._closed_because is not None

    @property
    def close_reason(self) -> str:
        """Why it was closed, in words for the agent's log; empty while it is open."""
        return self._closed_because or ""

    def offer(self, order: Order) -> bool:
        """Queue the order; never blocks. False when the link is closed, or was just now because its queue is full."""
        if self._closed_because is not None or self._is_ending:
            return False
        if isinstance(order, AckOrder):
            if self._ack is None or order.number > self._ack.number:
                self._ack = order
        elif len(self._orders) >= self._capacity:
            self.close(f"too far behind: {self._capacity} orders wait to be sent")
            return False
        else:
            self._orders.append(order)
        self._wake()
        return True

    def end_with(self, order: Order) -> None:
        """Take no more orders; close once those that wait, and this last one, were handed to the writer."""
        if self.offer(order):
            self._is_ending = True

    async def next_orders(self) -> list[Order]:
        """Wait for orders and take all that are there, in order. An empty list: the link is closed, end the stream."""
        while not self.is_closed:
            orders = self._take()
            if orders:
                return orders
            if self._is_ending:
                self.close("drained")
                break
            await self._wait()
        return []

    def close(self, reason: str) -> None:
        """End the stream. Orders that still wait are dropped; the first reason stays."""
        if self._closed_because is None:
            self._closed_because = reason
            self._orders.clear()
            self._ack = None
            self._wake()

    def _take(self) -> list[Order]:
        orders, self._orders = self._orders, []
        if self._ack is not None:
            orders.append(self._ack)
            self._ack = None
        return orders

    async def _wait(self) -> None:
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
