"""What an install would do, without doing it (AG-287, AG-015): the same look at the host, the same plan."""

from __future__ import annotations

from typing import NamedTuple

from ferryman.appspec import EntryKind
from ferryman_agent.core.install_facts import InstallPlan, PlanRefused
from ferryman_agent.core.install_plan import make_plan
from ferryman_agent.core.install_root import below
from ferryman_agent.core.messages import DeploymentDescription
from ferryman_agent.core.rights import beyond
from ferryman_agent.errors import InstallError
from ferryman_agent.files.accounts import agent_user
from ferryman_agent.files.appspec_file import AppSpecFile, load_appspec, missing_appspec
from ferryman_agent.files.cleanup import Journal, read_journal
from ferryman_agent.files.conflicts import describe_refusal
from ferryman_agent.files.digests import Digests
from ferryman_agent.files.layout import DeploymentDir, Layout
from ferryman_agent.files.room import require_room
from ferryman_agent.files.settings import InstallSettings
from ferryman_agent.files.shared_modes import load_shared_modes
from ferryman_agent.files.survey import Archive
from ferryman_agent.files.tree import Folders
from ferryman_agent.files.view import View, look
from ferryman_agent.system import own


class Preview(NamedTuple):
    """`warnings` are sentences for people."""

    plan: InstallPlan
    warnings: tuple[str, ...]


def preview(
    deployment: DeploymentDescription, *, layout: Layout, directory: DeploymentDir, settings: InstallSettings
) -> Preview:
    """Plans the install of the archive in `directory`, which need not be below the layout's root; blocks.

    What a deployment that failed would get back of others' files is not in it: that shows only when it is tried.
    Raises InstallError as the install would, with every conflict in it, and OSError.
    """
    found, journal, view, plan = _look(deployment, layout, directory, settings)
    if isinstance(plan, PlanRefused):
        raise describe_refusal(plan, found.name, layout, deployment.deployment_group_id)
    require_room(plan)
    remarks = (finding.describe(found.name) for finding in found.parsed.warnings)
    warnings = (*remarks, *journal.warnings, *plan.warnings, *view.remarks)
    return Preview(plan, tuple(dict.fromkeys(warnings)))


def demand_rights(
    deployment: DeploymentDescription, *, layout: Layout, directory: DeploymentDir, settings: InstallSettings
) -> None:
    """Sees that an agent that is not root can do all that the revision asks for, before its first script; blocks.

    Raises InstallError that lists what it cannot (AG-015). Whatever else is wrong is said by the event that meets it.
    """
    if agent_user().is_root:
        return
    try:
        found, _, view, plan = _look(deployment, layout, directory, settings)
    except (OSError, InstallError):
        return
    if isinstance(plan, InstallPlan):
        return
    has_scripts_before = bool(view.situation.appspec.hooks.get("BeforeInstall"))
    if findings := beyond(plan.findings, has_scripts_before=has_scripts_before):
        refused = PlanRefused(findings=findings)
        raise describe_refusal(refused, found.name, layout, deployment.deployment_group_id)


def _look(
    deployment: DeploymentDescription, layout: Layout, directory: DeploymentDir, settings: InstallSettings
) -> tuple[AppSpecFile, Journal, View, InstallPlan | PlanRefused]:
    with Folders.below(directory.archive) as folders:
        withheld = load_shared_modes(directory.archive_modes)
        archive = Archive(folders, Digests.load(directory.archive_digests), withheld)
        files = {path for path, fact in archive.facts.items() if fact.kind is EntryKind.FILE}
        wanted, possible = deployment.app_spec_file_name, deployment.possible_lifecycle_events
        found = load_appspec(folders, files, wanted, possible)
        if found is None:
            raise InstallError("APPSPEC_MISSING", missing_appspec(directory.archive, wanted, ()))
        if found.parsed.appspec is None:
            raise InstallError(
                found.parsed.errors[0].code, f"the AppSpec file cannot be used: {found.mistakes}"
            )
        appspec = below(own.host_place(settings.install_root), found.parsed.appspec)
        journal = read_journal(layout.cleanup_journal(deployment.deployment_group_id))
        view = look(deployment, layout, settings, appspec, archive, journal.paths, {})
        return found, journal, view, make_plan(view.situation)
