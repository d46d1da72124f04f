"""How many instances running deployments may have together (CP-420): those that ask first get room first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ferryman_coordinator.core.model import DeploymentId


class Room:
    """Nobody overtakes: a large deployment at the head of the line is not starved by small ones behind it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: dict[DeploymentId, int] = {}
        self._line: deque[tuple[DeploymentId, int, Callable[[], None]]] = deque()

    @property
    def taken(self) -> int:
        """Instances of all deployments that have room."""
        return sum(self._taken.values())

    def has(self, deployment_id: DeploymentId) -> bool:
        return deployment_id in self._taken

    def hold(self, deployment_id: DeploymentId, instances: int) -> None:
        """Count a deployment that runs already, limit or not."""
        self._taken[deployment_id] = instances

    def ask(self, deployment_id: DeploymentId, instances: int, granted: Callable[[], None]) -> bool:
        """Whether there is room now; else `granted` is called once there is, unless it was freed before."""
        if not self._line and self._fits(instances):
            self._taken[deployment_id] = instances
            return True
        self._line.append((deployment_id, instances, granted))
        return False

    def free(self, deployment_id: DeploymentId) -> None:
        """It is over, or waits no longer; safe to call for any deployment."""
        self._taken.pop(deployment_id, None)
        self._line = deque(one for one in self._line if one[0] != deployment_id)
        while self._line and self._fits(self._line[0][1]):
            waiting, instances, granted = self._line.popleft()
            self._taken[waiting] = instances
            granted()

    def _fits(self, instances: int) -> bool:
        # One that is larger than the limit runs alone: nothing else would ever let it go on.
        return not self._taken or self.taken + instances <= self.limit
