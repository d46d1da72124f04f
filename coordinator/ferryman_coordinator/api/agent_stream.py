"""One agent's stream after its Welcome: what comes in goes to the engine, what the link holds goes out.

Reports are given to the engine in their order and acknowledged once they are stored, the newest number for all before
it. One that cannot be stored is never acknowledged: the stream ends, and the agent sends it again on the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

import structlog

from ferryman.v1 import agents_pb2 as pb
from ferryman_coordinator.api.auth import AgentIdentity, Context
from ferryman_coordinator.api.mapping import agents as mapping
from ferryman_coordinator.api.mapping import drift
from ferryman_coordinator.api.mapping.agents import AgentEvent, OrderMapper
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.drift import InstalledState
from ferryman_coordinator.core.model import CommandId, DeploymentId, InstanceId, Instant
from ferryman_coordinator.engine.logs import LogLine
from ferryman_coordinator.errors import Invalid, StreamEnded, Unauthenticated
from ferryman_coordinator.links.link import Link
from ferryman_coordinator.links.orders import AckOrder
from ferryman_coordinator.links.pace import Pace
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.operations.script_logs import LogPiece

log = structlog.get_logger(__name__)

_ACKNOWLEDGE_MS = 250
_ERROR = 1024
_SHOWN = 200
_WRITE_S = 60.0
"""An agent that takes no order for so long is connected for nothing."""
_BURST = 5_000
_PER_SECOND = 1_000
"""Messages of one agent: many times what the busiest has to say, also after days without a coordinator."""
_WAITING = 256
"""Reports that may wait to be stored before no more are read; then the agent waits, its outbox keeps them."""

_FOUND = 16
"""Findings about what is installed that may wait to be stored."""


class AgentEvents(Protocol):
    """What the engine hears from agents."""

    async def deliver(self, report: AgentEvent) -> None:
        """Returns once all that follows from the event is stored. Raises StoreUnavailable.

        Queued before it waits for anything, so calls that begin in order are handled in order.
        """
        ...

    def script_started(
        self, command_id: CommandId, instance_id: str, lifecycle_event: str, script_name: str
    ) -> None: ...

    def prefetched(self, deployment_id: DeploymentId, instance_id: str, error: str = "") -> None: ...

    def log_lines(self, deployment_id: DeploymentId, lines: Iterable[LogLine]) -> None: ...


class InstalledKeeper(Protocol):
    """Who is told what agents find installed."""

    async def take(self, instance_id: InstanceId, check_id: str, states: Sequence[InstalledState]) -> None:
        """Returns once it is stored. Raises StoreUnavailable."""
        ...


class LogKeeper(Protocol):
    """Who is told what agents send of their scripts' logs."""

    def take(self, instance_id: InstanceId, read_id: str, piece: LogPiece) -> None: ...


