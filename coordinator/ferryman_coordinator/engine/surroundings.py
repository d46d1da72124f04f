"""What every live deployment works with; made once by the engine."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from ferryman_coordinator.alarms.poller import AlarmPoller
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.audit import Decision
from ferryman_coordinator.core.model import DeploymentId, GroupId
from ferryman_coordinator.engine.concerned import Concerned
from ferryman_coordinator.engine.dispatch import Post
from ferryman_coordinator.engine.feed import Feed
from ferryman_coordinator.engine.logs import Logs
from ferryman_coordinator.engine.room import Room
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.engine.statistics import EngineStatistics
from ferryman_coordinator.engine.timers import Timers
from ferryman_coordinator.engine.writing import PatientStore
from ferryman_coordinator.notices.bell import Bell


class DrawsDeploymentIds(Protocol):
    """What is needed of `ids.Ids`."""

    def deployment_id(self) -> DeploymentId: ...


class Witness(Protocol):
    """Writes down what is decided here (CP-448)."""

    def decision(self, decision: Decision) -> None: ...


class NoWitness:
    """For an engine without an audit log."""

    def decision(self, decision: Decision) -> None:
        """Nothing is written."""


class Launcher(Protocol):
    """Owns the tasks of deployments: the engine.

    A deployment is reserved before it is stored, so that whatever is said of it from the commit on finds its inbox.
    """

    @property
    def count(self) -> int:
        """Deployments that are reserved or live."""
        ...

    def reserve(self, deployment_id: DeploymentId) -> None: ...
    def launch(self, deployment_id: DeploymentId) -> None: ...
    def release(self, deployment_id: DeploymentId) -> None: ...
    def supersede(self, deployment_id: DeploymentId, by: DeploymentId) -> None:
        """End a queued deployment, since a newer one stands for it."""
        ...

    def pass_turn(self, group_id: GroupId) -> None:
        """Let the next queued deployment of the group go on, if nothing of it runs."""
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    store: PatientStore
    clock: Clock
    ids: DrawsDeploymentIds
    settings: EngineSettings
    post: Post
    feed: Feed
    logs: Logs
    timers: Timers
    concerned: Concerned
    statistics: EngineStatistics
    launcher: Launcher
    alarms: AlarmPoller
    room: Room
    # Rung when events were stored.
    bell: Bell
    witness: Witness
