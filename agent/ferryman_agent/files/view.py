"""Everything that an install plan depends on, looked up once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ferryman.appspec import AppSpec, EntryKind
from ferryman_agent.core.install_facts import Situation
from ferryman_agent.core.install_plan import paths_to_look_at, wanted_targets
from ferryman_agent.core.messages import DeploymentDescription
from ferryman_agent.core.overwritten import Original
from ferryman_agent.files.accounts import agent_user, groups_of, users_of
from ferryman_agent.files.adoption import files_of_others
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.manifest import load_trusted
from ferryman_agent.files.selinux import find_selinux
from ferryman_agent.files.settings import InstallSettings
from ferryman_agent.files.survey import Archive, Host, changed_since, unchanged_files
from ferryman_agent.system import own


class View(NamedTuple):
    """What was found. `remarks` are sentences for people."""

    situation: Situation
    host: Host
    remarks: tuple[str, ...]


def look(
    deployment: DeploymentDescription,
    layout: Layout,
    settings: InstallSettings,
    appspec: AppSpec,
    archive: Archive,
    journal: tuple[str, ...],
    originals: Mapping[str, Original],
) -> View:
    """Looks at archive and host; `journal` has the paths that are the group's. Raises OSError.

    What other groups have installed is looked up where the deployment is to take it over (AG-326).
    """
    targets, findings = wanted_targets(appspec, archive.facts)
    ours = frozenset(journal)
    installed = load_trusted(layout, deployment.deployment_group_id)
    host = Host(paths_to_look_at(appspec, targets, (*journal, *originals)), ours, installed)
    unchanged, digests = unchanged_files(targets, archive, host, ours)
    clashes = (
        target.path
        for target in targets
        if target.kind is not EntryKind.DIRECTORY and target.path in ours and host.is_directory(target.path)
    )
    root = str(layout.root)
    user = agent_user()
    situation = Situation(
        appspec=appspec,
        behavior=deployment.file_exists_behavior,
        archive=archive.facts,
        targets=targets,
        findings=findings,
        host=host.facts,
        journal=journal,
        inside={path: host.inside(path) for path in clashes},
        unchanged=unchanged,
        users=users_of(appspec, with_scripts=not user.is_root),
        groups=groups_of(appspec),
        user=user,
        preserve_directory_modes=settings.preserve_directory_modes,
        agent_root=(own.host_place(root), own.host_place(os.path.realpath(root))),
        selinux=find_selinux(),
        require_selinux=settings.require_selinux,
        reject_unconfined=settings.reject_unconfined,
        allow_set_id=settings.allow_set_id,
        others=files_of_others(layout, deployment.deployment_group_id) if deployment.adopt else {},
        originals=originals,
        closed=frozenset() if user.is_root else host.closed(),
    )
    changed = changed_since(installed, host, journal, digests)
    return View(situation, host, tuple(_remarks(changed)))


def _remarks(changed: list[str]) -> Iterator[str]:
    if changed:
        shown = ", ".join(changed[:10]) + (", …" if len(changed) > 10 else "")
        yield f"{len(changed)} installed files had been changed by somebody since: {shown}"
