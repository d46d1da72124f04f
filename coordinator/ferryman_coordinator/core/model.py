"""The coordinator's nouns: identifiers, statuses and the records that a rollout is made of and restored from.

Pure values. Statuses are spelt as CodeDeploy spells them, since they are stored and shown so. A record is exactly what
the store keeps of a deployment or a target: `Rollout.restore` needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType
from urllib.parse import quote

from ferryman_coordinator.core.group_options import DEFAULT_OPTIONS, GroupOptions
from ferryman_coordinator.core.hot import hot_dataclass
from ferryman_coordinator.core.tags import NO_SELECTION, Selection

Instant = NewType("Instant", int)
"""Wall-clock milliseconds since the Unix epoch, by the coordinator's clock."""

ApplicationId = NewType("ApplicationId", str)
GroupId = NewType("GroupId", str)
InstanceId = NewType("InstanceId", str)
DeploymentId = NewType("DeploymentId", str)
CommandId = NewType("CommandId", str)

_NOBODY = InstanceId("")


class DeploymentStatus(StrEnum):
    """CP section 11.1."""

    CREATED = "Created"
    QUEUED = "Queued"
    IN_PROGRESS = "InProgress"
    BAKING = "Baking"
    READY = "Ready"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"

    @property
    def is_terminal(self) -> bool:
        return self in (DeploymentStatus.SUCCEEDED, DeploymentStatus.FAILED, DeploymentStatus.STOPPED)


class TargetStatus(StrEnum):
    """CP section 11.2."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    READY = "Ready"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    UNKNOWN = "Unknown"

    @property
    def is_terminal(self) -> bool:
        return self in (TargetStatus.SUCCEEDED, TargetStatus.FAILED, TargetStatus.SKIPPED)


class EventStatus(StrEnum):
    """CP section 11.3."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    UNKNOWN = "Unknown"

    @property
    def is_terminal(self) -> bool:
        return self in (EventStatus.SUCCEEDED, EventStatus.FAILED, EventStatus.SKIPPED)


class LifecycleErrorCode(StrEnum):
    """`errorCode` of an event's diagnostics (API:LifecycleErrorCode)."""

    SUCCESS = "Success"
    SCRIPT_MISSING = "ScriptMissing"
    SCRIPT_NOT_EXECUTABLE = "ScriptNotExecutable"
    SCRIPT_TIMED_OUT = "ScriptTimedOut"
    SCRIPT_FAILED = "ScriptFailed"
    UNKNOWN_ERROR = "UnknownError"


class InstanceHealth(StrEnum):
    """CP-312."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"


class RevisionHealth(StrEnum):
    """CP-311."""

    CURRENT = "Current"
    OLD = "Old"
    UNKNOWN = "Unknown"


class FileExistsBehavior(StrEnum):
    """CP-217."""

    DISALLOW = "DISALLOW"
    OVERWRITE = "OVERWRITE"
    RETAIN = "RETAIN"


class RollbackEvent(StrEnum):
    """CP-191."""

    DEPLOYMENT_FAILURE = "DEPLOYMENT_FAILURE"
    DEPLOYMENT_STOP_ON_ALARM = "DEPLOYMENT_STOP_ON_ALARM"
    DEPLOYMENT_STOP_ON_REQUEST = "DEPLOYMENT_STOP_ON_REQUEST"


class Creator(StrEnum):
    """Who made a deployment (CP-244)."""

    USER = "user"
    ROLLBACK = "codeDeployRollback"
    AUTO_SCALING = "autoscaling"
    AUTO_SCALING_TERMINATION = "autoscalingTermination"
    AUTO_UPDATE = "CodeDeployAutoUpdate"

    @property
    def is_fleet(self) -> bool:
        """Whether it deploys to a group; others go to one instance, beside what the group does (CP-401, A26)."""
        return self not in (Creator.AUTO_SCALING, Creator.AUTO_SCALING_TERMINATION)


class BundleType(StrEnum):
    ZIP = "zip"
    TAR = "tar"
    TGZ = "tgz"


class HealthyHostsType(StrEnum):
    """CP-266…268."""

    HOST_COUNT = "HOST_COUNT"
    FLEET_PERCENT = "FLEET_PERCENT"
    MOST_CONCURRENCY = "MOST_CONCURRENCY"


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumHealthyHosts:
    type: HealthyHostsType
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonalConfig:
    """CP-137; durations in seconds, None where not given."""

    first_zone_monitor_seconds: int | None = None
    monitor_seconds: int | None = None
    minimum_per_zone: MinimumHealthyHosts = MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleLocation:
    """An archive in the coordinator's bundle store."""

    sha256: str
    size_bytes: int
    bundle_type: BundleType

    @property
    def key(self) -> str:
        """Identity of the revision: equal keys mean equal revisions."""
        return f"sha256:{self.sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlLocation:
    """An archive that instances fetch from an https or file URL; `sha256` is empty when it is not pinned."""

    url: str
    bundle_type: BundleType
    sha256: str = ""

    @property
    def key(self) -> str:
        return f"url:{self.url}#{self.sha256}"


