"""The agent's settings: both ways to write them, every mistake at once, and what is only a warning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.config import load, parse, places, walk
from ferryman_agent.config.original import MEANINGS, RETIRED
from ferryman_agent.config.schema import MissingPrevious
from ferryman_agent.config.values import ByteSize, Duration
from ferryman_agent.errors import ConfigError
from ferryman_agent.hooks.contract import OutputsLeftOpen, ScriptCwd

HOME = {"FERRYMAN_AGENT_HOME": "/srv/agent"}


def config_of(text: str) -> Any:
    return parse(text.encode(), "agent.yml", HOME).config


def mistakes_in(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "agent.yml", HOME)
    return str(caught.value)


OWN = """
root_dir: /data/root
commands: {max_concurrent: 4, drain_timeout: 1h30m}
hooks: {kill_grace: 500ms, outputs_left_open: fail, cwd: archive, output_cap: 2GiB}
bundles: {max_revisions: 2, min_free_disk: 10MiB}
log: {verbose: true, style: json}
install: {root: /srv, missing_previous_revision: fail}
"""
ORIGINAL = """
:root_dir: /data/root
:max_concurrent_commands: 4
kill_agent_max_wait_time_seconds: 5400
:script_kill_grace_seconds: 7
outputs_left_open: fail
script_cwd: archive
:max_revisions: 2
min_free_disk_mb: 10
:verbose: true
missing_previous_revision: fail
:enable_deployments_log: false
disable_core_dumps: false
restrict_hook_env_to_allowlist: false
"""


@pytest.mark.req("AG-059", "V2-380")
def test_the_original_s_keys_mean_the_same_with_and_without_colons() -> None:
    for text in (OWN, ORIGINAL):
        found = config_of(text)
        assert found.root_dir == "/data/root"
        assert found.commands.max_concurrent == 4
        assert found.commands.drain_timeout.seconds == 5400
        assert found.hooks.outputs_left_open is OutputsLeftOpen.FAIL
        assert found.hooks.cwd is ScriptCwd.ARCHIVE
        assert found.bundles.max_revisions == 2
        assert found.bundles.min_free_disk == 10 << 20
        assert found.log.verbose
        assert found.install.missing_previous_revision is MissingPrevious.FAIL
    original = config_of(ORIGINAL)
    assert original.hooks.kill_grace.seconds == 7
    assert original.log.deployments_log is False
    assert original.core_dumps is True
    assert original.hooks.pass_agent_env is True
    assert config_of(OWN).hooks.kill_grace == 500


@pytest.mark.req("AG-061", "AG-065")
def test_all_mistakes_are_named_at_once_each_with_its_place() -> None:
    said = mistakes_in(
        "root_dir: 5\nmax_revisions: 0\nverbose: yes please\nhooks: 3\nprogram_name: ../x\nlog_dir: rel\n"
        "kill_agent_max_wait_time_seconds: abc\ncommands: {drain_timeout: 30}\nlog: {style: xml}\n"
    )
    for line, key in enumerate(
        ["root_dir", "max_revisions", "verbose", "hooks", "program_name", "log_dir", "kill_agent"], start=1
    ):
        assert f"agent.yml:{line}: {key}" in said
    assert "30 is no duration" in said
    assert "log.style" in said
    assert len(said.splitlines()) == 10


@pytest.mark.req("AG-060", "V2-381", "AG-X44")
def test_unknown_and_retired_keys_are_warnings_with_the_nearest_known_one() -> None:
    found = parse(
        b"root_dri: /x\nhooks: {kill_grase: 1s}\nkill_grace: 1s\n:wait_between_runs: 1\nzzz: 1\n", "f", HOME
    )
    said = "\n".join(found.warnings)
    assert "f:1: root_dri: is unknown and ignored, did you mean root_dir?" in said
    assert "hooks.kill_grase: is unknown and ignored, did you mean hooks.kill_grace?" in said
    assert "f:3: kill_grace: is unknown and ignored, did you mean hooks.kill_grace?" in said
    assert "wait_between_runs: is ignored, commands come over a standing connection" in said
    assert "zzz: is unknown and ignored" in said
    assert len(found.warnings) == 5


def test_a_setting_given_twice_is_a_mistake_in_either_spelling() -> None:
    assert "is set twice" in mistakes_in("max_revisions: 3\nbundles: {max_revisions: 4}\n")
    assert "is there twice" in mistakes_in("root_dir: /a\nroot_dir: /b\n")
    assert "is set twice" in mistakes_in("root_dir: /a\n:root_dir: /b\n")


@pytest.mark.req("AG-058", "V2-383", "AG-H02")
@pytest.mark.parametrize("text", ["a: [", "- x", "just text", "a: !!python/object:os.system {}", "\tx: 1"])
def test_what_is_no_configuration_says_so_with_the_file(text: str) -> None:
    assert "agent.yml" in mistakes_in(text)


@pytest.mark.req("V2-383")
@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_no_bytes_break_it(text: bytes) -> None:
    try:
        parse(text, "f", HOME)
    except ConfigError:
        return


@pytest.mark.req("V2-383")
@pytest.mark.parametrize("of", ["[*l{0}, *l{0}, *l{0}]", "{{<<: [*l{0}, *l{0}, *l{0}], k{0}: 1}}"])
def test_aliases_that_grow_without_end_are_refused_at_once(of: str) -> None:
    first = "{k: 1}" if "<<" in of else "[x]"
    lines = [
        f"a0: &l0 {first}",
        *(f"a{n + 1}: &l{n + 1} " + of.format(n) for n in range(40)),
        "verbose: *l40",
    ]
    assert "more than 20 aliases" in mistakes_in("\n".join(lines))
    assert config_of("hooks: &h {cwd: archive}\nlog: {verbose: true}\n").hooks.cwd is ScriptCwd.ARCHIVE


@pytest.mark.req("AG-057", "V2-382")
def test_a_named_file_must_be_there_and_a_default_one_need_not(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yml"
    with pytest.raises(ConfigError, match=str(missing)):
        load(missing, HOME)
    assert load(missing, HOME, must_exist=False).path is None
    home = {"FERRYMAN_AGENT_HOME": str(tmp_path)}
    assert load(None, home).path is None
    (tmp_path / "ferrymanagent.yml").write_text("max_revisions: 9\n")
    found = load(None, home)
    assert found.path == tmp_path / "ferrymanagent.yml"
    assert found.config.bundles.max_revisions == 9


def test_everything_is_below_the_home_that_is_given() -> None:
    found = config_of("pid_dir: /run/x\n")
    assert (found.root_dir, found.log_dir) == ("/srv/agent/deployment-root", "/srv/agent/log")
    assert (found.pid_dir, found.state_dir) == ("/run/x", "/srv/agent/state")


def test_defaults_of_root_and_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = parse(b"", "f", {}).config
    assert found.root_dir == "/opt/codedeploy-agent/deployment-root"
    assert found.log_dir == "/var/log/aws/codedeploy-agent"
    assert found.pid_path == Path("/opt/codedeploy-agent/state/.pid/codedeploy-agent.pid")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    xdg = {"XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"}
    found = parse(b"", "f", xdg).config
    assert (found.root_dir, found.state_dir, found.pid_dir) == (
        "/d/ferryman-agent/deployment-root",
        "/s/ferryman-agent",
        "/r/ferryman-agent",
    )


@pytest.mark.req("AG-002")
def test_the_original_s_file_is_read_for_want_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tmp_path / "codedeployagent.yml"
    original.write_text(":root_dir: /was/there\n")
    monkeypatch.setattr(places, "SYSTEM_FILES", (tmp_path / "none.yml", tmp_path / "none2.yml"))
    monkeypatch.setattr(places, "ORIGINALS_FILE", original)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = load(None, {})
    assert found.config.root_dir == "/was/there"
    assert str(original) in found.warnings[0]


def test_a_day_is_the_longest_wait_of_the_original() -> None:
    assert config_of("kill_agent_max_wait_time_seconds: 999999\n").commands.drain_timeout.seconds == 86_400


def test_no_key_of_the_original_is_both_meant_and_retired() -> None:
    assert not MEANINGS.keys() & RETIRED.keys()
    known = dict(walk.leaves())
    assert all(key in known for meaning in MEANINGS.values() for key in meaning.keys)


def test_values_are_shown_as_they_are_written() -> None:
    assert str(Duration.parse("1h30m")) == "1h30m"
    assert str(Duration(0)) == "0s"
    assert str(ByteSize.parse("3 MiB")) == "3MiB"
    assert str(ByteSize.parse(1001)) == "1001"
    for text in ("", "3", "3x", "-3s", "3s ", None, 3):
        with pytest.raises(ValueError, match="duration"):
            Duration.parse(text)
    for size in ("", "x", "1.5GiB", -1, True, None):
        with pytest.raises(ValueError, match="size"):
            ByteSize.parse(size)


@pytest.mark.req("V2-384")
def test_every_number_has_two_bounds_and_keeps_to_them() -> None:
    for key, field in walk.leaves():
        kind = str(get_args(field.type)[0])
        if not any(number in kind for number in ("'int'", "Duration", "ByteSize")):
            continue
        metas = [meta for meta in get_args(field.type)[1:] if isinstance(meta, msgspec.Meta)]
        bounded = any(meta.ge is not None and meta.le is not None for meta in metas)
        assert bounded or walk.span(field), key
    for text in (
        "bundles: {max_revisions: 1001}",
        "commands: {max_concurrent: 0}",
        "hooks: {kill_grace: 11m}",
        "hooks: {output_cap: 1KiB}",
        "bundles: {min_free_disk: 65TiB}",
        "bundles: {max_extracted_size: 1KiB}",
    ):
        assert "cannot use" in mistakes_in(text)
