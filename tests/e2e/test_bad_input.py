"""What a tired operator or a hostile bundle sends through real processes: a clear answer, and nothing changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ferryman.v1 import tokens_pb2, types_pb2
from ferryman_client.bundle import take_archive
from ferryman_client.cli.progress import Progress
from ferryman_client.errors import InvalidRequest
from tests.support.bundles import MAKERS, Item, make_tar, make_zip, tree
from tests.support.fleet import COMMANDS, AgentProcess, Fleet
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.timeout(180)

SUCCEEDED = types_pb2.DEPLOYMENT_STATUS_SUCCEEDED
FAILED = types_pb2.DEPLOYMENT_STATUS_FAILED
TGZ, ZIP = types_pb2.BUNDLE_TYPE_TGZ, types_pb2.BUNDLE_TYPE_ZIP
APPSPEC = "version: 0.0\nos: linux\nfiles:\n  - source: files\n    destination: /srv/app\n"
CONTROL = "\x1b]0;mine\x07\x1b[2J\x9b1m [/] "


@pytest.fixture(scope="module")
def duo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A coordinator and two agents with one good revision on them."""
    fleet = Fleet(tmp_path_factory.mktemp("b"), agents=2)
    try:
        fleet.start()
        assert fleet.run(fleet.push(files={"version": "good"})).deployment.status == SUCCEEDED
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def unharmed(duo: Fleet) -> Iterator[Fleet]:
    """The fleet; afterwards what is installed must be what was there before, and no process may have broken."""
    before = [tree(agent.install_root / "srv") for agent in duo.agents]
    yield duo
    assert [tree(agent.install_root / "srv") for agent in duo.agents] == before
    for log in (
        duo.coordinator.log,
        *(agent.home / "log" / "codedeploy-agent.log" for agent in duo.agents),
    ):
        assert "Traceback" not in log.read_text()


def archive(*entries: Item, appspec: str = APPSPEC, kind: str = "tgz") -> bytes:
    """A bundle with an AppSpec, one file to install, and whatever else."""
    maker, _ = MAKERS[kind]
    files = [
        Item(name="appspec.yml", content=appspec.encode()),
        Item(name="files/version", content=b"bad"),
    ]
    return maker([*files, *entries])


def hooked(location: str, *entries: Item, more: str = "") -> bytes:
    """A bundle whose BeforeInstall runs `location`."""
    hook = f"hooks:\n  BeforeInstall:\n    - location: {location}\n{more}"
    return archive(*entries, appspec=APPSPEC + hook)


def offer(
    fleet: Fleet,
    content: bytes,
    sha256: str | None = None,
    bundle_type: types_pb2.BundleType.ValueType = TGZ,
) -> types_pb2.RevisionLocation:
    """A revision that the coordinator never looks into: agents fetch it from a file."""
    digest = hashlib.sha256(content).hexdigest()
    file = fleet.home / f"{digest[:16]}.archive"
    file.write_bytes(content)
    url = types_pb2.UrlLocation(url=f"file://{file}", bundle_type=bundle_type, sha256=sha256 or digest)
    return types_pb2.RevisionLocation(url=url)


def failure(progress: Progress) -> tuple[str, types_pb2.Diagnostics]:
    """The lifecycle event that failed the first target, and why."""
    assert progress.deployment.status == FAILED
    event = next(event for target in progress.targets.values() if (event := target.failed_event) is not None)
    return event.name, event.diagnostics


