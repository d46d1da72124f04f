"""Hooks of a real agent process: what it does about them when it dies, when the link is slow, and what it tells."""

from __future__ import annotations

import time

import pytest

from ferryman.channel import PROTOCOL_VERSION
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import types_pb2
from ferryman_agent import __version__
from ferryman_agent.hooks.cgroup_find import NoGroups, find
from tests.support.agent_home import AgentHome, Gate, is_alive
from tests.support.fake_coordinator import FakeCoordinator, run_segment

COMMAND = "d-1/i-1/1/0"


@pytest.mark.req("V2-001", "V2-002", "V2-008", "AG-133", "AG-137", "AG-408", "AG-E07")
async def test_killed_inside_a_hook_it_ends_even_its_daemons(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    found = find()
    if isinstance(found, NoGroups):
        pytest.skip(f"needs control groups of version 2 that can be written to: {found.reason}")
    daemon_at, waits = Gate(agent.home / "daemon"), Gate(agent.home / "gate")
    daemon = agent.home / "daemon.sh"
    daemon.write_text(f"#!/bin/sh\n{daemon_at.script}\n")
    daemon.chmod(0o755)
    # It forks twice, has a session of its own and no output that leads to anybody.
    detach = f"setsid sh -c '({daemon} </dev/null >/dev/null 2>&1 &)'"
    agent.place({"BeforeInstall": f"{detach}; {waits.script}", "AfterInstall": "echo never"})
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
    detached, script = await daemon_at.arrived(), await waits.arrived()
    await coordinator.until(lambda: "script BeforeInstall BeforeInstall.sh" in coordinator.story())
    await agent.kill()
    assert is_alive(script)
    assert is_alive(detached)

    await agent.start()
    await coordinator.connected(2)
    assert await coordinator.finished(COMMAND) == "FAILED"
    assert not is_alive(script)
    assert not is_alive(detached)
    failed = coordinator.finish_of("BeforeInstall")
    assert failed.error_code == types_pb2.LIFECYCLE_ERROR_CODE_UNKNOWN_ERROR
    assert failed.detail_code == "FAILED_AFTER_RESTART"
    assert "restarted" in failed.message
    assert coordinator.story()[-2:] == ["FAILED BeforeInstall", "end FAILED"]
    assert coordinator.story().count("FAILED BeforeInstall") == 1
    assert sorted(coordinator.reports) == list(range(1, len(coordinator.reports) + 1))


@pytest.mark.req("AG-460", "V2-268", "AG-430")
async def test_a_link_that_is_down_slows_no_script_and_what_is_left_out_is_told(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    waits = Gate(agent.home / "gate")
    archive = agent.place({"BeforeInstall": f"{waits.script}; seq -f 'line %.0f' 50000"})
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=["BeforeInstall"]))
    await waits.arrived()
    await coordinator.stop()
    await waits.open()
    log = archive.parent / "logs" / "scripts.log"
    await agent.until(lambda: "Script ended" in log.read_text())
    await coordinator.start()
    assert await coordinator.finished(COMMAND) == "SUCCEEDED"
    ended = coordinator.finish_of("BeforeInstall")
    assert ended.dropped_lines > 10_000
    assert log.read_text().count("[stdout]line ") == 50_000
    assert f"lines={ended.dropped_lines}" in agent.log()
    assert "hook.lines_dropped" in agent.log()


async def test_what_a_hook_took_comes_with_its_result(coordinator: FakeCoordinator, agent: AgentHome) -> None:
    agent.place({"BeforeInstall": "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done"})
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
    assert await coordinator.finished(COMMAND) == "SUCCEEDED"
    assert 10 < coordinator.finish_of("BeforeInstall").usage.cpu_ms < 20_000
    assert not coordinator.finish_of("AfterInstall").HasField("usage")


@pytest.mark.req("V2-252")
async def test_a_limit_that_cannot_be_kept_is_said_when_the_agent_starts(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    found = find()
    if not isinstance(found, NoGroups) and "memory" in found.controllers:
        pytest.skip("this machine has the controllers of the limits")
    agent.place({"BeforeInstall": "ulimit -n; ulimit -c"})
    await agent.start(hooks={"memory_max": "64MiB", "open_files_max": 333, "core_dumps": False})
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=["BeforeInstall"]))
    assert await coordinator.finished(COMMAND) == "SUCCEEDED"
    assert coordinator.finish_of("BeforeInstall").log_tail.splitlines()[2:4] == ["[stdout]333", "[stdout]0"]
    assert agent.log().count("hooks.limit_not_kept") == 1
    (warning,) = [text for text in agent.status()["warnings"] if "hooks.memory_max" in text]
    assert "cannot be enforced on this machine" in warning


@pytest.mark.req("AG-439", "V2-250")
async def test_the_agents_log_tells_how_each_script_ended(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    agent.place({"BeforeInstall": "true", "AfterInstall": "exit 9"})
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
    assert await coordinator.finished(COMMAND) == "FAILED"
    said = [line for line in agent.log().splitlines() if "hook." in line]
    assert ["hook.starting" in line for line in said] == [True, False, True, False]
    assert 'script=BeforeInstall.sh ended="exit status 0"' in said[1]
    assert 'script=AfterInstall.sh ended="exit status 9"' in said[3]


@pytest.mark.req("AG-464")
async def test_what_a_silence_of_the_agent_can_be_told_apart_by(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    """Version and clock with the first word, a stream that ends, and an answer that says: it waits in the queue."""
    coordinator.heartbeat_ms = 100
    waits = Gate(agent.home / "gate")
    agent.place({"BeforeInstall": waits.script})
    agent.place({"BeforeInstall": "true"}, deployment="d-2")
    await agent.start()
    session = await coordinator.connected()
    assert session.hello.protocol_version == PROTOCOL_VERSION
    assert session.hello.agent_version == __version__
    assert abs(session.hello.now - time.time() * 1000) < 60_000
    session.send(run_segment=run_segment(events=["BeforeInstall"]))
    await waits.arrived()
    session.send(run_segment=run_segment("d-2", events=["BeforeInstall"]))
    await coordinator.until(lambda: len(coordinator.acks) == 2, "both answers")
    assert [ack.disposition for ack in coordinator.acks] == [
        pb.COMMAND_DISPOSITION_STARTED,
        pb.COMMAND_DISPOSITION_QUEUED,
    ]
    await coordinator.until(
        lambda: any(list(beat.running_command_ids) == [COMMAND] for beat in coordinator.heartbeats),
        "a heartbeat",
    )
    await waits.open()
    assert await coordinator.finished("d-2/i-1/1/0") == "SUCCEEDED"
