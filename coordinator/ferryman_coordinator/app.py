"""Builds every object of the coordinator, in the order in which they need each other, and opens the doors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog

from ferryman_coordinator.alarms.book import AlarmBook
from ferryman_coordinator.alarms.opening import open_sources
from ferryman_coordinator.alarms.poller import AlarmPoller
from ferryman_coordinator.api.agents import AgentServicer, AgentsSettings
from ferryman_coordinator.api.alarms import AlarmServicer
from ferryman_coordinator.api.audit import AuditServicer
from ferryman_coordinator.api.audit_entries import Entries
from ferryman_coordinator.api.auth import Authenticator
from ferryman_coordinator.api.bundles import BundleServicer
from ferryman_coordinator.api.deployments import DeploymentServicer
from ferryman_coordinator.api.events import EventServicer
from ferryman_coordinator.api.guard import Guard
from ferryman_coordinator.api.identity import IdentityOperations, IdentityServicer
from ferryman_coordinator.api.instances import InstanceServicer
from ferryman_coordinator.api.interceptors import Gate
from ferryman_coordinator.api.inventory import InventoryOperations, InventoryServicer
from ferryman_coordinator.api.recorder import Recorder
from ferryman_coordinator.api.resources import ResourceServicer
from ferryman_coordinator.api.scaling import AutoScalingServicer
from ferryman_coordinator.api.server import GrpcServer
from ferryman_coordinator.api.tokens import TokenServicer
from ferryman_coordinator.bundles.github import GitHubArchives
from ferryman_coordinator.bundles.github_tokens import GitHubTokens
from ferryman_coordinator.bundles.inspect import BundleInspector
from ferryman_coordinator.bundles.s3 import S3Store
from ferryman_coordinator.bundles.small import SmallBundles
from ferryman_coordinator.bundles.sources import Sources
from ferryman_coordinator.bundles.storage import BundleStorage
from ferryman_coordinator.bundles.urls import BundleUrls
from ferryman_coordinator.clock import SystemClock
from ferryman_coordinator.config import Address, Config
from ferryman_coordinator.config.schema import TokenTags
from ferryman_coordinator.core.audit import Place
from ferryman_coordinator.core.inventory import ANY_TAG
from ferryman_coordinator.core.model import Instant, Timers
from ferryman_coordinator.core.payloads import Origin
from ferryman_coordinator.data_dir import DataDirectory
from ferryman_coordinator.engine.engine import Engine
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.errors import SetupError, Unreachable
from ferryman_coordinator.http.alarms import AlarmDoor
from ferryman_coordinator.http.app import make_app
from ferryman_coordinator.http.bundles import BundleDoor
from ferryman_coordinator.http.server import HttpServer
from ferryman_coordinator.identity.authority import Authority
from ferryman_coordinator.identity.failures import FailureLimiter
from ferryman_coordinator.identity.providers import trusted_providers
from ferryman_coordinator.identity.sealing import Seal, key_in
from ferryman_coordinator.identity.server_certificate import ServerCertificate, server_names
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.keyfiles import READABLE, write_file
from ferryman_coordinator.links.registry import Links, LinkSettings
from ferryman_coordinator.links.seen import StoredSeen
from ferryman_coordinator.notices.office import NoticeOffice
from ferryman_coordinator.observe.audit import AuditLog, read_anchor
from ferryman_coordinator.observe.audit_file import AuditFile
from ferryman_coordinator.observe.metrics import Metrics
from ferryman_coordinator.operations.access import Access
from ferryman_coordinator.operations.alarms import Alarms
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.audit import AuditTrail
from ferryman_coordinator.operations.configurations import Configurations
from ferryman_coordinator.operations.connections import Connections
from ferryman_coordinator.operations.credentials import Credentials
from ferryman_coordinator.operations.deliveries import Deliveries
from ferryman_coordinator.operations.deployments import Deployments
from ferryman_coordinator.operations.drift import Drift
from ferryman_coordinator.operations.enrolment import Enrolment
from ferryman_coordinator.operations.events import Events
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.operations.instances import Instances
from ferryman_coordinator.operations.join_tokens import JoinTokens
from ferryman_coordinator.operations.lifecycle import Lifecycle
from ferryman_coordinator.operations.notification_rules import NotificationRules
from ferryman_coordinator.operations.registration import Registration
from ferryman_coordinator.operations.resources import Resources
from ferryman_coordinator.operations.revisions import Revisions
from ferryman_coordinator.operations.roles import Roles
from ferryman_coordinator.operations.scaling_hooks import ScalingHooks
from ferryman_coordinator.operations.script_logs import ScriptLogs
from ferryman_coordinator.operations.search import Search
from ferryman_coordinator.operations.simulation import Simulation
from ferryman_coordinator.operations.tokens import FirstAdministrator
from ferryman_coordinator.operations.users import Users
from ferryman_coordinator.store.history import History
from ferryman_coordinator.store.queries import revisions as revision_queries
from ferryman_coordinator.store.queries.revisions import RevisionSource
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

_HOUR_MS = 3_600_000
_AUTHORITY_CHECK_MS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Where the coordinator listens, once it does."""

    grpc: Address
    agents: Address
    http_url: str
    data_dir: str
    ca_fingerprint: str


