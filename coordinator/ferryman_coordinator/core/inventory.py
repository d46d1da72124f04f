"""The nouns that outlive a deployment: what is deployed, where, and who may ask.

Pure values, as the store gives them back. What one deployment is made of is in `model.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from ferryman_coordinator.core.drift import InstalledState
from ferryman_coordinator.core.group_options import DEFAULT_OPTIONS, GroupOptions
from ferryman_coordinator.core.model import (
    ApplicationId,
    AutoRollback,
    BundleLocation,
    BundleType,
    DeploymentId,
    DeploymentStatus,
    GitHubLocation,
    GroupId,
    InstanceHealth,
    InstanceId,
    Instant,
    MinimumHealthyHosts,
    RevisionHealth,
    RevisionLocation,
    RolloutRecord,
    RolloutSpec,
    S3Location,
    TargetStatus,
    UrlLocation,
    ZonalConfig,
)
from ferryman_coordinator.core.scaling_hooks import ScalingHook
from ferryman_coordinator.core.tags import WILDCARD, Selection, Tag, fits

TokenId = NewType("TokenId", str)

LABEL_DIGITS = 12
"""How much of a digest people get to see."""

_ALWAYS = Instant(0)


class ComputePlatform(StrEnum):
    """CP-003."""

    SERVER = "Server"
    LAMBDA = "Lambda"
    ECS = "ECS"


class InstanceKind(StrEnum):
    """How an instance came by its identity: a join token here, or an id that its provider issued (D17)."""

    ON_PREMISES = "OnPremises"
    CLOUD = "Cloud"


class LifecycleState(StrEnum):
    """Where an instance of an autoscaling group is between its launch and its end (CP section 21)."""

    LAUNCHING = "Launching"
    IN_SERVICE = "InService"
    TERMINATING = "Terminating"
    TERMINATED = "Terminated"


class TrafficRoutingType(StrEnum):
    """API:TrafficRoutingType."""

    ALL_AT_ONCE = "AllAtOnce"
    CANARY = "TimeBasedCanary"
    LINEAR = "TimeBasedLinear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    application_id: ApplicationId
    name: str
    compute_platform: ComputePlatform
    created_at: Instant
    # Labels of the resource itself, not of instances (CP-146).
    resource_tags: tuple[Tag, ...] = ()
    # Name of the stored token that the application's GitHub revisions are fetched with (CP-147, CP-156); empty: none.
    github_account_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastDeployment:
    """A pointer of a deployment group (CP-025)."""

    deployment_id: DeploymentId
    status: DeploymentStatus
    created_at: Instant
    ended_at: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentGroup:
    """`target_revision` is that of the last successful deployment, None before the first one (CP-028)."""

    group_id: GroupId
    application_id: ApplicationId
    application_name: str
    name: str
    config_name: str
    selection: Selection
    auto_rollback: AutoRollback
    created_at: Instant
    # The application's.
    compute_platform: ComputePlatform = ComputePlatform.SERVER
    options: GroupOptions = DEFAULT_OPTIONS
    # Labels of the resource itself, not of instances (CP-172).
    resource_tags: tuple[Tag, ...] = ()
    # By which its autoscaling groups tell us of their instances.
    hooks: tuple[ScalingHook, ...] = ()
    target_revision: RevisionLocation | None = None
    last_attempted: LastDeployment | None = None
    last_successful: LastDeployment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficRouting:
    """How Lambda and ECS deployments shift traffic; zeros for all at once (CP-129)."""

    type: TrafficRoutingType
    percentage: int = 0
    interval_minutes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentConfig:
    """`minimum` (and perhaps `zonal`) for Server, `traffic_routing` for the others (CP-014)."""

    config_id: str
    name: str
    compute_platform: ComputePlatform
    minimum: MinimumHealthyHosts | None = None
    zonal: ZonalConfig | None = None
    traffic_routing: TrafficRouting | None = None
    # Of the predefined ones 0: they have always been there.
    created_at: Instant = _ALWAYS
    is_predefined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredRevision:
    application_id: ApplicationId
    application_name: str
    location: RevisionLocation
    description: str
    registered_at: Instant
    first_used_at: Instant | None = None
    last_used_at: Instant | None = None
    # Names of the groups whose target revision this is (CP-203).
    deployment_groups: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Short name for people: the beginning of the digest, the URL, the object, or the commit."""
        match self.location:
            case BundleLocation():
                return self.location.sha256[:LABEL_DIGITS]
            case UrlLocation():
                return self.location.url
            case S3Location():
                return self.location.text
            case GitHubLocation():
                return f"{self.location.repository}@{self.location.commit_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a host tells about itself. For display; nothing is decided by it."""

    host_name: str = ""
    os: str = ""
    os_version: str = ""
    kernel: str = ""
    architecture: str = ""
    agent_version: str = ""
    addresses: tuple[str, ...] = ()
    boot_id: str = ""
    cpu_count: int = 0
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    disk_total_bytes: int = 0
    # How far its clock was ahead of ours when it connected last.
    clock_skew_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One registered machine with an agent (CP-074). Kept for history after it was deregistered (CP-091)."""

    instance_id: InstanceId
    name: str
    kind: InstanceKind
    arn: str
    tags: tuple[Tag, ...]
    zone: str
    registered_at: Instant
    deregistered_at: Instant | None = None
    last_seen_at: Instant | None = None
    facts: Facts = field(default_factory=Facts)
    certificate_expires_at: Instant | None = None
    # What an instance that was registered by name may identify itself with (CP-068); at most one of them.
    iam_user_arn: str = ""
    iam_session_arn: str = ""
    # Of a machine that a provider launched: the group it was launched in, and how far that has come.
    auto_scaling_group: str = ""
    lifecycle_state: LifecycleState = LifecycleState.IN_SERVICE
    # When its machine took the identity; None while the registration waits for one (CP-073).
    enrolled_at: Instant | None = None

    @property
    def is_registered(self) -> bool:
        return self.deregistered_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDeploymentHealth:
    """How an instance stands in one deployment group (CP-114)."""

    application_name: str
    group_name: str
    instance_health: InstanceHealth
    revision_health: RevisionHealth
    installed_revision: RevisionLocation | None
    last_deployment_id: DeploymentId
    group_id: GroupId
    # What its agent found there, as far as that is of what is installed now.
    installed: InstalledState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """An agent's certificate, as far as the store knows it. `serial` in lower-case hexadecimal."""

    serial: str
    expires_at: Instant
    # Fingerprint of the authority that signed it.
    issuer: str = ""


