"""From the configuration to the settings of single modules: each gets its own, not the whole."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ferryman_agent.config import Config
from ferryman_agent.config.schema import MissingPrevious
from ferryman_agent.errors import ConfigError
from ferryman_agent.files.atomic import make_directory
from ferryman_agent.files.layout import Layout
from ferryman_agent.hooks.contract import HookSettings
from ferryman_agent.host import privileges
from ferryman_agent.log import LogSettings, LogStyle
from ferryman_agent.runtime.work import WorkSettings
from ferryman_agent.system import fs

if TYPE_CHECKING:
    from ferryman_agent.hooks.cgroup_maker import GroupMaker
    from ferryman_agent.runtime.drift import DriftSettings

_CHOICES = {"root_dir": (0o711, 0o755), "log_dir": (0o750, 0o755)}


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
            powershell_profile=hooks.powershell_profile,
            masks=tuple(re.compile(pattern) for pattern in hooks.masks),
        ),
        fail_on_missing_previous=config.install.missing_previous_revision is MissingPrevious.FAIL,
        deployments_log=config.log.deployments_log,
    )


def script_groups(config: Config) -> tuple[GroupMaker | None, tuple[str, ...]]:
    """Returns what gives scripts control groups, if there are any here, and what limits cannot be kept (V2-252)."""
    # Only now: local deployments have none.
    from ferryman_agent.hooks.cgroup import Limits
    from ferryman_agent.hooks.cgroup_find import NoGroups, find
    from ferryman_agent.hooks.limits import kept

    hooks = config.hooks
    wanted = Limits(
        memory_bytes=None if hooks.memory_max is None else int(hooks.memory_max),
        cpu_cores=hooks.cpu_max or None,
        tasks=hooks.tasks_max or None,
    )
    found = find(config.state_dir)
    if isinstance(found, NoGroups):
        return None, kept(wanted, frozenset(), found.reason).warnings
    result = kept(wanted, found.controllers)
    found.limits = result.limits
    return found, result.warnings


def drift_settings(config: Config) -> DriftSettings:
    """When installed files are looked at."""
    # Only now: a local deployment does not look for drift.
    from ferryman_agent.runtime.drift import DriftSettings

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
        coordinator_wire=config.log.coordinator_wire,
        style=LogStyle(config.log.style.value),
        file_mode=0o640 if config.log.private else 0o644,
    )


def layout(config: Config) -> Layout:
    """Where the agent's files are."""
    modes = directory_modes(config)
    return Layout(
        root=config.root,
        program_name=config.program_name,
        state_dir=Path(config.state_dir),
        ongoing_name=config.commands.ongoing_directory,
        root_mode=modes["root_dir"],
        logs_mode=modes["log_dir"],
    )


def directory_modes(config: Config) -> dict[str, int]:
    """The modes of the agent's own directories, by their settings (V2-272, V2-284).

    The others may lie below the state: made first, it is not made on their way.
    """
    return {
        "state_dir": 0o700,
        "root_dir": 0o711 if config.private_directories else 0o755,
        "log_dir": 0o750 if config.log.private else 0o755,
        "pid_dir": 0o755,
    }


def become_user(config: Config) -> None:
    """Gives up root where the configuration names a user (AG-063). Raises ConfigError."""
    privileges.become(config.user, config.group, _directories(config))


def prepare_directories(config: Config) -> None:
    """Makes the directories of an agent that another process will be. Raises ConfigError.

    Root only makes those of an agent that runs as a user: where they are there, they are that user's to write to.
    """
    if config.user:
        owner = privileges.account(config.user, config.group)
        if fs.geteuid() == 0 and owner.uid != 0:
            privileges.make_directories(owner, _directories(config))
            return
    demand_directories(config)


def _directories(config: Config) -> list[tuple[Path, int]]:
    return [(Path(getattr(config, name)), mode) for name, mode in directory_modes(config).items()]


def demand_directories(config: Config) -> None:
    """Makes what must be there before anything can be said (AG-062), with exact modes (V2-280, V2-284).

    Raises ConfigError that names every one that cannot be made or written to.
    """
    problems = []
    for name, mode in directory_modes(config).items():
        path = Path(getattr(config, name))
        try:
            make_directory(path.parent, 0o755)
            make_directory(path, mode)
            _converge(path, name, mode)
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


def _converge(path: Path, name: str, mode: int) -> None:
    """Gives a directory of the other choice's mode the mode of this one; any other is the operator's (V2-281)."""
    found = fs.stat(path)
    if stat.S_IMODE(found.st_mode) in _CHOICES.get(name, ()) and found.st_uid == fs.geteuid():
        path.chmod(mode)
