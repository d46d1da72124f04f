"""What ends the agent, and how that is told: errors of ours as such, mistakes of ours as what they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferryman_agent import process, wiring
from ferryman_agent.config import parse
from ferryman_agent.errors import ConfigError, IdentityError, JournalError
from ferryman_agent.hooks.contract import HookSettings
from ferryman_agent.host import identity
from tests.support.identities import an_identity


def test_an_error_of_ours_is_found_in_any_nesting() -> None:
    ours = JournalError("the disk is gone")
    nested = ExceptionGroup("tasks", [ExceptionGroup("loop", [ours])])
    assert process._expected(nested) is ours
    assert process._expected(ExceptionGroup("tasks", [ours, RuntimeError("a mistake")])) is None
    assert process._expected(RuntimeError("a mistake")) is None


def test_without_an_identity_nothing_is_made(tmp_path: Path) -> None:
    config = parse(b"", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path / "home")}).config
    with pytest.raises(IdentityError):
        process.run(config)
    assert not (tmp_path / "home").exists()


@pytest.mark.req("AG-062")
def test_directories_that_cannot_be_made_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = f"log_dir: {tmp_path}/file/log\npid_dir: {tmp_path}/file/pid\n"
    config = parse(text.encode(), "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config
    identity.save(an_identity(), config.identity_path)
    with pytest.raises(ConfigError) as caught:
        process.run(config)
    assert "log_dir" in str(caught.value)
    assert "pid_dir" in str(caught.value)
    assert "state_dir" not in str(caught.value)
    wiring.demand_directories(parse(b"", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path / "fine")}).config)
    assert (tmp_path / "fine" / "log").is_dir()


def test_hooks_get_the_settings_of_the_configuration() -> None:
    home = {"FERRYMAN_AGENT_HOME": "/srv/agent"}
    assert wiring.work_settings(parse(b"", "f", home).config).hooks == HookSettings()
    found = wiring.work_settings(
        parse(b"hooks: {kill_grace: 1s, pass_agent_env: true}\ninstall: {root: /x}\n", "f", home).config
    )
    assert found.hooks.kill_grace_seconds == 1
    assert found.hooks.pass_agent_env
    assert found.hooks.install_root == "/x"


@pytest.mark.req("V2-280", "V2-284")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_directories_have_exact_modes_in_whatever_order_they_lie_in_each_other(
    tmp_path: Path, umask: int
) -> None:
    """The log and the PID below the state, as an ordinary user has them, must not make the state on their way."""
    state = tmp_path / "deep" / "state"
    text = f"state_dir: {state}\nlog_dir: {state}/log\npid_dir: {state}/pid\nroot_dir: {tmp_path}/root\n"
    config = parse(text.encode(), "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config
    before = os.umask(umask)
    try:
        wiring.demand_directories(config)
    finally:
        os.umask(before)
    modes = {
        path: path.stat().st_mode & 0o777 for path in (state.parent, state, state / "log", state / "pid")
    }
    assert list(modes.values()) == [0o755, 0o700, 0o750, 0o755]
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o711