GOOD = archive()
DOWNLOAD = "DownloadBundle"
ROWS: Sequence[tuple[str, bytes, str, str]] = [
    ("no appspec", make_tar([Item(name="files/x")], "gz"), DOWNLOAD, "no AppSpec file: expected appspec.yml"),
    ("broken appspec", archive(appspec="os: [linux\n"), DOWNLOAD, "appspec.yml:2:1: error: "),
    ("unknown os", archive(appspec="version: 0.0\nos: beos\n"), DOWNLOAD, "not 'beos'"),
    ("large appspec", archive(appspec=APPSPEC + "#" * 10_000_000), DOWNLOAD, "more than 1048576 bytes"),
    ("cut in the middle", GOOD[: len(GOOD) // 2], DOWNLOAD, "damaged or cut short"),
    ("cut at the end", GOOD[:-8], DOWNLOAD, "damaged or cut short"),
    ("no archive", b"<html>404</html>", DOWNLOAD, "not a zip, tar or tgz archive"),
    ("leaves by dots", archive(Item(name="../evil")), DOWNLOAD, "'../evil' leaves the target directory"),
    ("is absolute", archive(Item(name="/tmp/evil")), DOWNLOAD, "'/tmp/evil' leaves the target directory"),
    (
        "links away",
        archive(Item(name="l", link="/etc")),
        DOWNLOAD,
        "link that leaves the target directory: '/etc'",
    ),
    ("links up", archive(Item(name="l", link="../../x")), DOWNLOAD, "link that leaves the target directory"),
    ("hard link", archive(Item(name="l", hard="files/version")), DOWNLOAD, "'l' is a hard link"),
    ("pipe", archive(Item(name="p", kind=tarfile.FIFOTYPE)), DOWNLOAD, "'p' is a device, FIFO or socket"),
    ("control characters", archive(Item(name="x\x1b[2J")), DOWNLOAD, r"'x\x1b[2J' has a control character"),
    ("missing hook", hooked("gone.sh"), "BeforeInstall", "gone.sh does not exist"),
    ("hook outside", hooked("../../x"), DOWNLOAD, "'../../x' of BeforeInstall leaves the revision"),
    (
        "unknown user",
        hooked("h.sh", Item(name="h.sh", content=b"#!/bin/sh\n"), more="      runas: nobody-there\n"),
        "BeforeInstall",
        "h.sh shall run as 'nobody-there', and there is no such user",
    ),
    (
        "missing source",
        archive(appspec=APPSPEC.replace("files\n", "gone\n", 1)),
        "Install",
        "'gone' does not exist",
    ),
]


@pytest.mark.parametrize("content, event, text", [pytest.param(*row[1:], id=row[0]) for row in ROWS])
@pytest.mark.req("AG-256", "AG-257", "AG-264")
def test_a_bundle_that_cannot_be_deployed_is_named(
    unharmed: Fleet, content: bytes, event: str, text: str
) -> None:
    found, diagnostics = failure(unharmed.run(offer(unharmed, content)))
    assert (found, text in diagnostics.message) == (event, True), diagnostics.message


def test_a_bundle_with_another_digest_is_refused(unharmed: Fleet) -> None:
    event, diagnostics = failure(unharmed.run(offer(unharmed, GOOD, sha256="0" * 64)))
    assert event == DOWNLOAD
    assert f"its SHA-256 is {hashlib.sha256(GOOD).hexdigest()}, expected {'0' * 64}" in diagnostics.message


def test_an_archive_of_another_kind_than_said_is_refused(unharmed: Fleet) -> None:
    _, diagnostics = failure(unharmed.run(offer(unharmed, archive(kind="zip"), bundle_type=TGZ)))
    assert "says tgz, but it is a zip" in diagnostics.message


@pytest.mark.parametrize(
    "content, text",
    [
        (make_tar([Item(name="x")], "gz"), "no appspec.yml at its root"),
        (
            archive(appspec="version: 0.0\nos: linux\nhooks:\n  AfterInstal: []\n"),
            "did you mean 'AfterInstall'",
        ),
        (archive(Item(name="../evil")), "'../evil' leaves the target directory"),
        (archive(Item(name="l", link="/etc/passwd")), "'l' is a symbolic link that leaves"),
        (hooked("gone.sh"), "script 'gone.sh' of BeforeInstall does not exist"),
        (make_zip([Item(name="appspec.yml", content=APPSPEC.encode())])[:-10], "cut short"),
    ],
    ids=["no AppSpec", "broken AppSpec", "leaving path", "leaving link", "missing script", "cut short"],
)
def test_a_client_that_checks_nothing_gets_no_bad_bundle_registered(
    unharmed: Fleet, tmp_path: Path, content: bytes, text: str
) -> None:
    file = tmp_path / ("x.zip" if content.startswith(b"PK") else "x.tgz")
    file.write_bytes(content)
    bundle = take_archive(file)
    listing = ("revision", "list", "--application", "app", "--json")
    before = unharmed.cli(*listing).stdout
    with pytest.raises(InvalidRequest) as refused:
        unharmed.ask(lambda client: client.push("app", bundle))
    assert refused.value.reason == "InvalidRevisionException"
    assert text in str(refused.value)
    assert unharmed.cli(*listing).stdout == before


def test_a_hook_that_cannot_be_executed_is_made_executable(duo: Fleet) -> None:
    script = Item(
        name="h.sh", content=b'#!/bin/sh\necho "$DEPLOYMENT_ID ran" >> "${FERRYMAN_INSTALL_ROOT%/}/story"\n'
    )
    appspec = "version: 0.0\nos: linux\nhooks:\n  BeforeInstall:\n    - location: h.sh\n"
    content = make_tar([Item(name="appspec.yml", content=appspec.encode()), script], "gz")
    duo.create_group("scripts")
    deployment = duo.run(offer(duo, content), group="scripts").deployment
    assert deployment.status == SUCCEEDED
    assert set(duo.hook_runs(deployment.deployment_id).values()) == {1}
    for agent in duo.agents:
        assert "hook.made_executable" in (agent.home / "log" / "codedeploy-agent.log").read_text()


def test_much_output_and_a_child_that_keeps_it_open_do_no_harm(unharmed: Fleet) -> None:
    hook = "sleep 8 & head -c 200000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 5"
    before = [_memory(agent) for agent in unharmed.agents]
    event, diagnostics = failure(unharmed.run(unharmed.push({"BeforeInstall": hook})))
    assert (event, diagnostics.exit_status) == ("BeforeInstall", 5)
    assert "the end" in diagnostics.log_tail
    assert "still holds its STDOUT" in diagnostics.log_tail
    assert len(diagnostics.log_tail) < 10_000
    for agent, memory in zip(unharmed.agents, before, strict=True):
        assert _memory(agent) < memory + 40_000
        logs = [file for file in (agent.home / "deployment-root").rglob("*log*") if file.is_file()]
        assert max(file.stat().st_size for file in logs) <= 64 << 20


def test_a_disk_without_room_for_the_files_is_named(unharmed: Fleet, tmp_path: Path) -> None:
    agent = unharmed.agents[0]
    unharmed.create_group("small", tag=f"me={agent.name}")
    with small_disk(agent.install_root / "small", 4 << 20) as disk:
        (disk / "mine").write_text("kept")
        content = archive(
            Item(name="files/big", content=bytes(8 << 20)), appspec=APPSPEC.replace("/srv/app", "/small/app")
        )
        event, diagnostics = failure(unharmed.run(offer(unharmed, content), group="small"))
        assert event == "Install"
        assert "no room to install: it needs" in diagnostics.message
        assert os.listdir(disk) == ["mine"]


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        (
            ("deploy", "-a", "app", "-g", "all", "-r", "file:///x.tgz", "--config", "All.Healthy"),
            1,
            "M=2, N=2",
        ),
        (("deploy", "-a", "app", "-g", "empty", "-r", "file:///x.tgz"), 1, "NO_INSTANCES"),
        (("deploy", "-a", "app", "-g", "all", "-r", "https://h:99999/x.tgz"), 2, "Port out of range"),
        (("deploy", "-a", "app", "-g", "all", "-r", "ftp://h/x.tgz"), 2, "neither https:// nor file:///"),
        (("deploy", "-a", "app", "-g", "all", "--source", "/nowhere"), 2, "there is no /nowhere"),
        (("config", "create", "C", "--min-healthy", "9" * 30), 2, "too much"),
        (("token", "create", "--join", "--ttl", "0"), 2, "could never be used"),
        (("token", "create", "--join", "--uses", "9" * 30), 2, "--uses"),
        (("deployment", "show", "d-"), 2, "'d-' is no deployment id"),
        (("group", "create", "g" * 101, "-a", "app"), 2, "at most 100"),
        (("instance", "tag", "agent-0", "--add", "k=" + CONTROL), 2, "cannot be printed"),
        (("application", "create", CONTROL), 2, "is not valid"),
    ],
)
def test_wrong_wishes_have_their_exit_code_and_words(
    unharmed: Fleet, arguments: tuple[str, ...], code: int, text: str
) -> None:
    unharmed.cli("config", "create", "All.Healthy", "--min-healthy", "2")
    unharmed.cli("group", "create", "empty", "-a", "app", "--tag", "nobody=has-this")
    done = unharmed.cli(*arguments)
    said = done.stdout + done.stderr
    assert (done.returncode, text in said) == (code, True), said
    assert "Traceback" not in said
    assert "\x1b" not in said


