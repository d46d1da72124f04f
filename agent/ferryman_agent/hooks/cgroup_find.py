"""Where the control groups of scripts go: below the agent's own group, if that is ours to divide (V2-236, AG-408).

systemd divides the tree on the hosts that it runs, and says with `Delegate=yes` which part it leaves to a service.
There the agent moves into a group `agent` of its own, since a group that hands controllers on can hold no processes,
and every script gets a group beside it. Elsewhere the agent's own group is used if it can be written to.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import structlog

from ferryman_agent.hooks.cgroup import ControlGroup
from ferryman_agent.hooks.cgroup_maker import GroupMaker
from ferryman_agent.system import own as system

LEAF = "agent"
_WANTED = ("cpu", "io", "memory", "pids")
_ESCAPED = re.compile(r"\\([0-7]{3})")

log = structlog.get_logger("ferryman_agent.hooks")


@dataclass(frozen=True, slots=True)
class NoGroups:
    """Why scripts can have no control groups here, in words for the log."""

    reason: str


def find(
    owner: str = "", *, proc: Path = Path("/proc/self"), is_systemd: bool | None = None
) -> GroupMaker | NoGroups:
    """The place for groups on this machine, with what controllers it can have handed on; `owner` as in `GroupMaker`."""
    if not system.HAS_POSIX_TOOLS:
        return NoGroups("this system has no control groups")
    if is_systemd is None:
        is_systemd = Path("/run/systemd/system").is_dir()
    own = own_folder(proc)
    if isinstance(own, NoGroups):
        return own
    # The group that we are in; the one above it, where ours is the leaf that we or the service manager made.
    candidates = [own.parent, own] if own.name == LEAF else [own]
    base = next((each for each in candidates if _is_ours(each, is_systemd=is_systemd)), None)
    if base is None:
        return NoGroups(
            f"the control group {own} is not left to the agent, or not to its user: its service needs 'Delegate=yes'"
        )
    home = _hand_on(base, ControlGroup(str(own)))
    controllers = _words(base / "cgroup.subtree_control")
    return GroupMaker(base=base, home=home, controllers=controllers, owner=owner)


def own_folder(proc: Path) -> Path | NoGroups:
    """The folder of the group that the process described below `proc` is in."""
    try:
        groups = (proc / "cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (proc / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        return NoGroups(f"control groups cannot be looked up: {error.strerror} ({error.filename})")
    own = next((line[3:] for line in groups if line.startswith("0::/")), None)
    if own is None:
        return NoGroups("the kernel has no control groups of version 2")
    for line in mounts:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if not right.startswith("cgroup2 ") or len(fields) < 5:
            continue
        root, point = _unescaped(fields[3]), _unescaped(fields[4])
        is_within = root == "/" or own == root or own.startswith(f"{root}/")
        folder = Path(point, own.removeprefix("" if root == "/" else root).lstrip("/"))
        if is_within and (folder / "cgroup.procs").exists():
            return folder
    return NoGroups(f"the control group {own} is in no mounted tree")


def _is_ours(folder: Path, *, is_systemd: bool) -> bool:
    if not os.access(folder, os.W_OK) or not os.access(folder / "cgroup.procs", os.W_OK):
        return False
    if not is_systemd:
        return True
    for name in ("trusted.delegate", "user.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    # Only root sees the first, and older ones do not set the second: a group that belongs to a user is that user's.
    return os.geteuid() != 0 and folder.stat().st_uid == os.geteuid()


def _hand_on(base: Path, home: ControlGroup) -> ControlGroup:
    """Hand controllers on to the groups of scripts; returns where the agent is then."""
    lacking = (_words(base / "cgroup.controllers") & set(_WANTED)) - _words(base / "cgroup.subtree_control")
    if not lacking:
        return home
    group = ControlGroup(str(base))
    try:
        # The root of all groups, which alone has no type, can hold processes all the same.
        if home.path == group.path and (base / "cgroup.type").exists():
            if group.member_pids() != [os.getpid()]:
                log.info("cgroup.shared", base=group.path)
                return home
            (base / LEAF).mkdir(exist_ok=True)
            leaf = ControlGroup(str(base / LEAF))
            leaf.enter()
            home = leaf
        for name in sorted(lacking):
            with contextlib.suppress(OSError):
                group.write("cgroup.subtree_control", f"+{name}")
    except OSError as error:
        log.warning("cgroup.no_controllers", base=group.path, error=error.strerror)
    return home


def _words(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text(encoding="ascii").split())
    except OSError:
        return frozenset()


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)
