"""The life of an agent's process: doors that it does not have, recovery, what `status` tells, memory, full disks."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman_agent import __version__
from tests.support.agent_home import AgentHome, Gate, is_alive
from tests.support.fake_coordinator import FakeCoordinator, a_description, run_segment
from tests.support.small_disk import small_disk

LISTENING = "0A"


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


def sockets_of(pid: int) -> tuple[list[str], list[str]]:
    """Remote ports of its TCP connections, and the sockets of any kind that it listens at."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{name}")
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    remote, listening = [], []
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                if fields[3] == LISTENING or kind.startswith("udp"):
                    listening.append(f"{kind} {fields[1]}")
                else:
                    remote.append(str(int(fields[2].rpartition(":")[2], 16)))
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[6] in inodes and int(fields[3], 16) & 0x10000:
            listening.append(f"unix {' '.join(fields[7:])}")
    return remote, listening


@pytest.mark.req(
    "AG-007", "AG-008", "AG-085", "AG-086", "AG-H14", "V2-320", "V2-321", "V2-322", "V2-323", "V2-324", "V2-325",
    "V2-326", "V2-327", "V2-328", "V2-330", "V2-331", "V2-344", "V2-345",
)  # fmt: skip
async def test_it_talks_to_its_coordinator_and_listens_to_nobody(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    """Neither a command port nor a metadata service: also while a hook runs, and where the original's key asks."""
    waits = Gate(agent.home / "gate")
    agent.place({"BeforeInstall": waits.script})
    agent.config.write_text("enable_command_port: true\n")
    await agent.start()
    session = await coordinator.connected()
    assert session.identity == "i-1", "who it is comes from its certificate"
    demand_no_door(coordinator, agent)
    session.send(run_segment=run_segment())
    await waits.arrived()
    demand_no_door(coordinator, agent)
    warnings = agent.status()["warnings"]
    assert any("enable_command_port" in warning for warning in warnings)
    await waits.open()
    await coordinator.finished("d-1/i-1/1/0")


def demand_no_door(coordinator: FakeCoordinator, agent: AgentHome) -> None:
    remote, listening = sockets_of(agent.pid)
    assert set(remote) == {str(coordinator.agents_port)}
    assert listening == []
    assert not list(agent.home.rglob(".command-port"))


@pytest.mark.req("AG-542", "V2-329", "V2-018")
async def test_the_status_in_json_tells_all_that_goes_on(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    waits = Gate(agent.home / "gate")
    agent.place({"BeforeInstall": "exit 3"}, "d-0")
    agent.place({"BeforeInstall": waits.script}, "d-1")
    agent.place({"BeforeInstall": "true"}, "d-2")
    coordinator.now_ms = 1_700_000_000_000
    agent.config.write_text("enable_command_port: true\n")
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment("d-0"))
    assert await coordinator.finished("d-0/i-1/1/0") == "FAILED"
    session.send(run_segment=run_segment("d-1"))
    await waits.arrived()
    session.send(run_segment=run_segment("d-2"))
    await coordinator.until(lambda: len(coordinator.acks) == 3)
    await agent.until(lambda: len(agent.status()["commands"]) == 2 and agent.status()["results"])
    code, printed = await agent.run("status", "--json")
    assert code == 0
    told = json.loads(printed)
    assert told["running"] is True
    assert told["pid"] == agent.pid
    assert told["version"] == __version__
    assert told["instance_id"] == "i-1"
    assert told["coordinator"] == f"localhost:{coordinator.agents_port}"
    assert told["link"]["state"] == "connected"
    assert told["link"]["last_contact_at"] >= told["link"]["last_connected_at"] >= told["started_at"]
    assert told["link"]["clock_skew_ms"] > 300_000
    assert told["certificate_expires_at"] > told["started_at"]
    running, queued = told["commands"]
    assert (running["deployment_id"], running["is_running"]) == ("d-1", True)
    assert running["lifecycle_event"] == "BeforeInstall"
    assert running["since"] >= told["started_at"]
    assert (queued["deployment_id"], queued["is_running"]) == ("d-2", False)
    (result,) = told["results"]
    assert (result["group_id"], result["deployment_id"], result["status"]) == ("g-1", "d-0", "Failed")
    assert 0 < told["disk_free_bytes"] <= told["disk_total_bytes"]
    assert any("enable_command_port" in warning for warning in told["warnings"])
    code, printed = await agent.run("status")
    assert "CLOCK_WRONG" in printed
    await waits.open()
    await coordinator.finished("d-2/i-1/1/0")


@pytest.mark.req("V2-332", "V2-276")
async def test_a_status_that_cannot_be_written_stops_nothing(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    (agent.home / "state" / "status.json").mkdir()
    agent.place(
        {"BeforeInstall": f"rm -rf {agent.home}/log; mkdir {agent.home}/log; touch {agent.home}/log/x"}
    )
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment())
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"


@pytest.mark.req("AG-135", "AG-136", "V2-003", "AG-102")
async def test_recovery_is_once_a_start_and_its_result_waits_for_the_coordinator(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    waits = Gate(agent.home / "gate")
    agent.place({"BeforeInstall": waits.script})
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment())
    await waits.arrived()
    await coordinator.until(lambda: "script BeforeInstall BeforeInstall.sh" in coordinator.story())
    await coordinator.stop()
    # Two starts with nobody to tell.
    for _ in range(2):
        await agent.kill()
        await agent.start()
        await agent.until(lambda: agent.status()["pid"] == agent.pid and agent.status()["reports_waiting"])
    assert agent.log().count("command.recovered") == 1
    await coordinator.start()
    assert await coordinator.finished("d-1/i-1/1/0") == "FAILED"
    for count in (3, 4):
        coordinator.session.end()
        await coordinator.connected(count)
    assert agent.log().count("command.recovered") == 1
    assert coordinator.story().count("end FAILED") == 1


@pytest.mark.req("AG-028", "AG-H17")
async def test_what_an_install_took_is_given_back(coordinator: FakeCoordinator, agent: AgentHome) -> None:
    bundle, target = agent.home / "bundle.zip", agent.home / "srv"
    with zipfile.ZipFile(bundle, "w") as archive:
        spec = f"version: 0.0\nos: linux\nfiles:\n  - {{source: app, destination: {target}}}\n"
        archive.writestr("appspec.yml", spec)
        for number in range(4_000):
            archive.writestr(f"app/{number % 50}/a-file-with-a-name-of-some-length-{number}.txt", str(number))
    await agent.start()
    session = await coordinator.connected()
    described = a_description("d-1", "g-1", download_url=f"file://{bundle}")
    described.revision.bundle.sha256 = hashlib.sha256(bundle.read_bytes()).hexdigest()
    described.revision.bundle.size_bytes = bundle.stat().st_size
    events = ["DownloadBundle", "Install"]
    command = pb.RunSegment(command_id="d-1/i-1/1/0", deployment=described, lifecycle_events=events)
    session.send(run_segment=command)
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED", coordinator.story()
    assert len(list(target.rglob("*.txt"))) == 4_000
    await agent.until(lambda: resident_mib(agent.pid) < 75)


@pytest.mark.req("AG-028")
async def test_an_agent_that_waits_has_loaded_nothing_that_it_does_not_need(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    """Each of these would be megabytes on every machine; they come with the first work that needs them."""
    await agent.start()
    await coordinator.connected()
    mapped = Path(f"/proc/{agent.pid}/maps").read_text()
    for library in ("/_ssl.", "libcrypto", "/_hashlib.", "/_rust.", "greenlet", "/_http_parser"):
        assert library not in mapped
    assert "cygrpc" in mapped
    assert resident_mib(agent.pid) < 75


_HEAP_BYTES = 64 << 20


@pytest.mark.req("AG-028")
async def test_all_threads_of_an_agent_share_one_heap(coordinator: FakeCoordinator, agent: AgentHome) -> None:
    """glibc puts that of each other thread, 64 MiB of addresses, where they can be divided by their length."""
    agent.place({"BeforeInstall": "echo done"})
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment())
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED", coordinator.story()
    maps = [line.split() for line in Path(f"/proc/{agent.pid}/maps").read_text().splitlines()]
    places = [tuple(int(end, 16) for end in line[0].split("-")) for line in maps if len(line) == 5]
    ends = {end for _, end in places}
    heaps = [begin for begin, _ in places if begin % _HEAP_BYTES == 0 and begin + _HEAP_BYTES in ends]
    assert heaps == []


def resident_mib(pid: int) -> float:
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


class TestFullDisk:
    @pytest.mark.req("AG-029", "AG-S10")
    async def test_without_room_for_its_state_it_says_so_and_does_not_loop(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        state = agent.home / "state"
        identity = (state / "identity.json").read_bytes()
        with small_disk(state, 64 * 1024):
            (state / "identity.json").write_bytes(identity)
            (state / "identity.json").chmod(0o600)
            fill(state / "filler")
            for command in ("run", "start"):
                code, printed = await agent.run(command)
                assert code == 1, printed
                assert "No space left on device" in printed
                assert str(state) in printed
                assert "Traceback" not in printed
            assert not (agent.home / "pid" / "codedeploy-agent.pid").exists()

    @pytest.mark.req("AG-029", "V2-276", "AG-444")
    async def test_without_room_for_logs_deployments_go_on(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        agent.place({"BeforeInstall": f"echo ran >> {agent.home}/story"})
        log = agent.home / "log"
        with small_disk(log, 64 * 1024):
            await agent.start()
            session = await coordinator.connected()
            fill(log / "filler")
            session.send(run_segment=run_segment())
            assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
            os.kill(agent.pid, signal.SIGTERM)
            assert await agent.ended() == 0
        assert (agent.home / "story").read_text() == "ran\n"

    @pytest.mark.req("AG-029", "AG-215")
    async def test_without_room_for_a_revision_the_event_fails_with_the_cause(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        with small_disk(agent.root, 1024 * 1024):
            await agent.start(bundles={"min_free_disk": "0"})
            session = await coordinator.connected()
            bundle = agent.home / "bundle.zip"
            with zipfile.ZipFile(bundle, "w") as archive:
                archive.writestr("appspec.yml", "version: 0.0\nos: linux\n")
                archive.writestr("app/large", os.urandom(2 * 1024 * 1024))
            described = a_description("d-1", "g-1", download_url=f"file://{bundle}")
            described.revision.bundle.sha256 = hashlib.sha256(bundle.read_bytes()).hexdigest()
            described.revision.bundle.size_bytes = bundle.stat().st_size
            command = pb.RunSegment(
                command_id="d-1/i-1/1/0", deployment=described, lifecycle_events=["DownloadBundle"]
            )
            session.send(run_segment=command)
            assert await coordinator.finished("d-1/i-1/1/0") == "FAILED"
            failed = coordinator.finish_of("DownloadBundle")
            assert "space" in failed.message.lower() or "disk" in failed.message.lower()
            assert is_alive(agent.pid)
            await agent.close()

    @pytest.mark.req("AG-062", "AG-023")
    async def test_a_root_that_is_read_only_is_named(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        with small_disk(agent.root, 1024 * 1024):
            subprocess.run(["mount", "-o", "remount,ro", str(agent.root)], check=True)
            code, printed = await agent.run("start")
            assert code == 1
            assert f"root_dir {agent.root}: Read-only file system" in printed


def fill(path: Path) -> None:
    """Leaves no room beside it."""
    with open(path, "wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


@pytest.mark.req("AG-470")
async def test_a_failed_deployment_leaves_the_host_as_it_is_and_status_says_how_far_it_came(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    archive = agent.place({"AfterInstall": "exit 3", "ApplicationStart": "touch started"})
    (archive / "page").write_text("new")
    site = agent.home / "site"
    spec = (archive / "appspec.yml").read_text()
    (archive / "appspec.yml").write_text(f"{spec}files: [{{source: page, destination: {site}}}]\n")
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=("Install", "AfterInstall", "ApplicationStart")))
    assert await coordinator.finished("d-1/i-1/1/0") == "FAILED"
    assert (site / "page").read_text() == "new"
    await agent.until(lambda: agent.status()["results"])
    # Also one that has started since knows it, and that ApplicationStart was skipped.
    await agent.kill()
    await agent.start()
    await coordinator.connected(2)
    await agent.until(lambda: agent.status()["results"])
    (result,) = agent.status()["results"]
    assert (result["status"], result["lifecycle_event"]) == ("Failed", "AfterInstall")
    assert (site / "page").read_text() == "new"
    code, printed = await agent.run("status")
    assert code == 0
    assert "d-1 Failed after AfterInstall, " in printed


@pytest.mark.req("AG-470")
async def test_a_stopped_deployment_leaves_the_host_as_it_is(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    waits = Gate(agent.home / "gate")
    archive = agent.place({"AfterInstall": waits.script, "ApplicationStart": "touch started"})
    (archive / "page").write_text("new")
    site = agent.home / "site"
    spec = (archive / "appspec.yml").read_text()
    (archive / "appspec.yml").write_text(f"{spec}files: [{{source: page, destination: {site}}}]\n")
    await agent.start()
    session = await coordinator.connected()
    command = run_segment(events=("Install", "AfterInstall", "ApplicationStart"))
    session.send(run_segment=command)
    await waits.arrived()
    session.send(cancel=pb.Cancel(command_id=command.command_id, reason="stop"))
    # A round trip behind the cancellation: it has been taken in.
    session.send(run_segment=command)
    await coordinator.until(lambda: len(coordinator.acks) == 2)
    await waits.open()
    assert await coordinator.finished(command.command_id) == "SKIPPED"
    await agent.until(lambda: agent.status()["results"])
    code, printed = await agent.run("status", "--json")
    assert code == 0
    (result,) = json.loads(printed)["results"]
    assert (result["status"], result["lifecycle_event"]) == ("Skipped", "AfterInstall")
    assert (site / "page").read_text() == "new"
    assert [path.name for path in site.iterdir()] == ["page"]
    assert not list(agent.home.rglob("started"))