class App:
    """Everything that a coordinator is made of; `process.py` lets it live."""

    def __init__(self, config: Config, directory: DataDirectory, store: Store) -> None:
        """Raises SetupError."""
        self.is_ready = False
        self.clock = SystemClock()
        self._config = config
        self._directory = directory
        self._store = store
        self._ready: Ready | None = None
        ids, now = Ids(), self.clock.now()
        self.access = Access(store, self.clock)
        self.first_administrator = FirstAdministrator(store, self.clock, ids, self.access.forget)
        directory.check_authority()
        self._authority = Authority.open(directory.authority, now, config.certificates.ca_lifetime)
        write_file(directory.ca_certificate, self._authority.certificate_pem, READABLE)
        self.certificate = self._server_certificate()
        self.certificate.renew_if_due(now)
        self._bundles = BundleStorage(directory.bundles, store, self.clock, config.bundles.size_limit)
        self._bundles.prepare()
        self._urls = urls = BundleUrls.open(directory.url_key, config.bundles.url_lifetime)
        self.links = Links(self.clock, StoredSeen(store), _link_settings(config))
        self.s3 = S3Store(config.s3, self.clock)
        self._github_tokens = GitHubTokens.open(directory.github_tokens, config.limits.github_tokens)
        archives = GitHubArchives(config.github, self._github_tokens)
        self._sources = Sources(urls, self.s3, archives)
        sources, posted = open_sources(config.alarms.sources, store, self.clock)
        alarms = AlarmPoller(AlarmBook(sources), self.clock, int(config.alarms.poll_interval))
        self.account = Account(account_id=config.account.id, region=config.account.region)
        self.audit, self.audit_trail, self.audit_file = self._make_audit(ids)
        self.engine = Engine(
            store, self.links, self.clock, ids, self._sources, _engine_settings(config), alarms, self.audit
        )
        origin = Origin(account_id=self.account.account_id, region=self.account.region)
        self.notices = NoticeOffice(store, self.clock, self.engine.bell, config.notices, config.sinks, origin)
        self.history = History(store, self.clock, config.history.keep, keep_events_ms=config.notices.keep)
        self.instances = Instances(store, self.clock, config.limits, self.engine)
        self.drift = Drift(store, self.clock, self.links, self.instances)
        self._metrics = Metrics()
        self._observe()
        self._metrics.observe_notices(self.notices.figures, self.clock.now)
        scaling = self.engine.scaling
        self._metrics.observe_scaling(lambda: scaling.waiting, lambda: scaling.ledger.loops_told)
        self._metrics.observe_alarms(
            lambda: len(self.engine.alarms.watched()), lambda: self.engine.alarms.book.failing
        )
        self._metrics.observe_audit(lambda: self.audit.stored_records, lambda: self.audit.waiting_records)
        self.grpc = self._make_grpc(ids)
        door = BundleDoor(self._bundles, urls, self.clock)
        checks = {"database": self._database_answers, "engine": self._engine_is_ready}
        failures = FailureLimiter(config.access.failures_per_minute)
        alarm_door = AlarmDoor(posted, alarms.pushed, failures, self.clock)
        app = make_app(door.get, checks, self._metrics.exposition, alarm_door.routes)
        self.http = HttpServer(app, self.certificate.certificate_path, self.certificate.key_path)

    def listen(self) -> Ready:
        """Opens every port. Raises SetupError."""
        listen = self._config.listen
        grpc, agents = self.grpc.listen(listen.grpc, listen.for_agents)
        http = self.http.listen(listen.http)
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
            http_url=f"{self.http.scheme}://{http}",
            data_dir=str(self._directory.root),
            ca_fingerprint=f"sha256:{self._authority.fingerprint}",
        )
        return self._ready

    async def watch_authority(self) -> None:
        """Takes up a rotation of the CA within seconds, and has agents connect again to hear of it; until cancelled."""
        while True:
            await self.clock.sleep_until(Instant(self.clock.now() + _AUTHORITY_CHECK_MS))
            try:
                self._take_authority()
            except SetupError as error:
                log.warning("authority.not_taken_up", error=str(error))

    def _take_authority(self) -> None:
        now = self.clock.now()
        if not self._authority.reload(now):
            return
        write_file(self._directory.ca_certificate, self._authority.certificate_pem, READABLE)
        if self.certificate.renew_if_due(now):
            self.http.take_certificate()
        log.info(
            "authority.taken_up",
            fingerprint=self._authority.fingerprint,
            signer=self._authority.signer,
            agents=len(self.links),
        )
        # Their next Welcome tells them what to trust; those that trust something else renew then.
        self.links.drain(self._config.agents.drain_within, "the certificate authority is rotated")

    async def prepare_sources(self) -> None:
        """Before the engine goes on with what is unfinished: if there are objects of S3 among it, it needs keys."""
        async with self._store.reading() as connection:
            has_s3 = await revision_queries.exists(connection, RevisionSource.S3)
        if has_s3:
            try:
                await self.s3.prepare()
            except Unreachable as problem:
                log.warning("s3.keys_not_read", error=problem.message)

    def _make_grpc(self, ids: Ids) -> GrpcServer:
        store, clock, limits = self._store, self.clock, self._config.limits
        failures = FailureLimiter(self._config.access.failures_per_minute)
        account = self.account
        default_tags = ANY_TAG if self._config.enrolment.token_tags is TokenTags.ANY else ()
        join_tokens = JoinTokens(store, clock, ids, limits, lambda: self._authority.fingerprint, default_tags)
        providers = trusted_providers(self._config.aws_identity)
        enrolment = Enrolment(
            store, clock, ids, limits, join_tokens, account, providers, self.links.turned_away
        )
        registration = Registration(store, clock, ids, limits, account)
        applications = Applications(store, clock, ids, limits, self.engine)
        configurations = Configurations(store, clock, ids, limits, self._config.deployments.run_cap)
        groups = Groups(
            store, clock, ids, limits, applications, configurations, self.engine, self.notices.herald
        )
        inspector = BundleInspector(self._bundles)
        revisions = Revisions(store, clock, limits, applications, inspector)
        deployments = Deployments(
            store,
            self.engine,
            self.links,
            applications,
            groups,
            configurations,
            inspector,
            self._sources,
            account,
            self.drift,
            limits,
            self._config.deployments.on_premises_in_place_only,
        )
        logs = ScriptLogs(self.links, deployments)
        resources = Resources(store, limits, account, applications, groups)
        connections = Connections(self._github_tokens, self.s3, clock)
        inventory = InventoryOperations(
            applications=applications,
            groups=groups,
            configurations=configurations,
            revisions=revisions,
            instances=self.instances,
            drift=self.drift,
            account=account,
        )
        notices = self.notices
        events = EventServicer(
            Events(store, clock, self.engine.bell, notices.origin),
            Deliveries(store, clock, notices.herald, notices.courier.hurry),
            NotificationRules(store, clock, ids, limits, notices.origin, notices.sinks, applications, groups),
        )
        agents = AgentServicer(
            enrolment=enrolment,
            authority=self._authority,
            links=self.links,
            events=self.engine,
            installed=self.drift,
            logs=logs,
            bundles=SmallBundles(self._bundles, self._urls, clock),
            failures=failures,
            clock=clock,
            settings=self._agents_settings,
        )
        services = [
            agents.register,
            DeploymentServicer(deployments, logs).register,
            InventoryServicer(inventory, self.links).register,
            InstanceServicer(self.instances, registration, self.links).register,
            events.register,
            AlarmServicer(Alarms(self.engine.alarms, clock)).register,
            self._autoscaling(ids, groups).register,
            BundleServicer(self._bundles, connections).register,
            TokenServicer(join_tokens, connections).register,
            IdentityServicer(self._identity(ids)).register,
            AuditServicer(self.audit_trail, lambda: read_anchor(self._directory.audit_anchor)).register,
            ResourceServicer(resources, Search(store, account)).register,
        ]
        gate = Gate(
            Authenticator(self.access, enrolment, failures, clock),
            Guard(store, clock, account),
            Recorder(self.audit, Entries(clock, ids), reads=self._config.audit.reads),
            self._metrics,
        )
        return GrpcServer(
            gate, services, lambda: self.certificate.current, lambda: self._authority.certificate_pem
        )

    def _autoscaling(self, ids: Ids, groups: Groups) -> AutoScalingServicer:
        engine, sinks = self.engine, self.notices.sinks
        engine.scaling.ledger.wake = self.notices.courier.wake
        self.hooks = ScalingHooks(self._store, self.clock, ids, groups)
        lifecycle = Lifecycle(
            self._store,
            self.clock,
            self._config.limits,
            self.account,
            engine,
            lambda name: sinks.name_of(name) is not None,
            engine.settings.scaling_heartbeat_ms,
            on_premises_in_place_only=self._config.deployments.on_premises_in_place_only,
        )
        return AutoScalingServicer(lifecycle, self.hooks, self.links)

    def _identity(self, ids: Ids) -> IdentityOperations:
        store, clock, limits, account = self._store, self.clock, self._config.limits, self.account
        users = Users(store, clock, ids, limits, account, self.access.forget)
        seal = Seal.open(self._directory.access_key_seal)
        return IdentityOperations(
            users=users,
            roles=Roles(store, clock, limits, account, self.access.forget),
            credentials=Credentials(store, clock, ids, users, self.access, seal, account),
            simulation=Simulation(self.access, users, clock, account),
            account=account,
        )

    def _make_audit(self, ids: Ids) -> tuple[AuditLog, AuditTrail, AuditFile | None]:
        settings, key = self._config.audit, key_in(self._directory.audit_seal)
        place = Place(account_id=self.account.account_id, region=self.account.region)
        log = AuditLog(self._store, self.clock, ids, place, key, self._directory.audit_anchor)
        trail = AuditTrail(self._store, self.clock, log, key, int(settings.keep))
        if not settings.file:
            return log, trail, None
        file = AuditFile(self._store, Path(settings.file), int(settings.file_size), settings.files_kept)
        log.when_stored(file.more)
        return log, trail, file

    def _server_certificate(self) -> ServerCertificate:
        listen = self._config.listen
        hosts = [listen.grpc.host, listen.for_agents.host, listen.http.host]
        return ServerCertificate(
            self._authority,
            self._directory.authority,
            server_names(self._config.public.names, hosts),
            self._config.certificates.server_lifetime,
        )

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
            minimum_version=self._config.agents.minimum_version,
        )

    def _observe(self) -> None:
        self._metrics.observe(
            agents=lambda: len(self.links),
            deployments=lambda: self.engine.count,
            drifted=lambda: self.drift.drifted_instances,
            store=self._store.statistics,
            engine=self.engine.statistics,
        )

    async def _database_answers(self) -> str:
        async with self._store.reading() as connection:
            await connection.execute(sa.text("SELECT 1"))
        return ""

    async def _engine_is_ready(self) -> str:
        return "" if self.is_ready else "is starting or ending"


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
            first_contact_ms=int(timers.first_contact),
        ),
        max_targets=config.limits.instances_per_deployment,
        max_deployments=config.limits.concurrent_deployments,
        max_instances=config.limits.instances_in_running_deployments,
        scaling_heartbeat_ms=int(timers.autoscaling_heartbeat),
        prefetch_concurrency=timers.prefetch_concurrency,
        # An address that is sent must still be good for a while.
        description_lifetime_ms=min(
            _HOUR_MS, int(config.bundles.url_lifetime) // 2, int(config.s3.url_lifetime) // 2
        ),
    )
