"""A pretend agent that keeps the promises of a real one (D5), and says what it ran. No wire, no hooks.

It knows a command again, keeps each report until it is stored, goes on while it is not connected, and outlives any
coordinator: connect it to the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ferryman_coordinator.core.messages import (
    CommandAcked,
    Disposition,
    EventFinished,
    EventStarted,
    SegmentFinished,
)
from ferryman_coordinator.core.model import (
    CommandId,
    Diagnostics,
    EventStatus,
    InstanceId,
    LifecycleErrorCode,
    RevisionLocation,
)
from ferryman_coordinator.engine.engine import Report
from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.links.orders import CancelOrder, ForgetOrder, Order, PrefetchOrder, SegmentOrder

PATIENCE_SECONDS = 20.0
SUCCESS = Diagnostics(error_code=LifecycleErrorCode.SUCCESS)

Script = Callable[[SegmentOrder, str], Awaitable[Diagnostics]]
"""Plays the hooks of one lifecycle event."""


def failed(message: str = "exit status 1", script: str = "scripts/broken.sh") -> Diagnostics:
    """Diagnostics of a script that failed."""
    return Diagnostics(
        error_code=LifecycleErrorCode.SCRIPT_FAILED,
        script_name=script,
        message=message,
        log_tail="broken\n",
        exit_status=1,
    )


async def succeed(_order: SegmentOrder, _event: str) -> Diagnostics:
    """Hooks that do nothing."""
    return SUCCESS


def failing(*instances: str, at: str = "ValidateService") -> Script:
    """Hooks whose event `at` fails on these instances, or on all."""

    async def script(order: SegmentOrder, event: str) -> Diagnostics:
        instance = order.command_id.split("/")[1]
        return failed() if event == at and (not instances or instance in instances) else SUCCESS

    return script


def broken_revision(revision: RevisionLocation, at: str = "ValidateService") -> Script:
    """Hooks that are good, but for those of one revision, whose event `at` fails."""

    async def script(order: SegmentOrder, event: str) -> Diagnostics:
        return failed() if event == at and order.deployment.revision == revision else SUCCESS

    return script


class Gate:
    """Hooks that stand still, each instance at its event `at`, until they are let through."""

    def __init__(self, at: str = "ApplicationStop", then: Script = succeed) -> None:
        self.at = at
        self._then = then
        self._open = asyncio.Event()

    def open(self) -> None:
        """For all, from now on."""
        self._open.set()

    async def __call__(self, order: SegmentOrder, event: str) -> Diagnostics:
        if event == self.at:
            await self._open.wait()
        return await self._then(order, event)


class Connection(Protocol):
    """One stream to a coordinator."""

    async def next_orders(self) -> Sequence[Order]:
        """Empty: the stream has ended."""
        ...

    async def deliver(self, report: Report) -> None: ...

    def prefetched(self, order: PrefetchOrder) -> None: ...


class FakeAgent:
    """`script` may be replaced at any time."""

    def __init__(self, instance_id: str, script: Script = succeed) -> None:
        self.instance_id = InstanceId(instance_id)
        self.script = script
        # Every lifecycle event that it began, in order, with its command.
        self.ran: list[tuple[CommandId, str]] = []
        self.orders: list[Order] = []
        self.prefetched: list[PrefetchOrder] = []
        self.forgotten: list[ForgetOrder] = []
        self.answers_prefetches = True
        self._journal: dict[CommandId, asyncio.Task[None] | None] = {}
        self._cancelled: set[CommandId] = set()
        self._finished: set[CommandId] = set()
        self._outbox: list[Report] = []
        self._connection: Connection | None = None
        self._stream: list[asyncio.Task[None]] = []
        self._something = asyncio.Event()
        self._change = asyncio.Event()

    @property
    def open_commands(self) -> list[CommandId]:
        """What it says in its Hello."""
        reported = {report.command_id for report in self._outbox}
        return [one for one in self._journal if one not in self._finished or one in reported]

    @property
    def is_done(self) -> bool:
        """It runs nothing."""
        return all(one in self._finished for one in self._journal)

    @property
    def has_reports(self) -> bool:
        """Something that it reported is not stored yet."""
        return bool(self._outbox)

    @property
    def reports_waiting(self) -> int:
        """How many reports are not stored yet, as far as it knows."""
        return len(self._outbox)

    def connect(self, connection: Connection) -> None:
        """Obey, and report what is not stored yet."""
        self.disconnect()
        self._connection = connection
        self._stream = [
            asyncio.create_task(self._obey(connection), name=f"{self.instance_id} obeys"),
            asyncio.create_task(self._report(connection), name=f"{self.instance_id} reports"),
        ]

    def disconnect(self) -> None:
        """What runs goes on."""
        for task in self._stream:
            task.cancel()
        self._stream = []
        self._connection = None

    async def end(self) -> None:
        """Stop everything, as at the end of a test."""
        running = [task for task in self._journal.values() if task is not None]
        tasks = [*self._stream, *running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what it hears or does to make `condition` true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._change.clear()
                await self._change.wait()

    async def stands_at(self, event: str) -> None:
        """Wait until it is at this lifecycle event, with everything before that stored."""
        await self.until(lambda: bool(self.ran) and self.ran[-1][1] == event and not self._outbox)

    def say(self, report: Report) -> None:
        """Put a report into the outbox."""
        self._outbox.append(report)
        self._something.set()
        self._change.set()

    async def _obey(self, connection: Connection) -> None:
        while orders := await connection.next_orders():
            for order in orders:
                self._take(order, connection)
            self._change.set()

    def _take(self, order: Order, connection: Connection) -> None:
        self.orders.append(order)
        match order:
            case SegmentOrder():
                self._take_segment(order)
            case CancelOrder(command_id=command_id):
                self._cancel(command_id)
            case PrefetchOrder():
                self.prefetched.append(order)
                if self.answers_prefetches:
                    connection.prefetched(order)
            case ForgetOrder():
                self.forgotten.append(order)

    def _take_segment(self, order: SegmentOrder) -> None:
        if order.command_id in self._journal:
            self._ack(order, Disposition.KNOWN)
            return
        self._ack(order, Disposition.STARTED)
        self._journal[order.command_id] = asyncio.create_task(self._run(order), name=order.command_id)

    def _cancel(self, command_id: CommandId) -> None:
        self._cancelled.add(command_id)
        if command_id not in self._journal:
            self._journal[command_id] = None
            self._finish(command_id, EventStatus.SKIPPED)

    def _ack(self, order: SegmentOrder, disposition: Disposition) -> None:
        self.say(
            CommandAcked(instance_id=self.instance_id, command_id=order.command_id, disposition=disposition)
        )

    async def _run(self, order: SegmentOrder) -> None:
        command_id = order.command_id
        for event in order.lifecycle_events:
            if command_id in self._cancelled:
                self._finish(command_id, EventStatus.SKIPPED)
                return
            self.ran.append((command_id, event))
            self.say(EventStarted(instance_id=self.instance_id, command_id=command_id, lifecycle_event=event))
            diagnostics = await self.script(order, event)
            is_good = diagnostics.error_code is LifecycleErrorCode.SUCCESS
            self.say(
                EventFinished(
                    instance_id=self.instance_id,
                    command_id=command_id,
                    lifecycle_event=event,
                    status=EventStatus.SUCCEEDED if is_good else EventStatus.FAILED,
                    diagnostics=diagnostics,
                )
            )
            if not is_good and event not in order.ignorable_failures:
                self._finish(command_id, EventStatus.FAILED)
                return
        self._finish(command_id, EventStatus.SUCCEEDED)

    def _finish(self, command_id: CommandId, status: EventStatus) -> None:
        self._finished.add(command_id)
        self.say(SegmentFinished(instance_id=self.instance_id, command_id=command_id, status=status))

    async def _report(self, connection: Connection) -> None:
        while True:
            while not self._outbox:
                self._something.clear()
                await self._something.wait()
            try:
                await connection.deliver(self._outbox[0])
            except StoreUnavailable:
                return
            self._outbox.pop(0)
            self._change.set()
