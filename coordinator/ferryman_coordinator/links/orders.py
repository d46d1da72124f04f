"""What is sent to an agent. `api/agents.py` turns each order into its message; nothing here knows the wire.

Every order may be sent again: commands are recognised by their id, the rest changes nothing when repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ferryman_coordinator.core.model import (
    CommandId,
    Creator,
    DeploymentId,
    FileExistsBehavior,
    GroupId,
    RevisionLocation,
)

APP_SPEC_FILE_NAME = "appspec.yml"


@dataclass(frozen=True, slots=True)
class Download:
    """Where an agent fetches a revision, and the headers that it sends there. Secret for as long as it is good."""

    # Absolute, or a path of the coordinator's own HTTP address. Empty: nowhere at present.
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class DeploymentDescription:
    """All that an agent must know of a deployment to act alone (DESIGN section 3, CP-218).

    The engine makes one object per deployment and puts it into all its orders, so that the door can map it once and
    recognise it by identity: hence no equality by content.
    """

    deployment_id: DeploymentId
    deployment_group_id: GroupId
    deployment_group_name: str
    application_name: str
    deployment_creator: Creator
    file_exists_behavior: FileExistsBehavior
    revision: RevisionLocation
    download: Download
    # Of the group; empty where there is none.
    last_successful_deployment_id: str = ""
    most_recent_deployment_id: str = ""
    deployment_type: str = "IN_PLACE"
    app_spec_file_name: str = APP_SPEC_FILE_NAME
    adopt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOrder:
    """Run these lifecycle events, in order (D3)."""

    command_id: CommandId
    deployment: DeploymentDescription
    lifecycle_events: tuple[str, ...]
    event_timeout_seconds: int
    # Lifecycle events whose failure does not end the segment (CP-215).
    ignorable_failures: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Let the running event end, skip the rest (D4); with `kill` its scripts are ended too."""

    command_id: CommandId
    reason: str
    kill: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefetchOrder:
    """Fetch and verify the bundle now, run nothing yet (D7)."""

    deployment: DeploymentDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetOrder:
    """Nothing will ask for this deployment again."""

    deployment_id: DeploymentId


@dataclass(frozen=True, slots=True, kw_only=True)
class AckOrder:
    """Every report up to and including this number is stored."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainOrder:
    """Connect again, after a pause of up to `within_ms`."""

    within_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOrder:
    """Look at what these groups have installed, with contents or without, and say what is so (AG-555, AG-558)."""

    check_id: str
    group_ids: tuple[GroupId, ...]
    with_digests: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLogOrder:
    """Send a piece of what the scripts of a deployment printed (AG-459)."""

    read_id: str
    group_id: GroupId
    deployment_id: DeploymentId
    offset: int


Order = (
    SegmentOrder
    | CancelOrder
    | PrefetchOrder
    | ForgetOrder
    | AckOrder
    | DrainOrder
    | CheckOrder
    | ReadLogOrder
)
