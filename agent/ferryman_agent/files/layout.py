"""Where everything of the agent lives. No other module puts such a path together (AG section 6)."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ferryman_agent.core.messages import DeploymentId, GroupId
from ferryman_agent.errors import EventError
from ferryman_agent.files.atomic import make_directory, remove_leftovers, write_atomic
from ferryman_agent.files.logged import warn
from ferryman_agent.system import fs, own

# The hardened modes, which are the default (V2-284).
ROOT_MODE = 0o711
PRIVATE_MODE = 0o700
LOGS_MODE = 0o750
ARCHIVE_MODE = 0o755
STATE_FILE_MODE = 0o600

RESERVED_NAMES = frozenset({"deployment-instructions", "deployment-logs", "ongoing-deployment"})
"""Cannot be the id of a deployment group (AG-155)."""

_SAFE = re.compile(r"[A-Za-z0-9._-]{1,160}", re.ASCII)
_POINTER_LIMIT = 4096
_JOURNAL_SUFFIX = "-cleanup"
_MARK_SUFFIX = "-installing"
_SUCCESS_SUFFIX = "_last_successful_install"


@dataclass(frozen=True)
class DeploymentDir:
    """`<root>/<group>/<deployment>` and what is in it. Nothing is created by asking."""

    path: Path

    @property
    def bundle(self) -> Path:
        """The archive as it was fetched: always this name, whatever its format (AG-C34)."""
        return self.path / "bundle.tar"

    @property
    def bundle_digest(self) -> Path:
        """SHA-256 of the bundle that was verified, in hexadecimal."""
        return self.path / ".bundle-sha256"

    @property
    def bundle_etag(self) -> Path:
        """What the server called the bundle; feeds BUNDLE_ETAG (V2-067)."""
        return self.path / ".bundle-etag"

    @property
    def bundle_identity(self) -> Path:
        """What names the bundle's content for good, for the next one to reuse it: an object's version, a commit."""
        return self.path / ".bundle-identity"

    @property
    def bundle_source(self) -> Path:
        """`downloaded` or `archive-reuse` (V2-068)."""
        return self.path / ".bundle-source"

    @property
    def app_spec_name(self) -> Path:
        """Holds the name of the AppSpec file that the deployment was made with (AG-203)."""
        return self.path / ".appspec-name"

    @cached_property
    def archive(self) -> Path:
        return self.path / "deployment-archive"

    @property
    def archive_temp(self) -> Path:
        """Where the archive grows before it is renamed into its place."""
        return self.path / "deployment-archive-temp"

    @property
    def archive_digests(self) -> Path:
        """Digests of the unpacked files, for the next install to compare with."""
        return self.path / ".archive-digests"

    @property
    def archive_modes(self) -> Path:
        """Write permission of others that the archive's files and folders get where they are installed."""
        return self.path / ".archive-modes"

    @property
    def overwritten(self) -> Path:
        """Originals of files that the deployment replaced with OVERWRITE, by number (AG-328)."""
        return self.path / "overwritten"

    @cached_property
    def logs(self) -> Path:
        return self.path / "logs"

    @cached_property
    def scripts_log(self) -> Path:
        return self.logs / "scripts.log"


