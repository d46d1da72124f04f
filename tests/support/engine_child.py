"""A coordinator without doors as a process of its own, so that it can be killed.

`python -m tests.support.engine_child DIRECTORY` talks over its standard input and output, one message a line: a pickled
tuple in base64, for it only ever talks to the test that started it.
"""

from __future__ import annotations

import asyncio
import base64
import pickle
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from ferryman_coordinator.clock import SystemClock
from ferryman_coordinator.core.model import DeploymentId, InstanceId
from ferryman_coordinator.engine.engine import Report
from ferryman_coordinator.links.orders import Order, PrefetchOrder
from tests.support.engine_world import World

LINE_BYTES = 1 << 20
PATIENCE_SECONDS = 20.0


def encode(message: tuple[Any, ...]) -> bytes:
    return base64.b64encode(pickle.dumps(message)) + b"\n"


def decode(line: bytes) -> tuple[Any, ...]:
    message: tuple[Any, ...] = pickle.loads(base64.b64decode(line))
    return message


class Child:
    """The test's end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._orders: dict[str, asyncio.Queue[Order]] = {}
        self._requests = 0
        self._bell = asyncio.Event()
        # Reports that the child has said to be stored.
        self.stored = 0

    async def start(self) -> None:
        """Return when it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.engine_child",
            str(self._directory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_BYTES,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        assert decode(await self._process.stdout.readline()) == ("ready",)
        self._reading = asyncio.create_task(self._read(self._process.stdout))

    async def ask(self, kind: str, *what: Any) -> Any:
        """The child's answer; TimeoutError, if it dies before."""
        self._requests += 1
        answer = self._answers[self._requests] = asyncio.get_running_loop().create_future()
        self._say(kind, self._requests, *what)
        return await asyncio.wait_for(answer, PATIENCE_SECONDS)

    def connect(self, instance_id: InstanceId, open_commands: Sequence[str]) -> ChildConnection:
        self._orders[instance_id] = asyncio.Queue()
        self._say("connect", 0, instance_id, list(open_commands))
        return ChildConnection(self, self._orders[instance_id])

    async def until_stored(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.stored < count:
                self._bell.clear()
                await self._bell.wait()

    async def kill(self) -> None:
        """SIGKILL; what it has said before counts."""
        assert self._process is not None
        assert self._reading is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading
        self._answers.clear()

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        while (line := await stdout.readline()).endswith(b"\n"):
            match decode(line):
                case ("answer", number, value):
                    if number in self._answers and not self._answers[number].done():
                        self._answers.pop(number).set_result(value)
                case ("order", instance_id, order):
                    self._orders[instance_id].put_nowait(order)
                case other:
                    raise AssertionError(other)
            self._bell.set()

    def _say(self, *message: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(encode(message))


class ChildConnection:
    """Satisfies fake_agent.Connection."""

    def __init__(self, child: Child, orders: asyncio.Queue[Order]) -> None:
        self._child = child
        self._orders = orders

    async def next_orders(self) -> Sequence[Order]:
        return [await self._orders.get()]

    async def deliver(self, report: Report) -> None:
        await self._child.ask("report", report)
        self._child.stored += 1

    def prefetched(self, order: PrefetchOrder) -> None:
        """Best effort; left out here."""


async def main(directory: Path) -> None:
    """The child's end."""
    world = World(directory)
    world.clock = SystemClock()  # type: ignore[assignment]  # nothing here moves it
    is_new = not (directory / "ferryman.db").exists()
    await world.start()
    if is_new:
        await world.populate(3)
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    _write("ready")
    async with asyncio.TaskGroup() as tasks:
        while line := await reader.readline():
            tasks.create_task(_obey(world, *decode(line)))


async def _obey(world: World, kind: str, number: int, *what: Any) -> None:
    match kind:
        case "connect":
            instance_id, open_commands = what
            link = world.links.attach(instance_id, world.clock.now(), open_commands)
            while orders := await link.next_orders():
                for order in orders:
                    _write("order", instance_id, order)
        case "report":
            await world.engine.deliver(*what)
            _write("answer", number, None)
        case "create":
            (config,) = what
            _write("answer", number, await world.deploy(config))
        case "end":
            deployment_id = DeploymentId(*what)
            ended = await world.finished(deployment_id)
            _write("answer", number, (ended.record.status, await world.targets(deployment_id)))


def _write(*message: Any) -> None:
    sys.stdout.buffer.write(encode(message))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1])))
