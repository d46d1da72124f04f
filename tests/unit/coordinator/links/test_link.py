"""One agent's queue of orders: it never makes the engine wait, and a stream that stands still costs no memory."""

from __future__ import annotations

import asyncio

from ferryman_coordinator.core.model import CommandId, DeploymentId, InstanceId, Instant
from ferryman_coordinator.links.link import Link
from ferryman_coordinator.links.orders import AckOrder, CancelOrder, DrainOrder, ForgetOrder, Order


def make_link(capacity: int = 4) -> Link:
    return Link(InstanceId("mi-1"), Instant(0), capacity=capacity)


def forget(number: int) -> ForgetOrder:
    return ForgetOrder(deployment_id=DeploymentId(f"d-{number}"))


async def test_orders_come_out_in_the_order_they_went_in() -> None:
    link = make_link()
    assert link.offer(forget(1))
    assert link.offer(forget(2))
    assert await link.next_orders() == [forget(1), forget(2)]


async def test_a_waiting_writer_is_woken_by_an_order() -> None:
    link = make_link()
    writer = asyncio.create_task(link.next_orders())
    await asyncio.sleep(0)
    assert not writer.done()
    order = CancelOrder(command_id=CommandId("d-1/mi-1/1/0"), reason="stopped")
    link.offer(order)
    assert await writer == [order]


async def test_a_writer_that_is_cancelled_loses_no_order() -> None:
    link = make_link()
    writer = asyncio.create_task(link.next_orders())
    await asyncio.sleep(0)
    writer.cancel()
    await asyncio.wait([writer])
    link.offer(forget(1))
    assert await link.next_orders() == [forget(1)]


async def test_acknowledgements_collapse_to_the_newest() -> None:
    link = make_link(capacity=1)
    for number in (1, 5, 3):
        assert link.offer(AckOrder(number=number))
    assert link.offer(forget(1))
    assert await link.next_orders() == [forget(1), AckOrder(number=5)]


async def test_a_full_queue_closes_the_link_instead_of_growing() -> None:
    link = make_link(capacity=2)
    assert link.offer(forget(1))
    assert link.offer(forget(2))
    assert not link.offer(forget(3))
    assert link.is_closed
    assert "2 orders wait" in link.close_reason
    assert await link.next_orders() == []


async def test_closing_ends_a_waiting_writer_and_keeps_the_first_reason() -> None:
    link = make_link()
    writer = asyncio.create_task(link.next_orders())
    await asyncio.sleep(0)
    link.close("superseded")
    link.close("something later")
    assert await writer == []
    assert link.close_reason == "superseded"
    assert not link.offer(forget(1))


async def test_a_last_order_goes_out_before_the_stream_ends() -> None:
    link = make_link()
    drain = DrainOrder(within_ms=5_000, reason="the coordinator ends")
    link.offer(forget(1))
    link.end_with(drain)
    assert not link.offer(forget(2))
    sent: list[Order] = await link.next_orders()
    assert sent == [forget(1), drain]
    assert await link.next_orders() == []
    assert link.is_closed
