"""The coordinator as a real process that is killed with SIGKILL in the middle of a rollout."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from ferryman_coordinator.core.model import DeploymentStatus, EventStatus, TargetStatus
from tests.support.engine_child import Child
from tests.support.fake_agent import FakeAgent

KILLS = 2


@pytest.mark.req("CP-430", "CP-426")
@pytest.mark.timeout(120)
async def test_a_killed_coordinator_goes_on_where_it_was(tmp_path: Path) -> None:
    agents = [FakeAgent(f"mi-{number}") for number in range(3)]
    child = Child(tmp_path)
    await child.start()
    deployment_id = await child.ask("create", "OneAtATime")
    chance = random.Random(11)
    for _ in range(KILLS):
        for agent in agents:
            agent.connect(child.connect(agent.instance_id, agent.open_commands))
        await child.until_stored(child.stored + chance.randint(2, 12))
        await child.kill()
        for agent in agents:
            agent.disconnect()
        await child.start()
    for agent in agents:
        agent.connect(child.connect(agent.instance_id, agent.open_commands))
    status, targets = await child.ask("end", deployment_id)
    await child.kill()
    for agent in agents:
        await agent.end()
    assert status is DeploymentStatus.SUCCEEDED
    for view in targets.values():
        assert view.record.status is TargetStatus.SUCCEEDED
        assert [event.status for event in view.events] == [EventStatus.SUCCEEDED] * 7
    ran = Counter(one for agent in agents for one in agent.ran)
    assert len(ran) == 21
    assert max(ran.values()) == 1
