"""One deployment has one owner: it decides, waits until that is stored, and only then decides again (CP-285)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.core.model import DeploymentStatus, TargetStatus
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store
from tests.support.engine_world import open_world


class SlowStore(Store):
    """Lets others have many turns while a commit is on its way, and says how many are."""

    def __init__(self, *of_store: Any) -> None:
        super().__init__(*of_store)
        self.on_the_way = 0

    async def write(self, batch: Batch) -> None:
        self.on_the_way += 1
        try:
            for _ in range(20):
                await asyncio.sleep(0)
            await super().write(batch)
        finally:
            self.on_the_way -= 1


@pytest.mark.req("CP-285")
async def test_nothing_is_decided_while_a_decision_is_being_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path, 20, store=SlowStore) as world:
        store = world.store
        assert isinstance(store, SlowStore)
        unstored: list[int] = []
        rollouts: set[int] = set()
        handle = Rollout.handle

        def watched(rollout: Rollout, *arguments: Any) -> Any:
            unstored.append(store.on_the_way)
            rollouts.add(id(rollout))
            return handle(rollout, *arguments)

        monkeypatch.setattr(Rollout, "handle", watched)
        deployment_id = await world.deploy("HalfAtATime")
        # Beside the reports: comings and goings, and somebody who asks and asks.
        for number in range(20):
            world.disconnect(f"mi-{number}")
            world.connect(f"mi-{number}")
            await asyncio.sleep(0)
        stops = [asyncio.create_task(world.engine.stop(deployment_id, "ada")) for _ in range(3)]
        await asyncio.gather(*stops, return_exceptions=True)
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.STOPPED
        assert set(ended.overview) <= {TargetStatus.FAILED, TargetStatus.SKIPPED, TargetStatus.SUCCEEDED}
        assert len(unstored) > 10
        assert set(unstored) == {0}
        assert len(rollouts) == 1
