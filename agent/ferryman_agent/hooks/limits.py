"""Which limits of scripts can be kept on this machine, and by what (V2-252). Pure.

Memory and CPU take a control group: what a process may map says little about the memory it uses. A number of processes
is kept by a control group, or else, for scripts that do not run as root, by the system's limit for their whole user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ferryman_agent.hooks.cgroup import Limits
from ferryman_agent.hooks.contract import HookSettings
from ferryman_agent.hooks.environment import Account

if TYPE_CHECKING:
    from ferryman_agent.hooks.cgroup_maker import GroupMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What control groups are to keep, and what has to be told once: limits that nothing keeps here."""

    limits: Limits
    warnings: tuple[str, ...]


def kept(wanted: Limits, controllers: frozenset[str], reason: str = "") -> Kept:
    """Which of the wanted limits have their controller; `reason` is why control groups cannot be had, if so."""
    settings = {
        "hooks.memory_max": ("memory", wanted.memory_bytes, "scripts run without"),
        "hooks.cpu_max": ("cpu", wanted.cpu_cores, "scripts run without"),
        "hooks.tasks_max": (
            "pids",
            wanted.tasks,
            "it is kept for scripts of other users than root, all of a user's",
        ),
    }
    warnings = tuple(
        f"{name} cannot be enforced on this machine, {instead}: "
        + (reason or f"the agent's service has not been given the controller {controller!r}")
        for name, (controller, value, instead) in settings.items()
        if value is not None and controller not in controllers
    )
    limits = Limits(
        memory_bytes=wanted.memory_bytes if "memory" in controllers else None,
        cpu_cores=wanted.cpu_cores if "cpu" in controllers else None,
        tasks=wanted.tasks if "pids" in controllers else None,
    )
    return Kept(limits=limits, warnings=warnings)


def resource_limits(settings: HookSettings, account: Account, groups: GroupMaker | None) -> dict[str, int]:
    """The limits that processes have by themselves, by the names of `prlimit`."""
    limits = {} if settings.core_dumps else {"core": 0}
    if settings.open_files_max is not None:
        limits["nofile"] = settings.open_files_max
    has_group = groups is not None and groups.limits.tasks is not None
    if settings.tasks_max is not None and not has_group and account.uid != 0:
        limits["nproc"] = settings.tasks_max
    return limits
