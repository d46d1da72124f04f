"""A coordinator without doors: the real store, links and engine, a clock that stands still, and pretend agents."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from ferryman_coordinator.alarms.book import AlarmBook
from ferryman_coordinator.alarms.poller import AlarmPoller
from ferryman_coordinator.alarms.source import AlarmSource
from ferryman_coordinator.core.audit import Decision
from ferryman_coordinator.core.configs import PREDEFINED
from ferryman_coordinator.core.inventory import (
    Application,
    ComputePlatform,
    Deployment,
    DeploymentGroup,
    Instance,
    InstanceKind,
)
from ferryman_coordinator.core.model import (
    ApplicationId,
    AutoRollback,
    CommandId,
    DeploymentId,
    EventRecord,
    GroupId,
    InstanceId,
    Instant,
    RevisionLocation,
    RollbackEvent,
    TargetStatus,
    UrlLocation,
)
from ferryman_coordinator.core.tags import Selection, Tag, TagFilter
from ferryman_coordinator.engine.creation import CreateOrder
from ferryman_coordinator.engine.engine import Engine, Report
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.engine.updates import TargetView, view
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.links.link import Link
from ferryman_coordinator.links.orders import Download, Order, PrefetchOrder
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.links.seen import StoredSeen
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.inventory_records import application_row, group_row, instance_row
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.queries import groups as group_queries
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.store import Store
from tests.support.clock import START, ManualClock
from tests.support.coordinator_records import bundle
from tests.support.fake_agent import PATIENCE_SECONDS, FakeAgent, Script

ON_EVERYTHING = frozenset(RollbackEvent)


class SignedUrls:
    """Satisfies dispatch.Downloads: every signing gives another address."""

    def __init__(self) -> None:
        self.signed = 0
        self.generation = 0
        # What every request brings along.
        self.headers: dict[str, str] = {}

    def download(self, revision: RevisionLocation, now: Instant) -> Download:
        if isinstance(revision, UrlLocation):
            return Download(revision.url)
        self.signed += 1
        return Download(
            f"/bundles/{revision.sha256}?expires={now}&signature={self.signed}", dict(self.headers)
        )


class LocalConnection:
    """A stream without a wire."""

    def __init__(self, world: World, link: Link) -> None:
        self._links = world.links
        self._engine = world.engine
        self._clock = world.clock
        self.link = link

    async def next_orders(self) -> Sequence[Order]:
        return await self.link.next_orders()

    async def deliver(self, report: Report) -> None:
        self._links.heard(self.link, self._clock.now())
        await self._engine.deliver(report)

    def prefetched(self, order: PrefetchOrder) -> None:
        self._engine.prefetched(order.deployment.deployment_id, self.link.instance_id)


class World:
    """One application with one group of instances. May be started again on what an earlier one has stored."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: ManualClock | None = None,
        settings: EngineSettings | None = None,
        seed: int = 7,
        sources: Sequence[AlarmSource] = (),
    ) -> None:
        self.url = f"sqlite+aiosqlite:///{directory}/ferryman.db"
        self.clock = clock or ManualClock()
        self.settings = settings or EngineSettings()
        self.ids = Ids(random.Random(seed))
        self.urls = SignedUrls()
        self.sources = sources
        # What the coordinator has decided, over all of its lives.
        self.decisions: list[Decision] = []
        self.agents: dict[str, FakeAgent] = {}
        self.store: Store
        self.links: Links
        self.engine: Engine
        self._running: list[asyncio.Task[None]] = []

    def decision(self, decision: Decision) -> None:
        """Satisfies `Witness`."""
        self.decisions.append(decision)

    # The coordinator --------------------------------------------------------------------------------------------------

    async def start(self, store: Store | None = None, *, early: Sequence[str] = ()) -> None:
        """Return when everything that is stored is live again; the agents `early` connect before that."""
        self.store = store or await Store.open(self.url)
        self.links = Links(self.clock, StoredSeen(self.store))
        alarms = AlarmPoller(AlarmBook(self.sources), self.clock)
        self.engine = Engine(
            self.store, self.links, self.clock, self.ids, self.urls, self.settings, alarms, witness=self
        )
        for name in early:
            self.connect(name)
        self._running = [
            asyncio.create_task(self.engine.run(), name="engine"),
            asyncio.create_task(self.links.run(), name="links"),
        ]
        ready = asyncio.create_task(self.engine.ready())
        await asyncio.wait([ready, self._running[0]], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()

    async def stop(self) -> list[BaseException]:
        """End the coordinator; the agents stay. Returns what its tasks ended with, if not by being cancelled."""
        if not self._running:
            return []
        ends = await self.halt()
        await self.store.close()
        return ends

    async def halt(self) -> list[BaseException]:
        """As `stop`, but its store goes on."""
        for agent in self.agents.values():
            agent.disconnect()
        for task in self._running:
            task.cancel()
        ends = await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []
        return [
            end
            for end in ends
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError)
        ]

    async def crashed(self) -> None:
        """Wait until the engine's task has ended by itself."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait([self._running[0]])

    async def at_rest(self) -> None:
        """Wait until no deployment is unfinished."""
        while True:
            async with self.store.reading() as connection:
                live = await queries.live(connection)
            if not live:
                return
            await self.finished(live[0])

    async def noted_silent(self, deployment_id: DeploymentId, name: str) -> None:
        """Wait until that is stored of the target."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await self.targets(deployment_id))[name].record.silent_since is None:
                pass

    async def watched(self, deployment_id: DeploymentId, by: int) -> None:
        """Wait until so many watchers are there, and have seen what there is to see."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.engine.feed.waiting(deployment_id) < by:
                await self.sleepers()

    async def sleepers(self) -> None:
        """Give the tasks of the coordinator the turns that they need to fall asleep on the clock."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Everything, agents included."""
        for agent in self.agents.values():
            await agent.end()
        await self.stop()

    # The fleet --------------------------------------------------------------------------------------------------------

    async def populate(self, count: int, *, zones: Sequence[str] = ("",), **group: Any) -> None:
        """Application `web`, group `production` of `count` instances that go round the zones, and their agents."""
        application = Application(
            application_id=ApplicationId("app-1"),
            name="web",
            compute_platform=ComputePlatform.SERVER,
            created_at=START,
        )
        selection = Selection(tag_filters=(TagFilter.of("stage", "production"),))
        values: dict[str, Any] = {"selection": selection, "auto_rollback": AutoRollback(), **group}
        batch = Batch()
        batch.insert(tables.applications, application_row(application))
        batch.insert(tables.deployment_groups, group_row(_group(application, **values)))
        for number in range(count):
            zone = zones[number % len(zones)]
            batch.insert(tables.instances, instance_row(_instance(number, zone)))
            self.agents[f"mi-{number}"] = FakeAgent(f"mi-{number}")
        await self.store.write(batch)

    def connect(self, *names: str) -> None:
        """These agents, or all of them."""
        for name in names or self.agents:
            agent = self.agents[name]
            link = self.links.attach(agent.instance_id, self.clock.now(), agent.open_commands)
            agent.connect(LocalConnection(self, link))

    def disconnect(self, *names: str) -> None:
        """Their streams end, as the coordinator sees it too."""
        for name in names or self.agents:
            agent = self.agents[name]
            agent.disconnect()
            if (link := self.links.get(agent.instance_id)) is not None:
                self.links.detach(link, self.clock.now())

    def play(self, script: Script, *names: str) -> None:
        """What the hooks of these agents, or of all of them, do from now on."""
        for name in names or self.agents:
            self.agents[name].script = script

    async def tag(self, name: str, *tags: Tag) -> None:
        """Give the instance these tags instead of those it has."""
        batch = Batch()
        batch.update(tables.instances, {"instance_id": name}, {"tags": to_json(tags)})
        await self.store.write(batch)

    @property
    def ran(self) -> list[tuple[CommandId, str]]:
        """Every lifecycle event that any agent ever began."""
        return [one for agent in self.agents.values() for one in agent.ran]

    # Deployments ------------------------------------------------------------------------------------------------------

    async def group(self) -> DeploymentGroup:
        async with self.store.reading() as connection:
            found = await group_queries.find(connection, "web", "production")
        assert found is not None
        return found

    async def order(
        self, config: str = "AllAtOnce", revision: RevisionLocation | None = None, **options: Any
    ) -> CreateOrder:
        """A creation that passed its checks; `config` is a predefined one without its prefix."""
        group = await self.group()
        predefined = PREDEFINED[f"CodeDeployDefault.{config}"]
        assert predefined.minimum is not None
        values: dict[str, Any] = {
            "config_name": predefined.name,
            "minimum": predefined.minimum,
            "zonal": None,
            "auto_rollback": group.auto_rollback,
            "revision": revision or bundle("a"),
            **options,
        }
        return CreateOrder(group=group, **values)

    async def deploy(
        self, config: str = "AllAtOnce", revision: RevisionLocation | None = None, **options: Any
    ) -> DeploymentId:
        """Create one; see `order`."""
        return await self.engine.create(await self.order(config, revision, **options))

    async def created(self) -> list[DeploymentId]:
        """Every deployment that is stored, newest first."""
        async with self.store.reading() as connection:
            found = await queries.before(connection, queries.DeploymentFilter(), (), 1000)
        return [deployment.deployment_id for deployment in found]

    async def finished(self, deployment_id: DeploymentId) -> Deployment:
        """Wait for its end, by watching it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for _ in self.engine.feed.watch(deployment_id):
                pass
        return await self.deployment(deployment_id)

    async def deployment(self, deployment_id: DeploymentId) -> Deployment:
        """As it is stored."""
        async with self.store.reading() as connection:
            found = await queries.get(connection, deployment_id)
        assert found is not None
        return found

    async def targets(self, deployment_id: DeploymentId) -> dict[str, TargetView]:
        """As they are stored, by instance."""
        async with self.store.reading() as connection:
            loaded = await queries.load_rollout(connection, deployment_id)
        assert loaded is not None
        events: dict[InstanceId, list[EventRecord]] = {}
        for instance_id, event in loaded.events:
            events.setdefault(instance_id, []).append(event)
        return {record.instance_id: view(loaded.spec, record, events) for record in loaded.targets}

    async def busy(self, deployment_id: DeploymentId, at: str, count: int = 1) -> list[FakeAgent]:
        """Wait until so many targets run and stand at a lifecycle event; their agents."""
        await self.until(deployment_id, lambda counts: counts.get(TargetStatus.IN_PROGRESS) == count)
        targets = await self.targets(deployment_id)
        found = [
            self.agents[name] for name in targets if targets[name].record.status is TargetStatus.IN_PROGRESS
        ]
        for agent in found:
            await agent.stands_at(at)
        return found

    async def until(
        self, deployment_id: DeploymentId, condition: Callable[[Mapping[TargetStatus, int]], bool]
    ) -> None:
        """Watch until the counts of the targets by status fulfil `condition`."""
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            aclosing(self.engine.feed.watch(deployment_id)) as updates,
        ):
            async for _ in updates:
                if condition((await self.deployment(deployment_id)).overview):
                    return
        raise AssertionError("the deployment ended before")


@asynccontextmanager
async def fresh_world(directory: Path, **options: Any) -> AsyncIterator[World]:
    """A world that is not started yet; ended in the end, however often it was started."""
    world = World(directory, **options)
    try:
        yield world
    finally:
        await world.end()


@asynccontextmanager
async def open_world(
    directory: Path, count: int, *, store: type[Store] = Store, **options: Any
) -> AsyncIterator[World]:
    """A world with so many connected agents, on a store of that type; `options` of World, or of its group."""
    of_world = {
        name: options.pop(name) for name in ("clock", "settings", "seed", "sources") if name in options
    }
    async with fresh_world(directory, **of_world) as world:
        await world.start(await store.open(world.url))
        await world.populate(count, **options)
        world.connect()
        yield world


def _group(application: Application, **values: Any) -> DeploymentGroup:
    return DeploymentGroup(
        group_id=GroupId("group-1"),
        application_id=application.application_id,
        application_name=application.name,
        name="production",
        config_name="CodeDeployDefault.OneAtATime",
        created_at=START,
        **values,
    )


def _instance(number: int, zone: str) -> Instance:
    return Instance(
        instance_id=InstanceId(f"mi-{number}"),
        name=f"web-{number}",
        kind=InstanceKind.ON_PREMISES,
        arn=f"arn:aws:codedeploy:eu-1:123456789012:instance/web-{number}",
        tags=(Tag("stage", "production"),),
        zone=zone,
        registered_at=START,
    )
