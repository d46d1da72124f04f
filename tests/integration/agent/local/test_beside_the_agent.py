"""A local deployment and a running agent with the same files: they take turns in a deployment group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.agent_home import AgentHome, Gate
from tests.support.fake_coordinator import FakeCoordinator, run_segment
from tests.support.local_tool import LocalTool, application


@pytest.fixture
async def home(tmp_path: Path, coordinator: FakeCoordinator) -> AsyncIterator[AgentHome]:
    made = AgentHome(tmp_path / "home")
    await made.enroll(coordinator)
    yield made
    await made.close()


@pytest.mark.req("AG-505", "AG-122", "AG-O04")
async def test_the_agent_and_a_local_deployment_take_turns(
    home: AgentHome, coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    tool, app = LocalTool(home.home), application(tmp_path / "app", ["AfterInstall"])
    agents, ours = Gate(tmp_path / "agents"), Gate(tmp_path / "ours")
    home.place({"AfterInstall": agents.script})
    home.place({"AfterInstall": f"touch {tmp_path}/second"}, "d-2")
    await home.start()
    session = await coordinator.connected()

    session.send(run_segment=run_segment(events=("AfterInstall",)))
    await agents.arrived()
    refused = await asyncio.to_thread(tool.run, "-g", "g-1", cwd=app)
    assert refused.code == 1
    assert f"deployment group g-1 is being worked on by deployment d-1 (process {home.pid})" in refused.err
    assert not list((home.root / "g-1").glob("*-local"))
    # Other groups are not concerned.
    assert (await asyncio.to_thread(tool.run, "-g", "g-2", cwd=app)).code == 0
    await agents.open()
    await coordinator.finished("d-1/i-1/1/0")

    waits = application(tmp_path / "waits", {"AfterInstall": ours.script})
    local = asyncio.ensure_future(asyncio.to_thread(tool.run, "-g", "g-1", cwd=waits))
    await ours.arrived()
    session.send(run_segment=run_segment("d-2", events=("AfterInstall",)))
    await home.until(lambda: "group.waits" in home.log())
    assert not (tmp_path / "second").exists()
    await ours.open()
    assert (await local).code == 0
    await coordinator.finished("d-2/i-1/1/0")
    assert (tmp_path / "second").exists()
