"""Takes away what a deployment group has installed, without a deployment that does it (AG-180, AG-327)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ferryman.appspec import AppSpec
from ferryman_agent.core.install_facts import PlanRefused, Situation
from ferryman_agent.core.install_plan import make_plan, paths_to_look_at
from ferryman_agent.core.messages import FileExistsBehavior, GroupId
from ferryman_agent.errors import InstallError
from ferryman_agent.files.adoption import files_of_others
from ferryman_agent.files.cleanup import Journal, read_journal, write_journal
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.removal import remove_obsolete
from ferryman_agent.files.rulebook import RuleBook
from ferryman_agent.files.selinux import find_selinux
from ferryman_agent.files.survey import Host
from ferryman_agent.files.tree import Folders
from ferryman_agent.system import own


@dataclass(frozen=True, slots=True, kw_only=True)
class Uninstalled:
    """`stayed` are directories with things of others in them, and what another group lists too."""

    count: int
    stayed: tuple[str, ...]


def uninstall(layout: Layout, group_id: GroupId) -> Uninstalled:
    """Removes everything in the group's cleanup journal, in the group's turn and alone (`install_turns`).

    Raises OSError, and InstallError when something could not be removed; that is in the journal still.
    """
    path = layout.cleanup_journal(group_id)
    journal = read_journal(path, keep=True)
    if journal.warnings and not journal.paths:
        raise InstallError("INSTALL_CLEANUP", f"{'; '.join(journal.warnings)}: nothing was removed")
    situation = _situation(layout, journal)
    plan = make_plan(situation)
    if isinstance(plan, PlanRefused):
        raise InstallError("INSTALL_CLEANUP", f"what deployment group {group_id} installed cannot be removed")
    others = files_of_others(layout, group_id)
    rules = RuleBook(situation.selinux, {}, journal)
    with Folders.below("/") as host:
        removed = remove_obsolete(host, [pair for pair in plan.obsolete if pair[0] not in others])
    problems = [*removed.problems, *rules.remove_obsolete()]
    if problems:
        write_journal(path, Journal(tuple(removed.carried), rules.lines(all_gone=False)))
        raise InstallError("INSTALL_CLEANUP", "; ".join(problems))
    shared = (one for one in journal.paths if one in others)
    return Uninstalled(count=removed.count, stayed=(*shared, *removed.carried))


def _situation(layout: Layout, journal: Journal) -> Situation:
    """A revision without files, for the same plan that its deployment would make."""
    appspec, root = AppSpec(), str(layout.root)
    host = Host(paths_to_look_at(appspec, (), journal.paths), frozenset(journal.paths))
    return Situation(
        appspec=appspec,
        behavior=FileExistsBehavior.DISALLOW,
        archive={},
        targets=(),
        host=host.facts,
        journal=journal.paths,
        agent_root=(own.host_place(root), own.host_place(os.path.realpath(root))),
        selinux=find_selinux(),
    )
