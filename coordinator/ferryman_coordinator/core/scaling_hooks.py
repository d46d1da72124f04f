"""The hooks by which a deployment group hears of the comings and goings in its autoscaling groups (CP section 21).

A hook is a name that an autoscaler must know: it tells us what happens to an instance, and waits for our answer. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ferryman_coordinator.core.model import Instant

LAUNCH_PREFIX = "CodeDeploy-managed-automatic-launch-deployment-hook-"
TERMINATION_PREFIX = "CodeDeploy-managed-automatic-termination-deployment-hook-"

LOOP = 3
"""Launches that are abandoned in a row before somebody is told that it goes round in circles (CP-403)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingHook:
    """What one deployment group has in one autoscaling group. `termination` is empty when that hook is off."""

    auto_scaling_group: str
    launch: str
    termination: str = ""
    installed_at: Instant
    # Launches that this group made fail, one after another.
    abandons: int = 0
    # New instances go into service without a deployment of this group: a way out of a loop (CP-403).
    passes: bool = False

    @property
    def is_looping(self) -> bool:
        return self.abandons >= LOOP

    @property
    def names(self) -> tuple[str, ...]:
        return (self.launch, self.termination) if self.termination else (self.launch,)


def installed(
    hooks: Sequence[ScalingHook],
    group_name: str,
    auto_scaling_groups: Sequence[str],
    *,
    with_termination: bool,
    now: Instant,
    draw: Callable[[], str],
) -> tuple[ScalingHook, ...]:
    """The hooks of a group that is saved with these autoscaling groups (CP-396, CP-406, CP-178).

    Those that stay keep their names; what is new, or was away, gets new ones. `draw` gives unique suffixes.
    """
    present = {hook.auto_scaling_group: hook for hook in hooks}
    found = []
    for name in auto_scaling_groups:
        hook = present.get(name)
        if hook is None:
            hook = ScalingHook(
                auto_scaling_group=name, launch=f"{LAUNCH_PREFIX}{group_name}-{draw()}", installed_at=now
            )
        if with_termination and not hook.termination:
            hook = replace(hook, termination=f"{TERMINATION_PREFIX}{group_name}-{draw()}")
        elif not with_termination and hook.termination:
            hook = replace(hook, termination="")
        found.append(hook)
    return tuple(found)


def changed(
    hooks: Iterable[ScalingHook], auto_scaling_group: str, change: Callable[[ScalingHook], ScalingHook]
) -> tuple[ScalingHook, ...]:
    """All of them, the one in that autoscaling group changed."""
    return tuple(change(hook) if hook.auto_scaling_group == auto_scaling_group else hook for hook in hooks)


def after_launch(hook: ScalingHook, *, succeeded: bool) -> ScalingHook:
    """What a finished launch says about a loop: only an unbroken row of failures is one."""
    return replace(hook, abandons=0 if succeeded else hook.abandons + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookDifference:
    """A hook that only one side knows (CP-405). `group` is empty for one that nobody here has."""

    hook: str
    group: str = ""
    # The autoscaler has it, and we do not; else the other way round.
    is_left_over: bool = False


def differences(ours: Iterable[tuple[str, ScalingHook]], theirs: Iterable[str]) -> Iterator[HookDifference]:
    """Compare `ours`, with the names of their groups, with what the autoscaler says it has.

    Hooks of other makers are none of our business (PF-108).
    """
    wanted = {name: group for group, hook in ours for name in hook.names}
    there = set(theirs)
    for name, group in wanted.items():
        if name not in there:
            yield HookDifference(hook=name, group=group)
    for name in sorted(there - wanted.keys()):
        if name.startswith((LAUNCH_PREFIX, TERMINATION_PREFIX)):
            yield HookDifference(hook=name, is_left_over=True)
