"""The lifecycle events as a table: their order, who runs them, and whose scripts they run (AG sections 7.1 and 7.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from ferryman_agent.core.messages import DeploymentDescription, Segment

ROLLBACK_CREATOR = "codeDeployRollback"
BLUE_GREEN = "BLUE_GREEN"


class Work(StrEnum):
    """What carrying out a lifecycle event means."""

    SCRIPTS = "scripts"
    DOWNLOAD = "download"
    INSTALL = "install"
    NOT_OURS = "coordinator"


class Origin(StrEnum):
    """The revision whose AppSpec and scripts an event takes."""

    CURRENT = "current"
    LAST_SUCCESSFUL = "last successful"
    MOST_RECENT = "most recent"


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleEvent:
    """One row. Both origins count only while the deployment has no archive of its own (AG-196)."""

    work: Work
    origin: Origin = Origin.CURRENT
    origin_in_rollback: Origin = Origin.CURRENT


_SCRIPTS = LifecycleEvent(work=Work.SCRIPTS)
_BLOCK_TRAFFIC_SCRIPTS = LifecycleEvent(
    work=Work.SCRIPTS, origin=Origin.LAST_SUCCESSFUL, origin_in_rollback=Origin.MOST_RECENT
)
_ALLOW_TRAFFIC_SCRIPTS = LifecycleEvent(work=Work.SCRIPTS, origin_in_rollback=Origin.LAST_SUCCESSFUL)
_NOT_OURS = LifecycleEvent(work=Work.NOT_OURS)

LIFECYCLE_EVENTS: Mapping[str, LifecycleEvent] = {
    "BeforeBlockTraffic": _BLOCK_TRAFFIC_SCRIPTS,
    "BlockTraffic": _NOT_OURS,
    "AfterBlockTraffic": _BLOCK_TRAFFIC_SCRIPTS,
    "ApplicationStop": LifecycleEvent(
        work=Work.SCRIPTS, origin=Origin.LAST_SUCCESSFUL, origin_in_rollback=Origin.LAST_SUCCESSFUL
    ),
    "DownloadBundle": LifecycleEvent(work=Work.DOWNLOAD),
    "BeforeInstall": _SCRIPTS,
    "Install": LifecycleEvent(work=Work.INSTALL),
    "AfterInstall": _SCRIPTS,
    "ApplicationStart": _SCRIPTS,
    "ValidateService": _SCRIPTS,
    "BeforeAllowTraffic": _ALLOW_TRAFFIC_SCRIPTS,
    "AllowTraffic": _NOT_OURS,
    "AfterAllowTraffic": _ALLOW_TRAFFIC_SCRIPTS,
}
"""All thirteen events between Start and End, in the order of every deployment type (AG-187)."""

_PRINTABLE = re.compile(r"[!-~]{1,4096}")
_PATH_COMPONENT = re.compile(r"[A-Za-z0-9._-]+")
_POSITIONS = {name: position for position, name in enumerate(LIFECYCLE_EVENTS)}


def work_of(lifecycle_event: str) -> Work:
    """Returns what the event means here; an event of no table is a custom one, which runs scripts (AG-197)."""
    row = LIFECYCLE_EVENTS.get(lifecycle_event)
    return Work.SCRIPTS if row is None else row.work


def origin_of(lifecycle_event: str, deployment: DeploymentDescription, *, has_archive: bool) -> Origin:
    """Returns whose AppSpec and scripts the event takes (AG-195, AG-196, V2-254).

    `has_archive`: the current deployment's archive is unpacked; from then on every event uses it.
    """
    row = LIFECYCLE_EVENTS.get(lifecycle_event)
    if has_archive or row is None:
        return Origin.CURRENT
    is_rollback = (
        deployment.deployment_creator == ROLLBACK_CREATOR and deployment.deployment_type == BLUE_GREEN
    )
    return row.origin_in_rollback if is_rollback else row.origin


def refusal(segment: Segment, instance_id: str) -> str | None:
    """Returns why a segment from the coordinator cannot be run by this instance; None when it can.

    The instance is compared for equality (AG-087, V2-039). Unknown events (AG-110), the coordinator's own (AG-117),
    none at all (AG-109), events twice or out of order, missing fields (AG-146) and names that are no safe path (AG-148,
    V2-136) are refused before anything is done.
    """
    parts = segment.command_id.split("/")
    if len(parts) != 4 or not all(parts) or not _PRINTABLE.fullmatch(segment.command_id):
        return f"command id {segment.command_id!r} is not <deployment>/<instance>/<attempt>/<segment>"
    if parts[1] != instance_id:
        return f"command {segment.command_id} is for instance {parts[1]}, this is {instance_id}"
    if parts[0] != segment.deployment.deployment_id:
        return f"command {segment.command_id} describes deployment {segment.deployment.deployment_id!r}"
    return _deployment_refusal(segment) or _events_refusal(segment)


def _deployment_refusal(segment: Segment) -> str | None:
    deployment = segment.deployment
    required = {
        "deployment group id": deployment.deployment_group_id,
        "deployment group name": deployment.deployment_group_name,
        "application name": deployment.application_name,
        "download address": deployment.revision.url,
    }
    s3, github = deployment.revision.s3, deployment.revision.github
    if s3 is not None:
        required |= {"bucket": s3.bucket, "key": s3.key}
    if github is not None:
        required |= {"repository": github.repository, "commit id": github.commit_id}
    missing = [name for name, value in required.items() if not value]
    if missing:
        return f"command {segment.command_id} has no {', no '.join(missing)}"
    if deployment.unknown_option:
        return f"command {segment.command_id} asks for {deployment.unknown_option}, which this agent does not know"
    for name in (deployment.deployment_id, deployment.deployment_group_id):
        if not _PATH_COMPONENT.fullmatch(name) or name in (".", ".."):
            return f"command {segment.command_id}: {name!r} cannot be the name of a directory"
    parts = deployment.app_spec_file_name.split("/")
    if not all(parts) or ".." in parts or "\0" in deployment.app_spec_file_name:
        return f"command {segment.command_id}: AppSpec file {deployment.app_spec_file_name!r} is outside the revision"
    return None


def _events_refusal(segment: Segment) -> str | None:
    if not segment.lifecycle_events or "" in segment.lifecycle_events:
        return f"command {segment.command_id} names no lifecycle event"
    unknown = [name for name in segment.lifecycle_events if name not in LIFECYCLE_EVENTS]
    if unknown:
        return f"command {segment.command_id}: unknown lifecycle event {', '.join(unknown)}"
    foreign = [name for name in segment.lifecycle_events if work_of(name) is Work.NOT_OURS]
    if foreign:
        return f"command {segment.command_id}: {', '.join(foreign)} is the coordinator's own event"
    positions = [_POSITIONS[name] for name in segment.lifecycle_events]
    if any(later <= earlier for earlier, later in pairwise(positions)):
        events = ", ".join(segment.lifecycle_events)
        return f"command {segment.command_id}: lifecycle events twice or out of order: {events}"
    return None
