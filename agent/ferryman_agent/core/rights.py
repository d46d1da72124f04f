"""What a revision asks for that only root may do, all of it at once, before anything is touched (AG-015).

Changes of owner and group are judged with the rest of `permissions`, see `access_plan`; the codes stand here together.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping

from ferryman.appspec import AppSpec, Finding, Findings, Place
from ferryman_agent.core.install_facts import HostFact, User

RUNAS = "RUNAS_NEEDS_ROOT"
SUDO = "SUDO_NEEDS_ROOT"
OWNER = "PERM_OWNER_NOT_PERMITTED"
CLOSED = "FILES_DESTINATION_CLOSED"
OF_SCRIPTS = frozenset({RUNAS, SUDO})
BEYOND = OF_SCRIPTS | {OWNER, CLOSED}
"""The codes of what an agent that is not root can do nothing about."""


def judge_scripts(appspec: AppSpec, user: User, users: Mapping[str, int], findings: Findings) -> None:
    """Says which scripts of any event shall run as somebody else. `users` has those that exist, `runas` included."""
    for lifecycle_event, scripts in appspec.hooks.items():
        for script in scripts:
            name = (script.runas or "").strip()
            if name and users.get(name) != user.uid:
                message = f"{script.location} ({lifecycle_event}) shall run as {name!r}, and only root can change users"
                findings.error(RUNAS, script.place, message)
            elif script.sudo and not name:
                message = (
                    f"{script.location} ({lifecycle_event}) asks for sudo, which only an agent of root has"
                )
                findings.error(SUDO, script.place, message)


def judge_places(
    changing: Iterable[tuple[str, Place]],
    *,
    user: User,
    closed: frozenset[str],
    host: Mapping[str, HostFact],
    findings: Findings,
) -> None:
    """Says in which directories nothing can be made, replaced or removed, each once, with what would be in it.

    changing: paths where something is to change, and where the AppSpec file asks for it.
    closed: existing directories that the user cannot write in.
    """
    places: dict[str, Place] = {}
    wanted: dict[str, list[str]] = {}
    for path, place in changing:
        folder = path.rpartition("/")[0] or "/"
        if folder in closed or _is_kept_from(user, host.get(folder), host.get(path)):
            places.setdefault(folder, place)
            wanted.setdefault(folder, []).append(path)
    for folder, paths in wanted.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        message = f"user {user.uid}, as whom the agent runs, cannot write in {folder}: {paths[0]}{more}"
        findings.error(CLOSED, places[folder], message)


def beyond(findings: Iterable[Finding], *, has_scripts_before: bool) -> tuple[Finding, ...]:
    """Returns the findings of BEYOND, where nothing that happens before the install can change them.

    has_scripts_before: scripts of the revision run before its files are installed. They may call `sudo` by
    themselves, and make a destination that is not there yet, or is closed; so that alone is no reason to refuse yet.
    """
    found = tuple(finding for finding in findings if finding.code in BEYOND)
    if has_scripts_before and all(finding.code == CLOSED for finding in found):
        return ()
    return found


def _is_kept_from(user: User, folder: HostFact | None, present: HostFact | None) -> bool:
    """In a sticky directory only the owners of a file and of the directory may replace or remove it."""
    if folder is None or present is None or not folder.mode & stat.S_ISVTX:
        return False
    return user.uid not in (folder.uid, present.uid)
