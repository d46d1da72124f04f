"""Values that the agent's core, its runtime and its edges exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NewType

Instant = NewType("Instant", int)
"""Wall-clock milliseconds since the Unix epoch, by this machine's clock."""

CommandId = NewType("CommandId", str)
DeploymentId = NewType("DeploymentId", str)
GroupId = NewType("GroupId", str)


class ScriptErrorCode(IntEnum):
    """`error_code` of the original's diagnostics (V2-237)."""

    SUCCESS = 0
    SCRIPT_MISSING = 1
    SCRIPT_NOT_EXECUTABLE = 2
    SCRIPT_TIMED_OUT = 3
    SCRIPT_FAILED = 4
    UNKNOWN_ERROR = 5
    OUTPUTS_LEFT_OPEN = 6
    FAILED_AFTER_RESTART = 7


class FileExistsBehavior(StrEnum):
    DISALLOW = "DISALLOW"
    OVERWRITE = "OVERWRITE"
    RETAIN = "RETAIN"


class BundleType(StrEnum):
    ZIP = "zip"
    TAR = "tar"
    TGZ = "tgz"


class EventStatus(StrEnum):
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceUsage:
    """What scripts took from the machine; None where that could not be measured.

    `peak_memory_bytes` is the largest sum at one moment where a control group measures it, else the largest single
    process. `out_of_memory_kills` counts processes that were ended for want of memory.
    """

    peak_memory_bytes: int | None = None
    cpu_ms: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    out_of_memory_kills: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """How a lifecycle event ended (AG-448, AG-455); `log` is the tail of its output, at most 2047 characters.

    `dropped_lines` of output were not sent live; they are in the log on the instance. `script_index` is the failed
    script's place in the event's list, from 0; `revision_deployment_id` says whose revision the scripts are of.
    """

    error_code: ScriptErrorCode = ScriptErrorCode.SUCCESS
    script_name: str = ""
    message: str = "Succeeded"
    log: str = ""
    detail_code: str = ""
    exit_status: int | None = None
    signal: int | None = None
    duration_ms: int = 0
    host_log_path: str = ""
    usage: ResourceUsage | None = None
    dropped_lines: int = 0
    script_index: int | None = None
    revision_deployment_id: str = ""

    @property
    def is_success(self) -> bool:
        return self.error_code is ScriptErrorCode.SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Object:
    """A revision in S3 or in a store that speaks like it; empty is what was not asked for. `etag` has no quotes."""

    bucket: str
    key: str
    version: str = ""
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubCommit:
    """A revision at GitHub or at a host that speaks like it; `repository` is `owner/name`.

    `token_name` is what the coordinator calls the token of a private repository; empty for a public one.
    """

    repository: str
    commit_id: str
    token_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionSource:
    """Where the archive comes from. `sha256` and `size_bytes` are None where the coordinator does not know them.

    `s3` or `github` is set for revisions that were registered as such; `url` is where to fetch in any case.
    """

    url: str
    bundle_type: BundleType
    sha256: str | None = None
    size_bytes: int | None = None
    s3: S3Object | None = None
    github: GitHubCommit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentDescription:
    """What the agent is told of a deployment (AG section 5.8).

    `unknown_option` is one that this version does not know.
    """

    deployment_id: DeploymentId
    deployment_group_id: GroupId
    deployment_group_name: str
    application_name: str
    deployment_creator: str = "user"
    deployment_type: str = "IN_PLACE"
    app_spec_file_name: str = "appspec.yml"
    file_exists_behavior: FileExistsBehavior = FileExistsBehavior.DISALLOW
    # Files that other groups have installed are taken over where the revision has its own (AG-326).
    adopt: bool = False
    unknown_option: str = ""
    revision: RevisionSource
    last_successful_deployment_id: str = ""
    most_recent_deployment_id: str = ""
    # What the AppSpec file's hooks are checked against (AG-F09); empty: they are not.
    possible_lifecycle_events: tuple[str, ...] = ()
    # Names and values; out of every log and text (V2-141). The journal has the names only: runtime/download_secrets.py.
    download_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One command: consecutive lifecycle events of one deployment (D3)."""

    command_id: CommandId
    deployment: DeploymentDescription
    lifecycle_events: tuple[str, ...]
    event_timeout_seconds: int = 3600
    ignorable_failures: frozenset[str] = frozenset()
