"""Users, roles, keys and the audit log from the command line, against a coordinator that runs as a process."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.fleet import COMMANDS, CoordinatorProcess

pytestmark = pytest.mark.timeout(120)


@dataclass
class Office:
    coordinator: CoordinatorProcess

    @property
    def admin(self) -> str:
        return (self.coordinator.data_dir / "admin.token").read_text().strip()

    def run(self, *arguments: str, token: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        environ = {
            **os.environ,
            "FERRYMAN_COORDINATOR": self.coordinator.ready["grpc"],
            "FERRYMAN_CA": str(self.coordinator.data_dir / "ca.pem"),
            "FERRYMAN_TOKEN": token or self.admin,
        }
        done = subprocess.run(
            [COMMANDS / "ferryman", *arguments], env=environ, capture_output=True, text=True
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, token: str = "") -> Any:
        return json.loads(self.run(*arguments, "--json", token=token).stdout)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    coordinator = CoordinatorProcess(tmp_path_factory.mktemp("c"))
    coordinator.start()
    try:
        office = Office(coordinator)
        for name in ("web", "shop"):
            office.run("application", "create", name)
        yield office
    finally:
        coordinator.stop()


@pytest.mark.req("CP-438", "PF-244")
def test_a_user_gets_a_role_and_is_told_what_it_may(office: Office) -> None:
    office.run("user", "create", "ann", "--description", "Ann")
    office.run("role", "grant", "viewer", "--user", "ann", "--application", "web")
    token = office.run("token", "create", "--user", "ann", "--ttl", "10m").stdout.strip()
    assert [one["name"] for one in office.json("application", "list", token=token)] == ["web"]
    refused = office.run("application", "show", "shop", token=token, code=4)
    assert "ferryman role grant viewer --user ann --on 'application:shop'" in refused.stderr
    office.run("application", "create", "mine", token=token, code=4)
    me = office.run("whoami", token=token).stdout
    assert "user/ann" in me
    assert "role viewer on application:web" in me
    assert office.json("whoami", token=token)["user"]["name"] == "ann"
    question = ("access", "check", "ann", "codedeploy:GetApplication")
    assert office.run(*question, "application:web").stdout.startswith("yes: role viewer")
    assert office.run(*question, "application:shop", code=4).stdout.startswith("no: no role allows it")
    office.run("access", "check", "-", "codedeploy:StopDeployment", token=token, code=4)
    listed = office.run("user", "list").stdout
    assert "ann" in listed
    assert "viewer" in listed
    (shown,) = office.json("token", "list", "--user", "ann")
    assert (shown["kind"], shown["user"]) == ("Token", "ann")
    assert shown["lastUsedFrom"] == "127.0.0.1"
    assert "never" not in office.run("token", "list", "--access").stdout.splitlines()[1]
    office.run("user", "disable", "ann")
    office.run("whoami", token=token, code=4)
    office.run("user", "enable", "ann")
    office.run("token", "revoke", shown["tokenId"], "--access")
    office.run("whoami", token=token, code=4)
    office.run("role", "revoke", "viewer", "--user", "ann")
    assert "was granted nothing" in office.run("user", "show", "ann").stderr
    office.run("user", "delete", "ann")
    office.run("user", "show", "ann", code=5)


def test_a_role_of_ones_own_is_a_policy_file(office: Office, tmp_path: Path) -> None:
    policy = tmp_path / "role.json"
    policy.write_text(
        '{"Statement": [{"Effect": "Allow", "Action": "codedeploy:Get*", "Resource": "application:*"}]}'
    )
    office.run("role", "put", "reader", "--from", str(policy), "--description", "reads")
    shown = json.loads(office.run("role", "show", "reader").stdout)
    assert shown["Statement"][0]["Action"] == ["codedeploy:Get*"]
    assert "reader" in office.run("role", "list").stdout
    policy.write_text('{"Statement": [{"Effect": "Allow", "Action": "s3:*"}]}')
    refused = office.run("role", "put", "reader", "--from", str(policy), code=2)
    assert "statement 1: 's3:*' is no action" in refused.stderr.replace("\n", " ")
    office.run("role", "delete", "reader")
    office.run("role", "show", "reader", code=5)


def test_keys_and_sessions_are_shown_once(office: Office) -> None:
    office.run("user", "create", "build", "--service")
    made = office.json("access-key", "create", "--user", "build")
    assert set(made) == {"accessKeyId", "secretAccessKey"}
    (listed,) = office.json("access-key", "list", "--user", "build")
    assert (listed["accessKeyId"], listed["status"]) == (made["accessKeyId"], "Active")
    assert made["secretAccessKey"] not in json.dumps(listed)
    office.run("access-key", "deactivate", made["accessKeyId"])
    assert "inactive" in office.run("access-key", "list", "--user", "build").stdout
    office.run("access-key", "activate", made["accessKeyId"])
    office.run("access-key", "delete", made["accessKeyId"])
    session = office.json("access-key", "session", "--ttl", "15m")
    assert office.json("whoami", token=session["sessionToken"])["credentialKind"] == "Session"
    office.run("access-key", "session", token=session["sessionToken"], code=4)


def test_wrong_usage_is_told_as_such(office: Office) -> None:
    office.run("token", "create", code=2)
    office.run("token", "create", "--join", "--user", "admin", code=2)
    office.run("audit", "list", "--since", "yesterday", code=2)
    office.run("user", "disable", "admin", code=5)


@pytest.mark.req("CP-443", "CP-449", "PF-267")
def test_the_audit_log_is_read_and_verified(tmp_path: Path) -> None:
    coordinator = CoordinatorProcess(tmp_path)
    coordinator.start()
    office = Office(coordinator)
    try:
        office.run("application", "create", "web")
        office.run("application", "show", "ghost", code=5)
        office.run("whoami", token="ferryman-access-1-wrong", code=4)
        (denied,) = office.json("audit", "list", "--denied")["records"]
        assert (denied["errorCode"], denied["eventName"]) == ("TokenInvalid", "WhoAmI")
        (made,) = office.json("audit", "list", "--event", "CreateApplication", "--since", "1h")["records"]
        assert made["userIdentity"]["userName"] == "admin"
        table = office.run("audit", "list", "--user", "admin").stdout
        assert "GetApplication" in table
        assert "ApplicationDoesNotExistException" in table
        assert "are as they were written" in office.run("audit", "verify").stdout
    finally:
        coordinator.stop()
    verify = [str(COMMANDS / "ferryman-coordinator"), "audit", "verify"]
    verify += ["--data-dir", str(coordinator.data_dir)]
    whole = subprocess.run(verify, capture_output=True, text=True)
    assert (whole.returncode, "are as they were written" in whole.stdout) == (0, True), whole.stderr
    engine = sa.create_engine(f"sqlite:///{coordinator.data_dir}/ferryman.db")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE audit_records SET user_name = 'eve' WHERE sequence = 2"))
    engine.dispose()
    broken = subprocess.run(verify, capture_output=True, text=True)
    assert broken.returncode == 1
    assert "broken at record 2: its columns do not say what its text says" in broken.stderr
    coordinator.start()
    try:
        refused = office.run("audit", "verify", code=1)
        assert "record 2:" in refused.stderr
    finally:
        coordinator.stop()
