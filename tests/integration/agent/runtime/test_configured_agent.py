"""What settings do to a real agent process: traces, numbers, modes, and who it runs as."""

from __future__ import annotations

import grp
import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ferryman_agent import __version__
from tests.support.agent_home import AgentHome, Gate
from tests.support.fake_coordinator import FakeCoordinator, run_segment
from tests.support.users import temporary_user


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[AgentHome]:
    made = AgentHome(tmp_path)
    yield made
    await made.close()


async def deployed(home: AgentHome, coordinator: FakeCoordinator, script: str = "echo hello") -> None:
    """Runs one segment of one hook to its end."""
    home.place({"AfterInstall": script})
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=("AfterInstall",)))
    await coordinator.finished("d-1/i-1/1/0")


@pytest.mark.req("AG-071")
async def test_the_stream_is_traced_by_its_own_switch_only(
    home: AgentHome, coordinator: FakeCoordinator
) -> None:
    await home.enroll(coordinator)
    await home.start(log={"downloads_wire": True})
    await coordinator.connected()
    await home.until(lambda: "traces downloads" in home.log())
    assert "wire.sent" not in home.log()
    await home.close()
    await home.start(log={"coordinator_wire": True})
    await coordinator.connected(2)
    await home.until(lambda: "wire.received kind=welcome" in home.log())
    assert "wire.sent kind=hello" in home.log()


@pytest.mark.req("AG-544", "AG-545", "AG-546")
async def test_history_logs_and_metrics_of_a_deployment(
    home: AgentHome, coordinator: FakeCoordinator
) -> None:
    await home.enroll(coordinator)
    metrics = home.home / "ferryman.prom"
    await home.start(metrics_file=str(metrics))
    await deployed(home, coordinator, "echo to be seen; exit 3")
    await home.until(metrics.exists)
    _, told = await home.run("history", "--json")
    (kept,) = json.loads(told)["deployments"]
    assert kept["deployment_id"] == "d-1"
    assert kept["result"].startswith("Failed at AfterInstall")
    assert kept["size_bytes"] > 0
    assert kept["revision"]
    assert kept["ended_at"] > 1_700_000_000_000
    code, told = await home.run("logs")
    assert code == 0
    assert "to be seen" in told
    assert (await home.run("logs", "--deployment", "d-1"))[1] == told
    code, told = await home.run("logs", "--deployment", "d-none")
    assert code == 1
    assert "ferryman-agent history" in told
    text = metrics.read_text()
    assert 'ferryman_agent_lifecycle_events_total{event="AfterInstall",code="SCRIPT_EXIT_STATUS"} 1' in text
    assert 'ferryman_agent_lifecycle_event_seconds_count{event="AfterInstall"} 1' in text
    assert stat.S_IMODE(metrics.stat().st_mode) == 0o644


@pytest.mark.req("AG-542")
async def test_status_has_all_that_there_is_to_know(home: AgentHome, coordinator: FakeCoordinator) -> None:
    await home.enroll(coordinator)
    await home.start(nonsense=1)
    gate = Gate(home.home / "gate")
    home.place({"AfterInstall": "exit 1"}, "d-0")
    home.place({"AfterInstall": gate.script}, "d-1")
    home.place({"AfterInstall": "true"}, "d-2")
    session = await coordinator.connected()
    session.send(run_segment=run_segment("d-0", events=("AfterInstall",)))
    await coordinator.finished("d-0/i-1/1/0")
    for deployment in ("d-1", "d-2"):
        session.send(run_segment=run_segment(deployment, events=("AfterInstall",)))
    await gate.arrived()
    await home.until(lambda: len(home.status()["commands"]) == 2)
    code, told = await home.run("status", "--json")
    await gate.open()
    assert code == 0
    facts = json.loads(told)
    assert facts["version"] == __version__
    assert facts["instance_id"] == "i-1"
    assert facts["coordinator"].endswith(str(coordinator.agents_port))
    assert facts["link"]["state"] == "connected"
    assert facts["link"]["last_contact_at"] > 1_700_000_000_000
    assert "clock_skew_ms" in facts["link"]
    first, second = facts["commands"]
    assert (first["deployment_id"], first["lifecycle_event"], first["is_running"]) == (
        "d-1",
        "AfterInstall",
        True,
    )
    assert (second["deployment_id"], second["is_running"]) == ("d-2", False)
    assert 0 <= first["elapsed_seconds"] < 60
    assert [(each["deployment_id"], each["status"]) for each in facts["results"]] == [("d-0", "Failed")]
    assert 0 < facts["disk_free_bytes"] < facts["disk_total_bytes"]
    assert any("nonsense" in warning for warning in facts["warnings"])


