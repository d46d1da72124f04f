"""The agent as a process with real hooks, against a coordinator that speaks real gRPC: what it does exactly once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import zipfile
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman_agent.core.messages import Instant
from ferryman_agent.host import identity
from tests.support.agent_home import AgentHome, Gate, is_alive
from tests.support.fake_coordinator import FakeCoordinator, a_description, run_segment

STARTED = pb.COMMAND_DISPOSITION_STARTED
QUEUED = pb.COMMAND_DISPOSITION_QUEUED
KNOWN = pb.COMMAND_DISPOSITION_KNOWN
REFUSED = pb.COMMAND_DISPOSITION_REFUSED


def gate(agent: AgentHome, name: str = "gate") -> Gate:
    return Gate(agent.home / name)


def noting(agent: AgentHome, more: str = "true") -> str:
    """A script that writes down that it ran."""
    return f'echo "$DEPLOYMENT_ID $LIFECYCLE_EVENT" >> {agent.home}/story; {more}'


def story(agent: AgentHome) -> list[str]:
    path = agent.home / "story"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.req(
    "AG-119",
    "AG-190",
    "V2-042",
    "V2-046",
    "AG-099",
    "AG-108",
    "AG-113",
    "AG-T70",
    "V2-043",
    "AG-H08",
    "AG-X12",
)
async def test_a_segment_from_command_to_end(coordinator: FakeCoordinator, agent: AgentHome) -> None:
    agent.place({"AfterInstall": noting(agent, "echo said"), "ApplicationStart": noting(agent)})
    await agent.start()
    session = await coordinator.connected()
    assert session.hello.agent_version
    assert session.hello.facts.boot_id
    command = run_segment(events=["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"])
    session.send(run_segment=command)
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
    assert coordinator.story() == [
        "start BeforeInstall",
        "SUCCEEDED BeforeInstall",
        "start AfterInstall",
        "script AfterInstall AfterInstall.sh",
        "SUCCEEDED AfterInstall",
        "start ApplicationStart",
        "script ApplicationStart ApplicationStart.sh",
        "SUCCEEDED ApplicationStart",
        "start ValidateService",
        "SUCCEEDED ValidateService",
        "end SUCCEEDED",
    ]
    assert [ack.disposition for ack in coordinator.acks] == [STARTED]
    assert story(agent) == ["d-1 AfterInstall", "d-1 ApplicationStart"]
    await coordinator.until(lambda: coordinator.lines, "live output")
    assert "said" in [line.text for lines in coordinator.lines for line in lines.lines]
    assert not (agent.root / "ongoing-deployment" / "d-1").exists()


async def test_the_status_tells_when_the_coordinator_has_every_report(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    agent.place({"AfterInstall": noting(agent)})
    await agent.start()
    session = await coordinator.connected()
    coordinator.is_acknowledging = False
    session.send(run_segment=run_segment(events=["AfterInstall"]))
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
    await agent.until(lambda: bool(agent.status()["results"]) and agent.status()["reports_waiting"] > 0)
    # Nothing else happens that would have the file written.
    coordinator.acknowledge(agent.status()["reports_waiting"])
    await agent.until(lambda: agent.status()["reports_waiting"] == 0)


async def test_an_agent_in_a_directory_that_others_can_move_says_so(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    agent.home.chmod(0o777)
    await agent.start()
    await coordinator.connected()
    warnings = agent.status()["warnings"]
    assert [warning.split(" ")[0] for warning in warnings] == ["root_dir", "state_dir", "pid_dir"]
    log = (agent.home / "log" / "codedeploy-agent.log").read_text()
    assert log.count(f"{agent.home} can be written to by others (mode 0777)") == 3


@pytest.mark.req("AG-101", "V2-034", "AG-102")
async def test_a_command_that_comes_again_is_answered_and_not_run_again(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    waits = gate(agent)
    agent.place({"BeforeInstall": noting(agent, waits.script)})
    await agent.start()
    session = await coordinator.connected()
    for _ in range(3):
        session.send(run_segment=run_segment())
    await waits.arrived()
    await coordinator.until(lambda: len(coordinator.acks) == 3, "three answers")
    assert [ack.disposition for ack in coordinator.acks] == [STARTED, KNOWN, KNOWN]
    await waits.open()
    await coordinator.finished("d-1/i-1/1/0")

    # Also after it ended, also after a restart; and its end is told again to a coordinator that has lost it.
    before = len(coordinator.reports)
    coordinator.session.send(run_segment=run_segment())
    await coordinator.until(lambda: len(coordinator.reports) == before + 2, "the end told again")
    await agent.kill()
    await agent.start()
    session = await coordinator.connected(2)
    session.send(run_segment=run_segment())
    await coordinator.until(lambda: len(coordinator.acks) == 5, "the fifth answer")
    await coordinator.until(lambda: len(coordinator.reports) == before + 4, "the end told a third time")
    assert story(agent) == ["d-1 BeforeInstall"]


@pytest.mark.req("V2-001", "V2-002", "V2-008", "AG-133", "AG-137", "AG-H05", "AG-S19")
async def test_killed_inside_a_hook(coordinator: FakeCoordinator, agent: AgentHome) -> None:
    waits = gate(agent)
    child = agent.home / "child"
    agent.place(
        {
            "BeforeInstall": noting(agent),
            "AfterInstall": noting(agent, f"sleep 1000 & echo $! > {child}; {waits.script}"),
            "ApplicationStart": noting(agent),
        }
    )
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall", "ApplicationStart"]))
    script = await waits.arrived()
    await coordinator.until(lambda: "script AfterInstall AfterInstall.sh" in coordinator.story())
    await agent.kill()
    sleeper = int(child.read_text())
    assert is_alive(script)
    assert is_alive(sleeper)

    await agent.start()
    session = await coordinator.connected(2)
    assert list(session.hello.open_command_ids) == ["d-1/i-1/1/0"]
    # What the coordinator sends again on every new stream must change nothing.
    session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall", "ApplicationStart"]))
    assert await coordinator.finished("d-1/i-1/1/0") == "FAILED"
    assert not is_alive(script)
    assert not is_alive(sleeper)
    assert coordinator.story()[-2:] == ["FAILED AfterInstall", "end FAILED"]
    failed = coordinator.finish_of("AfterInstall")
    assert failed.detail_code == "FAILED_AFTER_RESTART"
    assert failed.script_name == "AfterInstall.sh"
    assert sorted(coordinator.reports) == list(range(1, len(coordinator.reports) + 1))
    assert story(agent) == ["d-1 BeforeInstall", "d-1 AfterInstall"]


async def test_killed_between_two_events_it_goes_on_by_itself(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    """D3: nobody tells it to; the coordinator is away when it comes back."""
    waits = gate(agent)
    agent.place({"BeforeInstall": noting(agent), "AfterInstall": noting(agent)})
    agent.place({"BeforeInstall": waits.script}, deployment="d-0")
    await agent.start(commands={"max_concurrent": 1})
    session = await coordinator.connected()
    session.send(run_segment=run_segment("d-0"))
    await waits.arrived()
    session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
    await coordinator.until(lambda: len(coordinator.acks) == 2)
    assert [ack.disposition for ack in coordinator.acks] == [STARTED, QUEUED]
    await coordinator.stop()
    await agent.kill()
    await agent.start()
    # The first command's hook was interrupted; the second had not begun and runs without being asked again.
    await agent.until(lambda: len(story(agent)) == 2)
    await coordinator.start()
    await coordinator.connected(2)
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
    assert await coordinator.finished("d-0/i-1/1/0") == "FAILED"
    assert coordinator.story("d-1/i-1/1/0")[0] == "command_started"


@pytest.mark.req("AG-107", "V2-009", "AG-T73")
async def test_a_coordinator_that_is_away_interrupts_nothing(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    waits = gate(agent)
    agent.place({"BeforeInstall": waits.script, "AfterInstall": noting(agent)})
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
    await waits.arrived()
    coordinator.is_acknowledging = False
    await coordinator.until(lambda: "script BeforeInstall BeforeInstall.sh" in coordinator.story())
    await coordinator.stop()
    await waits.open()
    await agent.until(lambda: story(agent))
    heard = len(coordinator.report_copies)
    await coordinator.start()
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
    again = coordinator.report_copies[heard:]
    assert again == list(range(coordinator.acknowledged + 1, max(coordinator.reports) + 1)), "again, in order"
    assert again[0] in coordinator.report_copies[:heard]
    # Acknowledged, they are not sent once more, also not after a restart.
    coordinator.acknowledge(max(coordinator.reports))
    await agent.until(lambda: agent.status()["reports_waiting"] == 0)
    before = list(coordinator.report_copies)
    await agent.kill()
    await agent.start()
    await coordinator.connected(len(coordinator.sessions) + 1)
    assert coordinator.report_copies == before


@pytest.mark.req("AG-122", "AG-124", "V2-045", "CP-418")
async def test_commands_of_one_group_wait_for_each_other_and_other_groups_do_not(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    first, other = gate(agent, "first"), gate(agent, "other")
    agent.place({"BeforeInstall": first.script}, "d-1", "g-1")
    agent.place({"BeforeInstall": noting(agent)}, "d-2", "g-1")
    agent.place({"BeforeInstall": other.script}, "d-3", "g-2")
    await agent.start()
    session = await coordinator.connected()
    for deployment, group in (("d-1", "g-1"), ("d-2", "g-1"), ("d-3", "g-2")):
        session.send(run_segment=run_segment(deployment, group))
    await asyncio.gather(first.arrived(), other.arrived())
    await coordinator.until(lambda: len(coordinator.acks) == 3)
    assert [ack.disposition for ack in coordinator.acks] == [STARTED, QUEUED, STARTED]
    assert coordinator.story("d-2/i-1/1/0") == []
    assert (agent.root / "ongoing-deployment" / "d-3").read_text() == "d-3/i-1/1/0"
    await first.open()
    await coordinator.finished("d-2/i-1/1/0")
    numbers = {_end_of(coordinator, deployment): deployment for deployment in ("d-1", "d-2")}
    assert [numbers[number] for number in sorted(numbers)] == ["d-1", "d-2"]
    assert coordinator.story("d-2/i-1/1/0")[0] == "command_started"
    assert story(agent) == ["d-2 BeforeInstall"]
    await other.open()
    await coordinator.finished("d-3/i-1/1/0")


def _end_of(coordinator: FakeCoordinator, deployment: str) -> int:
    return next(
        number
        for number, report in coordinator.reports.items()
        if report.command_id.startswith(f"{deployment}/") and report.HasField("segment_finished")
    )


class TestCancel:
    @pytest.mark.req("AG-126", "AG-127")
    async def test_the_running_event_ends_and_the_rest_is_skipped(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        waits = gate(agent)
        agent.place({"BeforeInstall": waits.script, "AfterInstall": noting(agent)})
        await agent.start()
        session = await coordinator.connected()
        session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
        await waits.arrived()
        for _ in range(2):
            session.send(cancel=pb.Cancel(command_id="d-1/i-1/1/0", reason="stop"))
        # A round trip behind the cancellation: it has been taken in.
        session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
        await coordinator.until(lambda: len(coordinator.acks) == 2)
        await waits.open()
        assert await coordinator.finished("d-1/i-1/1/0") == "SKIPPED"
        assert coordinator.story()[-2:] == ["SUCCEEDED BeforeInstall", "end SKIPPED"]
        assert story(agent) == []

    @pytest.mark.req("AG-128", "V2-257", "AG-X52")
    async def test_with_kill_the_hook_is_ended(self, coordinator: FakeCoordinator, agent: AgentHome) -> None:
        waits = gate(agent)
        agent.place({"BeforeInstall": waits.script})
        await agent.start()
        session = await coordinator.connected()
        session.send(run_segment=run_segment())
        script = await waits.arrived()
        session.send(cancel=pb.Cancel(command_id="d-1/i-1/1/0", kill=True))
        assert await coordinator.finished("d-1/i-1/1/0") == "SKIPPED"
        assert not is_alive(script)
        assert coordinator.story()[-2:] == ["SKIPPED BeforeInstall", "end SKIPPED"]
        assert coordinator.finish_of("BeforeInstall").detail_code == "STOPPED"

    async def test_of_a_command_that_comes_late_keeps_it_from_starting(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        agent.place({"BeforeInstall": noting(agent)})
        await agent.start()
        session = await coordinator.connected()
        session.send(cancel=pb.Cancel(command_id="d-1/i-1/1/0"))
        assert await coordinator.finished("d-1/i-1/1/0") == "SKIPPED"
        await agent.kill()
        await agent.start()
        session = await coordinator.connected(2)
        session.send(run_segment=run_segment())
        await coordinator.until(lambda: coordinator.acks)
        assert coordinator.acks[0].disposition == KNOWN
        session.send(run_segment=run_segment(attempt=2))
        await coordinator.finished("d-1/i-1/2/0")
        assert story(agent) == ["d-1 BeforeInstall"], "the second attempt alone"


@pytest.mark.req("AG-087", "AG-110", "AG-117", "V2-040", "AG-X41")
async def test_commands_that_cannot_be_run_fail_at_once_and_make_no_directory(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    await agent.start()
    session = await coordinator.connected()
    bad = {
        "d-1/i-2/1/0": run_segment(instance="i-2"),
        "d-2/i-1/1/0": run_segment("d-2", events=["Instal"]),
        "d-3/i-1/1/0": run_segment("d-3", events=["BlockTraffic"]),
        "d-4/i-1/1/0": run_segment("d-4", "../x"),
    }
    for command_id, command in bad.items():
        session.send(run_segment=command)
        assert await coordinator.finished(command_id) == "FAILED"
    assert {ack.disposition for ack in coordinator.acks} == {REFUSED}
    assert "Instal" in coordinator.acks[1].reason
    assert not (agent.root.parent / "x").exists()
    assert not any((agent.root / name).exists() for name in ("g-1", "x"))


class TestStop:
    @pytest.mark.req("AG-140", "V2-293", "AG-T72", "AG-016", "AG-017", "AG-H24")
    async def test_refused_inside_an_event_and_by_wait_after_it(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        waits = gate(agent)
        agent.place({"BeforeInstall": waits.script, "AfterInstall": noting(agent)})
        assert (await agent.run("status"))[0] == 3
        await agent.start()
        session = await coordinator.connected()
        session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
        script = await waits.arrived()
        await agent.until(lambda: agent.status()["commands"])
        code, printed = await agent.run("status")
        assert code == 0
        assert f"PID {agent.pid}" in printed
        assert "name-of-g-1: d-1 BeforeInstall" in printed
        assert ", connected since" in printed
        code, printed = await agent.run("stop")
        assert code == 1
        assert "BeforeInstall of d-1" in printed
        stopping = asyncio.create_task(agent.run("stop", "--wait"))
        # It takes no further command, and goes on from here when it is started again (AG-142).
        await agent.until(lambda: agent.status()["is_draining"])
        session.send(run_segment=run_segment("d-2"))
        await waits.open()
        assert await stopping == (0, "stopped\n")
        assert await agent.ended() == 0
        assert not is_alive(script)
        assert coordinator.session.goodbye is not None
        assert coordinator.story()[-1] == "SUCCEEDED BeforeInstall"
        assert [ack.command_id for ack in coordinator.acks] == ["d-1/i-1/1/0"]
        assert (await agent.run("status"))[0] == 3
        await agent.start()
        await coordinator.connected(2)
        assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
        assert story(agent) == ["d-1 AfterInstall"]

    @pytest.mark.req("AG-140", "AG-T72")
    async def test_by_force_it_ends_the_script_and_tells_so(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        waits = gate(agent)
        agent.place({"BeforeInstall": waits.script})
        await agent.start()
        session = await coordinator.connected()
        session.send(run_segment=run_segment())
        script = await waits.arrived()
        assert (await agent.run("stop", "--force"))[0] == 0
        assert not is_alive(script)
        assert coordinator.story()[-2:] == ["FAILED BeforeInstall", "end FAILED"]
        assert await agent.ended() == 0

    @pytest.mark.req("AG-026")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
    async def test_each_signal_ends_it_with_a_goodbye(
        self, coordinator: FakeCoordinator, agent: AgentHome, number: signal.Signals
    ) -> None:
        await agent.start()
        session = await coordinator.connected()
        await agent.until(lambda: agent.status()["link"]["state"] == "connected")
        os.kill(agent.pid, signal.SIGHUP)
        await agent.until(lambda: "config.reloaded" in agent.log())
        os.kill(agent.pid, number)
        assert await agent.ended() == 0
        assert session.goodbye is not None
        assert not (agent.home / "pid" / "codedeploy-agent.pid").exists()

    @pytest.mark.req("V2-290", "AG-020")
    async def test_a_second_one_says_who_is_there(
        self, coordinator: FakeCoordinator, agent: AgentHome
    ) -> None:
        await agent.start()
        await coordinator.connected()
        code, printed = await agent.run("run")
        assert code == 1
        assert f"already running with PID {agent.pid}" in printed
        assert int((agent.home / "pid" / "codedeploy-agent.pid").read_text()) == agent.pid
        code, printed = await agent.enroll(coordinator, "--force")
        assert code == 1
        assert "stop it before" in printed
        await agent.kill()
        assert (await agent.run("status"))[0] == 3, "a stale PID file is none"


async def test_prefetches_are_answered_and_run_nothing(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    await agent.start()
    session = await coordinator.connected()
    there = agent.home / "bundle.zip"
    with zipfile.ZipFile(there, "w") as bundle:
        bundle.writestr("appspec.yml", "version: 0.0\nos: linux\n")
    digest = hashlib.sha256(there.read_bytes()).hexdigest()
    # Another digest, so that the second cannot be answered from what the first one left on the disk.
    for deployment, path, sha256 in (("d-1", there, digest), ("d-2", agent.home / "missing.zip", "0" * 64)):
        wanted = a_description(deployment, "g-1", download_url=f"file://{path}")
        wanted.revision.bundle.sha256 = sha256
        wanted.revision.bundle.size_bytes = there.stat().st_size
        session.send(prefetch=pb.Prefetch(deployment=wanted))
    await coordinator.until(lambda: len(coordinator.prefetched) == 2, "PrefetchDone")
    errors = {done.deployment_id: done.error for done in coordinator.prefetched}
    assert errors["d-1"] == ""
    assert "missing.zip" in errors["d-2"]
    assert not (agent.root / "g-1" / "d-1" / "deployment-archive").exists()
    assert coordinator.reports == {}


@pytest.mark.req("V2-351", "AG-X45")
async def test_the_certificate_is_renewed_and_used_without_losing_anything(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    waits = gate(agent)
    agent.place({"BeforeInstall": waits.script, "AfterInstall": noting(agent)})
    path = agent.home / "state" / "identity.json"
    # More than two thirds of its lifetime are over.
    old = identity.load(path)
    identity.save(replace(old, issued_at=Instant(old.expires_at - 36_000_000)), path)
    coordinator.may_renew.clear()
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment(events=["BeforeInstall", "AfterInstall"]))
    await waits.arrived()
    coordinator.may_renew.set()
    await coordinator.connected(2)
    assert coordinator.renewals == 1
    fresh = identity.load(path)
    assert fresh.private_key != old.private_key
    assert fresh.certificate_chain != old.certificate_chain
    await waits.open()
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED"
    assert sorted(coordinator.reports) == list(range(1, len(coordinator.reports) + 1))


@pytest.mark.req("AG-090", "AG-106")
async def test_a_deregistered_agent_says_so_and_does_not_knock_all_the_time(
    coordinator: FakeCoordinator, agent: AgentHome
) -> None:
    coordinator.refusal = (
        grpc.StatusCode.UNAUTHENTICATED,
        "InstanceNotRegistered",
        "instance i-1 was deregistered",
    )
    await agent.start()
    await coordinator.until(lambda: coordinator.attempts == 1)
    await agent.until(lambda: agent.status()["link"]["problem"])
    code, printed = await agent.run("status")
    assert code == 0
    assert "was deregistered" in printed, agent.log()
    assert "enroll again" in printed
    assert agent.log().count("link.down") == 1, agent.log()
    assert coordinator.attempts == 1


class TestConfigurationOfEnroll:
    async def test_it_writes_the_file_that_is_named_and_only_when_there_is_none(
        self, coordinator: FakeCoordinator, tmp_path: Path
    ) -> None:
        agent = AgentHome(tmp_path / "agent")
        config = tmp_path / "elsewhere" / "agent.yml"
        code, printed = await agent.enroll(coordinator, "--config", str(config))
        assert code == 0
        assert str(config) in printed
        assert coordinator.address in config.read_text()
        # Everything of it is found again without the variable.
        del agent.environ["FERRYMAN_AGENT_HOME"]
        code, printed = await agent.run("status", "--config", str(config))
        assert code == 3
        assert "(i-1)" in printed
        config.write_text(config.read_text() + "log: {verbose: true}\n")
        before = config.read_text()
        code, _ = await agent.enroll(coordinator, "--config", str(config), "--force")
        assert code == 0
        assert config.read_text() == before
        # The coordinator is known from the file now.
        code, printed = await agent.run(
            "enroll", "--token", coordinator.token, "--config", str(config), "--force"
        )
        assert code == 0, printed


async def test_it_works_without_docstrings(coordinator: FakeCoordinator, agent: AgentHome) -> None:
    """As packages start it, which compile everything so."""
    agent.environ["PYTHONOPTIMIZE"] = "2"
    agent.place({"BeforeInstall": "echo done"})
    await agent.start()
    session = await coordinator.connected()
    session.send(run_segment=run_segment())
    assert await coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED", coordinator.story()
