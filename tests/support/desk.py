"""The coordinator's operations on a real store, with a clock that stands still and a pretended engine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import Facts, Instance, IssuedCertificate
from ferryman_coordinator.core.model import (
    BundleLocation,
    DeploymentId,
    DeploymentStatus,
    GroupId,
    InstanceId,
    Instant,
)
from ferryman_coordinator.core.provider_identity import ProviderProof, Vouched
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations.access import Access
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.configurations import Configurations
from ferryman_coordinator.operations.enrolment import Enrolment
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.operations.instances import Instances
from ferryman_coordinator.operations.join_tokens import JoinTokens
from ferryman_coordinator.operations.newcomers import EnrolOrder
from ferryman_coordinator.operations.registration import Registration
from ferryman_coordinator.operations.revisions import Revisions
from ferryman_coordinator.operations.tokens import FirstAdministrator
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import deployments
from ferryman_coordinator.store.records import deployment_row, rollout_values
from ferryman_coordinator.store.store import Store
from tests.support.clock import ManualClock
from tests.support.coordinator_records import rollout_record, rollout_spec

FINGERPRINT = "ca" * 32
BROKEN = "0bad" * 16
"""Digest of a bundle that the pretended inspector refuses."""

LIMITS = Limits(applications=3, groups_per_application=3, custom_configurations=3)


class PretendEngine:
    """Ends deployments as the real one does: by what it stores. Satisfies ScopeEnder and Departures."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.gone: list[tuple[InstanceId, str, bool]] = []
        self.ended: list[tuple[DeploymentId, str]] = []

    async def end_scope(self, group_ids: Sequence[GroupId], code: str) -> None:
        async with self._store.reading() as connection:
            live = await deployments.live_in(connection, group_ids)
        batch = Batch()
        for deployment_id in live:
            record = rollout_record(DeploymentStatus.FAILED)
            batch.update(tables.deployments, {"deployment_id": deployment_id}, rollout_values(record))
            self.ended.append((deployment_id, code))
        await self._store.write(batch)

    async def instance_gone(self, instance_id: InstanceId, reason: str, *, may_finish: bool = False) -> None:
        self.gone.append((instance_id, reason, may_finish))


class PretendInspector:
    async def inspect(self, location: BundleLocation) -> Sequence[str]:
        if location.sha256 == BROKEN:
            raise Invalid("InvalidRevisionException", "bundle 0bad0bad0bad has no appspec.yml at its root")
        return ["line 3: unknown key"] if location.sha256.startswith("3") else []


@dataclass
class Desk:
    """Every operation, and what they stand on."""

    store: Store
    clock: ManualClock = field(default_factory=ManualClock)
    ids: Ids = field(default_factory=lambda: Ids(random.Random(7)))
    limits: Limits = LIMITS
    lifetime_ms: int = 3_600_000

    def __post_init__(self) -> None:
        parts = (self.store, self.clock, self.ids, self.limits)
        self.engine = PretendEngine(self.store)
        self.applications = Applications(*parts, self.engine)
        self.configurations = Configurations(*parts, run_cap_ms=12 * 3_600_000)
        self.groups = Groups(*parts, self.applications, self.configurations, self.engine)
        self.revisions = Revisions(self.store, self.clock, self.limits, self.applications, PretendInspector())
        self.tokens = JoinTokens(*parts, FINGERPRINT)
        self.access = Access(self.store, self.clock)
        self.first_administrator = FirstAdministrator(self.store, self.clock, self.ids, self.access.forget)
        account = Account(account_id="123456789012", region="eu-1")
        self.enrolment = Enrolment(*parts, self.tokens, account, {"aws": self.vouch})
        self.registration = Registration(*parts, account)
        self.instances = Instances(self.store, self.clock, self.limits, self.engine)
        self.serials = 0

    def certify(self, _instance_id: InstanceId, longest_ms: int | None = None) -> IssuedCertificate:
        """A new certificate, good for an hour, or less."""
        self.serials += 1
        lifetime_ms = min(self.lifetime_ms, longest_ms or self.lifetime_ms)
        return IssuedCertificate(
            serial=f"{self.serials:x}", expires_at=Instant(self.clock.now() + lifetime_ms)
        )

    def vouch(self, proof: ProviderProof, now: Instant) -> Vouched:
        """Believes every document, which is the id of an instance. Satisfies `Vouch`."""
        instance_id = InstanceId(proof.document.decode())
        return Vouched(instance_id=instance_id, arn=f"arn:aws:ec2:r:a:instance/{instance_id}", zone="r-1a")

    async def instance(self, name: str, *tags: tuple[str, str], zone: str = "") -> Instance:
        """An instance that has enrolled."""
        text, _ = await self.tokens.create()
        order = EnrolOrder(
            join_token=text,
            instance_name=name,
            tags=[Tag(*tag) for tag in tags],
            zone=zone,
            facts=Facts(host_name=name),
        )
        return await self.enrolment.enrol(order, self.certify)

    async def deployment(self, deployment_id: str, application: str, group: str, **spec: object) -> None:
        """A deployment that was just created."""
        found = await self.groups.get(application, group)
        row = deployment_row(
            rollout_spec(deployment_id, **spec),
            rollout_record(),
            application_id=found.application_id,
            group_id=found.group_id,
        )
        batch = Batch()
        batch.insert(tables.deployments, row)
        await self.store.write(batch)
