"""A whole coordinator on a clock that stands still: operations, engine, store, alarms, notices, audit; pretend agents.

A test does something and lets everything that follows from it come to rest, and only then does time pass. So a course
of many hours takes seconds, and comes out the same each time.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from ferryman_coordinator.config.schema import Limits, Notices
from ferryman_coordinator.config.sinks import Sink
from ferryman_coordinator.core.audit import Decision, Place
from ferryman_coordinator.core.inventory import Facts, Instance, IssuedCertificate
from ferryman_coordinator.core.model import DeploymentId, InstanceId, Instant
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.engine.engine import Report
from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.notices.message import Failure, Message
from ferryman_coordinator.notices.office import NoticeOffice
from ferryman_coordinator.observe.audit import AuditLog
from ferryman_coordinator.observe.audit_check import AuditCheck, verify
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.enrolment import Enrolment
from ferryman_coordinator.operations.instances import Instances
from ferryman_coordinator.operations.join_tokens import JoinTokens
from ferryman_coordinator.operations.newcomers import EnrolOrder
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store
from tests.support.deployment_desk import DeploymentDesk
from tests.support.engine_world import World
from tests.support.fake_agent import FakeAgent
from tests.support.notices import ORIGIN, topic, webhook

Answer = TypeVar("Answer")

HEARTBEAT_MS = 15_000
SINK = "deploys"
TARGET = topic(SINK)
LIMITS = Limits()

_QUIET_TURNS = 25
"""Turns of the loop in which nothing is written: longer than any chain of tasks that wake each other."""
_LONGEST_WAIT_MS = 60_000
_KEY = b"k" * 32
_PLACE = Place(account_id="123456789012", region="eu-1")
_templates: list[TemporaryDirectory[str]] = []


class TallyStore(Store):
    """Knows whether anything is being written, and loses its database for some writes when a test says so."""

    def __init__(self, *of_store: Any) -> None:
        super().__init__(*of_store)
        self._writing = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        # Of each coming write that fails: whether it is stored all the same.
        self.faults: list[bool] = []

    async def write(self, batch: Batch) -> None:
        self._writing += 1
        self._is_idle.clear()
        try:
            if not self.faults:
                await super().write(batch)
                return
            if self.faults.pop(0):
                await super().write(batch)
            raise StoreUnavailable("the database is away, as the test wants it")
        finally:
            self._writing -= 1
            if not self._writing:
                self._is_idle.set()

    @property
    def is_busy(self) -> bool:
        return self._writing > 0

    async def until_idle(self) -> None:
        await self._is_idle.wait()


class PretendSink:
    """Satisfies `notices.message.Outlet`; keeps what it took, in order."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.is_down = False
        self.refused = 0

    async def send(self, message: Message, now: Instant) -> Failure | None:
        if self.is_down:
            self.refused += 1
            return Failure(reason="connection refused")
        self.taken.append(message)
        return None

    async def close(self) -> None:
        """There is nothing to let go of."""


class TalkativeAgent(FakeAgent):
    """Remembers all that it said, so that it can be said again."""

    def __init__(self, instance_id: str) -> None:
        super().__init__(instance_id)
        self.said: list[Report] = []

    def say(self, report: Report) -> None:
        self.said.append(report)
        super().say(report)