def test_foreign_text_neither_steers_the_terminal_nor_breaks_the_lists(unharmed: Fleet) -> None:
    options = ("-a", "app", "-g", "all", "--config", "CodeDeployDefault.AllAtOnce", "--description", CONTROL)
    done = unharmed.cli("deploy", *options, "-r", "file:///nowhere/[/b].tgz")
    assert done.returncode == 1, done.stderr
    for listed in (done, unharmed.cli("deployment", "list"), unharmed.cli("revision", "list", "-a", "app")):
        assert "[/b].tgz" in listed.stdout
        assert not set("\x1b\x07\x9b") & set(listed.stdout + listed.stderr)


def test_interrupting_the_watcher_says_that_the_deployment_goes_on(unharmed: Fleet) -> None:
    gate = unharmed.home / "gate"
    revision = unharmed.push({"BeforeInstall": f"while [ ! -e {gate} ]; do sleep 0.05; done; exit 1"})
    deployment_id = unharmed.deploy(revision)
    # Whoever runs the tests in the background of a shell has SIGINT ignored, and so would have all it starts.
    command = [
        "env",
        "--default-signal=INT",
        str(COMMANDS / "ferryman"),
        "deployment",
        "watch",
        deployment_id,
    ]
    profile = unharmed.coordinator.profile
    environ = {
        **os.environ,
        "FERRYMAN_COORDINATOR": profile.coordinator,
        "FERRYMAN_CA": profile.ca_file,
        "FERRYMAN_TOKEN": profile.token(),
    }
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        assert deployment_id in watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, said = watch.communicate(timeout=60)
    assert watch.returncode == 130, said
    assert f"{deployment_id} goes on" in said
    gate.touch()
    assert unharmed.wait(deployment_id).deployment.status == FAILED


