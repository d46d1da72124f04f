"""Builds every object of the coordinator, in the order in which they need each other, and opens the doors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog

from ferryman_coordinator.api.agents import AgentServicer, AgentsSettings
from ferryman_coordinator.api.auth import Authenticator
from ferryman_coordinator.api.bundles import BundleServicer
from ferryman_coordinator.api.deployments import DeploymentServicer
from ferryman_coordinator.api.interceptors import Gate
from ferryman_coordinator.api.inventory import InventoryOperations, InventoryServicer
from ferryman_coordinator.api.server import GrpcServer
from ferryman_coordinator.api.tokens import TokenServicer
from ferryman_coordinator.bundles.inspect import BundleInspector
from ferryman_coordinator.bundles.storage import BundleStorage
from ferryman_coordinator.bundles.urls import BundleUrls
from ferryman_coordinator.clock import SystemClock
from ferryman_coordinator.config import Address, Config
from ferryman_coordinator.core.model import Instant, Timers
from ferryman_coordinator.data_dir import DataDirectory, database_url
from ferryman_coordinator.engine.engine import Engine
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.http.app import make_app
from ferryman_coordinator.http.bundles import BundleDoor
from ferryman_coordinator.http.server import HttpServer
from ferryman_coordinator.identity.authority import Authority
from ferryman_coordinator.identity.failures import FailureLimiter
from ferryman_coordinator.identity.server_certificate import ServerCertificate, server_names
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.keyfiles import READABLE, write_file
from ferryman_coordinator.links.registry import Links, LinkSettings
from ferryman_coordinator.links.seen import StoredSeen
from ferryman_coordinator.observe.metrics import Metrics
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.configurations import Configurations
from ferryman_coordinator.operations.deployments import Deployments
from ferryman_coordinator.operations.enrolment import Enrolment
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.operations.instances import Instances
from ferryman_coordinator.operations.revisions import Revisions
from ferryman_coordinator.operations.tokens import AccessTokens, JoinTokens
from ferryman_coordinator.store.history import History
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

_RENEWAL_CHECK_MS = 10 * 60_000
_GRACE_S = 10.0
"""How long calls that run may take to their end when the coordinator ends."""
_DRAIN_S = 2.0
"""How long agents have to hear that they shall come back later."""
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Where the coordinator listens, once it does."""

    grpc: Address
    agents: Address
    http_url: str
    data_dir: str
    ca_fingerprint: str


