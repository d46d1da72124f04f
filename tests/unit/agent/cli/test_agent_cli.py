"""ferryman-agent's commands without a process: arguments, exit codes, what they print and what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ferryman_agent import __version__
from ferryman_agent.cli import enrolling
from ferryman_agent.cli import main as cli
from ferryman_agent.cli.overview import gather
from ferryman_agent.config import load
from ferryman_agent.core.messages import Instant
from ferryman_agent.errors import IdentityError
from ferryman_agent.host import identity
from ferryman_agent.host.identity import Identity
from ferryman_agent.host.instance import InstanceLock

WEEK_MS = 7 * 24 * 3_600_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FERRYMAN_AGENT_HOME", str(tmp_path))
    return tmp_path


def save_identity(home: Path, *, left_ms: int = WEEK_MS) -> Path:
    now = int(time.time() * 1000)
    path = home / "state" / "identity.json"
    made = Identity(
        instance_id="i-1",
        instance_name="web-1",
        host="localhost",
        agents_port=1,
        private_key="k",
        certificate_chain="c",
        ca_certificates="a",
        issued_at=Instant(now),
        expires_at=Instant(now + left_ms),
    )
    identity.save(made, path)
    return path


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    printed = capsys.readouterr()
    return caught.value.code, printed.out, printed.err


def test_the_version_comes_without_anything_heavy() -> None:
    program = (
        "import sys\nfrom ferryman_agent.cli.main import main\n"
        "try: main(['--version'])\nexcept SystemExit: pass\n"
        "heavy = ('grpc', 'msgspec', 'yaml', 'structlog', 'asyncio', 'cryptography', 'aiohttp')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [f"ferryman-agent {__version__}", "[]"]


@pytest.mark.parametrize(
    "arguments", [[], ["bogus"], ["enroll", "--bogus"], ["stop", "--wait", "--force"], ["run", "--bogus"]]
)
def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, _, told = outcome(capsys, *arguments)
    assert code == 2
    assert "usage: ferryman-agent" in told


@pytest.mark.req("AG-541")
def test_nothing_updates_the_agent_but_its_packages(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = outcome(capsys, "update")
    assert code == 2
    assert "invalid choice: 'update'" in told


def test_help_is_there_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("enroll", "run", "status", "stop", "config", "doctor", "history", "logs"):
        code, printed, _ = outcome(capsys, name, "--help")
        assert code == 0
        assert "--config" in printed


def test_not_enrolled_it_does_not_run_and_leaves_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, told = outcome(capsys, "run")
    assert code == 1
    assert "is not enrolled" in told
    assert "Traceback" not in told
    assert os.listdir(home) == []


@pytest.mark.req("AG-057", "AG-061")
def test_a_broken_configuration_keeps_every_command_from_working(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "ferrymanagent.yml").write_text("root_dir: 3\nlog_dir: 4\n")
    for name in ("run", "status", "stop"):
        code, _, told = outcome(capsys, name)
        assert code == 1
        assert "root_dir" in told
        assert "log_dir" in told
    code, _, told = outcome(capsys, "status", "--config", str(home / "none.yml"))
    assert code == 1
    assert "none.yml" in told


class TestStatus:
    @pytest.mark.req("AG-017", "V2-292")
    def test_not_running_is_3(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_identity(home)
        code, printed, _ = outcome(capsys, "status")
        assert code == 3
        assert "no ferryman-agent is running" in printed
        assert "web-1 (i-1)" in printed
        assert "valid until" in printed

    @pytest.mark.req("V2-292")
    def test_what_cannot_be_told_is_4(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (home / "pid" / "codedeploy-agent.pid.lock").mkdir(parents=True)
        for name in ("status", "stop"):
            code, _, told = outcome(capsys, name)
            assert code == 4
            assert "cannot tell whether the agent runs" in told

    def test_json_has_stable_names(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_identity(home)
        code, printed, _ = outcome(capsys, "status", "--json")
        assert code == 3
        facts = json.loads(printed)
        assert facts["running"] is False
        assert facts["instance_id"] == "i-1"
        assert facts["certificate_expires_at"] > time.time() * 1000
        assert set(facts) >= {
            "pid", "version", "coordinator", "link", "commands", "results", "reports_waiting", "disk_free_bytes",
            "warnings",
        }  # fmt: skip

    def test_an_expired_certificate_says_what_to_do(self, home: Path) -> None:
        save_identity(home, left_ms=-1)
        assert "expired" in gather(load(None, os.environ)).as_text()

    def test_what_another_process_left_behind_is_not_believed(self, home: Path) -> None:
        save_identity(home)
        status = {"pid": 1, "commands": [{"is_running": True}], "link": None, "results": []}
        (home / "state" / "status.json").write_text(json.dumps(status))
        with InstanceLock(home / "pid" / "codedeploy-agent.pid"):
            found = gather(load(None, os.environ))
            assert found.is_running
            assert found.running_commands is None
            assert "not known" in found.as_text()
            for text in ("", "[]", "{", "\x00"):
                (home / "state" / "status.json").write_text(text)
                assert gather(load(None, os.environ)).running_commands is None

    def test_what_the_running_agent_tells_is_shown(self, home: Path) -> None:
        save_identity(home)
        now = int(time.time() * 1000)
        command = {
            "command_id": "d-1/i-1/1/0", "deployment_id": "d-1", "group_name": "web", "is_running": True,
            "lifecycle_event": "AfterInstall", "since": now - 5000,
        }  # fmt: skip
        status = {
            "pid": os.getpid(),
            "version": "9",
            "started_at": now,
            "link": {"state": "waiting", "since": now, "problem": "it is away", "last_connected_at": now},
            "commands": [
                command,
                command | {"is_running": False, "lifecycle_event": "", "deployment_id": "d-2"},
            ],
            "results": [{"group_name": "web", "deployment_id": "d-0", "status": "Succeeded", "at": now}],
            "reports_waiting": 4,
            "is_draining": True,
        }
        (home / "state" / "status.json").write_text(json.dumps(status))
        with InstanceLock(home / "pid" / "codedeploy-agent.pid"):
            found = gather(load(None, os.environ))
        text = found.as_text()
        for part in (
            "ferryman-agent 9 is running", ", ending", "not connected: it is away; last connected",
            "web: d-1 AfterInstall, 5 s", "queued        web: d-2 waits for its turn", "web: d-0 Succeeded",
            "4 not acknowledged",
        ):  # fmt: skip
            assert part in text
        assert [each["deployment_id"] for each in found.running_commands or ()] == ["d-1"]


class TestStop:
    def test_nobody_to_stop_is_no_mistake(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert outcome(capsys, "stop")[:2] == (0, "no ferryman-agent is running\n")

    @pytest.mark.req("V2-293")
    def test_refused_when_it_cannot_be_told_whether_an_event_runs(
        self, home: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with InstanceLock(home / "pid" / "codedeploy-agent.pid"):
            code, _, told = outcome(capsys, "stop")
        assert code == 1
        assert "cannot tell whether a lifecycle event runs" in told


class TestEnroll:
    TOKEN = f"ferryman-join-1-{'0' * 64}-secret"

    @pytest.mark.parametrize(
        "options,told",
        [
            ([], "no coordinator is given"),
            (["--coordinator", "host"], "is not an address"),
            (["--coordinator", "h:1", "--tag", "x"], "is not a tag"),
            (["--coordinator", "h:1", "--tag", "a=1", "--tag", "a=2"], "given twice"),
            (["--coordinator", "h:1", "--ca-fingerprint", "sha256:12"], "is not a fingerprint"),
            (["--coordinator", "h:1", "--ca-file", "/none.pem"], "/none.pem: No such file"),
            (["--coordinator", "h:1", "--ca-file", __file__], "holds no PEM certificate"),
        ],
    )
    def test_wishes_that_cannot_be_are_refused_before_anything_happens(
        self, home: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
    ) -> None:
        code, _, said = outcome(capsys, "enroll", "--token", self.TOKEN, *options)
        assert code == 1
        assert told in said
        assert "secret" not in said
        assert os.listdir(home) == []

    def test_no_token_is_spent_where_no_identity_can_be_kept(
        self, home: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (home / "state").write_text("in the way")
        code, _, said = outcome(capsys, "enroll", "--token", self.TOKEN, "--coordinator", "localhost:1")
        assert code == 1
        # And not that nobody listens there.
        assert "cannot write the identity" in said

    def test_a_valid_identity_is_not_thrown_away_by_mistake(
        self, home: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = save_identity(home)
        before = path.read_text()
        code, _, said = outcome(capsys, "enroll", "--token", self.TOKEN, "--coordinator", "localhost:1")
        assert code == 1
        assert "enrolled already, as web-1 (i-1)" in said
        assert path.read_text() == before
        wishes = enrolling.Wishes(token=self.TOKEN, coordinator="localhost:1", is_forced=True)
        with pytest.raises(IdentityError, match="cannot reach"):
            enrolling.enroll(wishes, os.environ)
        assert path.read_text() == before


def test_what_others_say_is_shown_and_not_obeyed(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root reads it: an answer of a coordinator, or what one that is gone was called."""
    said = "\x1b[2J\x9b31m\u202ename\nü"
    monkeypatch.setattr(enrolling, "enroll", lambda wishes, environment: said)
    _, out, _ = outcome(capsys, "enroll", "--token", "t")
    assert out == "\\x1b[2J\\x9b31m\\u202ename\nü\n"

    def refused(wishes: enrolling.Wishes, environment: object) -> str:
        raise IdentityError(said)

    monkeypatch.setattr(enrolling, "enroll", refused)
    _, _, err = outcome(capsys, "enroll", "--token", "t")
    assert err == "ferryman-agent: \\x1b[2J\\x9b31m\\u202ename\nü\n"
