"""What waits for a deployment: reports in order, presence and ticks collapsed."""

from __future__ import annotations

import asyncio

import pytest

from ferryman_coordinator.core.messages import EventStarted
from ferryman_coordinator.core.model import CommandId, InstanceId
from ferryman_coordinator.engine.inbox import Inbox, settle
from ferryman_coordinator.errors import StoreUnavailable

A, B = InstanceId("mi-a"), InstanceId("mi-b")
COMMAND = CommandId("d-1/mi-a/1/0")


def started(name: str) -> EventStarted:
    return EventStarted(instance_id=A, command_id=COMMAND, lifecycle_event=name)


async def test_one_round_takes_everything_that_waits_and_wakes_all_who_wait_for_it() -> None:
    inbox = Inbox(round_size=10)
    waiters = [asyncio.ensure_future(inbox.put(started(name))) for name in ("ApplicationStop", "Install")]
    taken = await inbox.take()
    assert [event.lifecycle_event for event in taken.events if isinstance(event, EventStarted)] == [
        "ApplicationStop",
        "Install",
    ]
    assert not any(waiter.done() for waiter in waiters)
    settle(taken)
    await asyncio.gather(*waiters)


async def test_a_round_is_bounded_and_the_rest_keeps_its_place() -> None:
    inbox = Inbox(round_size=2)
    for name in ("1", "2", "3"):
        inbox.put(started(name))
    assert len((await inbox.take()).events) == 2
    assert (await inbox.take()).events == [started("3")]


async def test_a_flapping_instance_leaves_one_note() -> None:
    inbox = Inbox(round_size=1)
    inbox.put(started("1"))
    inbox.put_presence(A, is_connected=True, open_commands=[COMMAND])
    inbox.put(started("2"))
    for _ in range(1_000):
        inbox.put_presence(A, is_connected=False)
        inbox.put_presence(A, is_connected=True)
    inbox.put_presence(B, is_connected=False)
    inbox.put_presence(A, is_connected=False)
    first, second = await inbox.take(), await inbox.take()
    assert first.presence == {}
    assert first.open_commands == {}
    assert second.presence == {A: False, B: False}


async def test_ticks_collapse() -> None:
    inbox = Inbox(round_size=10)
    inbox.put_tick()
    inbox.put_tick()
    assert (await inbox.take()).is_due
    waiting = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_refusing_inbox_tells_everybody_that_nothing_was_stored() -> None:
    inbox = Inbox(round_size=10)
    waiting = inbox.put(started("1"))
    inbox.put_tick()
    inbox.refuse(StoreUnavailable("the coordinator ends"))
    with pytest.raises(StoreUnavailable):
        await waiting
    with pytest.raises(StoreUnavailable):
        await inbox.put(started("2"))


async def test_what_waits_for_a_finished_deployment_counts_as_stored() -> None:
    inbox = Inbox(round_size=10)
    waiting = inbox.put(started("1"))
    inbox.finish()
    await waiting
