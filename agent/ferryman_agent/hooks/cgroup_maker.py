"""Makes a control group for each script, starts the script in it, and tidies up behind it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from ferryman_agent.hooks import processes
from ferryman_agent.hooks.cgroup import NAME_START, ControlGroup, Limits

if TYPE_CHECKING:
    from ferryman_agent.hooks.posix import Child

_RUNNING = "user.ferryman.running"
_NAME = re.compile(rf"{NAME_START}(\d+)-(\d+)-\d+")

log = structlog.get_logger("ferryman_agent.hooks")


@dataclass(slots=True, kw_only=True)
class GroupMaker:
    """Groups below `base`. `home` is the group of the agent itself, `controllers` are those that groups have here.

    `owner` tells the agents apart that share a base; it is the same for every life of one agent.
    """

    base: Path
    home: ControlGroup
    controllers: frozenset[str] = frozenset()
    owner: str = ""
    limits: Limits = field(default_factory=Limits)
    _count: int = 0
    _left: list[ControlGroup] = field(default_factory=list)
    _is_broken: bool = False
    _started_at_ticks: int = field(default_factory=lambda: _started_at_ticks(os.getpid()))

    def start(self, spawn: Callable[[], Child]) -> Child:
        """Have `spawn` start a script that is in a group of its own from its first instruction on.

        The agent itself is in there for that long, by all its threads: 0.06 ms, where a shell that moves itself and
        then becomes the script takes 0.6 ms and cannot do it as another user. Limits come after, so that they never
        apply to the agent. Where there can be no group the script runs without. Raises what `spawn` raises.
        """
        group = self._make()
        if group is None:
            return spawn()
        try:
            group.enter()
        except OSError as error:
            self._give_up("cannot enter one", error)
            _removed(group)
            return spawn()
        pid = 0
        try:
            child = spawn()
            child.join(group)
            pid = child.pid
        finally:
            self._leave(group, keep=pid)
            if not pid:
                self.free(group)
        if self.limits and not self._is_broken:
            # Otherwise we are still in there ourselves.
            self._limit(group)
        return child

    def free(self, group: ControlGroup) -> None:
        """The script is over: the group goes, or stays with what runs on in it, without limits, and goes later."""
        try:
            if group.remove():
                return
        except OSError as error:
            log.warning("cgroup.not_removed", path=group.path, error=error.strerror)
            return
        if self.limits:
            group.unlimit()
        with contextlib.suppress(OSError):
            os.removexattr(group.path, _RUNNING)
        self._left.append(group)

    def tidy(self) -> None:
        """Remove groups that have become empty since."""
        if self._left:
            self._left = [group for group in self._left if not _removed(group)]

    def end_abandoned(self) -> int:
        """End scripts that this agent started in an earlier life and could not write down; returns how many.

        What a finished script left running is no such thing. Empty groups of all dead agents go.
        """
        ended = 0
        for entry in os.scandir(self.base):
            made_by = _NAME.fullmatch(entry.name)
            if made_by is None or _started_at_ticks(int(made_by[1])) == int(made_by[2]):
                continue
            group = ControlGroup(entry.path)
            if not _removed(group) and _runner(group) == self.owner.encode():
                group.kill()
                ended += 1
        return ended

    def close(self) -> None:
        """Before the agent ends: what scripts left running must not keep the next agent out of `base`."""
        self.tidy()
        if self._left and self.home.path != str(self.base):
            with contextlib.suppress(OSError):
                taken_back = " ".join(f"-{name}" for name in sorted(self.controllers))
                ControlGroup(str(self.base)).write("cgroup.subtree_control", taken_back)

    def _make(self) -> ControlGroup | None:
        if self._is_broken:
            return None
        self.tidy()
        self._count += 1
        path = f"{self.base}/{NAME_START}{os.getpid()}-{self._started_at_ticks}-{self._count}"
        try:
            os.mkdir(path)
        except OSError as error:
            self._give_up("cannot make one", error)
            return None
        with contextlib.suppress(OSError):  # Linux before 5.7
            os.setxattr(path, _RUNNING, self.owner.encode())
        return ControlGroup(path, "memory" in self.controllers, "io" in self.controllers)

    def _leave(self, group: ControlGroup, *, keep: int) -> None:
        try:
            self.home.enter()
        except OSError as error:
            # Nothing ends the group as a whole while we are in it; `ControlGroup.kill` sees to that.
            self._give_up(f"cannot go back to {self.home.path}", error)
            return
        for pid in group.member_pids():
            # What another thread of ours started in that moment is no part of the script.
            found = processes.read(pid) if pid != keep else None
            if found is not None and found.parent == os.getpid():
                with contextlib.suppress(OSError):
                    self.home.write("cgroup.procs", str(pid))

    def _limit(self, group: ControlGroup) -> None:
        try:
            group.limit(self.limits)
        except OSError as error:
            log.warning("cgroup.not_limited", path=group.path, error=error.strerror)

    def _give_up(self, what: str, error: OSError) -> None:
        self._is_broken = True
        reason = (
            f"scripts run without control groups from here on: {what} below {self.base} ({error.strerror})"
        )
        log.warning("cgroup.given_up", reason=reason)


def _started_at_ticks(pid: int) -> int:
    found = processes.read(pid)
    return found.started_at_ticks if found else 0


def _runner(group: ControlGroup) -> bytes | None:
    try:
        return os.getxattr(group.path, _RUNNING)
    except OSError:
        return None


def _removed(group: ControlGroup) -> bool:
    try:
        return group.remove()
    except OSError:
        return False
