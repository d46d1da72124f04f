"""The original's flat keys: what each means here, and what those say that mean nothing here (AG section 2.2, V2-23)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from ferryman_agent.config.values import Duration

Key = tuple[str, ...]
MAX_WAIT_SECONDS = 86_400
DEFAULT_PORT = 7420


def _as_is(raw: object) -> object:
    return raw


def _seconds(raw: object) -> object:
    """An integer of seconds becomes the text of a duration; anything else stays to be refused as such."""
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
        raise ValueError(f"{raw!r} is no number of seconds")
    return str(Duration(raw * 1000))


def _at_most_a_day(raw: object) -> object:
    return _seconds(min(raw, MAX_WAIT_SECONDS) if isinstance(raw, int) else raw)


def _cut(raw: object) -> str:
    is_cut = isinstance(raw, int) and raw > MAX_WAIT_SECONDS
    return f"is cut to {MAX_WAIT_SECONDS} s, a day" if is_cut else ""


def _mebibytes(raw: object) -> object:
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
        raise ValueError(f"{raw!r} is no number of MiB")
    return raw << 20


def _inverted(raw: object) -> object:
    if not isinstance(raw, bool):
        raise ValueError(f"{raw!r} is neither true nor false")
    return not raw


def _or_none(raw: object) -> object:
    return None if raw == "" else raw


def _endpoint(raw: object) -> object:
    """`https://host[:port]` as the address of a coordinator (AG-K24, V2-349)."""
    if not isinstance(raw, str):
        raise ValueError(f"{raw!r} is no address: write https://host:port")
    try:
        parts = urlsplit(raw)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    except ValueError:
        raise ValueError(f"{raw!r} is no address: write https://host:port") from None
    if "@" in parts.netloc:
        raise ValueError("is no address: nobody's name and password belong there")
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError(f"{raw!r} is no address: write https://host:port")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError(f"{raw!r}: a coordinator is reached with TLS only; write https://")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Meaning:
    """Settings of ours, how the original's value reads there, and a remark about it (empty: none)."""

    keys: tuple[Key, ...]
    convert: Callable[[object], object] = _as_is
    remark: Callable[[object], str] = lambda _: ""


def _one(*key: str, convert: Callable[[object], object] = _as_is) -> Meaning:
    return Meaning((key,), convert)


MEANINGS: Mapping[str, Meaning] = {
    "verbose": _one("log", "verbose"),
    "enable_deployments_log": _one("log", "deployments_log"),
    "log_aws_wire": _one("log", "downloads_wire"),
    "restrict_log_dir_permissions": _one("log", "private"),
    "restrict_agent_dir_permissions": _one("private_directories"),
    "disable_core_dumps": _one("core_dumps", convert=_inverted),
    "on_premises_config_file": _one("coordinator", "on_premises_file"),
    "deploy_control_endpoint": _one("coordinator", "address", convert=_endpoint),
    "http_read_timeout": _one("coordinator", "call_timeout", convert=_seconds),
    "wait_after_throttle_error": _one("coordinator", "throttle_wait", convert=_seconds),
    "proxy_uri": Meaning((("proxy", "coordinator"), ("proxy", "downloads")), _or_none),
    "max_revisions": _one("bundles", "max_revisions"),
    "archive_max_extraction_size": _one("bundles", "max_extracted_size"),
    "min_free_disk_mb": _one("bundles", "min_free_disk", convert=_mebibytes),
    "enable_archive_reuse": _one("bundles", "archive_reuse"),
    "reject_symlinks_in_bundle": _one("bundles", "reject_links"),
    "reject_unsafe_permissions_in_bundle": Meaning((("bundles", "reject_set_id"),)),
    "reject_unconfined_selinux_in_bundle": _one("install", "reject_unconfined"),
    "missing_previous_revision": _one("install", "missing_previous_revision"),
    "preserve_directory_modes": _one("install", "preserve_directory_modes"),
    "kill_agent_max_wait_time_seconds": Meaning((("commands", "drain_timeout"),), _at_most_a_day, _cut),
    "max_concurrent_commands": _one("commands", "max_concurrent"),
    "ongoing_deployment_tracking": _one("commands", "ongoing_directory"),
    "script_kill_grace_seconds": _one("hooks", "kill_grace", convert=_seconds),
    "outputs_left_open": _one("hooks", "outputs_left_open"),
    "script_cwd": _one("hooks", "cwd"),
    "pass_agent_env": _one("hooks", "pass_agent_env"),
    "restrict_hook_env_to_allowlist": _one("hooks", "pass_agent_env", convert=_inverted),
    "strip_loader_env_in_hooks": _one("hooks", "strip_loader_variables"),
    "disable_powershell_profile_in_hooks": _one("hooks", "powershell_profile", convert=_inverted),
}
"""`root_dir`, `log_dir`, `pid_dir`, `program_name`, `user` and `group` are the same here."""

_NO_POLLING = "commands come over a standing connection"
_ONE_PROCESS = "there is one process"
_NO_METADATA = "no metadata service is asked"
_BY_COORDINATOR = "the coordinator gives addresses to fetch from, so this is a setting of its own"
_ALWAYS = "this agent always does so"
_LONG_GONE = "it has been without effect for long"
_VERIFIES = "verification cannot be switched off"

RETIRED: Mapping[str, str] = {
    "wait_between_runs": _NO_POLLING,
    "wait_after_error": _NO_POLLING,
    "wait_after_connection_problem": "it is tried again at once, and less often the longer it fails",
    "wait_between_spawning_children": _ONE_PROCESS,
    "children": _ONE_PROCESS,
    "max_runs_per_worker": _ONE_PROCESS,
    "plugins": "there are no plugins",
    "enable_auth_policy": "the coordinator authorises every call of an agent by its certificate",
    "disable_imds_v1": _NO_METADATA,
    "s3_endpoint_override": _BY_COORDINATOR,
    "use_fips_mode": _BY_COORDINATOR,
    "codedeploy_test_profile": _VERIFIES,
    "ssl_verify_peer": _VERIFIES,
    "enable_command_port": "`ferryman-agent status` needs none",
    "ignore_ownership_in_bundle": _ALWAYS,
    "reject_path_traversal_in_bundle": _ALWAYS,
    "reject_symlink_permission_targets": _ALWAYS,
    "instance_service_region": _LONG_GONE,
    "instance_service_endpoint": _LONG_GONE,
    "instance_service_port": _LONG_GONE,
    "shared_dir": _LONG_GONE,
}
"""Keys that are accepted and ignored with a warning, and why (V2-381, V2-385)."""

FIPS_REGIONS = frozenset(
    {"us-east-1", "us-east-2", "us-west-1", "us-west-2", "us-gov-west-1", "us-gov-east-1"}
)


def refusal(name: str, raw: object, region: str) -> str:
    """Returns why a retired key keeps the agent from starting although it has no effect; empty: it does not.

    One worker was all that the original accepted (AG-064), and restricted cryptography that a region does not have
    must not be believed in (AG-066, V2-299). `region` is empty where it is not known.
    """
    if name == "children" and (isinstance(raw, bool) or raw != 1):
        return f"{raw!r} is not 1, and nothing else has ever worked"
    if name == "use_fips_mode":
        if not isinstance(raw, bool):
            return f"{raw!r} is neither true nor false"
        if raw and region and region not in FIPS_REGIONS:
            return f"region {region} has no such endpoints; {', '.join(sorted(FIPS_REGIONS))} have"
    return ""