@pytest.mark.req("V2-346", "AG-S18", "AG-092")
async def test_a_coordinator_that_is_not_there_yet_is_said_and_waited_for(
    home: AgentHome, coordinator: FakeCoordinator
) -> None:
    await home.enroll(coordinator)
    await coordinator.stop()
    await home.start()
    await home.until(lambda: home.status()["link"]["problem"])
    _, told = await home.run("status")
    assert "not connected" in told
    assert "refused" in told.lower()
    assert "refused" in home.log().lower()
    await coordinator.start()
    await coordinator.connected()
    await home.until(lambda: home.status()["link"]["state"] == "connected")


UNPRIVILEGED = """
import os, sys
from ferryman_agent import wiring
from ferryman_agent.config import load
from ferryman_agent.errors import ConfigError
loaded = load(None, os.environ)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    wiring.demand_directories(loaded.config)
except ConfigError as error:
    print(error)
"""


@pytest.mark.req("AG-069", "AG-062")
def test_who_may_not_write_is_told_what_to_set_or_whom_to_be(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    environ = {**os.environ, "FERRYMAN_AGENT_HOME": str(home)}
    command = [sys.executable, "-c", UNPRIVILEGED]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    for name in ("root_dir", "log_dir", "pid_dir", "state_dir"):
        assert f"{name} {home}" in done.stdout
    assert "Permission denied" in done.stdout
    assert "set them in the configuration, or start the agent as a user who may write there" in done.stdout


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.req("V2-272", "V2-284", "AG-K23")
async def test_modes_follow_the_configuration_in_both_directions(
    home: AgentHome, coordinator: FakeCoordinator
) -> None:
    await home.enroll(coordinator)
    log = home.home / "log" / "codedeploy-agent.log"
    expected = {"default": (0o711, 0o750, 0o640), "compat": (0o755, 0o755, 0o644)}
    for count, profile in enumerate(("default", "compat", "default"), start=1):
        log.unlink(missing_ok=True)
        await home.start(profile=profile, commands={"ongoing_directory": "in-flight"})
        await coordinator.connected(count)
        await home.until(log.exists)
        found = mode(home.root), mode(home.home / "log"), mode(log)
        assert found == expected[profile]
        assert mode(home.home / "state") == 0o700
        assert (home.root / "in-flight").is_dir()
        assert not (home.root / "ongoing-deployment").exists()
        await home.close()


BECOME = """
import os, sys
from pathlib import Path
from ferryman_agent import wiring
from ferryman_agent.config import load
loaded = load(None, os.environ)
wiring.become_user(loaded.config)
wiring.demand_directories(loaded.config)
print(*os.getresuid(), *os.getresgid())
print(*os.getgroups())
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""


@pytest.mark.req("AG-063", "AG-K22")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("group", ["", "daemon"])
def test_root_becomes_the_user_that_is_named_for_good(tmp_path: Path, group: str) -> None:
    with temporary_user() as user:
        # pytest's directories are for root alone.
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_mode & 0o001 == 0:
                folder.chmod(folder.stat().st_mode | 0o011)
        home = tmp_path / "agent"
        home.mkdir()
        (home / "ferrymanagent.yml").write_text(
            f"user: {user.pw_name}\n" + (f"group: {group}\n" if group else "")
        )
        environ = {**os.environ, "FERRYMAN_AGENT_HOME": str(home)}
        command = [sys.executable, "-c", BECOME]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        ids, groups, last = done.stdout.splitlines()
        daemon = grp.getgrnam("daemon").gr_gid
        gid = daemon if group else user.pw_gid
        assert ids.split() == [str(user.pw_uid)] * 3 + [str(gid)] * 3
        assert set(groups.split()) == {str(gid), str(daemon)}
        assert last == "for good"
        for name in ("state", "deployment-root", "log", "pid"):
            found = (home / name).stat()
            assert (found.st_uid, found.st_gid) == (user.pw_uid, gid)
