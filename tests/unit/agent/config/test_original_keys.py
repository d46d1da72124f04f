"""Every key of the original's file: the setting it is here, its default, and what it refuses (AG 2.2, V2-23)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.config import Config, parse
from ferryman_agent.config.original import FIPS_REGIONS, MEANINGS, RETIRED
from ferryman_agent.config.schema import Profile
from ferryman_agent.config.walk import leaves, value_of
from ferryman_agent.errors import ConfigError

HOME = {"FERRYMAN_AGENT_HOME": "/srv/agent"}
SPEC = Path(__file__).parents[4] / "docs" / "spec"


def row(identifier: str, key: str, default: object, text: str, setting: str, value: object) -> Any:
    return pytest.param(
        key, default, text, setting, value, marks=pytest.mark.req(identifier), id=identifier + key
    )


ROWS = [
    row("AG-K01", "root_dir", "/srv/agent/deployment-root", "/r", "root_dir", "/r"),
    row("AG-K02", "log_dir", "/srv/agent/log", "/l", "log_dir", "/l"),
    row("AG-K03", "pid_dir", "/srv/agent/pid", "/p", "pid_dir", "/p"),
    row("AG-K04", "program_name", "codedeploy-agent", "other", "program_name", "other"),
    row("AG-K05", "verbose", False, "true", "log.verbose", True),
    row(
        "AG-K07",
        "on_premises_config_file",
        "/srv/agent/ferryman.onpremises.yml",
        "/o.yml",
        "coordinator.on_premises_file",
        "/o.yml",
    ),
    row("AG-K08", "proxy_uri", None, "http://u:p@h:1", "proxy.downloads", "http://u:***@h:1"),
    row("AG-K09", "max_revisions", 5, "2", "bundles.max_revisions", 2),
    row("AG-K10", "log_aws_wire", False, "true", "log.downloads_wire", True),
    row("AG-K13", "enable_deployments_log", True, "false", "log.deployments_log", False),
    row("AG-K14", "kill_agent_max_wait_time_seconds", "2h", "60", "commands.drain_timeout", "1m"),
    row("AG-K15", "http_read_timeout", "1m20s", "10", "coordinator.call_timeout", "10s"),
    row("AG-K16", "wait_after_throttle_error", "1m", "5", "coordinator.throttle_wait", "5s"),
    row("AG-K22", "user", "", "deploy", "user", "deploy"),
    row(
        "AG-K23", "ongoing_deployment_tracking", "ongoing-deployment", "x", "commands.ongoing_directory", "x"
    ),
    row("AG-K24", "deploy_control_endpoint", "", "https://h:1", "coordinator.address", "h:1"),
    row("AG-K30", "max_concurrent_commands", 16, "1", "commands.max_concurrent", 1),
    row("AG-K31", "script_kill_grace_seconds", "5s", "0", "hooks.kill_grace", "0s"),
    row("AG-K32", "outputs_left_open", "detach", "fail", "hooks.outputs_left_open", "fail"),
    row("AG-K33", "missing_previous_revision", "skip", "fail", "install.missing_previous_revision", "fail"),
    row("AG-K34", "preserve_directory_modes", True, "false", "install.preserve_directory_modes", False),
    row("AG-K35", "script_cwd", "/", "agent", "hooks.cwd", "agent"),
    row("AG-K36", "pass_agent_env", False, "true", "hooks.pass_agent_env", True),
    row("AG-K37", "min_free_disk_mb", "100MiB", "7", "bundles.min_free_disk", "7MiB"),
    row("V2-123", "archive_max_extraction_size", None, "5GB", "bundles.max_extracted_size", "5000000000"),
    row("V2-089", "enable_archive_reuse", True, "false", "bundles.archive_reuse", False),
    row("V2-380", "reject_symlinks_in_bundle", False, "true", "bundles.reject_links", True),
    row("V2-380", "reject_unsafe_permissions_in_bundle", True, "false", "bundles.reject_set_id", False),
    row("V2-380", "reject_unconfined_selinux_in_bundle", True, "false", "install.reject_unconfined", False),
    row("V2-380", "restrict_agent_dir_permissions", True, "false", "private_directories", False),
    row("V2-380", "restrict_log_dir_permissions", True, "false", "log.private", False),
    row("V2-380", "strip_loader_env_in_hooks", True, "false", "hooks.strip_loader_variables", False),
    row("V2-385", "disable_powershell_profile_in_hooks", False, "false", "hooks.powershell_profile", True),
    row("V2-380", "restrict_hook_env_to_allowlist", False, "false", "hooks.pass_agent_env", True),
    row("V2-380", "disable_core_dumps", False, "false", "core_dumps", True),
]


def read(text: str, **environment: str) -> Any:
    return parse(text.encode(), "f", HOME | environment)


def mistakes_in(text: str, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, **environment)
    return str(caught.value)


def shown(config: Config, setting: str) -> object:
    value = value_of(config, tuple(setting.split(".")))
    return value if value is None or type(value) in (bool, int, str) else str(value)


@pytest.mark.parametrize("key,default,text,setting,value", ROWS)
def test_the_key_is_a_setting(key: str, default: object, text: str, setting: str, value: object) -> None:
    assert shown(read("").config, setting) == default
    beside = "group: staff\n" if key == "user" else ""
    for spelling in (key, f":{key}"):
        found = read(f"{spelling}: {text}\n{beside}")
        assert shown(found.config, setting) == value
        assert found.origins[tuple(setting.split("."))] == "f:1"
        assert all("traces downloads" in warning for warning in found.warnings)


@pytest.mark.req("AG-070")
def test_the_trace_of_downloads_is_warned_about() -> None:
    (warning,) = read(":log_aws_wire: true\n").warnings
    assert warning.startswith(
        "f:1: log.downloads_wire: traces downloads; the file grows fast and may hold secrets"
    )


def test_every_key_that_has_a_meaning_has_its_row() -> None:
    rows = {str(each.values[0]) for each in ROWS}
    same = {"root_dir", "log_dir", "pid_dir", "program_name", "user"}
    assert rows == MEANINGS.keys() | same


@pytest.mark.req("V2-380", "V2-381")
def test_every_key_that_the_texts_name_is_known() -> None:
    tables = (SPEC / "agent.md").read_text(), (SPEC / "agent-v2.md").read_text()
    one = re.findall(r"^\| AG-K\d+ \| (.+?) \|", tables[0], re.MULTILINE)
    section = tables[1].split("## 23.")[1].split("## 24.")[0]
    two = re.findall(r"^\| (?!Key)(\w.+?) \|", section, re.MULTILINE)
    # One row shortens two names: `instance_service_region`/`_endpoint`/`_port`.
    words = (word for cell in (*one, *two) for word in re.findall(r"_?[a-z][a-z0-9_]{3,}", cell))
    named = {f"instance_service{word}" if word.startswith("_") else word for word in words}
    assert len(named) > 50
    known = MEANINGS.keys() | RETIRED.keys() | {key[0] for key, _ in leaves() if len(key) == 1}
    assert named - known == set()


def retired(identifier: str, key: str, text: str, *also: str) -> Any:
    return pytest.param(key, text, marks=pytest.mark.req(identifier, *also), id=key)


@pytest.mark.req("V2-381", "V2-385")
@pytest.mark.parametrize(
    "key,text",
    [
        retired("AG-K06", "wait_between_runs", "1", "AG-C05"),
        retired("AG-K11", "enable_auth_policy", "true", "AG-H21"),
        retired("AG-K12", "disable_imds_v1", "true", "AG-H02"),
        retired("AG-K17", "wait_after_connection_problem", "5"),
        retired("AG-K18", "wait_between_spawning_children", "1"),
        retired("AG-K19", "wait_after_error", "30"),
        retired("AG-K20", "children", "1"),
        retired("AG-K21", "max_runs_per_worker", "0"),
        retired("AG-K25", "s3_endpoint_override", "https://s3.corp"),
        retired("AG-K26", "use_fips_mode", "false"),
        retired("AG-K27", "codedeploy_test_profile", "beta"),
        retired("AG-K28", "instance_service_region", "x"),
        retired("AG-K28", "instance_service_endpoint", "x"),
        retired("AG-K28", "instance_service_port", "1"),
        retired("AG-K28", "shared_dir", "/x"),
        retired("AG-K29", "plugins", "[codedeploy]"),
        retired("V2-347", "ssl_verify_peer", "false"),
        retired("V2-385", "enable_command_port", "true"),
        retired("V2-109", "ignore_ownership_in_bundle", "false"),
        retired("V2-103", "reject_path_traversal_in_bundle", "false"),
        retired("V2-214", "reject_symlink_permission_targets", "false"),
    ],
)
def test_a_retired_key_is_warned_about_once_and_changes_nothing(key: str, text: str) -> None:
    found = read(f":{key}: {text}\n")
    assert found.config == read("").config
    (warning,) = found.warnings
    assert warning == f"f:1: {key}: is ignored, {RETIRED[key]}"


def test_every_retired_key_is_tried() -> None:
    (mark,) = [
        mark
        for mark in test_a_retired_key_is_warned_about_once_and_changes_nothing.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    ]
    assert {each.values[0] for each in mark.args[1]} == RETIRED.keys()


@pytest.mark.req("AG-064")
@pytest.mark.parametrize("text", ["2", "0", "true", "'1'", "[]"])
def test_one_child_is_all_there_is(text: str) -> None:
    assert "f:1: children" in mistakes_in(f"children: {text}\n")


@pytest.mark.req("AG-066", "V2-299")
def test_restricted_cryptography_is_refused_where_there_is_none() -> None:
    said = mistakes_in("use_fips_mode: true\n", AWS_REGION="eu-west-1")
    assert "f:1: use_fips_mode: region eu-west-1 has no such endpoints" in said
    for region in FIPS_REGIONS:
        assert read("use_fips_mode: true\n", AWS_REGION=region).warnings
    assert "neither true nor false" in mistakes_in("use_fips_mode: maybe\n")


@pytest.mark.req("AG-K14", "V2-294")
def test_more_than_a_day_to_end_is_cut_with_a_warning() -> None:
    found = read("kill_agent_max_wait_time_seconds: 86401\n")
    assert found.config.commands.drain_timeout.seconds == 86_400
    assert found.warnings == ("f:1: kill_agent_max_wait_time_seconds: is cut to 86400 s, a day",)
    assert read("kill_agent_max_wait_time_seconds: 86400\n").warnings == ()


@pytest.mark.req("AG-K24", "V2-349", "AG-H13")
def test_a_coordinator_is_reached_with_tls_only() -> None:
    for text, address in (
        ("https://c.corp", "c.corp:7420"),
        ("https://[fe80::1]:7/", "[fe80::1]:7"),
        ("http://127.0.0.1:9", "127.0.0.1:9"),
        ("http://localhost:9", "localhost:9"),
    ):
        assert read(f"deploy_control_endpoint: {text}\n").config.coordinator.address == address
    for text in (
        "http://c.corp:1",
        "ftp://c.corp",
        "c.corp:7420",
        "https://",
        "https://u@h",
        "https://h:x",
        "5",
    ):
        assert "f:1: deploy_control_endpoint" in mistakes_in(f"deploy_control_endpoint: {text}\n")
    assert "geheim" not in mistakes_in("deploy_control_endpoint: https://u:geheim@h\n")


@pytest.mark.req("AG-061", "AG-065", "V2-383", "V2-384")
@pytest.mark.parametrize(
    "line",
    [
        "max_revisions: 0", "max_revisions: -1", "max_revisions: five", "max_revisions: true", "verbose: 'yes'",
        "http_read_timeout: 0", "http_read_timeout: 9999", "http_read_timeout: abc", "wait_after_throttle_error: -1",
        "max_concurrent_commands: 65", "script_kill_grace_seconds: 601", "min_free_disk_mb: -1",
        "archive_max_extraction_size: 1.5GB", "archive_max_extraction_size: 99999999999999TiB",
        "ongoing_deployment_tracking: ../x", "program_name: a/b", "script_cwd: /tmp", "outputs_left_open: maybe",
        "missing_previous_revision: retry", "on_premises_config_file: rel/ative", "root_dir: rel", "user: [a]",
        "restrict_hook_env_to_allowlist: 1", "kill_agent_max_wait_time_seconds: 1.5", "group: staff",
    ],
)  # fmt: skip
def test_a_wrong_value_names_line_and_key(line: str) -> None:
    key = line.partition(":")[0]
    said = mistakes_in(f"# first line\n{line}\n")
    assert f"\n  f:2: {key}: " in said


@pytest.mark.req("V2-383", "V2-391")
@given(
    st.dictionaries(
        st.sampled_from(
            sorted({*MEANINGS, *RETIRED, *(".".join(key) for key, _ in leaves()), "hooks", "proxy"})
        )
        | st.text(max_size=12),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=20)
            | st.dates()
            | st.binary(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
            ),
            max_leaves=4,
        ),
        max_size=6,
    ),
    st.sampled_from([None, *Profile, "none such"]),
)
def test_no_values_of_known_keys_break_it(content: dict[str, object], profile: str | None) -> None:
    import yaml

    text = yaml.safe_dump(content, allow_unicode=True)
    try:
        found = parse(text.encode("utf-8", "surrogatepass"), "f", HOME, profile=profile)
    except ConfigError:
        return
    assert isinstance(found.config, Config)
