"""`ferryman-local` as people use it: real processes, real files, the agent's own engine."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ferryman_agent.clock import SystemClock
from ferryman_agent.core.messages import DeploymentId, GroupId
from ferryman_agent.files.layout import Layout
from ferryman_agent.runtime.group_turns import GroupTurns
from tests.support.agent_home import Gate, is_alive
from tests.support.local_tool import GROUP, PATIENCE_SECONDS, SCRIPTABLE, LocalTool, application

BUILT_IN = [
    "BeforeBlockTraffic",
    "AfterBlockTraffic",
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
    "BeforeAllowTraffic",
    "AfterAllowTraffic",
]
ID = re.compile(r"d-[A-Z0-9]{9}-local")


@pytest.fixture
def tool(tmp_path: Path) -> LocalTool:
    return LocalTool(tmp_path / "home")


def _events(printed: str) -> list[str]:
    """The events in the order in which they are shown."""
    return [line for line in printed.splitlines() if re.fullmatch(r"\w+", line)]


@pytest.mark.req(
    *("AG-T81", "AG-474", "AG-475", "AG-476", "AG-477", "AG-503", "AG-506", "V2-370", "V2-374", "PF-330"),
    *("PF-335", "AG-094"),
    "AG-H26",
    "AG-C35",
)
def test_a_directory_is_deployed_without_any_option(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app", destination=tmp_path / "srv")
    done = tool.run(cwd=app)
    assert (done.code, done.err) == (0, "")
    assert _events(done.out) == BUILT_IN
    folder = done.folder
    assert folder.parent == tool.group
    assert ID.fullmatch(folder.name)
    assert (tmp_path / "srv" / "content.txt").read_text() == "content"
    lines = done.out.splitlines()
    # The folder before anything, the log's path at the end, what scripts print in between.
    assert lines.index(f"Folder: {folder}") < lines.index("BeforeBlockTraffic")
    assert lines[-2:] == [f"Log: {folder}/logs/scripts.log", f"Deployment {folder.name} succeeded"]
    assert f"    [stdout]ran AfterInstall of {folder.name} content" in lines
    log = (folder / "logs" / "scripts.log").read_text()
    # The first deployment has no revision to take the events before DownloadBundle from.
    assert re.findall(r"LifecycleEvent - (\w+)", log) == [
        each for each in SCRIPTABLE if each not in BUILT_IN[:3]
    ]
    assert (
        "event.ended event_name=AfterAllowTraffic" in (tool.home / "log" / "codedeploy-local.log").read_text()
    )

    again = tool.run(cwd=app, name="codedeploy-local")
    assert again.code == 0
    assert again.folder.name != folder.name
    log = (again.folder / "logs" / "scripts.log").read_text()
    assert re.findall(r"LifecycleEvent - (\w+)", log) == list(SCRIPTABLE)


@pytest.mark.req("AG-T82", "AG-480", "AG-481", "TS-80", "V2-372", "PF-333", "AG-O07")
def test_events_of_ones_own_choice(tool: LocalTool, tmp_path: Path) -> None:
    old = application(tmp_path / "old", text="old")
    new = application(tmp_path / "new", text="new")
    assert tool.run(cwd=old).code == 0
    for wanted, expected in (
        ("ApplicationStop", ["DownloadBundle", "Install", "ApplicationStop"]),
        (
            "BeforeInstall,ApplicationStart",
            ["DownloadBundle", "Install", "BeforeInstall", "ApplicationStart"],
        ),
        ("DownloadBundle,ApplicationStart", ["DownloadBundle", "Install", "ApplicationStart"]),
        ("DownloadBundle,Install,ApplicationStart", ["DownloadBundle", "Install", "ApplicationStart"]),
    ):
        done = tool.run("--json", "--events", wanted, cwd=new)
        assert done.events == expected, wanted
        log = Path(done.document["log"]).read_text()
        assert "new" in log
        assert "old" not in log
    assert tool.run(cwd=old).code == 0
    stop = tool.run("--json", "--events", "ApplicationStop,DownloadBundle,Install", cwd=new)
    assert "old" in Path(stop.document["log"]).read_text()
    between = tool.run("--json", "--events", "ApplicationStop,Install", cwd=old)
    assert between.events == ["DownloadBundle", "ApplicationStop", "Install"]
    assert "old" in Path(between.document["log"]).read_text()


@pytest.mark.req("AG-T83", "AG-483", "AG-484", "AG-485", "AG-486", "V2-370")
def test_lists_of_events_that_cannot_be_are_refused_before_anything(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app")
    for wanted in (
        "Install,DownloadBundle",
        "ApplicationStart,Install",
        "BeforeInstall,DownloadBundle",
        "A,,B",
    ):
        done = tool.run("--events", wanted, cwd=app)
        assert (done.code, done.out) == (2, ""), wanted
        assert done.err.startswith("ferryman-local: --events: ")
    assert not tool.home.exists()
    assert tool.run("--events", "ApplicationStart , ValidateService", cwd=app).code == 0


@pytest.mark.req(
    "AG-T84", "AG-488", "AG-490", "AG-491", "AG-492", "AG-493", "AG-489", "V2-370", "AG-509", "TS-80"
)
def test_wrong_arguments_are_told_apart_and_change_nothing(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app")
    (tmp_path / "file.zip").write_bytes(b"PK")
    empty = tmp_path / "empty"
    empty.mkdir()
    seen = set()
    for arguments in (
        ("--type", "rar"),
        ("--type", "zip"),
        ("-l", "http://example.com/a.zip"),
        ("-l", "missing"),
        ("-l", str(tmp_path / "file.zip"), "-t", "directory"),
        ("-l", str(app), "-t", "zip"),
        ("-l", str(empty)),
        ("-l", "https://example.com/a.zip"),
        ("-l", "s3://bucket"),
        ("-g", "--events", "ApplicationStop"),
        ("-g", "../other"),
        ("--application-folder", "x"),
    ):
        done = tool.run(*arguments, cwd=app)
        assert (done.code, done.out) == (2, ""), arguments
        seen.add(done.err)
    # The current directory is no zip archive, said or not.
    assert len(seen) == 11
    assert not tool.home.exists()
    together = tool.run("-t", "rar", "-b", "x", "-e", "A,,B", cwd=app)
    # Type, behavior, the list of events, and two events that the AppSpec file does not have.
    assert together.err.count("ferryman-local: ") == 5


@pytest.mark.req("AG-T85", "AG-487", "AG-197", "V2-372")
def test_custom_events(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app", ["AfterInstall", "HealthCheck"])
    done = tool.run("-e", "HealthCheck,ApplicationStart", "--json", cwd=app)
    assert done.code == 0
    assert done.events == ["DownloadBundle", "Install", "HealthCheck", "ApplicationStart"]
    assert "ran HealthCheck" in Path(done.document["log"]).read_text()
    # Nothing of it is a warning.
    assert all("HealthCheck" not in event["message"] for event in done.document["events"])
    for wanted in (["-e", "ApplicationStart"], [], ["-e", "HealthCheck,Other"]):
        refused = tool.run(*wanted, cwd=app)
        assert (refused.code, refused.out) == (2, ""), wanted
        assert "lifecycle event" in refused.err or "has an event" in refused.err

    # Of an archive that shows when it is unpacked, and before anything of it runs.
    archive = shutil.make_archive(str(tmp_path / "app"), "zip", app)
    late = tool.run("-l", archive, "--json", cwd=tmp_path)
    assert late.code == 1
    assert late.events[-1] == "DownloadBundle"
    assert "HealthCheck" in late.document["events"][-1]["message"]
    assert tool.run("-l", archive, "-e", "HealthCheck", cwd=tmp_path).code == 0


@pytest.mark.req("AG-T86", "AG-503", "AG-476", "V2-370")
def test_a_failing_script_is_named_in_full(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app", {"AfterInstall": "echo oops >&2; exit 3", "ApplicationStart": ""})
    done = tool.run(cwd=app)
    assert done.code == 1
    script = done.folder / "deployment-archive" / "scripts" / "AfterInstall.sh"
    assert f"failed script: {script}\n" in done.err
    assert "AfterInstall failed (code 4): " in done.err
    assert "exit status 3" in done.err
    assert done.err.endswith(f"Deployment {done.folder.name} failed\n")
    assert done.out.splitlines()[-1] == f"Log: {done.folder}/logs/scripts.log"
    assert "    [stderr]oops" in done.out.splitlines()
    assert "ApplicationStart" not in _events(done.out)
    # An ApplicationStop that fails is the previous revision's.
    bad = application(tmp_path / "bad", {"ApplicationStop": "exit 5"})
    first = tool.run("-g", "other", cwd=bad)
    assert first.code == 0
    second = tool.run("-g", "other", cwd=app)
    assert f"failed script: {first.folder}/deployment-archive/scripts/ApplicationStop.sh" in second.err
    document = tool.run("--json", "-g", "other", cwd=app)
    assert document.code == 1
    assert document.document["status"] == "Failed"
    assert document.document["failedScript"].endswith("scripts/ApplicationStop.sh")


@pytest.mark.req("AG-T87", "AG-482", "AG-X46")
def test_an_event_of_the_installed_revision_without_an_install(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app", destination=tmp_path / "srv", text="one")
    nothing = tool.run("--no-install", "--events", "ApplicationStop", cwd=tmp_path)
    assert nothing.code == 1
    assert "nothing is installed by deployment group" in nothing.err
    first = tool.run(cwd=app)
    before = _snapshot(tool.root), _snapshot(tmp_path / "srv")
    # What lies in the current directory meanwhile is not looked at.
    application(app, text="two")
    for event in ("ApplicationStop", "ValidateService"):
        done = tool.run("--no-install", "--events", event, cwd=app)
        assert done.code == 0, done.err
        assert done.folder == first.folder
        assert f"    [stdout]ran {event} of {first.folder.name} one" in done.out.splitlines()
    assert (_snapshot(tool.root), _snapshot(tmp_path / "srv")) == before
    custom = tool.run("--no-install", "--events", "Mine", cwd=app)
    assert custom.code == 1
    assert "has an event 'Mine'" in custom.err
    shutil.rmtree(first.folder / "deployment-archive")
    gone = tool.run("--no-install", "--events", "ApplicationStop", cwd=app)
    assert gone.code == 1
    assert "are gone" in gone.err


def _snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below but logs, locks and the history, which are no part of what is installed.

    And but the digests of what is: times that were too young to be believed are noted there by whoever comes next.
    """
    return {
        str(path): (path.lstat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".log", "-lock", "-digests", ".deployment.json"))
    }


