"""From a creation to its end: what is stored, what agents are told, what the group remembers."""

from __future__ import annotations

from pathlib import Path

from ferryman_coordinator.core.model import DeploymentStatus, EventStatus, TargetStatus
from tests.support.engine_world import open_world


async def test_a_deployment_runs_to_its_end(tmp_path: Path) -> None:
    async with open_world(tmp_path, 3) as world:
        deployment_id = await world.deploy("OneAtATime")
        ended = await world.finished(deployment_id)
        assert ended.record.status is DeploymentStatus.SUCCEEDED
        assert ended.overview == {TargetStatus.SUCCEEDED: 3}
        for view in (await world.targets(deployment_id)).values():
            assert [event.status for event in view.events] == [EventStatus.SUCCEEDED] * 7
        assert len(world.ran) == 21