def s3_key_prefix(bucket: str, key_prefix: str = "") -> str:
    """What the keys of all revisions in this bucket begin with, whose object keys begin so."""
    return f"s3://{bucket}/{quote(key_prefix)}"


GITHUB_KEY_PREFIX = "github:"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """An object of S3 or of a store that speaks like it. `e_tag` has no quotes; empty members are not pinned."""

    bucket: str
    object_key: str
    bundle_type: BundleType
    version: str = ""
    e_tag: str = ""
    # Of its content, for the agents; says nothing about which object it is.
    sha256: str = ""

    @property
    def key(self) -> str:
        """With version and ETag exactly as given (AG-527, CP-202).

        Escaped, so that one text never means two objects; character by character, so that those whose keys begin
        alike begin alike as well.
        """
        pins = [f"versionId={quote(self.version)}"] if self.version else []
        pins += [f"eTag={quote(self.e_tag)}"] if self.e_tag else []
        return s3_key_prefix(self.bucket, self.object_key) + ("?" + "&".join(pins) if pins else "")

    @property
    def text(self) -> str:
        """As people write it (AG-529)."""
        pins = [f"versionId={self.version}"] if self.version else []
        pins += [f"eTag={self.e_tag}"] if self.e_tag else []
        return f"s3://{self.bucket}/{self.object_key}" + ("?" + "&".join(pins) if pins else "")

    def covers(self, other: RevisionLocation) -> bool:
        """Whether `other` is this object, pinned at least as far as this is."""
        return (
            isinstance(other, S3Location)
            and (self.bucket, self.object_key) == (other.bucket, other.object_key)
            and self.version in ("", other.version)
            and self.e_tag in ("", other.e_tag)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubLocation:
    """A commit of a repository; `token_name` says how it is fetched, not which commit it is."""

    repository: str
    commit_id: str
    bundle_type: BundleType = BundleType.TAR
    token_name: str = ""

    @property
    def sha256(self) -> str:
        """Unknown: GitHub makes the archive when it is asked for, and promises nothing about its bytes."""
        return ""

    @property
    def key(self) -> str:
        return f"{GITHUB_KEY_PREFIX}{self.repository}@{self.commit_id}"


RevisionLocation = BundleLocation | UrlLocation | S3Location | GitHubLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoRollback:
    enabled: bool = False
    events: frozenset[RollbackEvent] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInformation:
    """`errorInformation` of a Failed or Stopped deployment: a code of CP section 20 and a sentence (CP-239, CP-394)."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceUsage:
    """What the scripts of a lifecycle event took from the instance; None where that could not be measured."""

    peak_memory_bytes: int | None = None
    cpu_ms: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    out_of_memory_kills: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """What a lifecycle event's end says about itself; `log_tail` at most 4 KiB (CP-257).

    `dropped_lines` of output were not sent live; the log on the instance has them.
    """

    error_code: LifecycleErrorCode
    script_name: str = ""
    message: str = ""
    log_tail: str = ""
    detail_code: str = ""
    exit_status: int | None = None
    signal: int | None = None
    duration_ms: int = 0
    host_log_path: str = ""
    usage: ResourceUsage | None = None
    dropped_lines: int = 0
    script_index: int | None = None
    revision_deployment_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """CP section 12, in milliseconds; each is a setting (CP-264).

    Between two events a lost agent has until the earlier of its start timer and the reboot grace: who wants to allow
    slow reboots raises both.
    """

    event_start_ms: int = 5 * 60_000
    event_run_ms: int = 3_600_000
    # The agent ends an event when its run timer expires and says what hung. So much later the coordinator does it in
    # the agent's place.
    report_grace_ms: int = 15_000
    reboot_grace_ms: int = 5 * 60_000
    run_cap_ms: int = 12 * 3_600_000
    # Instead of the start timer, until the agent of an instance that was just launched is heard of (A9).
    first_contact_ms: int = 60 * 60_000


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive lifecycle events that the agent runs by itself: one command (D3)."""

    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CoordinatorEvent:
    """A lifecycle event of the coordinator's own, such as BlockTraffic."""

    name: str


Step = Segment | CoordinatorEvent
"""A target's path is a tuple of steps; nothing assumes how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastGood:
    """The group's last successful deployment: what a rollback deploys (CP-336, CP-340)."""

    deployment_id: DeploymentId
    revision: RevisionLocation
    file_exists_behavior: FileExistsBehavior


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """Snapshot of everything that decides about one deployment, taken at its creation (CP-224). Never changes."""

    deployment_id: DeploymentId
    application_name: str
    group_name: str
    creator: Creator
    revision: RevisionLocation
    config_name: str
    minimum: MinimumHealthyHosts
    zonal: ZonalConfig | None
    path: tuple[Step, ...]
    ignore_application_stop_failures: bool
    file_exists_behavior: FileExistsBehavior
    update_outdated_instances_only: bool
    auto_rollback: AutoRollback
    last_good: LastGood | None
    timers: Timers
    max_targets: int
    # For people; what was to be known when it was created.
    warnings: tuple[str, ...] = ()
    # Take over what other deployment groups have installed at the same paths (AG-326).
    adopt: bool = False
    # The group's selection and options, with what the deployment overrides of them.
    selection: Selection = NO_SELECTION
    options: GroupOptions = DEFAULT_OPTIONS
    # The alarms in the options are the deployment's own (CP-214).
    overrides_alarms: bool = False
    # Goes to this instance alone, whatever the group selects; empty: to the group.
    only_instance: InstanceId = _NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An instance of the deployment group as it was when the deployment started (CP-052)."""

    instance_id: InstanceId
    name: str
    zone: str
    instance_health: InstanceHealth
    revision_health: RevisionHealth
    # False for an up-to-date member of an outdated-only deployment: counted, not deployed to (CP-302).
    is_target: bool = True


class CommandPhase(StrEnum):
    """How far a target's present command has come, as far as the coordinator knows."""

    NONE = "None"
    OFFERED = "Offered"
    """Stored; sent, or waiting for the instance to connect. The start timer runs."""
    QUEUED = "Queued"
    """The agent has it behind another one. The start timer stands still (CP-261)."""
    STARTED = "Started"


@hot_dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecord:
    """All that is stored of one target, but its lifecycle events. Its outstanding command is derived from it (D2)."""

    instance_id: InstanceId
    instance_name: str
    zone: str
    # Place in the order of start, from 0.
    ordinal: int
    status: TargetStatus
    was_healthy: bool
    attempt: int = 1
    # Index into the spec's path.
    step: int = 0
    phase: CommandPhase = CommandPhase.NONE
    # A Cancel for the present command is to be sent, or was (D4).
    is_cancelled: bool = False
    # Lifecycle event that runs, or the next one to start.
    lifecycle_event: str = ""
    # End of the start or run timer; absolute (CP-263). Silence may end the wait earlier.
    deadline: Instant | None = None
    silent_since: Instant | None = None
    # The reason of a failure is the agent's silence (CP-393).
    failed_by_silence: bool = False
    started_at: Instant | None = None
    completed_at: Instant | None = None
    updated_at: Instant


@hot_dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One lifecycle event of one target.

    Not every event has a record: one without is Pending while its target is not final, and Skipped, at the target's
    end, afterwards. `lifecycle.complete` fills them in for those who show a target.
    """

    name: str
    status: EventStatus
    started_at: Instant | None = None
    ended_at: Instant | None = None
    diagnostics: Diagnostics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRecord:
    """A stop that was asked for: by whom first (CP-331), and what the last word on a rollback is (CP-325).

    `auto_rollback` None follows the settings.
    """

    by: str
    auto_rollback: bool | None


class AlarmState(StrEnum):
    """CP-365; UNREADABLE is what the coordinator makes of a source that does not answer (CP-358, CP-363)."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRecord:
    """What was last seen of an alarm that a deployment watches; `since` when it is in that state."""

    name: str
    state: AlarmState
    source: str
    since: Instant
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecord:
    """All that is stored of a deployment's course, but its targets."""

    status: DeploymentStatus
    created_at: Instant
    started_at: Instant | None = None
    completed_at: Instant | None = None
    # N, M and C of CP section 13; zero before the start.
    counted: int = 0
    minimum: int = 0
    concurrency: int = 0
    # Zones in their order, the present one's index, and until when it bakes (zonal deployments only).
    zones: tuple[str, ...] = ()
    # Instances counted in each zone (Nz); more than its targets in an outdated-only deployment (CP-302).
    zone_counted: tuple[int, ...] = ()
    zone: int = 0
    bake_until: Instant | None = None
    # Set from the moment that no new target may start; becomes `error` of the final status.
    ending: ErrorInformation | None = None
    ending_status: DeploymentStatus | None = None
    stop: StopRecord | None = None
    # Its group or application is gone, so no rollback can follow.
    is_orphaned: bool = False
    error: ErrorInformation | None = None
    rollback_message: str = ""
    messages: tuple[str, ...] = ()
    # Of the alarms that are watched, those that were read.
    alarms: tuple[AlarmRecord, ...] = ()
