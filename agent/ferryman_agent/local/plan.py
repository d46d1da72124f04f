"""From what was asked for and what was found to what will be done, or to every mistake in it (AG section 15). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ferryman.appspec import DEFAULT_NAME, SCRIPTABLE_EVENTS
from ferryman_agent.core.messages import (
    BundleType,
    CommandId,
    DeploymentDescription,
    DeploymentId,
    FileExistsBehavior,
    GroupId,
    RevisionSource,
    Segment,
)
from ferryman_agent.errors import EventError
from ferryman_agent.files.layout import Layout
from ferryman_agent.local.events import custom_events, plan_events
from ferryman_agent.local.location import TYPES, Location, Wrong, locate, type_of_name
from ferryman_agent.local.wish import Wish
from ferryman_agent.system import own

INSTANCE = "local"
_ANYWHERE = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is at a local path: `kind` is "directory", "file", "missing" or "other", `problem` why it cannot be read.

    `appspec_mistakes` are those of the AppSpec file of a directory; `appspec_tried` names the paths where none is.
    """

    path: str
    kind: str
    problem: str = ""
    appspec_tried: tuple[str, ...] = ()
    appspec_mistakes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the options alone say. `mistakes` are all that can be seen without a look at the machine."""

    events: tuple[str, ...]
    location: Location | None
    behavior: FileExistsBehavior
    appspec: str
    mistakes: tuple[str, ...]

    @property
    def possible_events(self) -> tuple[str, ...]:
        """What the hooks of the AppSpec file may be: the events of every deployment, and those asked for (AG-487)."""
        return (*SCRIPTABLE_EVENTS, *custom_events(self.events))


def draft(wish: Wish, *, cwd: str, environment: Mapping[str, str]) -> Draft:
    """Reads the options."""
    mistakes = []
    if wish.bundle_type is not None and wish.bundle_type not in TYPES:
        mistakes.append(f"--type: {wish.bundle_type!r} is none of {', '.join(TYPES)}")
    type_name = wish.bundle_type if wish.bundle_type in TYPES else None
    location = None
    try:
        location = locate(wish.location, type_name, cwd=cwd, stores=_stores(environment))
    except Wrong as wrong:
        mistakes.append(str(wrong))
    behavior = _behavior(wish.file_exists_behavior, mistakes)
    events = plan_events(wish.events, no_install=wish.no_install, simulate_traffic=wish.simulate_traffic)
    mistakes += events.mistakes
    _check_names(wish, mistakes)
    if wish.no_install:
        for option, value in (("--bundle-location", wish.location), ("--type", wish.bundle_type)):
            if value is not None:
                mistakes.append(
                    f"{option} and --no-install contradict each other: nothing would be taken from there"
                )
    return Draft(
        events=events.names,
        location=location,
        behavior=behavior,
        appspec=wish.appspec or DEFAULT_NAME,
        mistakes=tuple(mistakes),
    )


def judge(found: Found, location: Location) -> tuple[str, ...]:
    """Returns what is wrong with a local path (AG-491, AG-492)."""
    if found.problem:
        return (f"--bundle-location: cannot read {found.path}: {found.problem}",)
    if found.kind == "missing":
        return (f"--bundle-location: there is no {found.path}",)
    if found.kind == "other":
        return (f"--bundle-location: {found.path} is neither a file nor a directory",)
    if found.kind == "file":
        if location.type_name == "directory":
            return (f"--type: {found.path} is a file, not a directory: say tgz, tar or zip",)
        if not location.type_name and not type_of_name(found.path):
            return (
                f"--bundle-location: the name {found.path} does not tell its type: add --type tgz, tar or zip",
            )
        return ()
    if location.type_name not in ("", "directory"):
        return (f"--type: {found.path} is a directory, not a {location.type_name} archive",)
    if found.appspec_tried:
        return (f"there is no AppSpec file in {found.path}: tried {', '.join(found.appspec_tried)}",)
    return found.appspec_mistakes


def local_revision(found: Found, location: Location) -> RevisionSource:
    """Returns where the engine takes a local path from."""
    name = location.type_name or type_of_name(found.path)
    # Of a directory the type does not matter.
    bundle_type = BundleType(name) if name in ("tgz", "tar", "zip") else BundleType.TAR
    url = f"file://{quote(own.host_place(found.path), errors='surrogateescape')}"
    return RevisionSource(url=url, bundle_type=bundle_type)


def segment(
    wish: Wish,
    found: Draft,
    *,
    deployment_id: DeploymentId,
    application: str,
    revision: RevisionSource,
    headers: tuple[tuple[str, str], ...] = (),
) -> Segment:
    """Returns the command that a coordinator would have sent (AG-499, AG-500)."""
    deployment = DeploymentDescription(
        deployment_id=deployment_id,
        deployment_group_id=GroupId(wish.group),
        deployment_group_name=wish.group_name,
        application_name=wish.application if wish.application is not None else application,
        deployment_creator="user",
        deployment_type="IN_PLACE",
        app_spec_file_name=found.appspec,
        file_exists_behavior=found.behavior,
        adopt=wish.adopt,
        revision=revision,
        possible_lifecycle_events=found.possible_events,
        download_headers=headers,
    )
    return Segment(
        command_id=CommandId(f"{deployment_id}/{INSTANCE}/1/0"),
        deployment=deployment,
        lifecycle_events=found.events,
    )


def _behavior(text: str | None, mistakes: list[str]) -> FileExistsBehavior:
    try:
        return FileExistsBehavior((text or "DISALLOW").upper())
    except ValueError:
        mistakes.append(f"--file-exists-behavior: {text!r} is none of {', '.join(FileExistsBehavior)}")
        return FileExistsBehavior.DISALLOW


def _check_names(wish: Wish, mistakes: list[str]) -> None:
    try:
        Layout(root=_ANYWHERE).group(wish.group)
    except EventError as error:
        mistakes.append(f"--deployment-group: {error}")
    for option, value in (
        ("--deployment-group-name", wish.group_name),
        ("--application-name", wish.application or ""),
    ):
        if "\n" in value or "\0" in value:
            mistakes.append(
                f"{option}: {value!r} holds a newline or NUL, and scripts would see another value"
            )
    parts = (wish.appspec or DEFAULT_NAME).split("/")
    if not all(parts) or ".." in parts or "\0" in parts[-1]:
        mistakes.append(f"--appspec-filename: {wish.appspec!r} is not the name of a file in the revision")


def _stores(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Hosts of the object stores that the usual variables name."""
    addresses = (environment.get("AWS_ENDPOINT_URL_S3", ""), environment.get("AWS_ENDPOINT_URL", ""))
    return tuple(address.partition("://")[2].split("/")[0].lower() for address in addresses if address)
