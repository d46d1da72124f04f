"""Segments for the tests of the agent's core and runtime."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ferryman_agent.core.messages import (
    BundleType,
    CommandId,
    DeploymentDescription,
    DeploymentId,
    GroupId,
    RevisionSource,
    Segment,
)

INSTANCE = "i-1"
IN_PLACE = (
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
)


def a_deployment(deployment: str = "d-1", group: str = "g-1", **changes: Any) -> DeploymentDescription:
    """Returns a description with everything in it that is required."""
    values: dict[str, Any] = {
        "deployment_id": DeploymentId(deployment),
        "deployment_group_id": GroupId(group),
        "deployment_group_name": f"name of {group}",
        "application_name": "app",
        "revision": RevisionSource(url="https://coordinator/bundle", bundle_type=BundleType.ZIP),
    }
    return DeploymentDescription(**values | changes)


def a_segment(
    deployment: str = "d-1",
    group: str = "g-1",
    *,
    events: Iterable[str] = IN_PLACE,
    ignorable: Iterable[str] = (),
    attempt: int = 1,
    instance: str = INSTANCE,
    **changes: Any,
) -> Segment:
    """Returns a command for INSTANCE; `changes` go to the deployment."""
    return Segment(
        command_id=CommandId(f"{deployment}/{instance}/{attempt}/0"),
        deployment=a_deployment(deployment, group, **changes),
        lifecycle_events=tuple(events),
        ignorable_failures=frozenset(ignorable),
    )