ANY_TAG = (Tag(WILDCARD, WILDCARD),)
ANY_NAME = (WILDCARD,)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """Who may enrol an instance, and as what. `uses` 0 stands for any number until it expires."""

    token_id: TokenId
    uses: int
    used: int
    created_at: Instant
    expires_at: Instant
    revoked_at: Instant | None = None
    # Preset name and tags of what enrols with it.
    instance_name: str = ""
    tags: tuple[Tag, ...] = ()
    # Patterns of the tags, names and provider's ids that its holder may choose.
    allowed_tags: tuple[Tag, ...] = ANY_TAG
    allowed_names: tuple[str, ...] = ANY_NAME
    # Good for an instance that has an identity already, too: that one ends then.
    replaces_identity: bool = False

    def allows_tag(self, tag: Tag) -> bool:
        """Whether its holder may give himself this tag."""
        return any(fits(key, tag.key) and fits(value, tag.value) for key, value in self.allowed_tags)

    def allows_name(self, name: str) -> bool:
        """Whether its holder may take this name, or this id of a provider."""
        return any(fits(pattern, name) for pattern in self.allowed_names)

    @property
    def uses_left(self) -> int:
        """0 as well when the number of uses is not limited."""
        return max(0, self.uses - self.used)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBundle:
    """An archive that the coordinator holds."""

    sha256: str
    size_bytes: int
    bundle_type: BundleType
    stored_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment as it is read: its snapshot, its course, and what hangs on it.

    Names follow renames (CP-149); those of the snapshot stay for deployments whose group is gone.
    """

    spec: RolloutSpec
    record: RolloutRecord
    application_id: ApplicationId
    application_name: str
    group_id: GroupId
    group_name: str
    description: str
    # Targets by status; statuses without a target are left out.
    overview: Mapping[TargetStatus, int]
    rollback_deployment_id: DeploymentId | None = None
    rollback_triggering_deployment_id: DeploymentId | None = None
    # The deployment that this one follows, to bring its revision to those that came late; and those that follow it.
    auto_update_root_id: DeploymentId | None = None
    auto_update_ids: tuple[DeploymentId, ...] = ()

    @property
    def deployment_id(self) -> DeploymentId:
        return self.spec.deployment_id
