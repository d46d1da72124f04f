"""`ferryman-agent start | stop | restart | reload` with real processes, against a coordinator that speaks real gRPC."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ferryman_agent.cli import service
from ferryman_agent.hooks import processes
from ferryman_agent.host import instance
from tests.support.agent_home import AgentHome, Gate, is_alive
from tests.support.fake_coordinator import FakeCoordinator, run_segment


@pytest.fixture
async def agent(coordinator: FakeCoordinator, tmp_path: Path) -> AsyncIterator[AgentHome]:
    """Enrolled and not started."""
    home = AgentHome(tmp_path / "agent")
    code, printed = await home.enroll(coordinator)
    assert code == 0, printed
    try:
        yield home
    finally:
        await home.run("stop", "--force")
        await home.close()


def supervisor_of(agent: AgentHome) -> int:
    holder = instance.find(agent.home / "pid" / "codedeploy-agent.supervisor.pid")
    return holder.pid if holder else 0


@pytest.mark.req("AG-018", "AG-016", "AG-017", "AG-019", "V2-290", "V2-292", "AG-055")
async def test_start_status_stop(coordinator: FakeCoordinator, agent: AgentHome) -> None:
    assert (await agent.run("status"))[0] == 3
    code, printed = await agent.run("start")
    assert code == 0, printed
    pid = int(printed.removeprefix("started (PID ").removesuffix(")\n"))
    assert (agent.home / "pid" / "codedeploy-agent.pid").read_text() == f"{pid}\n"
    await coordinator.connected()
    code, printed = await agent.run("status")
    assert code == 0
    assert f"is running with PID {pid}" in printed
    assert agent.status()["service_manager"] == "supervisor"
    # It belongs to nobody's terminal.
    own, found = processes.read(os.getpid()), processes.read(supervisor_of(agent))
    assert own is not None
    assert found is not None
    assert found.session == found.pid != own.session
    assert await agent.run("start") == (1, f"ferryman-agent: the agent is already running with PID {pid}\n")
    assert await agent.run("--config_file", str(agent.config), "stop") == (1, await _no_file(agent))
    supervisor = supervisor_of(agent)
    assert await agent.run("stop") == (0, "stopped\n")
    assert not is_alive(pid)
    assert not is_alive(supervisor)
    assert coordinator.session.goodbye is not None
    assert (await agent.run("status"))[0] == 3
    assert await agent.run("stop") == (0, "no ferryman-agent is running\n")


@pytest.mark.req("AG-018")
async def test_a_home_that_is_named_from_here_is_found_by_what_starts_elsewhere(
    coordinator: FakeCoordinator, agent: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor works in the root directory, to keep nobody from unmounting another."""
    monkeypatch.chdir(agent.home.parent)
    agent.environ["FERRYMAN_AGENT_HOME"] = agent.home.name
    code, printed = await agent.run("start")
    assert code == 0, printed
    await coordinator.connected()


async def _no_file(agent: AgentHome) -> str:
    """What every command says of a configuration that is named and not there: before or behind the command."""
    code, printed = await agent.run("stop", "--config", str(agent.config))
    assert code == 1
    assert str(agent.config) in printed
    return printed


