"""From the configuration to the settings of single modules: each gets its own, not the whole."""

from __future__ import annotations

from pathlib import Path

from ferryman_agent.config import Config
from ferryman_agent.config.schema import MissingPrevious
from ferryman_agent.errors import ConfigError
from ferryman_agent.hooks.contract import HookSettings
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
        ),
        fail_on_missing_previous=config.install.missing_previous_revision is MissingPrevious.FAIL,
        deployments_log=config.log.deployments_log,
    )


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


def demand_directories(config: Config) -> None:
    """Makes what must be there before anything can be said (AG-062). Raises ConfigError that names every one."""
    problems = []
    for name, mode in (("root_dir", 0o711), ("log_dir", 0o750), ("pid_dir", 0o755), ("state_dir", 0o700)):
        path = Path(getattr(config, name))
        try:
            path.mkdir(mode=mode, parents=True, exist_ok=True)
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