class Coordinator:
    """All objects of one process. `open` makes it, `run` is its life."""

    def __init__(self, config: Config, directory: DataDirectory, store: Store) -> None:
        """Raises SetupError."""
        self._config = config
        self._directory = directory
        self._store = store
        self._clock = SystemClock()
        self._is_ready = False
        self._ready: Ready | None = None
        ids, now = Ids(), self._clock.now()
        self._access_tokens = AccessTokens(store, self._clock, ids)
        self._authority = Authority.open(directory.authority, now, config.certificates.ca_lifetime)
        write_file(directory.ca_certificate, self._authority.certificate_pem, READABLE)
        self._certificate = self._server_certificate()
        self._certificate.renew_if_due(now)
        self._bundles = BundleStorage(directory.bundles, store, self._clock, config.bundles.size_limit)
        self._bundles.prepare()
        urls = BundleUrls.open(directory.url_key, config.bundles.url_lifetime)
        self._links = Links(self._clock, StoredSeen(store), _link_settings(config))
        self._engine = Engine(store, self._links, self._clock, ids, urls, _engine_settings(config))
        self._history = History(store, self._clock, config.history.keep)
        self._metrics = Metrics()
        self._observe()
        self._grpc = self._make_grpc(ids)
        door = BundleDoor(self._bundles, urls, self._clock)
        checks = {"database": self._database_answers, "engine": self._engine_is_ready}
        app = make_app(door.get, checks, self._metrics.exposition)
        self._http = HttpServer(app, self._certificate.certificate_path, self._certificate.key_path)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Config) -> AsyncIterator[Coordinator]:
        """Opens the data directory and everything in it; closes it in the end. Raises SetupError."""
        directory = DataDirectory(Path(config.data_dir))
        directory.make()
        # First, since it locks the directory: a second coordinator must not touch anything in it.
        store = await Store.open(database_url(config, directory))
        try:
            yield cls(config, directory, store)
        finally:
            await store.close()

    async def run(self, announce: Callable[[Ready], None], stop: asyncio.Event) -> None:
        """Opens the doors, says so, and closes them again after `stop`. Raises SetupError when a door cannot open."""
        await self._access_tokens.ensure_admin(self._directory.keep_admin_token)
        ready = self._listen()
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._links.run()),
                    tasks.create_task(self._engine.run()),
                    tasks.create_task(self._renew_certificate()),
                    tasks.create_task(self._history.run()),
                ]
                await self._engine.ready()
                await self._grpc.start()
                http = tasks.create_task(self._http.run())
                await self._grpc.is_ready()
                self._is_ready = True
                announce(ready)
                log.info(
                    "coordinator.ready", grpc=str(ready.grpc), agents=str(ready.agents), http=ready.http_url
                )
                await stop.wait()
                await self._end(background, http)
        except ExceptionGroup as several:
            raise several.exceptions[0] from several

    async def _end(self, background: Iterable[asyncio.Task[None]], http: asyncio.Task[None]) -> None:
        """Agents first: they hear that they shall come back, and everything that they reported is stored."""
        log.info("coordinator.ending")
        self._is_ready = False
        self._http.stop()
        self._links.drain(self._config.agents.drain_within, "the coordinator ends")
        await self._grpc.stop(_DRAIN_S, _GRACE_S)
        await http
        for task in background:
            task.cancel()
        await asyncio.wait(background)
        log.info("coordinator.ended")

    def _listen(self) -> Ready:
        listen = self._config.listen
        grpc, agents = self._grpc.listen(listen.grpc, listen.for_agents)
        http = self._http.listen(listen.http)
        if http.is_loopback and not agents.is_loopback and not self._config.public.http_url:
            log.warning(
                "listen.bundles_out_of_reach",
                http=str(http),
                agents=str(agents),
                remedy="agents on other machines cannot fetch bundles: set listen.http or public.http_url",
            )
        self._ready = Ready(
            grpc=grpc,
            agents=agents,
            http_url=f"{self._http.scheme}://{http}",
            data_dir=str(self._directory.root),
            ca_fingerprint=f"sha256:{self._authority.fingerprint}",
        )
        return self._ready

    def _make_grpc(self, ids: Ids) -> GrpcServer:
        store, clock, limits = self._store, self._clock, self._config.limits
        failures = FailureLimiter(self._config.access.failures_per_minute)
        join_tokens = JoinTokens(store, clock, ids, limits, self._authority.fingerprint)
        enrolment = Enrolment(store, clock, ids, limits, join_tokens, Account())
        applications = Applications(store, clock, ids, limits, self._engine)
        configurations = Configurations(store, clock, ids, limits, self._config.deployments.run_cap)
        groups = Groups(store, clock, ids, limits, applications, configurations, self._engine)
        inspector = BundleInspector(self._bundles)
        revisions = Revisions(store, clock, applications, inspector)
        deployments = Deployments(
            store, self._engine, self._links, applications, groups, configurations, inspector
        )
        instances = Instances(store, clock, limits, self._engine)
        inventory = InventoryOperations(
            applications=applications,
            groups=groups,
            configurations=configurations,
            revisions=revisions,
            instances=instances,
        )
        agents = AgentServicer(
            enrolment=enrolment,
            authority=self._authority,
            links=self._links,
            events=self._engine,
            failures=failures,
            clock=clock,
            settings=self._agents_settings,
        )
        services = [
            agents.register,
            DeploymentServicer(deployments).register,
            InventoryServicer(inventory, self._links).register,
            BundleServicer(self._bundles).register,
            TokenServicer(join_tokens).register,
        ]
        gate = Gate(Authenticator(self._access_tokens, enrolment, failures, clock), self._metrics)
        return GrpcServer(gate, services, lambda: self._certificate.current, self._authority.certificate_pem)

    def _server_certificate(self) -> ServerCertificate:
        listen = self._config.listen
        hosts = [listen.grpc.host, listen.for_agents.host, listen.http.host]
        return ServerCertificate(
            self._authority,
            self._directory.authority,
            server_names(self._config.public.names, hosts),
            self._config.certificates.server_lifetime,
        )

    async def _renew_certificate(self) -> None:
        while True:
            await self._clock.sleep_until(Instant(self._clock.now() + _RENEWAL_CHECK_MS))
            try:
                if self._certificate.renew_if_due(self._clock.now()):
                    self._http.take_certificate()
                    log.info(
                        "certificate.renewed",
                        expires=self._certificate.current.certificate.not_valid_after_utc,
                    )
            except SetupError as error:
                # A full disk, for example: the present one is good for a while, and the next round tries again.
                log.warning("certificate.not_renewed", error=str(error))

    def _agents_settings(self) -> AgentsSettings:
        if self._ready is None:
            raise RuntimeError("an agent calls before the ports are open")
        url = urlsplit(self._config.public.http_url or self._ready.http_url)
        return AgentsSettings(
            certificate_lifetime_ms=self._config.certificates.agent_lifetime,
            heartbeat_interval_ms=self._config.agents.heartbeat_interval,
            agents_port=self._ready.agents.port,
            http_scheme=url.scheme,
            http_host=(url.hostname or "") if self._config.public.http_url else "",
            http_port=url.port or (443 if url.scheme == "https" else 80),
        )

    def _observe(self) -> None:
        self._metrics.observe(
            agents=lambda: len(self._links),
            deployments=lambda: self._engine.count,
            store=self._store.statistics,
            engine=self._engine.statistics,
        )

    async def _database_answers(self) -> str:
        async with self._store.reading() as connection:
            await connection.execute(sa.text("SELECT 1"))
        return ""

    async def _engine_is_ready(self) -> str:
        return "" if self._is_ready else "is starting or ending"


def _link_settings(config: Config) -> LinkSettings:
    return LinkSettings(
        heartbeat_interval_ms=int(config.agents.heartbeat_interval),
        heartbeats_missed=config.agents.missed_heartbeats,
    )


def _engine_settings(config: Config) -> EngineSettings:
    """Durations become plain numbers: they are stored with each deployment."""
    timers = config.deployments
    return EngineSettings(
        timers=Timers(
            event_start_ms=int(timers.event_start),
            event_run_ms=int(timers.event_run),
            report_grace_ms=int(timers.report_grace),
            reboot_grace_ms=int(timers.reboot_grace),
            run_cap_ms=int(timers.run_cap),
        ),
        max_targets=config.limits.instances_per_deployment,
        max_deployments=config.limits.concurrent_deployments,
        prefetch_concurrency=timers.prefetch_concurrency,
        # An address that is sent must still be good for a while.
        description_lifetime_ms=min(_HOUR_MS, int(config.bundles.url_lifetime) // 2),
    )


async def migrate_database(config: Config) -> str:
    """Opens the database, which brings it to the schema of this version; returns that schema's name.

    Raises SetupError.
    """
    directory = DataDirectory(Path(config.data_dir))
    directory.make()
    store = await Store.open(database_url(config, directory))
    try:
        async with store.reading() as connection:
            return str(await connection.scalar(sa.text("SELECT version_num FROM alembic_version")))
    finally:
        await store.close()
