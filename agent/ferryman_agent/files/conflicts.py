"""Says why an install was refused, and whose files are in the way (AG-324, AG-325)."""

from __future__ import annotations

from collections.abc import Mapping

from ferryman_agent.core.install_facts import Conflict, PlanRefused
from ferryman_agent.core.messages import GroupId, ScriptErrorCode
from ferryman_agent.core.rights import OF_SCRIPTS
from ferryman_agent.errors import InstallError
from ferryman_agent.files.adoption import files_of_others, group_label
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.records import read_destinations

SHOWN_CONFLICTS = 50
SHOWN_MISTAKES = 50

_INSTALLED_BY = "installed by deployment group"


def describe_refusal(
    refused: PlanRefused, appspec_name: str, layout: Layout, group_id: GroupId
) -> InstallError:
    """Returns one error for everything that speaks against the plan."""
    parts = []
    code = ""
    if refused.findings:
        code = refused.findings[0].code
        lines = [finding.describe(appspec_name) for finding in refused.findings[:SHOWN_MISTAKES]]
        more = len(refused.findings) - len(lines)
        parts.append("; ".join(lines) + (f"; and {more} more" if more > 0 else ""))
    if refused.conflicts:
        code = code or "FILES_CONFLICT"
        parts.append(_conflicts(refused.conflicts, _owners(layout, group_id)))
    error = InstallError(code, f"The deployment failed because {'; and '.join(parts)}. Nothing was changed.")
    if any(finding.code in OF_SCRIPTS for finding in refused.findings):
        # As the script itself would have it (AG-399).
        error.error_code = ScriptErrorCode.SCRIPT_FAILED
    return error


def _conflicts(conflicts: tuple[Conflict, ...], owners: Mapping[str, str]) -> str:
    shown = [
        f"{conflict.path} ({conflict.what}, {owners.get(conflict.path, 'of unknown origin')})"
        for conflict in conflicts[:SHOWN_CONFLICTS]
    ]
    more = len(conflicts) - len(shown)
    rest = f"; and {more} more" if more > 0 else ""
    count = "a file exists" if len(conflicts) == 1 else f"{len(conflicts)} files exist"
    is_adoptable = any(owners.get(conflict.path, "").startswith(_INSTALLED_BY) for conflict in conflicts)
    adopt = (
        ", or deploy with --adopt to take over what other deployment groups installed" if is_adoptable else ""
    )
    return (
        f"{count} already that this deployment group did not install: {'; '.join(shown)}{rest}. "
        f"Remove what is in the way, or set file_exists_behavior to OVERWRITE or RETAIN{adopt}"
    )


def _owners(layout: Layout, group_id: GroupId) -> dict[str, str]:
    """Returns who put files on this host, as far as the agent knows."""
    owners = dict.fromkeys(
        read_destinations(layout.install_json(group_id)),
        "from an earlier deployment of this deployment group",
    )
    others = files_of_others(layout, group_id)
    labels = {group: group_label(layout, group) for group in frozenset(others.values())}
    owners.update((path, f"{_INSTALLED_BY} {labels[group]}") for path, group in others.items())
    return owners
