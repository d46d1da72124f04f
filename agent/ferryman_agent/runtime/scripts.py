"""Whose scripts an event runs: the revision by the table, its AppSpec file, the scripts in it (AG 7.2, 7.3).

Called in a thread: it reads files. "Nothing to run" is an answer, a broken AppSpec file an EventError.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from ferryman import appspec
from ferryman_agent.core.lifecycle import Origin, origin_of
from ferryman_agent.core.messages import DeploymentDescription
from ferryman_agent.errors import EventError
from ferryman_agent.files.appspec_file import AppSpecFile, load_appspec, missing_appspec
from ferryman_agent.files.layout import DeploymentDir, Layout
from ferryman_agent.files.tree import Folders
from ferryman_agent.runtime.changed_scripts import changed
from ferryman_agent.system import own


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What to run. `archive` is None where there is no revision to take scripts from.

    For people: `warning` says why nothing runs, `remark` what is strange about what does.
    """

    archive: Path | None = None
    scripts: tuple[appspec.Script, ...] = ()
    warning: str = ""
    remark: str = ""


def choose(
    lifecycle_event: str, deployment: DeploymentDescription, layout: Layout, *, fail_on_missing: bool
) -> Chosen:
    """Returns the scripts of the event.

    `fail_on_missing`: a previous revision whose files are gone fails the event instead of being skipped (AG-206).
    Raises EventError.
    """
    current = layout.deployment(deployment.deployment_group_id, deployment.deployment_id)
    origin = origin_of(lifecycle_event, deployment, has_archive=current.archive.is_dir())
    if origin is Origin.CURRENT:
        # No archive yet: no AppSpec to read, so nothing to run (V2-042).
        return _from_current(lifecycle_event, deployment, current) if current.archive.is_dir() else Chosen()
    group = deployment.deployment_group_id
    pointer = layout.last_successful(group) if origin is Origin.LAST_SUCCESSFUL else layout.most_recent(group)
    if pointer is None:
        return Chosen()
    previous = DeploymentDir(pointer)
    found = _load(previous, deployment.app_spec_file_name)
    if found is None:
        return _missing(lifecycle_event, origin, previous, fail_on_missing=fail_on_missing)
    spec = found.parsed.appspec
    if spec is None:
        raise EventError(
            "PREVIOUS_APPSPEC_INVALID",
            f"the AppSpec file of deployment {pointer.name}, the {origin.value} one here, whose scripts "
            f"{lifecycle_event} runs, is broken: {found.mistakes}. To get past it, deploy with "
            f"--ignore-application-stop-failures, or {_way_out(group, origin)} on this instance",
        )
    found_scripts = spec.hooks.get(lifecycle_event, ())
    strange = changed(
        previous, [found.name, *(script.location for script in found_scripts)] if found_scripts else []
    )
    whose = f"of deployment {pointer.name}, the {origin.value} one here"
    remark = f"{', '.join(strange)} {whose}, changed after it was deployed"
    return Chosen(archive=previous.archive, scripts=found_scripts, remark=remark if strange else "")


def destinations(directory: DeploymentDir, wanted: str) -> list[str]:
    """Returns what the deployment's AppSpec file installs to; nothing where that cannot be read."""
    try:
        found = _load(directory, wanted)
    except EventError:
        return []
    spec = found.parsed.appspec if found else None
    return [mapping.destination for mapping in spec.files] if spec else []


def _from_current(
    lifecycle_event: str, deployment: DeploymentDescription, directory: DeploymentDir
) -> Chosen:
    wanted = deployment.app_spec_file_name
    found = _load(directory, wanted)
    if found is None:
        raise EventError("APPSPEC_MISSING", missing_appspec(directory.archive, wanted, ()))
    spec = found.parsed.appspec
    if spec is None:
        raise EventError("APPSPEC_INVALID", f"the AppSpec file is broken: {found.mistakes}")
    return Chosen(archive=directory.archive, scripts=spec.hooks.get(lifecycle_event, ()))


def _missing(
    lifecycle_event: str, origin: Origin, previous: DeploymentDir, *, fail_on_missing: bool
) -> Chosen:
    what = (
        f"the files of deployment {previous.path.name}, the {origin.value} one here, are gone from "
        f"{previous.archive}, so its {lifecycle_event} scripts cannot run"
    )
    if fail_on_missing:
        raise EventError("PREVIOUS_REVISION_MISSING", what)
    return Chosen(warning=what)


def _load(directory: DeploymentDir, wanted: str) -> AppSpecFile | None:
    """Reads the AppSpec file of a deployment's archive (AG-204, AG-262); None where there is none.

    The name that the deployment itself was made with comes before `wanted` (AG-203).
    """
    # Deployments that the original made have it not written down.
    with contextlib.suppress(OSError, UnicodeDecodeError):
        wanted = directory.app_spec_name.read_text(encoding="utf-8").strip() or wanted
    candidates = (wanted, "appspec.yaml", appspec.DEFAULT_NAME)
    place = directory.archive
    there = [
        name
        for name in candidates
        if ".." not in own.slashes(name).split("/") and os.path.isfile(os.path.join(place, name))
    ]
    if not there:
        return None
    try:
        with Folders.below(place) as archive:
            return load_appspec(archive, there, wanted)
    except OSError as error:
        what = f"cannot read the AppSpec file in {directory.archive}: {error.strerror}"
        raise EventError("APPSPEC_NOT_READABLE", what) from error


def _way_out(group: str, origin: Origin) -> str:
    if origin is Origin.LAST_SUCCESSFUL:
        return f"run 'ferryman-agent forget-revision --group {group}'"
    return f"remove {group}_most_recent_install in deployment-instructions"