@dataclass(frozen=True)
class Layout:
    """All paths of one agent. `state` is for its own journal and outbox: beside `root` unless given.

    `ongoing_name` is the folder of the in-flight markers (AG-K23); the modes are those of folders that are made.
    """

    root: Path
    program_name: str = "ferryman-agent"
    state_dir: Path | None = None
    ongoing_name: str = "ongoing-deployment"
    root_mode: int = ROOT_MODE
    logs_mode: int = LOGS_MODE

    @property
    def state(self) -> Path:
        return self.state_dir or self.root.parent / "state"

    @cached_property
    def instructions(self) -> Path:
        return self.root / "deployment-instructions"

    @cached_property
    def deployments_log(self) -> Path:
        return self.root / "deployment-logs" / f"{self.program_name}-deployments.log"

    @cached_property
    def ongoing(self) -> Path:
        """Holds a marker for each deployment with a command in progress."""
        return self.root / self.ongoing_name

    def prepare(self) -> None:
        """Creates the folders that every agent has, and clears what a killed one left half written. Raises OSError."""
        self._make_common_folders()
        make_directory(self.state, PRIVATE_MODE)
        for folder in (self.state, self.instructions, self.ongoing):
            own.restrict(folder, PRIVATE_MODE)
            remove_leftovers(folder)

    def group(self, group_id: GroupId | str) -> Path:
        """Returns the folder of a deployment group. Raises EventError for an id that is no safe name (AG-148)."""
        if group_id == self.ongoing_name:
            raise EventError(
                "UNSAFE_ID", f"deployment group id {group_id!r} is the name of a folder of the agent"
            )
        return self.root / _safe_group(group_id)

    def deployment(self, group_id: GroupId | str, deployment_id: DeploymentId | str) -> DeploymentDir:
        """Returns the places of one deployment. Raises EventError for an id that is no safe name (V2-135)."""
        return DeploymentDir(self.group(group_id) / _safe_name(deployment_id, "deployment id"))

    def create_deployment(self, group_id: GroupId | str, deployment_id: DeploymentId | str) -> DeploymentDir:
        """Returns the places of one deployment after making its folder. Raises EventError, OSError."""
        directory = self.deployment(group_id, deployment_id)
        # Somebody may have emptied the root since the agent started: that costs its history, not its next deployment.
        self._make_common_folders()
        make_directory(directory.path, self.root_mode)
        return directory

    def _make_common_folders(self) -> None:
        make_directory(self.root, self.root_mode)
        make_directory(self.instructions, PRIVATE_MODE)
        make_directory(self.ongoing, PRIVATE_MODE)
        make_directory(self.deployments_log.parent, self.logs_mode)

    def install_json(self, group_id: GroupId | str) -> Path:
        return self._instruction(group_id, "-install.json")

    def cleanup_journal(self, group_id: GroupId | str) -> Path:
        return self._instruction(group_id, _JOURNAL_SUFFIX)

    def group_lock(self, group_id: GroupId | str) -> Path:
        """Locked by the process that works for the group: the agent, or a local deployment (AG-505)."""
        return self._instruction(group_id, "-lock")

    def local_journal(self, group_id: GroupId | str) -> Path:
        """What a local deployment of the group writes down while it runs; the agent's journal is the agent's alone."""
        return self.state / "local" / f"{_safe_group(group_id)}.journal"

    @property
    def installs_lock(self) -> Path:
        """Locked by whoever installs: shared, or alone by one that changes the records of other groups too."""
        return self.instructions / "installs.lock"

    def install_mark(self, group_id: GroupId | str) -> Path:
        """The undo log: exists while an install changes the host; left behind by one that was killed."""
        return self._instruction(group_id, _MARK_SUFFIX)

    def installed_digests(self, group_id: GroupId | str) -> Path:
        """What the group has installed: paths, digests, owners and modes."""
        return self._instruction(group_id, "-digests")

    def installed_digests_next(self, group_id: GroupId | str) -> Path:
        """The same of an install that has not come to its end."""
        return self._instruction(group_id, "-digests-next")

    def interrupted_groups(self) -> tuple[GroupId, ...]:
        """Returns the groups whose installs have not come to their ends."""
        return self._groups_with(_MARK_SUFFIX)

    def distrusted(self, group_id: GroupId | str) -> Path:
        """Installed files that a check found changed although `stat` says nothing: the next install reads them."""
        return self._instruction(group_id, "-distrusted")

    def installed_groups(self) -> tuple[GroupId, ...]:
        """Returns the groups that have something installed here, in order."""
        return self._groups_with(_SUCCESS_SUFFIX)

    def originals(self, group_id: GroupId | str) -> Path:
        """What is kept in the `overwritten` folders of the group's deployments."""
        return self._instruction(group_id, "-overwritten")

    def records_of(self, group_id: GroupId | str) -> tuple[Path, ...]:
        """Returns every file about a group that is not in its folder, but its lock; some may not be there."""
        return (
            self.install_json(group_id),
            self.cleanup_journal(group_id),
            self.install_mark(group_id),
            self.installed_digests(group_id),
            self.installed_digests_next(group_id),
            self.distrusted(group_id),
            self.originals(group_id),
            self.local_journal(group_id),
            self._last_successful(group_id),
            self._most_recent(group_id),
        )

    def journals(self) -> Mapping[str, Path]:
        """Returns the cleanup journals of all groups that have one, by group id."""
        with contextlib.suppress(OSError):
            paths = sorted(self.instructions.glob(f"*{_JOURNAL_SUFFIX}"))
            return {path.name.removesuffix(_JOURNAL_SUFFIX): path for path in paths}
        return {}

    def last_successful(self, group_id: GroupId | str) -> Path | None:
        """Returns the deployment folder whose files are on the host (AG-198); None where there is none."""
        return _read_pointer(self._last_successful(group_id), _safe_group(group_id))

    def set_last_successful(self, group_id: GroupId | str, path: Path) -> None:
        """Points at a deployment folder, atomically. Raises OSError."""
        self._write_pointer(self._last_successful(group_id), path)

    def forget_last_successful(self, group_id: GroupId | str) -> None:
        """Makes the group look as if nothing had been deployed (AG-210). Raises OSError."""
        self._last_successful(group_id).unlink(missing_ok=True)

    def most_recent(self, group_id: GroupId | str) -> Path | None:
        """Returns the folder of the deployment that was downloaded last (AG-199); None where there is none."""
        return _read_pointer(self._most_recent(group_id), _safe_group(group_id))

    def set_most_recent(self, group_id: GroupId | str, path: Path) -> None:
        """Points at a deployment folder, atomically. Raises OSError."""
        self._write_pointer(self._most_recent(group_id), path)

    def ongoing_mark(self, deployment_id: DeploymentId | str) -> Path:
        """Returns the in-flight marker of a deployment. Raises EventError for an id that is no safe name."""
        return self.ongoing / _safe_name(deployment_id, "deployment id")

    def ongoing_deployments(self) -> frozenset[str]:
        """Returns the ids of deployments with a marker."""
        try:
            return frozenset(fs.listdir(self.ongoing))
        except OSError:
            return frozenset()

    def _groups_with(self, suffix: str) -> tuple[GroupId, ...]:
        try:
            names = sorted(path.name for path in self.instructions.glob(f"*{suffix}"))
        except OSError:
            return ()
        found = (name.removesuffix(suffix) for name in names)
        return tuple(GroupId(name) for name in found if _SAFE.fullmatch(name) and name not in RESERVED_NAMES)

    def _instruction(self, group_id: str, suffix: str) -> Path:
        return self.instructions / f"{_safe_group(group_id)}{suffix}"

    def _last_successful(self, group_id: str) -> Path:
        return self._instruction(group_id, _SUCCESS_SUFFIX)

    def _most_recent(self, group_id: str) -> Path:
        return self._instruction(group_id, "_most_recent_install")

    def _write_pointer(self, pointer: Path, path: Path) -> None:
        make_directory(self.instructions, PRIVATE_MODE)
        write_atomic(pointer, os.fsencode(path), STATE_FILE_MODE)


def _safe_name(name: str, what: str) -> str:
    if not _SAFE.fullmatch(name) or name in (".", ".."):
        message = f"{what} {name[:200]!r} is not a safe file name: letters, digits, '.', '_' and '-' only"
        raise EventError("UNSAFE_ID", message)
    return name


def _safe_group(name: str) -> str:
    if name in RESERVED_NAMES:
        raise EventError("UNSAFE_ID", f"deployment group id {name!r} is the name of a folder of the agent")
    return _safe_name(name, "deployment group id")


def _read_pointer(pointer: Path, group: str) -> Path | None:
    try:
        with pointer.open("rb") as file:
            content = file.read(_POINTER_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as problem:
        warn("layout.pointer_unreadable", path=str(pointer), reason=problem.strerror)
        return None
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    path = Path(os.fsdecode(content)) if content and b"\0" not in content else None
    if path is None or len(content) > _POINTER_LIMIT or not path.is_absolute() or path.parent.name != group:
        # Treated as absent: a deployment must not fail on it, nor run scripts of a place that nobody meant (AG-153).
        warn("layout.pointer_ignored", path=str(pointer), bytes=len(content))
        return None
    return path
