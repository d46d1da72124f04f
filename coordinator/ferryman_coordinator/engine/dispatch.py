"""From the core's commands to the links of the instances they are for.

An instance without a link is told nothing: what it has to do is derived again when it connects (D2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.messages import Command, RunSegment
from ferryman_coordinator.core.model import (
    DeploymentId,
    InstanceId,
    Instant,
    RevisionLocation,
)
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.links.orders import (
    CancelOrder,
    DeploymentDescription,
    Download,
    ForgetOrder,
    Order,
    PrefetchOrder,
    SegmentOrder,
)
from ferryman_coordinator.links.registry import Links


class Downloads(Protocol):
    """Makes the addresses by which agents fetch revisions. Asks nobody: it is part of a decision round."""

    @property
    def generation(self) -> int:
        """Another number when addresses that were made before should not be sent any more."""
        ...

    def download(self, revision: RevisionLocation, now: Instant) -> Download: ...


@dataclass(frozen=True, slots=True)
class Post:
    """What every dispatch needs."""

    links: Links
    downloads: Downloads
    clock: Clock
    settings: EngineSettings


class Dispatch:
    """Of one live deployment."""

    def __init__(self, post: Post, deployment: Deployment, most_recent: DeploymentId | None) -> None:
        """`most_recent`: the deployment that the group attempted before this one."""
        self._post = post
        self._deployment = deployment
        self._most_recent = most_recent or ""
        self._event_timeout_seconds = -(-deployment.spec.timers.event_run_ms // 1000)
        self._description: DeploymentDescription | None = None
        self._described_at = Instant(0)
        self._generation = 0

    def send(self, command: Command) -> bool:
        """Offer the command to its instance; False when that is not connected."""
        link = self._post.links.get(command.instance_id)
        return link is not None and link.offer(self._order(command))

    def prefetch(self, instance_id: InstanceId) -> bool:
        """Ask the instance to fetch the bundle ahead of its turn; False when it is not connected."""
        link = self._post.links.get(instance_id)
        return link is not None and link.offer(PrefetchOrder(deployment=self._describe()))

    def forget(self, instance_id: InstanceId) -> None:
        """Tell the instance, if it is connected, that the deployment is over."""
        if (link := self._post.links.get(instance_id)) is not None:
            link.offer(ForgetOrder(deployment_id=self._deployment.deployment_id))

    def _order(self, command: Command) -> Order:
        if isinstance(command, RunSegment):
            return SegmentOrder(
                command_id=command.command_id,
                deployment=self._describe(),
                lifecycle_events=command.events,
                event_timeout_seconds=self._event_timeout_seconds,
                ignorable_failures=frozenset(command.ignorable_failures),
            )
        return CancelOrder(command_id=command.command_id, reason=command.reason)

    def _describe(self) -> DeploymentDescription:
        """One object for all orders, so that the door maps it once; made anew before its address expires."""
        now, generation = self._post.clock.now(), self._post.downloads.generation
        if (
            self._description is None
            or generation != self._generation
            or now - self._described_at >= self._post.settings.description_lifetime_ms
        ):
            self._description = self._fresh_description(now)
            self._described_at, self._generation = now, generation
        return self._description

    def _fresh_description(self, now: Instant) -> DeploymentDescription:
        deployment, spec = self._deployment, self._deployment.spec
        return DeploymentDescription(
            deployment_id=spec.deployment_id,
            deployment_group_id=deployment.group_id,
            deployment_group_name=deployment.group_name,
            application_name=deployment.application_name,
            deployment_creator=spec.creator,
            file_exists_behavior=spec.file_exists_behavior,
            adopt=spec.adopt,
            revision=spec.revision,
            download=self._post.downloads.download(spec.revision, now),
            last_successful_deployment_id=spec.last_good.deployment_id if spec.last_good else "",
            most_recent_deployment_id=self._most_recent,
        )
