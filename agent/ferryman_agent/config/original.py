"""The original's flat keys: what each means here, and what those say that mean nothing here (AG section 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ferryman_agent.config.values import Duration

Key = tuple[str, ...]
MAX_WAIT_SECONDS = 86_400


def _as_is(raw: object) -> object:
    return raw


def _seconds(raw: object) -> object:
    """An integer of seconds becomes the text of a duration; anything else stays to be refused as such."""
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
        raise ValueError(f"{raw!r} is no number of seconds")
    return str(Duration(raw * 1000))


def _at_most_a_day(raw: object) -> object:
    return _seconds(min(raw, MAX_WAIT_SECONDS) if isinstance(raw, int) else raw)


def _mebibytes(raw: object) -> object:
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
        raise ValueError(f"{raw!r} is no number of MiB")
    return raw << 20


def _inverted(raw: object) -> object:
    if not isinstance(raw, bool):
        raise ValueError(f"{raw!r} is neither true nor false")
    return not raw


@dataclass(frozen=True, slots=True)
class Meaning:
    """A setting of ours, and how the original's value reads there."""

    key: Key
    convert: Callable[[object], object] = _as_is


MEANINGS: Mapping[str, Meaning] = {
    "verbose": Meaning(("log", "verbose")),
    "enable_deployments_log": Meaning(("log", "deployments_log")),
    "max_revisions": Meaning(("bundles", "max_revisions")),
    "archive_max_extraction_size": Meaning(("bundles", "max_extracted_size")),
    "min_free_disk_mb": Meaning(("bundles", "min_free_disk"), _mebibytes),
    "kill_agent_max_wait_time_seconds": Meaning(("commands", "drain_timeout"), _at_most_a_day),
    "max_concurrent_commands": Meaning(("commands", "max_concurrent")),
    "script_kill_grace_seconds": Meaning(("hooks", "kill_grace"), _seconds),
    "outputs_left_open": Meaning(("hooks", "outputs_left_open")),
    "script_cwd": Meaning(("hooks", "cwd")),
    "pass_agent_env": Meaning(("hooks", "pass_agent_env")),
    "restrict_hook_env_to_allowlist": Meaning(("hooks", "pass_agent_env"), _inverted),
    "strip_loader_env_in_hooks": Meaning(("hooks", "strip_loader_variables")),
    "missing_previous_revision": Meaning(("install", "missing_previous_revision")),
    "disable_core_dumps": Meaning(("core_dumps",), _inverted),
}

_NO_POLLING = "commands come over a standing connection"
_NO_CLOUD = "this agent has an identity of its own, from `ferryman-agent enroll`"
_ALWAYS = "this agent always does so"

RETIRED: Mapping[str, str] = {
    "wait_between_runs": _NO_POLLING,
    "wait_after_error": _NO_POLLING,
    "wait_after_throttle_error": _NO_POLLING,
    "wait_after_connection_problem": _NO_POLLING,
    "http_read_timeout": _NO_POLLING,
    "wait_between_spawning_children": "there is one process",
    "children": "there is one process",
    "max_runs_per_worker": "there is one process",
    "plugins": "there are no plugins",
    "on_premises_config_file": _NO_CLOUD,
    "enable_auth_policy": _NO_CLOUD,
    "disable_imds_v1": _NO_CLOUD,
    "deploy_control_endpoint": _NO_CLOUD,
    "s3_endpoint_override": "the coordinator gives addresses to fetch from",
    "use_fips_mode": "the coordinator gives addresses to fetch from",
    "log_aws_wire": "no cloud is talked to",
    "codedeploy_test_profile": "verification cannot be switched off",
    "ssl_verify_peer": "verification cannot be switched off",
    "ongoing_deployment_tracking": "the directory's name is fixed",
    "proxy_uri": "proxies are not supported",
    "user": "start the agent as that user, for example with User= in its unit",
    "group": "start the agent as that group, for example with Group= in its unit",
    "enable_command_port": "`ferryman-agent status` needs none",
    "enable_archive_reuse": _ALWAYS,
    "reject_symlinks_in_bundle": _ALWAYS,
    "ignore_ownership_in_bundle": _ALWAYS,
    "reject_unconfined_selinux_in_bundle": _ALWAYS,
    "reject_unsafe_permissions_in_bundle": _ALWAYS,
    "reject_path_traversal_in_bundle": _ALWAYS,
    "reject_symlink_permission_targets": _ALWAYS,
    "restrict_agent_dir_permissions": _ALWAYS,
    "restrict_log_dir_permissions": _ALWAYS,
    "disable_powershell_profile_in_hooks": "this is no Windows agent",
    "preserve_directory_modes": _ALWAYS,
    "instance_service_region": "it has been without effect for long",
    "instance_service_endpoint": "it has been without effect for long",
    "instance_service_port": "it has been without effect for long",
    "shared_dir": "it has been without effect for long",
}
"""Keys that are accepted and ignored with a warning, and why (V2-381, V2-385)."""
