"""What a real agent tells of its installed files, over real gRPC: when, how often, and not while it deploys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman_agent.core.messages import Instant
from ferryman_agent.files.install import _Install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.settings import InstallSettings
from tests.support.agent_home import AgentHome, Gate
from tests.support.bundles import description, put_archive
from tests.support.fake_coordinator import FakeCoordinator, run_segment

GROUP = "g-1"


@pytest.fixture
async def agent(coordinator: FakeCoordinator, tmp_path: Path) -> AsyncIterator[AgentHome]:
    """Enrolled, with two files installed, and not started."""
    home = AgentHome(tmp_path / "agent")
    code, printed = await home.enroll(coordinator)
    assert code == 0, printed
    layout = Layout(home.root)
    layout.prepare()
    appspec = f"version: 0.0\nos: linux\nfiles:\n  - source: /\n    destination: {app(home)}\n"
    put_archive(layout, "d-1", {"a": b"one", "b": b"two", "appspec.yml": appspec.encode()}, GROUP)
    _Install(description("d-1", group=GROUP), layout, Instant(1), InstallSettings()).run()
    try:
        yield home
    finally:
        await home.close()


def app(agent: AgentHome) -> Path:
    return agent.home / "srv/app"


def drifted(state: pb.InstalledState) -> list[tuple[str, int]]:
    (group,) = state.groups
    return [(Path(one.path).name, one.drift) for one in group.drifted]


@pytest.mark.req("AG-549", "AG-553")
async def test_each_stream_hears_what_is_so_and_whoever_asks_gets_an_answer(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    (app(agent) / "b").unlink()
    await agent.start()
    session = await coordinator.connected()
    await coordinator.until(lambda: coordinator.installed, "the first look")
    first = coordinator.installed[0]
    assert first.check_id == ""
    assert first.groups[0].deployment_group_id == GROUP
    assert first.groups[0].deployment_id == "d-1"
    assert drifted(first) == [("b", pb.FILE_DRIFT_MISSING)]

    (app(agent) / "a").write_text("ONE")
    session.send(check_installed=pb.CheckInstalled(check_id="c-1", with_digests=True))
    await coordinator.until(lambda: len(coordinator.installed) == 2, "the answer")
    answer = coordinator.installed[1]
    assert answer.check_id == "c-1"
    assert answer.groups[0].with_digests
    assert drifted(answer) == [("a", pb.FILE_DRIFT_CONTENT), ("b", pb.FILE_DRIFT_MISSING)]
    session.send(check_installed=pb.CheckInstalled(check_id="c-2", deployment_group_ids=["g-none"]))
    await coordinator.until(lambda: len(coordinator.installed) == 3, "an answer about nothing")
    assert (coordinator.installed[2].check_id, list(coordinator.installed[2].groups)) == ("c-2", [])

    session.end()
    await coordinator.connected(2)
    await coordinator.until(lambda: len(coordinator.installed) == 4, "what the new stream is told")
    again = coordinator.installed[3]
    assert again.check_id == ""
    assert drifted(again) == drifted(answer)


@pytest.mark.req("AG-552")
async def test_nothing_is_looked_at_while_a_command_runs(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    gate = Gate(agent.home / "gate")
    agent.place({"BeforeInstall": gate.script}, deployment="d-2", group=GROUP)
    await agent.start()
    session = await coordinator.connected()
    await coordinator.until(lambda: coordinator.installed, "the first look")
    command = run_segment("d-2", GROUP, events=["BeforeInstall"])
    session.send(run_segment=command)
    await gate.arrived()
    session.send(check_installed=pb.CheckInstalled(check_id="c-1"))
    await coordinator.until(lambda: len(coordinator.installed) == 2, "the answer")
    (busy,) = coordinator.installed[1].groups
    assert (busy.deployment_id, busy.error) == (
        "",
        "a deployment is under way here: it is checked when that has ended",
    )
    (app(agent) / "a").write_text("by the script")
    await gate.open()
    assert await coordinator.finished(command.command_id) == "SUCCEEDED"
    await coordinator.until(lambda: len(coordinator.installed) == 3, "the look after the command")
    # The script was another deployment's, which has installed nothing: d-1's file is changed.
    assert drifted(coordinator.installed[2]) == [("a", pb.FILE_DRIFT_CONTENT)]


@pytest.mark.req("AG-549")
async def test_without_a_schedule_only_a_question_has_it_look(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    await agent.start(drift={"stat_every": "0s", "digests_every": "0s"})
    session = await coordinator.connected()
    session.send(check_installed=pb.CheckInstalled(check_id="c-1"))
    await coordinator.until(lambda: coordinator.installed, "the answer")
    assert [state.check_id for state in coordinator.installed] == ["c-1"]
