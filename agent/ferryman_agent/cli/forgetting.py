"""What this machine may forget: a last successful revision whose scripts are broken (`ferryman-agent forget-revision`,
AG-210), and everything about a deployment group that it belongs to no longer (`ferryman-agent gc`, AG-180).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from ferryman_agent import wiring
from ferryman_agent.cli.history import kept_deployments
from ferryman_agent.clock import SystemClock
from ferryman_agent.config import Config
from ferryman_agent.core.messages import DeploymentId, GroupId
from ferryman_agent.errors import AgentError, EventError, InstallError
from ferryman_agent.files.cleanup import read_journal
from ferryman_agent.files.install_turns import install_turn
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.tree import remove_tree
from ferryman_agent.files.uninstall import uninstall
from ferryman_agent.runtime.group_turns import GroupTurns
from ferryman_agent.system import fs

SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupData:
    """What this machine has of a deployment group. `last_at`: milliseconds since the epoch, 0 for not known.

    installed_paths: files and directories that the group has put on the machine.
    """

    group_id: str
    group_name: str
    deployments: int
    size_bytes: int
    last_at: int
    installed_paths: int = 0


def groups_here(config: Config) -> tuple[GroupData, ...]:
    """Returns each group that has data here, the one that was deployed to last first. Raises AgentError."""
    found: dict[str, GroupData] = {}
    for one in kept_deployments(config):
        known = found.get(one.group_id)
        found[one.group_id] = GroupData(
            group_id=one.group_id,
            group_name=known.group_name or one.group_name if known else one.group_name,
            deployments=(known.deployments if known else 0) + 1,
            size_bytes=(known.size_bytes if known else 0) + one.size_bytes,
            last_at=max(known.last_at if known else 0, one.ended_at),
        )
    layout = wiring.layout(config)
    # Also those of which only the journal is left: nobody else would ever remove what it lists.
    for group_id in (*layout.installed_groups(), *layout.journals()):
        nothing = GroupData(group_id=group_id, group_name="", deployments=0, size_bytes=0, last_at=0)
        found.setdefault(group_id, nothing)
    counted = (replace(one, installed_paths=_installed_paths(layout, one.group_id)) for one in found.values())
    return tuple(sorted(counted, key=lambda one: one.last_at, reverse=True))


def _installed_paths(layout: Layout, group_id: str) -> int:
    with contextlib.suppress(OSError, EventError):
        return len(read_journal(layout.cleanup_journal(group_id), keep=True).paths)
    return 0


def as_json(found: tuple[GroupData, ...]) -> str:
    """Stable names: those of GroupData."""
    return json.dumps({"groups": [asdict(one) for one in found]}, indent=2)


def as_text(found: tuple[GroupData, ...]) -> str:
    """A line for each group, and how to be rid of one."""
    if not found:
        return "no deployment group has data on this machine"
    lines = [
        f"{one.group_id}  {one.group_name or '-'}  {one.deployments} deployments,"
        f" {one.size_bytes / (1 << 20):.1f} MiB, last {_when(one.last_at)},"
        f" {one.installed_paths} files and directories installed"
        for one in found
    ]
    return "\n".join(
        [
            *lines,
            "To remove the data of a group that this machine has left: ferryman-agent gc --remove ID;"
            " with --uninstall, what it installed as well",
        ]
    )


def remove_group(config: Config, group: str, *, uninstalls: bool = False) -> str:
    """Deletes revisions, logs and records of a group, given by id or name; returns what was done. Raises AgentError.

    With `uninstalls`, what the group has installed goes first, as by a deployment of a revision without files. Else it
    stays, and belongs to nobody from then on: a later deployment meets it as files of somebody else.
    """
    layout = wiring.layout(config)
    names = {one.group_id: one.group_name for one in groups_here(config)}
    group_id = GroupId(group if group in names else _id_of(group, names))
    if layout.install_mark(group_id).exists():
        raise AgentError(
            f"an install of deployment group {group} was interrupted: start the agent, which finishes or undoes it"
        )
    turns, own = GroupTurns(layout, SystemClock()), DeploymentId("gc")
    try:
        turns.hold(group_id, own)
        try:
            _require_rest(layout, group_id)
            # Another group may be taking over files that this one has installed.
            with install_turn(layout, alone=True):
                said = _uninstall(layout, group_id) if uninstalls else "the files that it installed stay."
                size = _remove(layout, group_id)
        finally:
            turns.release(group_id, own)
    except InstallError as error:
        raise AgentError(
            f"cannot remove all that deployment group {group} installed, so its data stays: {error.message}"
        ) from error
    except OSError as error:
        raise AgentError(
            f"cannot remove the data of deployment group {group}: {error.strerror} ({error.filename});"
            " run this as root or as the agent's user"
        ) from error
    removed = f"{size / (1 << 20):.1f} MiB"
    return f"Removed the data of deployment group {group} ({removed}); {said}"


def _require_rest(layout: Layout, group_id: GroupId) -> None:
    """Raises AgentError while a command of the group is in progress, also of an agent that does not run just now."""
    names = fs.listdir(layout.group(group_id)) if layout.group(group_id).is_dir() else []
    busy = sorted(layout.ongoing_deployments().intersection(names))
    if busy:
        raise AgentError(
            f"deployment {busy[0]} of deployment group {group_id} is in progress: let the agent come to its end first"
        )


def _uninstall(layout: Layout, group_id: GroupId) -> str:
    done = uninstall(layout, group_id)
    shown = ", ".join(done.stayed[:SHOWN]) + (", …" if len(done.stayed) > SHOWN else "")
    stayed = f"; {len(done.stayed)} stay, since others use them: {shown}" if done.stayed else ""
    return f"{done.count} files and directories that it had installed are gone{stayed}."


def _remove(layout: Layout, group_id: GroupId) -> int:
    # The pointers go first: half of a group must not look like one that can be deployed on top of.
    for path in reversed(layout.records_of(group_id)):
        path.unlink(missing_ok=True)
    root = fs.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return remove_tree(root, group_id)
    finally:
        os.close(root)


def _when(milliseconds: int) -> str:
    if not milliseconds:
        return "not known"
    return f"{datetime.fromtimestamp(milliseconds / 1000).astimezone():%Y-%m-%d %H:%M:%S}"


def forget_revision(config: Config, group: str) -> str:
    """Clears the pointer of a deployment group, given by id or name; returns what was done. Raises AgentError.

    The next deployment runs no script of the revision that was forgotten; its files stay, and are replaced as usual.
    """
    layout = wiring.layout(config)
    names = {one.group_id: one.group_name for one in kept_deployments(config)}
    group_id = group if group in names else _id_of(group, names)
    try:
        pointer = layout.last_successful(group_id)
        if pointer is None:
            return f"Nothing to forget: deployment group {group} has no last successful revision here."
        layout.forget_last_successful(group_id)
    except OSError as error:
        raise AgentError(
            f"cannot forget the revision of deployment group {group}: {error.strerror} ({error.filename});"
            " run this as root or as the agent's user"
        ) from error
    return f"Forgot deployment {pointer.name} of deployment group {group}: the next one runs none of its scripts."


def _id_of(name: str, names: dict[str, str]) -> str:
    found = [group_id for group_id, known in names.items() if known == name]
    if len(found) == 1:
        return found[0]
    what = (
        f"no deployment group {name!r} has deployments" if not found else f"several groups are named {name!r}"
    )
    raise AgentError(f"{what} on this machine; it has {_listed(names)}")


def _listed(names: dict[str, str]) -> str:
    known: Iterable[str] = (f"{key} ({names[key]})" if names[key] else key for key in sorted(names))
    return ", ".join(known) or "none at all"
