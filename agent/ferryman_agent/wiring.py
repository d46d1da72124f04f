"""From the configuration to the settings of single modules: each gets its own, not the whole."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from ferryman_agent.config import Config
from ferryman_agent.config.schema import MissingPrevious
from ferryman_agent.core.no_proxy import is_direct
from ferryman_agent.errors import ConfigError
from ferryman_agent.files.atomic import make_directory
from ferryman_agent.hooks.cgroup import Limits
from ferryman_agent.hooks.cgroup_find import NoGroups, find
from ferryman_agent.hooks.cgroup_maker import GroupMaker
from ferryman_agent.hooks.contract import HookSettings
from ferryman_agent.hooks.limits import kept
from ferryman_agent.log import LogSettings, LogStyle
from ferryman_agent.runtime.drift import DriftSettings
from ferryman_agent.runtime.work import WorkSettings


def work_settings(config: Config) -> WorkSettings:
    """How events are worked on."""
    hooks = config.hooks
    return WorkSettings(
        hooks=HookSettings(
            kill_grace_seconds=hooks.kill_grace.seconds,
            outputs_left_open=hooks.outputs_left_open,
            outputs_grace_seconds=hooks.outputs_grace.seconds,
            script_cwd=hooks.cwd,
            pass_agent_env=hooks.pass_agent_env,
            strip_loader_variables=hooks.strip_loader_variables,
            output_cap_bytes=int(hooks.output_cap),
            install_root=config.install.root,
            tasks_max=hooks.tasks_max or None,
            open_files_max=hooks.open_files_max or None,
            core_dumps=hooks.core_dumps,
        ),
        fail_on_missing_previous=config.install.missing_previous_revision is MissingPrevious.FAIL,
        deployments_log=config.log.deployments_log,
    )


def script_groups(config: Config) -> tuple[GroupMaker | None, tuple[str, ...]]:
    """Returns what gives scripts control groups, if there are any here, and what limits cannot be kept (V2-252)."""
    hooks = config.hooks
    wanted = Limits(
        memory_bytes=None if hooks.memory_max is None else int(hooks.memory_max),
        cpu_cores=hooks.cpu_max or None,
        tasks=hooks.tasks_max or None,
    )
    found = find()
    if isinstance(found, NoGroups):
        return None, kept(wanted, frozenset(), found.reason).warnings
    result = kept(wanted, found.controllers)
    found.limits = result.limits
    return found, result.warnings


def drift_settings(config: Config) -> DriftSettings:
    """When installed files are looked at."""
    return DriftSettings(
        stat_every=config.drift.stat_every.seconds,
        digests_every=config.drift.digests_every.seconds,
        bytes_per_second=int(config.drift.bytes_per_second),
    )


def log_settings(config: Config) -> LogSettings:
    """Where the agent's log goes."""
    return LogSettings(
        log_dir=Path(config.log_dir),
        program_name=config.program_name,
        verbose=config.log.verbose,
        style=LogStyle(config.log.style.value),
    )


def coordinator_proxy(config: Config, host: str) -> str | None:
    """Returns the way to the coordinator, as `ferryman.channel.open_channel` wants it (V2-350)."""
    proxy = config.proxy.coordinator
    if proxy is None:
        return None
    if is_direct(host, config.proxy.no_proxy):
        return ""
    user = quote(proxy.user, safe="")
    password = f":{quote(proxy.password.reveal(), safe='')}" if proxy.password else ""
    return f"http://{user}{password}{'@' if user else ''}{proxy.place}"


def demand_directories(config: Config) -> None:
    """Makes what must be there before anything can be said (AG-062), with exact modes (V2-280, V2-284).

    Raises ConfigError that names every one that cannot be made or written to.
    """
    problems = []
    # The others may lie below the state: made first, it is not made on their way.
    for name, mode in (("state_dir", 0o700), ("root_dir", 0o711), ("log_dir", 0o750), ("pid_dir", 0o755)):
        path = Path(getattr(config, name))
        try:
            make_directory(path.parent, 0o755)
            make_directory(path, mode)
            probe = path / ".ferryman-probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            problems.append(f"{name} {path}: {error.strerror}")
    if problems:
        raise ConfigError(
            "cannot write to these directories:\n  "
            + "\n  ".join(problems)
            + "\nset them in the configuration, or start the agent as a user who may write there"
        )
