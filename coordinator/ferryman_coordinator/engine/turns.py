"""Hands the turn of a group on to the deployment that has waited for it (CP-419)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ferryman_coordinator.core.model import DeploymentId, GroupId
from ferryman_coordinator.core.queue import Unfinished, next_turn
from ferryman_coordinator.engine.live import LiveDeployment
from ferryman_coordinator.engine.writing import PatientStore
from ferryman_coordinator.store.queries import deployments


class Turns:
    """Asked whenever a deployment of a group has ended, or has joined its queue. Asking too often does no harm."""

    def __init__(self, store: PatientStore, live: Mapping[DeploymentId, LiveDeployment]) -> None:
        self._store = store
        self._live = live

    async def pass_on(self, group_id: GroupId) -> None:
        """Wake the next one, if none of the group has its turn."""

        async def read() -> Sequence[Unfinished]:
            async with self._store.reading() as connection:
                return await deployments.unfinished_of(connection, group_id)

        unfinished = await self._store.insist(read)
        # Nothing is awaited from here on, so that two who ask at once do not both choose.
        turns = [one.deployment_id for one in unfinished if self._has_turn(one.deployment_id)]
        chosen = next_turn(unfinished, turns)
        if chosen is not None and (live := self._live.get(chosen)) is not None:
            live.inbox.give_turn()

    def _has_turn(self, deployment_id: DeploymentId) -> bool:
        live = self._live.get(deployment_id)
        return live is not None and live.inbox.has_turn
