"""Scripts that run as another user. Needs root."""

from __future__ import annotations

import os
import pwd

import pytest

from ferryman_agent.core.messages import ScriptErrorCode
from ferryman_agent.hooks import posix
from tests.support.components import require_component
from tests.support.hook_runs import HookBench

SHOW = 'id -u; id -g; id -G; echo "$HOME $USER $LOGNAME $SHELL $DEPLOYMENT_ID"; umask; pwd'


@pytest.mark.req(
    "AG-395", "AG-396", "AG-393", "V2-248", "AG-T68", "AG-400", "AG-C32", "V2-247", "AG-X34", "AG-H31"
)
@pytest.mark.parametrize("way", ["child", "setpriv"])
@pytest.mark.parametrize("sudo", [False, True])
async def test_runas_a_nologin_user(
    open_bench: HookBench,
    other_user: pwd.struct_passwd,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    *,
    sudo: bool,
) -> None:
    if way == "setpriv":
        require_component("setpriv")
    monkeypatch.setattr(posix, "SETPRIV_ABOVE_BYTES", 0 if way == "setpriv" else 2**60)
    script = open_bench.script("with blank/a.sh", SHOW, runas=other_user.pw_name, sudo=sudo)
    found = await open_bench.run(script)
    assert found.is_success, found
    name, home, shell = other_user.pw_name, other_user.pw_dir, other_user.pw_shell
    groups = os.getgrouplist(name, other_user.pw_gid)
    assert len(groups) == 2
    assert open_bench.watcher.texts == [
        str(other_user.pw_uid),
        str(other_user.pw_gid),
        " ".join(map(str, groups)),
        f"{home} {name} {name} {shell} d-1",
        "0022",
        "/",
    ]


@pytest.mark.req("AG-T68", "V2-247")
async def test_sudo_without_runas_is_root_already(
    open_bench: HookBench, other_user: pwd.struct_passwd
) -> None:
    found = await open_bench.run(open_bench.script("a.sh", 'id -u; echo "$DEPLOYMENT_ID"', sudo=True))
    assert found.is_success
    assert open_bench.watcher.texts == ["0", "d-1"]


@pytest.mark.req("AG-401", "AG-420", "AG-E04")
async def test_a_failure_names_the_user(open_bench: HookBench, other_user: pwd.struct_passwd) -> None:
    found = await open_bench.run(open_bench.script("a.sh", "exit 3", runas=other_user.pw_name))
    assert f"run as user {other_user.pw_name}" in found.message


@pytest.mark.req("AG-398")
async def test_a_closed_folder_is_named(open_bench: HookBench, other_user: pwd.struct_passwd) -> None:
    script = open_bench.script("scripts/a.sh", "echo ran", runas=other_user.pw_name)
    closed = open_bench.archive / "scripts"
    closed.chmod(0o700)
    found = await open_bench.run(script)
    assert (found.error_code, found.detail_code) == (ScriptErrorCode.SCRIPT_FAILED, "SCRIPT_PATH_CLOSED")
    assert str(closed) in found.message
    assert other_user.pw_name in found.message


async def test_what_ends_a_script_of_another_user(
    open_bench: HookBench, other_user: pwd.struct_passwd
) -> None:
    script = open_bench.script("a.sh", "echo up; sleep 1000", runas=other_user.pw_name, timeout_seconds=0.2)
    found = await open_bench.run(script)
    assert found.error_code is ScriptErrorCode.SCRIPT_TIMED_OUT