class VirtualCoordinator(World):
    """`World` with its doors' insides. Start it, enrol instances, connect them."""

    def __init__(self, directory: Path, *, store_type: type[TallyStore] = TallyStore, **options: Any) -> None:
        """`options` of World. `directory` is empty, or that of an earlier one."""
        super().__init__(directory, **options)
        self._store_type = store_type
        self.directory = directory
        self.sink = PretendSink()
        # Agents that say nothing, though their streams are open.
        self.mute: set[str] = set()
        self.tally: TallyStore
        self.desk: DeploymentDesk
        self.instances: Instances
        self.office: NoticeOffice
        self.audit: AuditLog
        self._side: list[asyncio.Task[None]] = []
        self._serials = 0

    # Its life ---------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Start on what is stored; returns when that has come to rest."""
        _copy_template(self.directory)
        store = await self._store_type.open(self.url)
        assert isinstance(store, TallyStore)
        self.tally = store
        self.audit = AuditLog(store, self.clock, Ids(), _PLACE, _KEY, self.directory / "anchor")
        await self.start(store)
        self.desk = DeploymentDesk(self, LIMITS)
        self.instances = Instances(store, self.clock, LIMITS, self.engine)
        sinks: Mapping[str, Sink] = {SINK: webhook(SINK, "https://sink.test/")}
        self.office = NoticeOffice(
            store, self.clock, self.engine.bell, Notices(), sinks, ORIGIN, draw=lambda: 1.0
        )
        self.office.sinks._outlets[SINK] = self.sink
        self._side = [
            asyncio.create_task(self.office.run(), name="notices"),
            asyncio.create_task(self.audit.run(), name="audit"),
        ]
        await self.settle()

    async def cease(self) -> None:
        """End the coordinator in an orderly way; the agents stay."""
        self.audit.stop()
        self._side[0].cancel()
        ends = await asyncio.gather(*self._side, return_exceptions=True)
        assert ends[1] is None, ends
        await self._end_engine()
        await self.audit.close()
        assert await self.stop() == []

    async def abandon(self) -> None:
        """End everything, agents included, whatever state it is in."""
        self.tally.faults = []
        for task in self._side:
            task.cancel()
        await asyncio.gather(*self._side, return_exceptions=True)
        await self.end()

    async def _end_engine(self) -> None:
        """First of all: its last decisions belong into the audit log, which needs the store."""
        for agent in self.agents.values():
            agent.disconnect()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def decision(self, decision: Decision) -> None:
        super().decision(decision)
        self.audit.decision(decision)

    async def audited(self) -> AuditCheck:
        """All that was noted is stored; how the chain stands."""
        await self.audit.flush()
        return await verify(self.store, _KEY)

    # Rest and time ----------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Return when nothing goes on any more but waiting."""
        quiet = 0
        while quiet < _QUIET_TURNS:
            if self.tally.is_busy:
                await self.tally.until_idle()
                quiet = 0
            await asyncio.sleep(0)
            quiet += 1

    async def call(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer of an operation, with as much time as it needs; then everything is at rest."""
        task = asyncio.create_task(work)
        await self.settle()
        until = self.clock.now() + _LONGEST_WAIT_MS
        while not task.done():
            assert self.clock.now() < until, f"{task} does not end"
            await self.pass_time(100)
        await self.settle()
        return await task

    async def pass_time(self, milliseconds: int) -> None:
        """Let everybody whose time has come have it, one after the other; agents that live are heard meanwhile."""
        end = Instant(self.clock.now() + milliseconds)
        while self.clock.now() < end:
            heartbeat = Instant(min(end, self.clock.now() + HEARTBEAT_MS))
            while (wake := self.clock.next_wake) is not None and wake <= heartbeat:
                self.clock.move_to(max(wake, self.clock.now()))
                await self.settle()
            self.clock.move_to(heartbeat)
            self._beat()
            await self.settle()

    def _beat(self) -> None:
        now = self.clock.now()
        for name in self.agents:
            link = self.links.get(InstanceId(name))
            if link is not None and name not in self.mute:
                self.links.heard(link, now)

    # What tests look at -----------------------------------------------------------------------------------------------

    def rollouts(self) -> dict[DeploymentId, Rollout]:
        """Those that run, as the engine has them in memory."""
        drivers = {one: live._driver for one, live in self.engine._live.items()}
        return {one: driver._rollout for one, driver in drivers.items() if driver is not None}

    @property
    def unfinished(self) -> set[DeploymentId]:
        """As the engine has them."""
        return set(self.engine._live)

    @property
    def room_taken(self) -> int:
        return self.engine._around.room.taken

    # The fleet --------------------------------------------------------------------------------------------------------

    async def enrol(self, name: str, tags: Sequence[Tag] = (), zone: str = "") -> Instance:
        """A new instance with its agent, which is not connected yet."""
        parts = (self.store, self.clock, self.ids, LIMITS)
        tokens = JoinTokens(*parts, "ca" * 32)
        enrolment = Enrolment(*parts, tokens, Account(account_id="123456789012", region="eu-1"))
        text, _ = await tokens.create()
        order = EnrolOrder(
            join_token=text, instance_name=name, tags=tags, zone=zone, facts=Facts(host_name=name)
        )
        instance = await enrolment.enrol(order, self._certify)
        self.agents[instance.instance_id] = TalkativeAgent(instance.instance_id)
        return instance

    def _certify(self, _instance_id: InstanceId, longest_ms: int | None = None) -> IssuedCertificate:
        self._serials += 1
        lifetime = min(86_400_000, longest_ms or 86_400_000)
        return IssuedCertificate(
            serial=f"{self.clock.now():x}-{self._serials:x}", expires_at=Instant(self.clock.now() + lifetime)
        )


def _copy_template(directory: Path) -> None:
    """A database with the present schema and nothing in it: to make one takes longer than most tests."""
    if (directory / "ferryman.db").exists() or not _templates:
        return
    shutil.copy(Path(_templates[0].name) / "ferryman.db", directory / "ferryman.db")


async def prepare_template() -> None:
    """Once a process."""
    if not _templates:
        made = TemporaryDirectory(prefix="ferryman-template-")
        store = await Store.open(f"sqlite+aiosqlite:///{made.name}/ferryman.db")
        await store.close()
        _templates.append(made)


def memory_directory() -> TemporaryDirectory[str]:
    """Where files are memory, if the machine has such a place: nothing here outlives a power cut."""
    shared = Path("/dev/shm")
    return TemporaryDirectory(prefix="ferryman-", dir=shared if shared.is_dir() else None)