def test_a_group_that_is_deleted_while_it_deploys_ends_its_deployment(unharmed: Fleet) -> None:
    gate = unharmed.home / "gate-of-group"
    unharmed.create_group("doomed")
    revision = unharmed.push({"BeforeInstall": f"while [ ! -e {gate} ]; do sleep 0.05; done"})
    deployment_id = unharmed.deploy(revision, group="doomed")
    unharmed.wait_until(lambda: len(unharmed.hook_runs(deployment_id)) >= 2, "the hooks to run")
    deleted = unharmed.cli("group", "delete", "doomed", "-a", "app", "--yes")
    assert deleted.returncode == 0, deleted.stderr
    gate.touch()
    deployment = unharmed.wait(deployment_id).deployment
    assert (deployment.status, deployment.error.code) == (FAILED, "DEPLOYMENT_GROUP_MISSING")


def test_join_tokens_that_are_no_good_enrol_nobody(duo: Fleet, tmp_path: Path) -> None:
    address = duo.coordinator.ready["grpc"]
    request = tokens_pb2.CreateJoinTokenRequest(uses=1, ttl_seconds=60)
    token = duo.ask(lambda client: client.call(client.tokens.CreateJoinToken, request)).token
    *_, secret = token.split("-", 4)
    newcomer = AgentProcess(tmp_path / "new", "newcomer")
    for text, why in (
        ("nonsense", "this is not a join token"),
        (token[:-4] + "AAAA", "is not known here"),
        (f"ferryman-join-1-{'0' * 64}-{secret}", "is not the coordinator that was meant"),
    ):
        refused = newcomer.enroll(address, text)
        assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr
        assert not (newcomer.home / "state" / "identity.json").exists()
    assert newcomer.enroll(address, token).returncode == 0
    used = AgentProcess(tmp_path / "late", "latecomer").enroll(address, token)
    assert (used.returncode, "has had its one use" in used.stderr) == (1, True)
    again = newcomer.enroll(address, token)
    assert (again.returncode, "enrolled already, as newcomer" in again.stderr) == (1, True)
    assert duo.cli("instance", "deregister", "newcomer", "--yes").returncode == 0


def test_a_second_coordinator_on_the_same_directory_names_the_first(duo: Fleet) -> None:
    second = subprocess.run(
        [
            COMMANDS / "ferryman-coordinator",
            "serve",
            *("--data-dir", duo.coordinator.data_dir),
            *("--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert duo.coordinator.process is not None
    assert f"is in use by process {duo.coordinator.process.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert len(duo.instances()) >= 2


def test_an_agent_outlives_an_emptied_root_and_a_late_coordinator(duo: Fleet) -> None:
    agent = duo.agents[1]
    log = agent.home / "log" / "codedeploy-agent.log"
    agent.stop()
    duo.coordinator.stop()
    before = log.read_text().count("link.down")
    agent.start()
    duo.wait_until(lambda: log.read_text().count("link.down") > before, "the agent to find no coordinator")
    duo.coordinator.start()
    duo.wait_connected(2)
    shutil.rmtree(agent.home / "deployment-root")
    duo.create_group("emptied", tag=f"me={agent.name}")
    overwrite = types_pb2.FILE_EXISTS_BEHAVIOR_OVERWRITE
    progress = duo.run(duo.push(), group="emptied", file_exists_behavior=overwrite)
    assert progress.deployment.status == SUCCEEDED, progress.deployment


def _memory(agent: AgentProcess) -> int:
    """The largest resident size so far, in KiB."""
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
