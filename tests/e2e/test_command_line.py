"""The `ferryman` command against a real fleet: what people type and read, and the exit codes of scripts."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import COMMANDS, Fleet, write_bundle

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("c"), agents=3)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


def source(tmp_path: Path, **hooks: str) -> str:
    write_bundle(tmp_path / "bundle", hooks, {"file": tmp_path.name})
    return str(tmp_path / "bundle")


def deploy(fleet: Fleet, bundle: str, *options: str) -> subprocess.CompletedProcess[str]:
    return fleet.cli("deploy", "--application", "app", "--group", "all", "--source", bundle, *options)


def newest(fleet: Fleet, group: str = "all") -> dict[str, object]:
    """Returns the newest deployment, nothing before the first."""
    listed = fleet.cli("deployment", "list", "--application", "app", "--group", group, "--json")
    found: list[dict[str, object]] = json.loads(listed.stdout)
    return found[0] if found else {}


def test_deploy_waits_and_tells_what_happened(trio: Fleet, tmp_path: Path) -> None:
    done = deploy(trio, source(tmp_path), "--config", "CodeDeployDefault.AllAtOnce")
    assert done.returncode == 0, done.stderr
    assert "Succeeded: 3 succeeded" in done.stdout
    for agent in trio.agents:
        assert f"{agent.name}  ValidateService  Succeeded" in done.stdout
    assert newest(trio)["status"] == "Succeeded"


@pytest.mark.req("CP-109", "CP-249", "AG-456")
def test_failed_deployment_exits_1_and_shows_the_end_of_the_log(trio: Fleet, tmp_path: Path) -> None:
    bundle = source(tmp_path, AfterInstall='echo "port 80 is taken" >&2; exit 7')
    done = deploy(trio, bundle, "--config", "CodeDeployDefault.OneAtATime")
    assert done.returncode == 1
    assert "AfterInstall hooks/AfterInstall: ScriptFailed" in done.stdout
    assert "port 80 is taken" in done.stdout
    deployment_id = str(newest(trio)["deploymentId"])
    assert "port 80 is taken" in trio.cli("deployment", "logs", deployment_id).stdout
    shown = json.loads(trio.cli("deployment", "show", deployment_id, "--json").stdout)
    assert shown["deployment"]["error"]["code"] == "HEALTH_CONSTRAINTS"
    arns = {target["targetArn"].partition("_")[0] for target in shown["targets"]}
    assert arns == {f"arn:aws:codedeploy:local:000000000000:instance/{agent.name}" for agent in trio.agents}
    assert trio.cli("deployment", "watch", deployment_id).returncode == 1


@pytest.mark.req("AG-456", "AG-455")
def test_an_event_shows_what_its_scripts_took_and_all_that_is_known_of_it(
    trio: Fleet, tmp_path: Path
) -> None:
    hooks = {
        "AfterInstall": "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done",
        "ValidateService": "exit 7",
    }
    assert deploy(trio, source(tmp_path, **hooks), "--config", "CodeDeployDefault.AllAtOnce").returncode == 1
    deployment_id, name = str(newest(trio)["deploymentId"]), trio.agents[0].name
    table = trio.cli("deployment", "show", deployment_id, "--target", name).stdout
    assert re.search(r"AfterInstall +Succeeded +[0-9.]+ s +[0-9.]+ s CPU", table), table
    shown = json.loads(trio.cli("deployment", "show", deployment_id, "--target", name, "--json").stdout)
    events = {event["name"]: event["diagnostics"] for event in shown["lifecycleEvents"]}
    assert events["AfterInstall"]["usage"]["cpuMs"] > 10
    assert events["Install"]["usage"] is None
    failed = events["ValidateService"]
    assert (failed["errorCode"], failed["exitStatus"], failed["scriptIndex"]) == ("ScriptFailed", 7, 0)
    assert failed["detailCode"] == "SCRIPT_EXIT_STATUS"
    assert failed["revisionDeploymentId"] == deployment_id
    assert failed["droppedLines"] == 0
    assert failed["durationMs"] > 0
    assert failed["hostLogPath"].endswith(f"/{deployment_id}/logs/scripts.log")


@pytest.mark.req("CP-010")
def test_plan_tells_the_order_and_starts_nothing(trio: Fleet, tmp_path: Path) -> None:
    before = newest(trio)
    planned = deploy(trio, source(tmp_path), "--plan", "--json", "--config", "CodeDeployDefault.OneAtATime")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert (plan["countedInstances"], plan["minimumHealthy"], plan["concurrency"]) == (3, 2, 1)
    assert sorted(target["wave"] for target in plan["targets"]) == [1, 2, 3]
    assert all(target["isConnected"] and target["reason"] for target in plan["targets"])
    assert newest(trio) == before


def test_plan_of_the_impossible_says_so_and_exits_1(trio: Fleet, tmp_path: Path) -> None:
    assert trio.cli("config", "create", "Too.Many", "--min-healthy", "3").returncode == 0
    planned = deploy(trio, source(tmp_path), "--plan", "--config", "Too.Many")
    assert planned.returncode == 1
    assert "HEALTH_CONSTRAINTS_INVALID" in planned.stderr


def test_stopped_deployment_exits_3(trio: Fleet, tmp_path: Path) -> None:
    bundle = source(tmp_path, BeforeInstall="sleep 2")
    started = deploy(trio, bundle, "--config", "CodeDeployDefault.OneAtATime", "--no-wait")
    assert started.returncode == 0, started.stderr
    deployment_id = str(newest(trio)["deploymentId"])
    trio.wait_until(lambda: bool(trio.hook_runs(deployment_id)), "a hook to run")
    assert trio.cli("deployment", "stop", deployment_id).returncode == 0
    assert trio.cli("deployment", "watch", deployment_id).returncode == 3
    again = trio.cli("deployment", "stop", deployment_id)
    assert again.returncode == 5
    assert deployment_id in again.stderr


@pytest.mark.req("CP-349", "CP-009")
def test_retry_deploys_the_same_again_with_the_same_options(trio: Fleet, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    bundle = source(tmp_path, BeforeInstall=f"[ -e {mended} ]")
    options = ("--config", "CodeDeployDefault.AllAtOnce", "--file-exists-behavior", "OVERWRITE")
    assert deploy(trio, bundle, *options, "--description", "nightly").returncode == 1
    first = newest(trio)
    mended.touch()
    again = trio.cli("deployment", "retry", str(first["deploymentId"]))
    assert again.returncode == 0, again.stderr
    assert "Succeeded: 3 succeeded" in again.stdout
    second = newest(trio)
    assert second["deploymentId"] != first["deploymentId"]
    for name in ("revision", "deploymentConfigName", "fileExistsBehavior", "description"):
        assert second[name] == first[name]
    assert second["creator"] == "user"
    assert trio.cli("deployment", "retry", "d-GHOST0000").returncode == 5


@pytest.mark.req("AG-325", "AG-326", "AG-X30", "AG-T43", "K12")
def test_deploy_can_adopt_the_files_of_another_group(trio: Fleet, tmp_path: Path) -> None:
    """The files of a group that is gone; with a deployment that fails, and its rollback, on the way."""
    tag = f"me={trio.agents[0].name}"
    site = trio.agents[0].install_root / "srv/adopted"

    def deploy_to(group: str, *options: str, **files: str) -> str:
        """Returns what was printed, blanks as one, and the exit code before it."""
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write_bundle(folder, {"ApplicationStart": "[ ! -e $BROKEN ]"}, files)
        for name in ("appspec.yml", "hooks/ApplicationStart"):
            text = (folder / name).read_text()
            broken = str(site / "broken")
            (folder / name).write_text(text.replace("/srv/app", "/srv/adopted").replace("$BROKEN", broken))
        done = trio.cli("deploy", "-a", "app", "-g", group, "--source", str(folder), *options)
        return f"{done.returncode} {' '.join((done.stdout + done.stderr).split())}"

    for name in ("first", "second"):
        trio.create_group(name, tag=tag)
    assert deploy_to("first", page="first").startswith("0 ")
    assert deploy_to("second", own="1").startswith("0 ")
    assert trio.cli("group", "delete", "first", "-a", "app", "--yes").returncode == 0
    said = deploy_to("second", page="second")
    assert said.startswith("1 ")
    assert "(first)" in said
    assert "or deploy with --adopt to take over what other deployment groups installed" in said
    assert (site / "page").read_text() == "first"
    said = deploy_to("second", "--adopt", "--rollback-on", "failure", page="second", broken="yes")
    assert said.startswith("1 ")
    trio.wait_until(lambda: (site / "page").read_text() == "first", "the rollback to give it back")
    trio.wait_until(lambda: newest(trio, "second")["status"] == "Succeeded", "the rollback")
    assert sorted(path.name for path in site.iterdir()) == ["own", "page"]
    said = deploy_to("second", "--adopt", page="second")
    assert said.startswith("0 "), said
    assert (site / "page").read_text() == "second"
    shown = trio.cli("deployment", "show", str(newest(trio, "second")["deploymentId"]))
    assert "files that other deployment groups installed" in shown.stdout
    # It is the second group's own from now on.
    assert deploy_to("second", page="third").startswith("0 ")
    assert (site / "page").read_text() == "third"


@pytest.mark.req("CP-349", "CP-329")
def test_stop_can_roll_back(trio: Fleet, tmp_path: Path) -> None:
    good = deploy(trio, source(tmp_path / "good"), "--config", "CodeDeployDefault.AllAtOnce")
    assert good.returncode == 0, good.stderr
    good_revision = newest(trio)["revision"]
    slow = source(tmp_path / "slow", BeforeInstall="sleep 1")
    deploy(trio, slow, "--config", "CodeDeployDefault.OneAtATime", "--no-wait")
    stopped = str(newest(trio)["deploymentId"])
    trio.wait_until(lambda: bool(trio.hook_runs(stopped)), "a hook to run")
    assert trio.cli("deployment", "stop", stopped, "--rollback").returncode == 0
    assert trio.cli("deployment", "watch", stopped).returncode == 3
    following = newest(trio)
    assert following["creator"] == "codeDeployRollback"
    assert following["revision"] == good_revision
    assert trio.cli("deployment", "watch", str(following["deploymentId"])).returncode == 0


@pytest.mark.req("AG-457", "AG-458")
def test_logs_follow_what_hooks_print_now(trio: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    bundle = source(
        tmp_path,
        BeforeInstall=f'while [ ! -e {gate} ]; do echo "waiting"; sleep 0.1; done; echo "hello from a hook"',
    )
    deploy(trio, bundle, "--config", "CodeDeployDefault.AllAtOnce", "--no-wait")
    deployment_id = str(newest(trio)["deploymentId"])
    profile = trio.coordinator.profile
    environ = {
        "FERRYMAN_COORDINATOR": profile.coordinator,
        "FERRYMAN_CA": profile.ca_file,
        "FERRYMAN_TOKEN": profile.token(),
    }
    command = [str(COMMANDS / "ferryman"), "deployment", "logs", "-f", deployment_id]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        # The first line shows that it follows; what is printed from now on must come.
        assert "waiting" in following.stdout.readline()
        gate.touch()
        printed = following.stdout.read()
        assert following.wait(60) == 0
    for agent in trio.agents:
        assert f"{agent.name} BeforeInstall hooks/BeforeInstall hello from a hook" in printed


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        (("application", "show", "ghost"), 5, "ghost"),
        (("group", "show", "ghost", "--application", "app"), 5, "ghost"),
        (("config", "show", "Ghost"), 5, "Ghost"),
        (("instance", "show", "ghost"), 5, "ghost"),
        (("revision", "show", "deadbeef", "--application", "app"), 5, "deadbeef"),
        (("deployment", "show", "d-GHOST0000"), 5, "d-GHOST0000"),
        (("deployment", "continue", "d-GHOST0000"), 5, "d-GHOST0000"),
        (("deployment", "continue", "d-GHOST0000", "--skip-termination-wait"), 5, "d-GHOST0000"),
        (("application", "create", "a b"), 2, "a b"),
        (("application", "create", "x" * 101), 2, "100"),
        (("application", "create", "app"), 5, "app"),
        (("config", "create", "Mine", "--min-healthy", "100%"), 2, "100"),
        (("config", "delete", "CodeDeployDefault.AllAtOnce"), 5, "CodeDeployDefault.AllAtOnce"),
        (("deploy", "-a", "app", "-g", "ghost", "-r", "file:///a.tgz"), 5, "ghost"),
        (("deploy", "-a", "app", "-g", "all", "-r", "file:///a.tgz", "--config", "Ghost"), 5, "Ghost"),
    ],
)
def test_what_is_wrong_is_named_with_the_promised_exit_code(
    trio: Fleet, arguments: tuple[str, ...], code: int, text: str
) -> None:
    done = trio.cli(*arguments)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_token_and_missing_coordinator_have_their_own_exit_codes(trio: Fleet) -> None:
    denied = trio.cli("application", "list", FERRYMAN_TOKEN="wrong")
    assert denied.returncode == 4
    away = trio.cli("application", "list", FERRYMAN_COORDINATOR="127.0.0.1:1")
    assert away.returncode == 6
    assert "127.0.0.1:1" in away.stderr


def test_bundle_with_a_broken_appspec_is_refused_before_anything_is_sent(trio: Fleet, tmp_path: Path) -> None:
    bundle = Path(source(tmp_path))
    (bundle / "appspec.yml").write_text("version: 0.0\nos: linux\nhooks:\n  AfterInstal: []\n")
    before = newest(trio)
    done = deploy(trio, str(bundle))
    assert done.returncode == 2
    assert "appspec.yml:4:3" in done.stderr
    assert newest(trio) == before


def test_waiting_can_end_before_the_deployment_does(trio: Fleet, tmp_path: Path) -> None:
    done = deploy(
        trio,
        source(tmp_path, BeforeInstall="sleep 2"),
        "--config",
        "CodeDeployDefault.AllAtOnce",
        "--timeout",
        "0.3",
    )
    assert done.returncode == 7
    deployment_id = str(newest(trio)["deploymentId"])
    assert trio.cli("deployment", "watch", deployment_id).returncode == 0


@pytest.mark.req("AG-459", "AG-X07")
def test_all_that_hooks_printed_is_read_from_the_instance(trio: Fleet, tmp_path: Path) -> None:
    # Several pieces. The last of these tests: live lines of later deployments would have to wait behind so many.
    much = "x" * 300
    bundle = source(
        tmp_path, AfterInstall=f"i=0; while [ $i -lt 2000 ]; do echo {much} line $i; i=$((i+1)); done"
    )
    assert deploy(trio, bundle, "--config", "CodeDeployDefault.AllAtOnce").returncode == 0
    deployment_id, name = str(newest(trio)["deploymentId"]), trio.agents[1].name
    said = trio.cli("deployment", "logs", deployment_id, "--whole", "--target", name)
    assert said.returncode == 0, said.stderr
    printed = re.findall(r"\[stdout\]x+ line (\d+)$", said.stdout, re.MULTILINE)
    assert printed == [str(number) for number in range(2_000)]
    wrong = trio.cli("deployment", "logs", deployment_id, "--whole")
    assert (wrong.returncode, "--target" in wrong.stderr) == (2, True)
    elsewhere = trio.cli("deployment", "logs", deployment_id, "--whole", "--target", "nobody")
    assert elsewhere.returncode == 5
