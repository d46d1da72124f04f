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
from ferryman_agent.files.layout import DeploymentDir, Layout

HOST_OS = "linux"
_SHOWN_MISTAKES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What to run. `archive` is None where there is no revision to take scripts from; `warning` is for people."""

    archive: Path | None = None
    scripts: tuple[appspec.Script, ...] = ()
    warning: str = ""


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
    name = app_spec_name(previous, deployment.app_spec_file_name)
    if name is None:
        return _missing(lifecycle_event, origin, previous, fail_on_missing=fail_on_missing)
    found = _read(previous, name)
    if found.appspec is None:
        raise EventError(
            "PREVIOUS_APPSPEC_INVALID",
            f"the AppSpec file of deployment {pointer.name}, the {origin.value} one here, whose scripts "
            f"{lifecycle_event} runs, is broken: {_mistakes(found, name)}. To get past it, deploy with "
            f"--ignore-application-stop-failures, or remove {_pointer_name(group, origin)} on this instance",
        )
    return Chosen(archive=previous.archive, scripts=found.appspec.hooks.get(lifecycle_event, ()))


def app_spec_name(directory: DeploymentDir, wanted: str) -> str | None:
    """Returns the path of the AppSpec file in a deployment's archive (AG-204, AG-262); None where there is none.

    The name that the deployment itself was made with comes before `wanted` (AG-203).
    """
    # Deployments that the original made have it not written down.
    with contextlib.suppress(OSError, UnicodeDecodeError):
        wanted = directory.app_spec_name.read_text(encoding="utf-8").strip() or wanted
    candidates = (wanted, "appspec.yaml", appspec.DEFAULT_NAME)
    there = [
        name for name in candidates if ".." not in Path(name).parts and (directory.archive / name).is_file()
    ]
    return appspec.find_appspec_name(there, wanted)


def destinations(directory: DeploymentDir, wanted: str) -> list[str]:
    """Returns what the deployment's AppSpec file installs to; nothing where that cannot be read."""
    name = app_spec_name(directory, wanted)
    if name is None:
        return []
    try:
        found = _read(directory, name)
    except EventError:
        return []
    return [mapping.destination for mapping in found.appspec.files] if found.appspec else []


def _from_current(
    lifecycle_event: str, deployment: DeploymentDescription, directory: DeploymentDir
) -> Chosen:
    name = app_spec_name(directory, deployment.app_spec_file_name)
    if name is None:
        raise EventError(
            "APPSPEC_NOT_FOUND",
            f"the revision has no AppSpec file {deployment.app_spec_file_name} (looked in {directory.archive})",
        )
    found = _read(directory, name)
    if found.appspec is None:
        raise EventError("APPSPEC_INVALID", f"the AppSpec file is broken: {_mistakes(found, name)}")
    return Chosen(archive=directory.archive, scripts=found.appspec.hooks.get(lifecycle_event, ()))


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


def _read(directory: DeploymentDir, name: str) -> appspec.ParsedAppSpec:
    path = directory.archive / name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            source = file.read(appspec.SIZE_LIMIT + 1)
    except OSError as error:
        raise EventError("APPSPEC_NOT_READABLE", f"cannot read {path}: {error.strerror}") from error
    return appspec.parse(source, strict=False, host_os=HOST_OS)


def _mistakes(found: appspec.ParsedAppSpec, name: str) -> str:
    described = [finding.describe(name) for finding in found.errors[:_SHOWN_MISTAKES]]
    more = len(found.errors) - len(described)
    return "; ".join(described) + (f"; and {more} more" if more > 0 else "")


def _pointer_name(group: str, origin: Origin) -> str:
    kind = "last_successful" if origin is Origin.LAST_SUCCESSFUL else "most_recent"
    return f"{group}_{kind}_install in deployment-instructions"