@pytest.mark.req("AG-499", "AG-500", "AG-O04", "AG-O05", "AG-O06", "AG-379", "AG-498")
def test_what_scripts_are_told(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app", {"AfterInstall": "env"})
    done = tool.run("-g", "my-group", "-d", "my name", cwd=app)
    seen = set(re.findall(r"\[stdout\](\w+=.*)", done.out))
    assert {
        f"APPLICATION_NAME={app}",
        "DEPLOYMENT_GROUP_ID=my-group",
        "DEPLOYMENT_GROUP_NAME=my name",
        f"DEPLOYMENT_ID={done.folder.name}",
        "LIFECYCLE_EVENT=AfterInstall",
    } <= seen
    assert not any(line.startswith("BUNDLE_") for line in seen)
    assert done.folder.parent == tool.root / "my-group"
    named = tool.run(
        "-l", "app", "-a", "shop", cwd=tmp_path, GITHUB_TOKEN="ghp_x", AWS_SECRET_ACCESS_KEY="s3cr3t"
    )
    assert "    [stdout]APPLICATION_NAME=shop" in named.out.splitlines()
    assert "    [stdout]DEPLOYMENT_GROUP_NAME=LocalFleet" in named.out.splitlines()
    assert "ghp_x" not in named.out
    assert "s3cr3t" not in named.out
    assert "    [stdout]APPLICATION_NAME=app" in tool.run("-l", "app", cwd=tmp_path).out.splitlines()


@pytest.mark.req("AG-506")
def test_quiet_keeps_what_scripts_print_in_the_log(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app", {"AfterInstall": "echo loud; echo louder >&2"})
    done = tool.run("--quiet", cwd=app)
    assert done.code == 0
    assert "loud" not in done.out
    assert "[stderr]louder" in (done.folder / "logs" / "scripts.log").read_text()


@pytest.mark.req("AG-506")
def test_output_is_shown_as_it_comes_and_all_of_it(tool: LocalTool, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    app = application(
        tmp_path / "app", {"AfterInstall": f"seq 20000; echo before; {gate.script}; echo after"}
    )
    running = subprocess.Popen(
        tool.command(), cwd=app, env=tool.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert running.stdout is not None
    lines = []
    for line in running.stdout:
        lines.append(line.strip())
        if lines[-1] == "[stdout]before":
            break
    asyncio.run(gate.arrived())
    asyncio.run(gate.open())
    rest, _ = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 0
    assert "[stdout]after" in rest
    assert [line for line in lines if re.fullmatch(r"\[stdout\]\d+", line)] == [
        f"[stdout]{number}" for number in range(1, 20001)
    ]


def test_a_reader_that_goes_away_does_not_end_the_deployment(tool: LocalTool, tmp_path: Path) -> None:
    app = application(
        tmp_path / "app", {"AfterInstall": "seq 100000", "ApplicationStart": f"touch {tmp_path}/started"}
    )
    running = subprocess.Popen(
        tool.command(), cwd=app, env=tool.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.close()
    assert running.wait(PATIENCE_SECONDS) == 0
    assert (tmp_path / "started").exists()


@pytest.mark.req("AG-O02", "AG-489", "V2-371", "AG-241", "AG-491")
@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_archives(tool: LocalTool, tmp_path: Path, kind: str) -> None:
    app = application(tmp_path / "app", destination=tmp_path / "srv")
    archive = tmp_path / f"bundle.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as made:
            for path in sorted(app.rglob("*")):
                made.write(path, path.relative_to(app))
    else:
        with tarfile.open(archive, "w:gz" if kind == "tgz" else "w") as tar:
            tar.add(app, ".")
    done = tool.run("-l", str(archive), cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "srv" / "content.txt").read_text() == "content"
    assert (done.folder / "bundle.tar").is_symlink()
    odd = archive.rename(tmp_path / "odd name")
    assert tool.run("-l", "odd name", "-t", kind, cwd=tmp_path).code == 0
    assert odd.exists()
    assert "add --type" in tool.run("-l", "odd name", cwd=tmp_path).err


@pytest.mark.req("AG-O03", "V2-375", "AG-507", "AG-510", "AG-T38")
def test_existing_files_retention_and_journals_are_the_agents(tool: LocalTool, tmp_path: Path) -> None:
    srv = tmp_path / "srv"
    srv.mkdir()
    (srv / "content.txt").write_text("foreign")
    app = application(tmp_path / "app", [], destination=srv)
    refused = tool.run(cwd=app)
    assert refused.code == 1
    assert "exists already" in refused.err
    assert (srv / "content.txt").read_text() == "foreign"
    # Any case is accepted; what is none of the three is refused, conflict or not.
    assert tool.run("-b", "banana", "-g", "another", cwd=application(tmp_path / "free", [])).code == 2
    assert tool.run("-b", "retain", cwd=app).code == 0
    assert (srv / "content.txt").read_text() == "foreign"
    assert tool.run("-b", "OVERWRITE", cwd=app).code == 0
    assert (srv / "content.txt").read_text() == "content"
    instructions = tool.root / "deployment-instructions"
    assert (instructions / f"{GROUP}-cleanup").is_file()
    assert (instructions / f"{GROUP}-install.json").is_file()
    # A group has its own journal: another one may not take the file.
    other = tool.run("-g", "other", cwd=app)
    assert other.code == 1
    assert GROUP in other.err
    for _ in range(6):
        assert tool.run(cwd=app).code == 0
    assert len(tool.deployments()) == 5
    # A revision without files takes away what the group had installed.
    assert tool.run(cwd=application(tmp_path / "none", [])).code == 0
    assert not (srv / "content.txt").exists()
    assert not list((tool.root / "ongoing-deployment").iterdir())


@pytest.mark.req("AG-473")
def test_an_earlier_revision_is_deployed_again_from_its_archive(tool: LocalTool, tmp_path: Path) -> None:
    srv = tmp_path / "srv"
    first = tool.run(cwd=application(tmp_path / "app", [], destination=srv, text="first"))
    for number in range(4):
        assert tool.run(cwd=application(tmp_path / "app", [], destination=srv, text=str(number))).code == 0
    assert (srv / "content.txt").read_text() == "3"
    # It is the one whose turn it is to be deleted.
    back = tool.run("-l", str(first.folder / "deployment-archive"), cwd=tmp_path)
    assert back.code == 0, back.err
    assert (srv / "content.txt").read_text() == "first"


@pytest.mark.req("AG-505", "AG-122")
def test_it_is_refused_while_somebody_works_for_the_group(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app")
    assert tool.run(cwd=app).code == 0
    before = tool.deployments()
    agent = GroupTurns(Layout(tool.root), SystemClock())
    agent.hold(GroupId(GROUP), DeploymentId("d-123456789"))
    try:
        for more in ((), ("--no-install", "-e", "ApplicationStop")):
            refused = tool.run(*more, cwd=app)
            assert refused.code == 1
            assert f"deployment group {GROUP} is being worked on by deployment d-123456789" in refused.err
        assert tool.deployments() == before
        assert tool.run("-g", "other", cwd=app).code == 0
    finally:
        agent.release(GroupId(GROUP), DeploymentId("d-123456789"))
    assert tool.run(cwd=app).code == 0


@pytest.mark.req("V2-370", "AG-128")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_what_runs(tool: LocalTool, tmp_path: Path, number: signal.Signals) -> None:
    gate = Gate(tmp_path / "gate")
    app = application(tmp_path / "app", {"AfterInstall": gate.script, "ApplicationStart": "echo never"})
    running = subprocess.Popen(
        tool.command(), cwd=app, env=tool.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    script = await gate.arrived()
    running.send_signal(number)
    out, err = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 128 + number
    assert not is_alive(script)
    assert "was stopped" in err
    assert "ApplicationStart" not in _events(out)
    assert tool.run("-e", "AfterAllowTraffic", cwd=application(tmp_path / "next")).code == 0


@pytest.mark.req("AG-510", "V2-008")
async def test_what_a_killed_run_left_is_ended_by_the_next_one(tool: LocalTool, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    app = application(tmp_path / "app", {"AfterInstall": f"{gate.script}; sleep 600"})
    running = subprocess.Popen(tool.command(), cwd=app, env=tool.environ, stdout=subprocess.DEVNULL)
    script = await gate.arrived()
    running.kill()
    running.wait()
    assert is_alive(script)
    done = tool.run(cwd=application(tmp_path / "next"))
    assert done.code == 0
    assert not is_alive(script)
    assert re.search(r"the earlier deployment d-\w{9}-local was killed before its end", done.err)
    assert tool.run(cwd=tmp_path / "next").err == ""


@pytest.mark.req("AG-502", "AG-O08", "PF-336")
def test_configuration(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app", destination=Path("/opt/x"))
    config = tmp_path / "codedeployagent.yml"
    config.write_text(
        f":root_dir: {tmp_path}/own-root\n:log_dir: {tmp_path}/own-log\nmax_revisions: 2\n"
        f"install:\n  root: {tmp_path}/target\n"
    )
    for _ in range(2):
        assert tool.run("-c", str(config), cwd=app).code == 0
    done = tool.run("-c", str(config), cwd=app)
    assert done.code == 0, done.err
    assert done.folder.parent == tmp_path / "own-root" / GROUP
    assert len(list(done.folder.parent.iterdir())) == 2
    assert (tmp_path / "own-log" / "codedeploy-local.log").is_file()
    assert (tmp_path / "target" / "opt" / "x" / "content.txt").is_file()
    missing = tool.run("-c", str(tmp_path / "none.yml"), cwd=app)
    assert missing.code == 1
    assert "there is no such file" in missing.err
    config.write_text("max_revisions: many\n")
    broken = tool.run("-c", str(config), cwd=app)
    assert broken.code == 1
    assert f"{config}:1: max_revisions" in broken.err


@pytest.mark.req("V2-370")
def test_all_its_names(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app")
    link = tmp_path / "codedeploy-local"
    link.symlink_to(Path(sys.executable).parent / "ferryman-agent")
    as_command = tool.run("deploy-local", "-g", "one", cwd=app, name="ferryman-agent")
    assert as_command.code == 0, as_command.err
    by_link = subprocess.run([link, "-g", "two"], cwd=app, env=tool.environ, capture_output=True, check=False)
    assert by_link.returncode == 0, by_link.stderr
    assert tool.deployments("one")
    assert tool.deployments("two")
    config = tmp_path / "agent.yml"
    config.write_text(f"root_dir: {tmp_path}/other-root\n")
    before = tool.run("--config", str(config), "deploy-local", cwd=app, name="ferryman-agent")
    assert before.code == 0, before.err
    assert before.folder.is_relative_to(tmp_path / "other-root")
    assert "deploy-local" in tool.run("--help", cwd=app, name="ferryman-agent").out
    wrong = tool.run("deploy-local", "-t", "rar", cwd=app, name="ferryman-agent")
    assert wrong.code == 2
    assert wrong.err.startswith("ferryman-agent deploy-local: --type")


@pytest.mark.req("AG-507")
def test_a_local_directory_needs_no_library_of_the_network(tool: LocalTool, tmp_path: Path) -> None:
    """It is quick because it loads little: whatever brings these in again costs more than all the hooks."""
    app = application(tmp_path / "app", destination=tmp_path / "srv")
    program = (
        "import sys\nsys.argv[0] = 'ferryman-local'\nfrom ferryman_agent.local.command import main\n"
        "try:\n    main(['--quiet'])\nfinally:\n"
        "    heavy = ('grpc', 'google', 'aiohttp', 'cryptography', 'ssl', 'http.client', 'rich')\n"
        "    print('loaded', [name for name in heavy if sys.modules.get(name)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=app,
        env=tool.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"


@pytest.mark.req("PF-338", "AG-478")
def test_traffic_can_be_rehearsed(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path / "app")
    done = tool.run("--simulate-traffic", "--json", cwd=app)
    assert done.code == 0
    assert len(done.events) == 13
    assert [
        each["message"] for each in done.document["events"] if each["lifecycleEvent"] == "AllowTraffic"
    ] == ["Succeeded (simulated: there is no load balancer here)"]


def test_a_directory_above_the_root_is_refused(tool: LocalTool, tmp_path: Path) -> None:
    app = application(tmp_path)
    done = tool.run(cwd=app)
    assert done.code == 1
    assert "it contains the agent's own files" in done.err
    assert "deployment-archive" not in os.listdir(tool.group / tool.deployments()[0])
