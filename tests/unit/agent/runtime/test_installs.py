"""Install with what the configuration says, and what a start of the agent does about installs that were killed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from ferryman_agent.config import Config
from ferryman_agent.core.messages import DeploymentId
from ferryman_agent.errors import InstallError
from ferryman_agent.files.digests import to_text
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.undo import Begin, Made, UndoLog
from ferryman_agent.runtime.group_turns import GroupTurns
from ferryman_agent.runtime.installs import Installs
from tests.support.agent_clock import ManualAgentClock
from tests.support.bundles import GROUP, description, put_archive


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "root")
    layout.prepare()
    return layout


def interrupted(layout: Layout, made: Path) -> None:
    made.mkdir()
    log = UndoLog(layout.install_mark(GROUP), Begin("d-1", 0))
    log.add([Made(to_text(str(made)), to_text(str(made)))])
    log.close()


@pytest.mark.req("AG-138", "V2-188", "AG-505")
async def test_a_start_puts_in_order_what_was_killed_but_nothing_that_runs(
    layout: Layout, tmp_path: Path
) -> None:
    clock = ManualAgentClock()
    installs = Installs(Config(), layout, clock)
    interrupted(layout, tmp_path / "app")
    somebody = GroupTurns(layout, clock)
    somebody.hold(GROUP, DeploymentId("d-local"))
    await installs.recover()
    assert (tmp_path / "app").is_dir()
    assert layout.install_mark(GROUP).exists()
    somebody.release(GROUP, DeploymentId("d-local"))
    await installs.recover()
    assert not (tmp_path / "app").exists()
    assert not layout.install_mark(GROUP).exists()


@pytest.mark.req("V2-288", "AG-138")
@pytest.mark.parametrize(
    "content", [b"", b"\0\xff", b"d-1", b'["begin"]\n', b'["mkdir","x",5]\n', os.urandom(255)]
)
async def test_a_log_that_is_broken_stops_nothing(layout: Layout, content: bytes) -> None:
    layout.install_mark(GROUP).write_bytes(content)
    await Installs(Config(), layout, ManualAgentClock()).recover()
    assert not layout.install_mark(GROUP).exists()


@pytest.mark.req("AG-K34", "V2-380", "V2-216", "AG-366")
@pytest.mark.parametrize(
    "permission, key, value, code",
    [
        ("mode: 2755", "allow_set_id", True, "PERM_MODE_SET_ID"),
        ("context: {type: init_t}", "reject_unconfined", False, "PERM_CONTEXT_UNCONFINED"),
        ("context: {type: t}", "require_selinux", True, "PERM_CONTEXT_UNSUPPORTED"),
    ],
)
async def test_settings_reach_the_plan(
    layout: Layout, tmp_path: Path, permission: str, key: str, value: bool, code: str
) -> None:
    text = (
        f"version: 0.0\nos: linux\nfiles:\n  - {{source: a, destination: {tmp_path}/srv}}\n"
        f"permissions:\n  - {{object: {tmp_path}/srv, {permission}}}\n"
    )
    put_archive(layout, "d-1", {"a": b"1", "appspec.yml": text.encode()})
    config = Config()
    changed = msgspec.structs.replace(config, install=msgspec.structs.replace(config.install, **{key: value}))
    refusing, accepting = (config, changed) if key != "require_selinux" else (changed, config)
    with pytest.raises(InstallError) as refused:
        await Installs(refusing, layout, ManualAgentClock()).install(description("d-1"))
    assert refused.value.detail_code == code
    assert "Succeeded" in await Installs(accepting, layout, ManualAgentClock()).install(description("d-1"))


@pytest.mark.req("AG-K34", "AG-C12")
async def test_modes_of_directories_are_kept_if_the_configuration_says_so(
    layout: Layout, tmp_path: Path
) -> None:
    text = f"version: 0.0\nos: linux\nfiles:\n  - {{source: /, destination: {tmp_path}/srv}}\n"
    archive = put_archive(layout, "d-1", {"d/a": b"1", "appspec.yml": text.encode()})
    (archive / "d").chmod(0o700)
    config = Config()
    plain = msgspec.structs.replace(
        config, install=msgspec.structs.replace(config.install, preserve_directory_modes=False)
    )
    for given, mode in ((config, 0o700), (plain, 0o755)):
        await Installs(given, layout, ManualAgentClock()).install(description("d-1"))
        assert (tmp_path / "srv/d").stat().st_mode & 0o777 == mode
