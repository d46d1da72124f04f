"""A whole virtual coordinator in a process that kills itself with SIGKILL right after a commit, and lives again.

`python -m tests.support.killed_coordinator` is where such processes come from: it has imported everything and forks one
for each line on its standard input. They talk over a socket, one message a line, see `engine_child`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from ferryman_coordinator.core.model import AlarmState, DeploymentId, InstanceId, Instant
from ferryman_coordinator.engine.engine import Report
from ferryman_coordinator.errors import SetupError, StoreUnavailable
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.links.orders import Order, PrefetchOrder
from ferryman_coordinator.operations.deployment_options import DeploymentOptions
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch, Row
from ferryman_coordinator.store.queries import events as event_queries
from tests.support.alarm_sources import FakeSource
from tests.support.clock import ManualClock
from tests.support.engine_child import LINE_BYTES, decode, encode
from tests.support.fake_agent import FakeAgent
from tests.support.virtual_coordinator import TallyStore, VirtualCoordinator
from tests.support.whole_judge import Judge, judge_notices

ALARM = "too-slow"
PATIENCE_SECONDS = 20.0
_COURSE = (tables.deployments, tables.targets, tables.target_events)


class Killed(Exception):
    """The process is gone; what was asked may have been done."""


# The test's end -------------------------------------------------------------------------------------------------------


class Lives:
    """One coordinator after the other over one database."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._zygote: asyncio.subprocess.Process | None = None
        self._server: asyncio.Server | None = None
        self._arrivals: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._orders: dict[str, asyncio.Queue[Order]] = {}
        self._requests = 0
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self.count = 0

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._arrive, self._socket, limit=LINE_BYTES)
        self._zygote = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.killed_coordinator",
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )

    async def close(self) -> None:
        await self._let_go()
        if self._zygote is not None and self._zygote.stdin is not None:
            self._zygote.stdin.close()
            await self._zygote.wait()
        if self._server is not None:
            self._server.close()

    async def begin(self, now: int, kill_after: int) -> None:
        """Another life; it ends after so many commits of the deployments' course. 0: it does not. May raise Killed."""
        await self._let_go()
        self.count += 1
        assert self._zygote is not None
        assert self._zygote.stdin is not None
        order = {"directory": str(self._directory), "now": now, "kill_after": kill_after, "life": self.count}
        self._zygote.stdin.write(json.dumps(order | {"socket": self._socket}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, self._writer = await self._arrivals.get()
        self._reading = asyncio.create_task(self._read(reader))
        await self.ask("ready")

    async def ask(self, kind: str, *what: Any) -> Any:
        """The answer, or Killed."""
        if self._reading is None or self._reading.done():
            raise Killed
        self._requests += 1
        answer = self._answers[self._requests] = asyncio.get_running_loop().create_future()
        self._say(kind, self._requests, *what)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await answer

    def connect(self, agent: FakeAgent) -> None:
        self._orders[agent.instance_id] = asyncio.Queue()
        self._say("connect", 0, agent.instance_id, list(agent.open_commands))
        agent.connect(_Stream(self, self._orders[agent.instance_id]))

    @property
    def _socket(self) -> str:
        return str(self._directory / "lives.socket")

    async def _arrive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._arrivals.put_nowait((reader, writer))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while (line := await _line(reader)).endswith(b"\n"):
            match decode(line):
                case ("answer", number, value):
                    answer = self._answers.pop(number)
                    if not answer.done():
                        answer.set_result(value)
                case ("order", instance_id, order):
                    self._orders[instance_id].put_nowait(order)
                case other:
                    raise AssertionError(other)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Killed())
                answer.exception()
        self._answers.clear()

    async def _let_go(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            await self._reading

    def _say(self, *message: Any) -> None:
        assert self._writer is not None
        self._writer.write(encode(message))


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ConnectionError:
        return b""


class _Stream:
    """Satisfies fake_agent.Connection."""

    def __init__(self, lives: Lives, orders: asyncio.Queue[Order]) -> None:
        self._lives = lives
        self._orders = orders

    async def next_orders(self) -> Sequence[Order]:
        return [await self._orders.get()]

    async def deliver(self, report: Report) -> None:
        try:
            await self._lives.ask("report", report)
        except Killed:
            raise StoreUnavailable("killed") from None

    def prefetched(self, order: PrefetchOrder) -> None:
        """Best effort; left out here."""


# The other end --------------------------------------------------------------------------------------------------------


class KillingStore(TallyStore):
    """Kills this process right after a commit, when so many have taken place; 0: never."""

    left = 0

    async def write(self, batch: Batch) -> None:
        await super().write(batch)
        if KillingStore.left and any(
            (one.shape.table if isinstance(one, Row) else getattr(one, "table", None)) in _COURSE
            for one in batch.writes
        ):
            KillingStore.left -= 1
            if not KillingStore.left:
                os.kill(os.getpid(), signal.SIGKILL)


async def live(directory: str, now: int, kill_after: int, life: int, socket: str) -> None:
    """One life."""
    reader, writer = await asyncio.open_unix_connection(socket, limit=LINE_BYTES)
    KillingStore.left = kill_after
    source = FakeSource(**{ALARM: AlarmState.OK})
    world = VirtualCoordinator(
        Path(directory), clock=ManualClock(Instant(now)), sources=[source], store_type=KillingStore
    )
    world.ids = Ids(random.Random(life))
    while True:
        try:
            await world.begin()
            break
        except SetupError:
            # The kernel has not cleared away all that the one before had.
            await asyncio.sleep(0.01)
    async with asyncio.TaskGroup() as tasks:
        while line := await _line(reader):
            tasks.create_task(_obey(world, source, writer, *decode(line)))
        os._exit(0)


async def _obey(
    world: VirtualCoordinator,
    source: FakeSource,
    writer: asyncio.StreamWriter,
    kind: str,
    number: int,
    *what: Any,
) -> None:
    answer: Any = None
    match kind:
        case "connect":
            instance_id, open_commands = what
            link = world.links.attach(InstanceId(instance_id), world.clock.now(), open_commands)
            while orders := await link.next_orders():
                for order in orders:
                    writer.write(encode(("order", instance_id, order)))
            return
        case "report":
            await world.engine.deliver(*what)
        case "populate":
            count, zones, group, zonal, minimum = what
            await world.populate(count, zones=zones, **group)
            await world.desk.configurations.create("zonal", minimum=minimum, zonal=zonal)
        case "create":
            key, options = what
            await world.desk.deployments.create(DeploymentOptions(**options), key)
        case "alarm":
            source.say(ALARM, *what)
        case "time":
            (milliseconds,) = what
            for instance_id in list(world.links._links):
                world.agents.setdefault(instance_id, FakeAgent(instance_id))
            await world.pass_time(milliseconds)
            answer = world.clock.now()
        case "deployments":
            await world.settle()
            answer = [await world.deployment(one) for one in reversed(await world.created())]
        case "outcome":
            answer = await _outcome(world)
    writer.write(encode(("answer", number, answer)))


async def _outcome(world: VirtualCoordinator) -> dict[str, Any]:
    """Everything that must not depend on how often it was killed, with deployments by their number."""
    judge = Judge()
    await judge.look(world)
    await judge_notices(world, is_first_life=False)
    check = await world.audited()
    assert check.is_intact, check
    ids = list(reversed(await world.created()))
    numbers = {one: number for number, one in enumerate(ids)}
    deployments = []
    places: dict[DeploymentId, dict[InstanceId, str]] = {}
    for one in ids:
        deployment = await world.deployment(one)
        targets = sorted((await world.targets(one)).values(), key=lambda view: view.record.ordinal)
        # Which instance is the first one depends on the id, so here they go by their places.
        places[one] = {view.record.instance_id: f"{view.record.ordinal}" for view in targets}
        record = deployment.record
        deployments.append(
            {
                "status": record.status,
                "error": record.error and record.error.code,
                "creator": deployment.spec.creator,
                "revision": deployment.spec.revision,
                "overview": dict(deployment.overview),
                "rollback": numbers.get(deployment.rollback_deployment_id or one),
                "targets": [
                    (
                        view.record.status,
                        view.record.attempt,
                        view.record.phase,
                        *((event.name, event.status) for event in view.events),
                    )
                    for view in targets
                ],
            }
        )
    async with world.store.reading() as connection:
        events = await event_queries.after(connection, 0, 1_000_000)
    told: dict[int, list[tuple[str, str]]] = {number: [] for number in numbers.values()}
    for event in events:
        of_it = event.event
        place = places[of_it.deployment_id].get(of_it.instance_id, "")
        told[numbers[of_it.deployment_id]].append((place, of_it.state))
    return {"deployments": deployments, "events": told}


def zygote() -> None:
    """Fork one life for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in sys.stdin:
        if os.fork() == 0:
            asyncio.run(live(**json.loads(line)))
            os._exit(0)


if __name__ == "__main__":
    zygote()