class AgentStream:
    """Made for one stream; `run` returns when the agent has said goodbye or gone."""

    def __init__(
        self,
        agent: AgentIdentity,
        link: Link,
        links: Links,
        events: AgentEvents,
        installed: InstalledKeeper,
        logs: LogKeeper,
        orders: OrderMapper,
        clock: Clock,
    ) -> None:
        self._agent = agent
        self._link = link
        self._links = links
        self._events = events
        self._installed = installed
        self._logs = logs
        self._orders = orders
        self._clock = clock
        self._pace = Pace(burst=_BURST, per_second=_PER_SECOND)
        # Events in their order, with the number of the report that brought them.
        self._waiting: deque[tuple[AgentEvent | None, int]] = deque()
        self._storing: asyncio.Task[None] | None = None
        # Numbers of reports: stored up to, and told so up to.
        self._stored = 0
        self._acknowledged = 0
        self._acknowledging: asyncio.Task[None] | None = None
        self._has_room = asyncio.Event()
        # What it found installed, with the check that it answers. The newest counts: the oldest go first.
        self._found: deque[tuple[str, Sequence[InstalledState]]] = deque(maxlen=_FOUND)
        self._keeping: asyncio.Task[None] | None = None

    async def run(self, requests: AsyncIterator[pb.ConnectRequest], context: Context) -> None:
        """Raises StreamEnded when the link was closed by the coordinator, and whatever made the stream impossible."""
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(requests, tasks))
                tasks.create_task(self._write(context, reading))
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _read(self, requests: AsyncIterator[pb.ConnectRequest], tasks: asyncio.TaskGroup) -> None:
        async for message in requests:
            now = self._clock.now()
            self._links.heard(self._link, now)
            if now >= self._agent.expires_at:
                raise Unauthenticated(
                    "CertificateExpired",
                    "the certificate of this stream has expired: connect with a newer one",
                )
            if message.WhichOneof("message") == "goodbye":
                log.info(
                    "agent.goodbye", instance=self._agent.instance_id, reason=message.goodbye.reason[:_SHOWN]
                )
                break
            self._take(message)
            if self._waiting and self._storing is None:
                self._storing = tasks.create_task(self._store(tasks))
            if self._found and self._keeping is None:
                self._keeping = tasks.create_task(self._keep())
            while len(self._waiting) >= _WAITING:
                self._has_room.clear()
                await self._has_room.wait()
            if (may_go_on := self._pace.take(now)) > now:
                await self._clock.sleep_until(may_go_on)
        if self._storing is not None:
            await self._storing
        if self._keeping is not None:
            await self._keeping
        if self._acknowledging is not None:
            self._acknowledging.cancel()
        if self._stored > self._acknowledged:
            self._link.end_with(AckOrder(number=self._stored))
        else:
            self._link.close("the agent ended the stream")

    def _take(self, message: pb.ConnectRequest) -> None:
        instance_id = self._agent.instance_id
        match message.WhichOneof("message"):
            case "report":
                self._take_report(message.report)
            case "command_ack":
                self._waiting.append((mapping.ack_from(instance_id, message.command_ack), 0))
            case "log_lines":
                deployment_id = self._own_deployment(message.log_lines.command_id)
                if deployment_id is not None:
                    self._events.log_lines(
                        deployment_id, mapping.log_lines_from(instance_id, message.log_lines)
                    )
            case "prefetch_done":
                done = message.prefetch_done
                self._events.prefetched(
                    mapping.deployment_id_from(done.deployment_id), instance_id, done.error[:_ERROR]
                )
            case "installed_state":
                state = message.installed_state
                found = drift.states_from(state, self._clock.now())
                self._found.append((drift.check_id_from(state), found))
            case "script_log_piece":
                piece = message.script_log_piece
                self._logs.take(instance_id, piece.read_id, mapping.log_piece_from(piece))
            case "heartbeat":
                # Being heard is all that there is to it.
                pass
            case other:
                raise Invalid(
                    "UnexpectedMessage", f"an agent's stream has no {other or 'empty message'} here"
                )

    def _take_report(self, report: pb.Report) -> None:
        try:
            if report.WhichOneof("fact") == "script_started" and self._own_deployment(report.command_id):
                fact = report.script_started
                self._events.script_started(
                    mapping.command_id_from(report.command_id),
                    self._agent.instance_id,
                    mapping.lifecycle_event_from(fact.lifecycle_event),
                    mapping.script_name_from(fact.script_name),
                )
            event = mapping.event_from(self._agent.instance_id, report)
        except Invalid as error:
            # Acknowledged all the same: it would come again for ever. The timers of its target decide then.
            log.warning(
                "agent.report_unreadable",
                instance=self._agent.instance_id,
                command=report.command_id[:_SHOWN],
                error=error.message,
            )
            event = None
        self._waiting.append((event, report.number))

    def _own_deployment(self, command_id: str) -> DeploymentId | None:
        """Which deployment the command is of; None when it is none of this instance. Of events the core sees to it."""
        deployment_id, _, rest = command_id.partition("/")
        return (
            mapping.deployment_id_from(deployment_id)
            if rest.startswith(f"{self._agent.instance_id}/")
            else None
        )

    async def _store(self, tasks: asyncio.TaskGroup) -> None:
        """Gives all that waits to the engine, in order; until nothing waits."""
        while self._waiting:
            taken = list(self._waiting)
            self._waiting.clear()
            self._has_room.set()
            # Tasks begin in the order in which they were made, so the engine gets them in order.
            results = await asyncio.gather(
                *(self._events.deliver(event) for event, _ in taken if event is not None),
                return_exceptions=True,
            )
            self._stored = max(self._stored, self._acknowledgeable(taken, results))
            if self._stored > self._acknowledged and self._acknowledging is None:
                self._acknowledging = tasks.create_task(self._acknowledge_soon())
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        self._storing = None

    async def _keep(self) -> None:
        while self._found:
            check_id, states = self._found.popleft()
            await self._installed.take(self._agent.instance_id, check_id, states)
        self._keeping = None

    async def _acknowledge_soon(self) -> None:
        """Lets reports gather that come close after one another: one acknowledgement costs as much as a report."""
        await self._clock.sleep_until(Instant(self._clock.now() + _ACKNOWLEDGE_MS))
        self._acknowledging = None
        self._acknowledged = self._stored
        self._link.offer(AckOrder(number=self._stored))

    @staticmethod
    def _acknowledgeable(
        taken: Iterable[tuple[AgentEvent | None, int]], results: Iterable[BaseException | None]
    ) -> int:
        """The newest report number before the first event that was not stored; 0 for none."""
        stored = iter(results)
        newest = 0
        for event, number in taken:
            if event is not None and next(stored) is not None:
                break
            newest = max(newest, number)
        return newest

    async def _write(self, context: Context, reading: asyncio.Task[None]) -> None:
        while orders := await self._link.next_orders():
            for order in orders:
                try:
                    async with asyncio.timeout(_WRITE_S):
                        await context.write(self._orders.message(order))
                except TimeoutError as error:
                    raise StreamEnded(f"the agent took nothing for {_WRITE_S:g} s") from error
        if not reading.done():
            reading.cancel()
            raise StreamEnded(self._link.close_reason)
