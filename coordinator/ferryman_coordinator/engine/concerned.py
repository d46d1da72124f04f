"""Which live deployments an instance's coming and going matters to: those with a target on it that is not final."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ferryman_coordinator.core.model import DeploymentId, InstanceId


class Concerned:
    """An index. Few deployments an instance, many instances a deployment."""

    def __init__(self, on_free: Callable[[InstanceId], None]) -> None:
        """`on_free` hears of each instance that no deployment is concerned with any more."""
        self._on_free = on_free
        self._deployments: dict[InstanceId, list[DeploymentId]] = {}
        self._instances: dict[DeploymentId, set[InstanceId]] = {}

    def join(self, deployment_id: DeploymentId, instance_ids: Iterable[InstanceId]) -> None:
        """The deployment has unfinished targets on these instances."""
        joined = self._instances.setdefault(deployment_id, set())
        for instance_id in instance_ids:
            if instance_id not in joined:
                joined.add(instance_id)
                self._deployments.setdefault(instance_id, []).append(deployment_id)

    def leave(self, deployment_id: DeploymentId, instance_id: InstanceId) -> None:
        """The target is final."""
        joined = self._instances.get(deployment_id, set())
        if instance_id in joined:
            joined.remove(instance_id)
            self._part(deployment_id, instance_id)

    def leave_all(self, deployment_id: DeploymentId) -> None:
        """The deployment has ended."""
        for instance_id in self._instances.pop(deployment_id, ()):
            self._part(deployment_id, instance_id)

    def of(self, instance_id: InstanceId) -> Sequence[DeploymentId]:
        return tuple(self._deployments.get(instance_id, ()))

    def _part(self, deployment_id: DeploymentId, instance_id: InstanceId) -> None:
        concerned = self._deployments[instance_id]
        concerned.remove(deployment_id)
        if not concerned:
            del self._deployments[instance_id]
            self._on_free(instance_id)
