"""The revision that a deployment group has on this machine, for events without an install (AG-482)."""

from __future__ import annotations

from ferryman_agent.errors import AgentError
from ferryman_agent.files.layout import DeploymentDir, Layout
from ferryman_agent.local.look import appspec_mistakes
from ferryman_agent.local.plan import Draft


class NothingInstalled(AgentError):
    """There is no revision whose events could run."""


def installed_deployment(layout: Layout, group: str, draft: Draft) -> DeploymentDir:
    """Returns the deployment whose files are on the machine. Raises NothingInstalled, which says what is missing."""
    pointer = layout.last_successful(group)
    if pointer is None:
        raise NothingInstalled(
            f"nothing is installed by deployment group {group} below {layout.root}: deploy something first, or name "
            "the group with --deployment-group"
        )
    directory = layout.deployment(group, pointer.name)
    if not directory.archive.is_dir():
        raise NothingInstalled(
            f"the files of the installed deployment {pointer.name} are gone: {directory.archive}"
        )
    try:
        name = directory.app_spec_name.read_text("utf-8").strip()
    except (OSError, UnicodeError):
        name = ""
    try:
        tried, mistakes = appspec_mistakes(directory.archive, name or draft.appspec, draft.possible_events)
    except OSError as problem:
        raise NothingInstalled(
            f"cannot read the AppSpec file in {directory.archive}: {problem.strerror}"
        ) from problem
    if tried:
        raise NothingInstalled(f"there is no AppSpec file in {directory.archive}: tried {', '.join(tried)}")
    if mistakes:
        raise NothingInstalled("; ".join(mistakes))
    return directory