@pytest.mark.req("AG-025", "AG-H04", "V2-036")
async def test_a_restart_right_after_the_start_does_not_hang(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    await coordinator.stop()
    code, first = await agent.run("start")
    assert code == 0, first
    code, second = await agent.run("restart")
    assert code == 0, second
    assert first != second
    await coordinator.start()
    await coordinator.connected()
    assert len(coordinator.sessions) == 1


@pytest.mark.req("AG-025")
async def test_stopped_before_anything_was_begun_nothing_is_waited_for(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    """A command of the former process waits to be gone on with; the new one is told to end before it can be."""
    waits = Gate(agent.home / "gate")
    agent.place({"BeforeInstall": waits.script, "AfterInstall": "sleep 1000"}, "d-1")
    agent.place({"BeforeInstall": "sleep 1000"}, "d-2")
    await agent.start(commands={"max_concurrent": 1})
    session = await coordinator.connected()
    session.send(run_segment=run_segment())
    await waits.arrived()
    session.send(run_segment=run_segment("d-2"))
    await coordinator.until(lambda: len(coordinator.acks) == 2)
    await agent.kill()
    pid_path = agent.home / "pid" / "codedeploy-agent.pid"
    for _ in range(3):
        await agent.start()
        await agent.until(lambda: int(pid_path.read_text()) == agent.pid)
        os.kill(agent.pid, signal.SIGTERM)
        os.kill(agent.pid, signal.SIGINT)
        assert await agent.ended() in (0, -signal.SIGTERM, -signal.SIGINT, 130)
    assert not (agent.root / "ongoing-deployment" / "d-2").exists()


@pytest.mark.req("AG-024", "V2-007", "V2-001")
async def test_an_agent_that_was_killed_comes_back_and_tells_what_became_of_its_event(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    waits = Gate(agent.home / "gate")
    agent.place({"BeforeInstall": waits.script})
    code, printed = await agent.run("start")
    assert code == 0, printed
    session = await coordinator.connected()
    session.send(run_segment=run_segment())
    script = await waits.arrived()
    pid = agent.status()["pid"]
    os.kill(pid, signal.SIGKILL)
    await agent.until(lambda: not is_alive(pid))
    code, printed = await agent.run("status")
    assert code == 3
    assert f"is started again by process {supervisor_of(agent)}" in printed
    code, printed = await agent.run("start")
    assert code == 1
    assert f"already being started, by process {supervisor_of(agent)}" in printed
    assert await coordinator.finished("d-1/i-1/1/0") == "FAILED"
    assert not is_alive(script)
    assert coordinator.finish_of("BeforeInstall").detail_code == "FAILED_AFTER_RESTART"
    assert agent.status()["pid"] != pid


async def test_a_start_that_fails_says_why_and_leaves_nobody_behind(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    (agent.home / "state" / "journal").mkdir()
    code, printed = await agent.run("start")
    assert code == 1
    assert "the agent does not start: cannot open the journal" in printed
    assert "Traceback" not in printed
    await agent.until(lambda: supervisor_of(agent) == 0)
    (agent.home / "state" / "journal").rmdir()
    (agent.home / "state" / "identity.json").rename(agent.home / "state" / "away")
    code, printed = await agent.run("start")
    assert code == 1
    assert "is not enrolled" in printed


@pytest.mark.req("AG-140", "V2-293")
async def test_restart_is_refused_inside_an_event_and_by_wait_comes_after_it(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    waits = Gate(agent.home / "gate")
    agent.place({"BeforeInstall": waits.script, "AfterInstall": f"touch {agent.home}/after"})
    assert (await agent.run("start"))[0] == 0
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
    await waits.arrived()
    pid = agent.status()["pid"]
    await agent.until(lambda: agent.status()["commands"])
    code, printed = await agent.run("restart")
    assert code == 1
    assert "BeforeInstall of d-1" in printed
    restarting = asyncio.create_task(agent.run("restart", "--wait"))
    await agent.until(lambda: agent.status()["is_draining"])
    await waits.open()
    code, printed = await restarting
    assert code == 0, printed
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
    assert agent.status()["pid"] != pid
    # A configuration that cannot be used stops nothing.
    pid = agent.status()["pid"]
    agent.config.write_text("root_dir: 3\n")
    code, printed = await agent.run("restart")
    assert code == 1
    assert "root_dir" in printed
    assert is_alive(pid)
    agent.config.unlink()


class TestReload:
    @pytest.mark.req("AG-067", "V2-295")
    async def test_what_can_change_does_without_dropping_what_runs(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        waits = Gate(agent.home / "gate")
        agent.place({"BeforeInstall": waits.script})
        await agent.start(log={"verbose": False})
        session = await coordinator.connected()
        session.send(run_segment=run_segment())
        script = await waits.arrived()
        agent.config.write_text(
            "log: {verbose: true}\nbundles: {max_revisions: 2}\nhooks: {kill_grace: 9s}\n"
        )
        assert await agent.run("reload") == (0, "reloaded\n")
        assert is_alive(script)
        log = agent.log()
        assert "config.reloaded" in log
        assert "log.verbose" in log
        assert "bundles.max_revisions" in log
        assert "config.needs_restart settings=hooks.kill_grace" in log
        await waits.open()
        assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
        session.send()
        await agent.until(lambda: " DEBUG " in agent.log())
        assert len(coordinator.sessions) == 1

    @pytest.mark.req("AG-067")
    async def test_a_file_with_mistakes_changes_nothing(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        await agent.start(log={"verbose": False})
        await coordinator.connected()
        agent.config.write_text("log: {verbose: 3}\n")
        code, printed = await agent.run("reload")
        assert code == 1
        assert "log.verbose" in printed
        os.kill(agent.pid, signal.SIGHUP)
        await agent.until(lambda: "config.not_reloaded" in agent.log())
        assert is_alive(agent.pid)

    async def test_nobody_to_reload_is_7(self, agent: AgentHome) -> None:
        assert await agent.run("reload") == (7, "ferryman-agent: no ferryman-agent is running\n")


@pytest.mark.req("V2-301")
async def test_systemd_hears_that_it_is_ready_that_it_lives_and_that_it_ends(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        address = f"\0ferryman-test-{os.getpid()}"
        listening.bind(address)
        listening.settimeout(20)
        agent.environ |= {"NOTIFY_SOCKET": f"@{address[1:]}", "WATCHDOG_USEC": "400000"}
        await agent.start()
        heard = {await asyncio.to_thread(listening.recv, 4096) for _ in range(6)}
        assert b"READY=1" in heard
        assert b"WATCHDOG=1" in heard
        await coordinator.connected()
        assert agent.status()["service_manager"] == "systemd"
        code, printed = await agent.run("restart")
        assert code == 1
        assert "systemd runs this agent: use `systemctl restart " in printed
        os.kill(agent.pid, signal.SIGHUP)
        while not (await asyncio.to_thread(listening.recv, 4096)).startswith(b"RELOADING=1\nMONOTONIC_USEC="):
            pass
        os.kill(agent.pid, signal.SIGTERM)
        while await asyncio.to_thread(listening.recv, 4096) != b"STOPPING=1":
            pass
        assert await agent.ended() == 0


@pytest.mark.req("AG-010")
def test_where_systemd_has_a_unit_for_it_there_is_no_second_way(tmp_path: Path) -> None:
    runs, folder = tmp_path / "systemd", str(tmp_path)
    runs.mkdir()
    assert not service.is_unit_installed((folder,), runs)
    (tmp_path / service.UNIT).touch()
    assert service.is_unit_installed((folder,), runs)
    runs.rmdir()
    assert not service.is_unit_installed((folder,), runs)


@pytest.mark.req("V2-297", "AG-018", "AG-056")
async def test_the_agent_that_is_started_reads_the_file_that_was_named(
    coordinator: FakeCoordinator, agent: AgentHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named.yml"
    named.write_text(f"program_name: another\nstate_dir: {agent.home}/state\nlog: {{verbose: true}}\n")
    monkeypatch.chdir(tmp_path)
    code, printed = await agent.run("--config_file", "named.yml", "start")
    assert code == 0, printed
    pid = int(printed.removeprefix("started (PID ").removesuffix(")\n"))
    assert str(named).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    assert (agent.home / "pid" / "another.pid").read_text() == f"{pid}\n"
    assert (agent.home / "log" / "another.log").exists()
    assert await agent.run("stop", "--config", "named.yml") == (0, "stopped\n")


@pytest.mark.req("V2-275")
async def test_what_the_start_says_is_written_through_no_link(agent: AgentHome) -> None:
    precious = agent.home / "precious"
    precious.write_text("precious")
    (agent.home / "log").mkdir(exist_ok=True)
    (agent.home / "log" / "codedeploy-agent.start.log").symlink_to(precious)
    code, printed = await agent.run("start")
    assert code == 1
    assert "codedeploy-agent.start.log" in printed
    assert "Traceback" not in printed
    assert precious.read_text() == "precious"
