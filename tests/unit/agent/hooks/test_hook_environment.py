"""Whom a script runs as and what it sees, without starting one."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.core.messages import GitHubCommit, S3Object, ScriptErrorCode
from ferryman_agent.hooks import environment
from ferryman_agent.hooks.contract import HookSettings, ScriptCwd
from ferryman_agent.hooks.environment import Account, Refusal, account_for, variables
from ferryman_agent.system import own
from tests.support.hook_runs import FakeScript, HookBench, description

ACCOUNT = Account(
    name="app", uid=1234, gid=1234, groups=(1234,), home="/srv/app", login_shell="/bin/sh", is_switch=True
)


def seen(bench: HookBench, settings: HookSettings, **keys: object) -> dict[str, str]:
    found = variables(bench.run_of(**keys), ACCOUNT, settings)
    assert isinstance(found, dict)
    return found


@pytest.mark.req("V2-230", "V2-233", "AG-380", "AG-395")
def test_exactly_the_documented_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("SOMETHING", "of the agent")
    bench = HookBench(root=tmp_path)
    assert seen(bench, HookSettings(), previous_archive=Path("/old/archive")) == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/srv/app",
        "USER": "app",
        "LOGNAME": "app",
        "SHELL": "/bin/sh",
        "APPLICATION_NAME": "web",
        "DEPLOYMENT_ID": "d-1",
        "DEPLOYMENT_GROUP_NAME": "blue group",
        "DEPLOYMENT_GROUP_ID": "g-1",
        "LIFECYCLE_EVENT": "ApplicationStart",
        "FERRYMAN_REVISION_DIR": str(bench.archive),
        "FERRYMAN_DEPLOYMENT_DIR": str(bench.place.path),
        "FERRYMAN_ROOT_DIR": str(tmp_path),
        "FERRYMAN_INSTALL_ROOT": "/",
        "FERRYMAN_PREVIOUS_REVISION_DIR": "/old/archive",
    }


@pytest.mark.req("AG-380", "AG-386", "PF-295", "AG-T69", "AG-H09", "AG-C29")
@pytest.mark.parametrize(
    "place, expected",
    [
        ({}, {}),
        (
            {"s3": S3Object(bucket="builds", key="a/b.zip", version="v1", etag="abc-2")},
            {
                "BUNDLE_BUCKET": "builds",
                "BUNDLE_KEY": "a/b.zip",
                "BUNDLE_VERSION": "v1",
                "BUNDLE_ETAG": "abc-2",
            },
        ),
        (
            {"s3": S3Object(bucket="builds", key="a/b.zip")},
            {"BUNDLE_BUCKET": "builds", "BUNDLE_KEY": "a/b.zip"},
        ),
        (
            {"github": GitHubCommit(repository="a/b", commit_id="0123", token_name="t")},
            {"BUNDLE_COMMIT": "0123"},
        ),
    ],
)
def test_what_was_deployed_is_told_as_it_was_named(
    tmp_path: Path, place: dict[str, Any], expected: dict[str, str]
) -> None:
    plain = description()
    deployment = replace(plain, revision=replace(plain.revision, **place))
    found = seen(HookBench(root=tmp_path), HookSettings(), deployment=deployment)
    assert {name: value for name, value in found.items() if name.startswith("BUNDLE_")} == expected


def test_without_an_earlier_revision_its_variable_is_unset(tmp_path: Path) -> None:
    assert "FERRYMAN_PREVIOUS_REVISION_DIR" not in seen(HookBench(root=tmp_path), HookSettings())


@pytest.mark.req("AG-383", "V2-231", "V2-232", "V2-234", "AG-382")
@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE",
        "FERRYMAN_TOKEN", "FERRYMAN_CA", "FERRYMAN_AGENT_HOME", "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS",
        "GITHUB_TOKEN", "DB_PASSWORD", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "BASH_ENV",
        "ENV", "PYTHONPATH", "PYTHONHOME", "IFS", "SHELLOPTS",
    ],
)  # fmt: skip
def test_what_never_reaches_a_script_even_when_it_inherits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "value")
    monkeypatch.setenv("HARMLESS", "value")
    monkeypatch.setenv("DEPLOYMENT_ID", "of somebody else")
    found = seen(HookBench(root=tmp_path), HookSettings(pass_agent_env=True))
    assert name not in found
    assert found["HARMLESS"] == "value"
    assert found["DEPLOYMENT_ID"] == "d-1"


@pytest.mark.req("V2-231", "AG-089", "AG-X39")
def test_the_agents_credentials_go_last_of_all_whatever_put_them_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_is_secret", lambda name, value: False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "value")
    monkeypatch.setenv("LD_PRELOAD", "value")
    found = seen(HookBench(root=tmp_path), HookSettings(pass_agent_env=True))
    assert not {"AWS_SECRET_ACCESS_KEY", "LD_PRELOAD"} & found.keys()


@pytest.mark.req("AG-383")
def test_proxies_are_inherited_unless_they_hold_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://user:word@proxy:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    found = seen(HookBench(root=tmp_path), HookSettings(pass_agent_env=True))
    assert "https_proxy" not in found
    assert found["HTTP_PROXY"] == "http://proxy:3128"


def test_loader_variables_can_be_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt")
    found = seen(HookBench(root=tmp_path), HookSettings(pass_agent_env=True, strip_loader_variables=False))
    assert found["PYTHONPATH"] == "/opt"


def test_without_a_path_of_its_own_a_script_gets_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PATH")
    assert seen(HookBench(root=tmp_path), HookSettings())["PATH"] == own.DEFAULT_PATH


@pytest.mark.req("AG-385")
@pytest.mark.parametrize("name", ["a\nb", "a\0b"])
def test_values_that_a_script_would_see_differently_are_refused(tmp_path: Path, name: str) -> None:
    run = HookBench(root=tmp_path).run_of(deployment=description(application_name=name))
    refusal = variables(run, ACCOUNT, HookSettings())
    assert isinstance(refusal, Refusal)
    assert refusal.error_code is ScriptErrorCode.UNKNOWN_ERROR
    assert "APPLICATION_NAME" in refusal.message


@pytest.mark.req("AG-394")
@pytest.mark.parametrize("runas", [None, "", "  "])
def test_the_default_user_is_the_agents(runas: str | None) -> None:
    account = account_for(FakeScript(location="a.sh", runas=runas))
    assert isinstance(account, Account)
    assert (account.uid, account.is_switch) == (os.geteuid(), False)


def test_a_user_without_a_name_can_run_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("HOME", "/home/somewhere")
    account = account_for(FakeScript(location="a.sh"))
    assert isinstance(account, Account)
    assert (account.name, account.home, account.login_shell) == (
        str(os.geteuid()),
        "/home/somewhere",
        "/bin/sh",
    )


@pytest.mark.req("AG-397", "V2-249")
def test_an_unknown_user_is_refused_with_location_and_name() -> None:
    refusal = account_for(FakeScript(location="a.sh", runas="no-such-user-here"))
    assert isinstance(refusal, Refusal)
    assert refusal.error_code is ScriptErrorCode.SCRIPT_FAILED
    assert refusal.detail_code == "RUNAS_UNKNOWN_USER"
    assert "a.sh" in refusal.message
    assert "no-such-user-here" in refusal.message


@pytest.mark.req("AG-399")
def test_only_root_can_change_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    refusal = account_for(FakeScript(location="a.sh", runas="root"))
    assert isinstance(refusal, Refusal)
    assert (refusal.error_code, refusal.detail_code) == (ScriptErrorCode.SCRIPT_FAILED, "RUNAS_NEEDS_ROOT")
    own = account_for(FakeScript(location="a.sh", runas="nobody", sudo=True))
    assert isinstance(own, Account)
    assert not own.is_switch


@pytest.mark.req("AG-393")
def test_sudo_without_root_is_refused_and_never_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    refusal = account_for(FakeScript(location="a.sh", sudo=True))
    assert isinstance(refusal, Refusal)
    assert (refusal.error_code, refusal.detail_code) == (ScriptErrorCode.SCRIPT_FAILED, "SUDO_NEEDS_ROOT")


@pytest.mark.req("AG-387")
def test_where_scripts_start(tmp_path: Path) -> None:
    run = HookBench(root=tmp_path).run_of()
    settings = HookSettings()
    assert environment.directory(run, settings) == Path("/")
    assert environment.directory(run, replace(settings, script_cwd=ScriptCwd.AGENT)) == Path.cwd()
    assert environment.directory(run, replace(settings, script_cwd=ScriptCwd.ARCHIVE)) == run.archive
