"""A day of a whole coordinator: a fleet of pretend agents, deployments every few minutes, and all that goes wrong.

Operations, engine, store, alarms, notices and audit are real; the clock is not. Each deployment has a fate that is
known when it is created: what the revision does, whether somebody stops it, whether an alarm goes off. At the end of
the day each must have ended as that says, and all that is stored must add up.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ferryman_coordinator.core.alarms import ALARM_ACTIVE
from ferryman_coordinator.core.group_options import (
    AlarmConfiguration,
    GroupOptions,
    QueueMode,
    Trigger,
    TriggerEventType,
)
from ferryman_coordinator.core.model import (
    AlarmState,
    AutoRollback,
    BundleLocation,
    BundleType,
    Creator,
    DeploymentId,
    DeploymentStatus,
    Diagnostics,
    Instant,
    RollbackEvent,
)
from ferryman_coordinator.core.tags import Selection, Tag, TagFilter
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.errors import Conflict
from ferryman_coordinator.links.orders import SegmentOrder
from ferryman_coordinator.operations.deployment_options import DeploymentOptions
from tests.support.alarm_sources import FakeSource
from tests.support.clock import START, ManualClock
from tests.support.fake_agent import SUCCESS, Script, failed
from tests.support.virtual_coordinator import (
    TARGET,
    TalkativeAgent,
    VirtualCoordinator,
    memory_directory,
    prepare_template,
)
from tests.support.whole_judge import Judge, judge_notices

MINUTE = 60_000
HOUR = 60 * MINUTE
STEP = 5_000
CONFIGS = ("AllAtOnce", "HalfAtATime")


class Fate(StrEnum):
    """What is to become of a deployment."""

    GOOD = "good"
    BROKEN = "broken"
    STOPPED = "stopped"
    ALARM = "alarm"


@dataclass(frozen=True, kw_only=True)
class Day:
    """What the day is like; `seed` decides all the rest."""

    seed: int = 1
    agents: int = 1_000
    groups: int = 10
    hours: int = 24
    every_ms: int = HOUR
    # Of 10,000 lifecycle events: how many go wrong in which way.
    reboots: int = 10
    reconnects: int = 100
    repeats: int = 100
    deaths: int = 4


@dataclass
class Report:
    """How the day was."""

    ends: Counter[tuple[Fate | None, DeploymentStatus]] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    audit_records: int = 0
    lifecycle_events: int = 0


class Simulation:
    """One day."""

    def __init__(self, day: Day, directory: Path) -> None:
        self.day = day
        self.chance = random.Random(day.seed)
        self.clock = ManualClock()
        self.sources = [FakeSource(**{_alarm(number): AlarmState.OK for number in range(day.groups)})]
        self.world = self._coordinator(directory)
        self.judge = Judge()
        self.report = Report()
        self.fates: dict[DeploymentId, Fate] = {}
        self.broken: set[str] = set()
        self._next = [0] * day.groups
        self._revisions = 0
        self._again: list[tuple[int, str]] = []
        self._last: dict[int, DeploymentId] = {}

    async def run(self) -> Report:
        """Raises AssertionError when something is not as it must be."""
        await prepare_template()
        await self.world.begin()
        await self._found()
        end = START + self.day.hours * HOUR
        troubles = self._plan(end)
        judged = START + HOUR
        while self.clock.now() < end:
            while troubles and troubles[0][0] <= self.clock.now():
                await self._trouble(troubles.pop(0)[1])
            await self._come_back()
            await self._deploy()
            await self._meddle()
            await self.world.pass_time(STEP)
            if self.clock.now() >= judged and not self.world.tally.faults:
                judged += HOUR
                await self.judge.look(self.world)
        await self._finish()
        return self.report

    # The day begins and ends ------------------------------------------------------------------------------------------

    async def _found(self) -> None:
        await self.world.desk.applications.create("web")
        for number in range(self.day.groups):
            await self.world.desk.groups.create(
                "web",
                _group(number),
                selection=Selection(tag_filters=(TagFilter.of("group", _group(number)),)),
                auto_rollback=AutoRollback(enabled=True, events=frozenset(RollbackEvent)),
                options=_always(_options(number)),
            )
        for number in range(self.day.agents):
            tags = [Tag("group", _group(number % self.day.groups))]
            instance = await self.world.enrol(f"web-{number:04}", tags)
            agent = self.world.agents[instance.instance_id]
            assert isinstance(agent, TalkativeAgent)
            agent.script = self._script(agent)
        self.world.connect()
        await self.world.settle()

    async def _finish(self) -> None:
        for number in range(self.day.groups):
            self.sources[0].say(_alarm(number), AlarmState.OK)
        self.world.sink.is_down = False
        self.world.tally.faults = []
        for _ in range(14 * 60):
            if not self.world.unfinished:
                break
            await self.world.pass_time(MINUTE)
            await self._come_back()
        assert not self.world.unfinished, self._story("something never ends")
        # The longest pause of a sink that was down, and more.
        await self.world.pass_time(10 * MINUTE)
        await self.judge.look(self.world)
        await judge_notices(self.world)
        check = await self.world.audited()
        assert check.is_intact, self._story(check.problem)
        self.report.audit_records = check.records
        self.report.messages = len(self.world.sink.taken)
        self.report.lifecycle_events = len(self.world.ran)
        assert len(set(self.world.ran)) == len(self.world.ran), self._story("a lifecycle event ran twice")
        for deployment in self.judge.ended.values():
            self._judge_fate(deployment.deployment_id)

    def _judge_fate(self, deployment_id: DeploymentId) -> None:
        it = self.judge.ended[deployment_id]
        record = it.record
        fate = self.fates.get(deployment_id)
        self.report.ends[fate, record.status] += 1
        code = record.error.code if record.error else ""
        what = self._story(f"{deployment_id} was meant to be {fate}, and is {record.status} ({code})")
        match fate:
            case Fate.GOOD:
                assert record.status is DeploymentStatus.SUCCEEDED, what
            case Fate.BROKEN:
                assert record.status is DeploymentStatus.FAILED, what
            case Fate.STOPPED:
                assert record.status is DeploymentStatus.STOPPED, what
            case Fate.ALARM:
                assert (record.status, code) == (DeploymentStatus.STOPPED, ALARM_ACTIVE), what
            case None:
                assert it.spec.creator is not Creator.USER, what
                assert record.status is DeploymentStatus.SUCCEEDED, what
        if fate not in (None, Fate.GOOD) and it.spec.last_good is not None and record.started_at is not None:
            assert it.rollback_deployment_id is not None, what

    def _story(self, what: str) -> str:
        return f"seed {self.day.seed}: {what}"

    # What people do ---------------------------------------------------------------------------------------------------

    async def _deploy(self) -> None:
        number = self.chance.randrange(self.day.groups)
        now = self.clock.now()
        if now < self._next[number] or self.world.tally.faults:
            return
        self._next[number] = now + round(
            self.day.every_ms * self.chance.uniform(0.5, 1.5) * self.day.groups / 6
        )
        last = self._last.get(number)
        if last in self.world.unfinished:
            return
        for one in self.world.unfinished:
            if (await self.world.deployment(one)).group_name == _group(number):
                return
        fate = Fate.GOOD
        if last is not None:
            fate = self.chance.choices(list(Fate), weights=[6, 2, 1, 1])[0]
        self._revisions += 1
        digest = f"{self._revisions:064x}"
        if fate is Fate.BROKEN:
            self.broken.add(digest)
        options = DeploymentOptions(
            application_name="web",
            group_name=_group(number),
            config_name=f"CodeDeployDefault.{self.chance.choice(CONFIGS)}",
            revision=BundleLocation(sha256=digest, size_bytes=1024, bundle_type=BundleType.ZIP),
        )
        created = await self.world.call(self.world.desk.deployments.create(options))
        self.fates[created.deployment_id] = fate
        self._last[number] = created.deployment_id
        self.report.troubles["deployments"] += 1

    async def _meddle(self) -> None:
        """Stop what is meant to be stopped, and let alarms go off, once it runs."""
        for number, deployment_id in self._last.items():
            fate = self.fates[deployment_id]
            if fate not in (Fate.STOPPED, Fate.ALARM):
                continue
            if deployment_id not in self.world.unfinished:
                self.sources[0].say(_alarm(number), AlarmState.OK)
                continue
            if fate is Fate.ALARM:
                self.sources[0].say(_alarm(number), AlarmState.ALARM)
                continue
            record = (await self.world.deployment(deployment_id)).record
            if record.status is DeploymentStatus.IN_PROGRESS and record.stop is None:
                await self._stop(deployment_id)

    async def _stop(self, deployment_id: DeploymentId) -> None:
        try:
            await self.world.call(self.world.desk.deployments.stop(deployment_id, "eva"))
        except Conflict:
            self.fates[deployment_id] = Fate.GOOD

    # What goes wrong --------------------------------------------------------------------------------------------------

    def _plan(self, end: int) -> list[tuple[int, str]]:
        span = end - START
        hours = max(1, self.day.hours)
        kinds = ["restart"] * max(1, hours // 4) + ["database"] * max(1, hours // 2)
        planned = [(START + self.chance.randrange(span), kind) for kind in kinds]
        down = START + self.chance.randrange(max(1, span - HOUR))
        return sorted([*planned, (down, "sink down"), (min(end - 1, down + HOUR), "sink up")])

    async def _trouble(self, kind: str) -> None:
        self.report.troubles[kind] += 1
        match kind:
            case "restart":
                await self._restart()
            case "database":
                self.world.tally.faults = [self.chance.random() < 0.5 for _ in range(6)]
                await self.world.pass_time(20_000)
                self.world.tally.faults = []
            case "sink down" | "sink up":
                self.world.sink.is_down = kind == "sink down"

    async def _restart(self) -> None:
        old = self.world
        await old.cease()
        self.clock.advance(20_000)
        self.world = self._coordinator(old.directory)
        self.world.agents, self.world.ids, self.world.sink = old.agents, old.ids, old.sink
        await self.world.begin()
        away = {name for _, name in self._again}
        self.world.connect(*(name for name in self.world.agents if name not in away))
        await self.world.settle()

    def _script(self, agent: TalkativeAgent) -> Script:
        async def script(order: SegmentOrder, event: str) -> Diagnostics:
            revision = order.deployment.revision
            is_slow = self.chance.random() < 0.01
            seconds = self.chance.randint(60, 240) if is_slow else self.chance.randint(1, 12)
            luck = self.chance.randrange(10_000)
            day = self.day
            await self.clock.sleep_until(Instant((self.clock.now() // 1_000 + seconds) * 1_000))
            if luck < day.deaths:
                self._leave(agent, "death", self.chance.randint(30, 90) * MINUTE)
                return failed("the host was switched off")
            luck -= day.deaths
            if luck < day.reboots:
                self._leave(agent, "reboot", self.chance.randint(20, 90) * 1_000)
                return failed("the agent was ended while the script ran")
            luck -= day.reboots
            if luck < day.reconnects:
                self._leave(agent, "reconnect", self.chance.randint(1, 30) * 1_000)
            elif luck < day.reconnects + day.repeats and agent.said:
                self.report.troubles["repeat"] += 1
                agent.say(self.chance.choice(agent.said))
            if isinstance(revision, BundleLocation) and revision.sha256 in self.broken:
                return failed() if event == "ValidateService" else SUCCESS
            return SUCCESS

        return script

    def _leave(self, agent: TalkativeAgent, kind: str, for_ms: int) -> None:
        self.report.troubles[kind] += 1
        self._again.append((self.clock.now() + for_ms, agent.instance_id))
        self.world.disconnect(agent.instance_id)

    async def _come_back(self) -> None:
        due = [name for at, name in self._again if at <= self.clock.now()]
        self._again = [(at, name) for at, name in self._again if at > self.clock.now()]
        if due:
            self.world.connect(*due)
            await self.world.settle()

    def _coordinator(self, directory: Path) -> VirtualCoordinator:
        return VirtualCoordinator(
            directory,
            clock=self.clock,
            sources=self.sources,
            settings=EngineSettings(max_instances=10 * self.day.agents),
        )


async def simulate_day(day: Day) -> Report:
    """One day, in memory."""
    with memory_directory() as directory:
        simulation = Simulation(day, Path(directory))
        try:
            return await simulation.run()
        finally:
            await simulation.world.abandon()


def _group(number: int) -> str:
    return f"fleet-{number}"


def _options(number: int) -> GroupOptions:
    return GroupOptions(
        queue=QueueMode.FIFO if number % 2 else QueueMode.REFUSE,
        alarms=AlarmConfiguration(enabled=True, alarms=(_alarm(number),)),
        triggers=(Trigger(name="all", target_arn=TARGET, events=tuple(TriggerEventType)),),
    )


def _always(options: GroupOptions) -> Callable[[GroupOptions], GroupOptions]:
    return lambda _defaults: options


def _alarm(number: int) -> str:
    return f"alarm-{number}"
